//! A replica's traces: what it would export, kept.

use std::sync::{Arc, Mutex};

use opentelemetry::{
    Context,
    trace::{
        SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, TracerProvider as _,
    },
};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{SdkTracerProvider, SpanData, SpanExporter},
};
use tracing::{Dispatch, Span, dispatcher::DefaultGuard, level_filters::LevelFilter};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{Layer as _, layer::SubscriberExt as _};

/// A tracer provider of its own, as each process has one.
pub struct Recorder {
    dispatch: Dispatch,
    kept: Kept,
}

#[derive(Debug, Clone, Default)]
struct Kept(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Kept {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

impl Recorder {
    pub fn new(level: LevelFilter) -> Self {
        let kept = Kept::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(kept.clone()).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let subscriber = tracing_subscriber::registry().with(layer.with_filter(level));
        Self { dispatch: Dispatch::new(subscriber), kept }
    }

    /// From now on this thread is that replica.
    pub fn enter(&self) -> DefaultGuard {
        tracing::dispatcher::set_default(&self.dispatch)
    }

    /// What was exported, oldest first.
    pub fn spans(&self) -> Vec<SpanData> {
        self.kept.0.lock().unwrap().clone()
    }

    /// The one span of this name.
    pub fn one(&self, name: &str) -> SpanData {
        let found: Vec<_> = self.spans().into_iter().filter(|span| span.name == name).collect();
        let names: Vec<_> = self.spans().into_iter().map(|span| span.name).collect();
        assert_eq!(found.len(), 1, "{name} in {names:?}");
        found.into_iter().next().unwrap()
    }
}

/// A request that came in a trace of its own, which is sampled or not.
pub fn request(is_sampled: bool) -> Span {
    let span = tracing::info_span!("request");
    let flags = if is_sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    let trace = TraceId::from(u128::from(crate::support::server::random()) + 1);
    let caller = SpanContext::new(trace, SpanId::from(7), flags, true, TraceState::NONE);
    span.set_parent(Context::new().with_remote_span_context(caller)).unwrap();
    span
}

/// What a span is linked to.
pub fn links(span: &SpanData) -> Vec<(TraceId, SpanId)> {
    let links = span.links.iter().map(|link| &link.span_context);
    links.map(|to| (to.trace_id(), to.span_id())).collect()
}

/// Where a span is.
pub fn place(span: &SpanData) -> (TraceId, SpanId) {
    (span.span_context.trace_id(), span.span_context.span_id())
}

/// What it says under a name.
pub fn attribute(span: &SpanData, name: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == name);
    found.map(|attribute| attribute.value.to_string())
}
