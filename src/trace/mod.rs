//! Traces: a span for each verb that people ask about, and the trace that a flow began in.
//!
//! Spans are those of [`tracing`]: whatever subscriber the host has installed sees them, and they are
//! there with or without OpenTelemetry. Their fields say what the log says, and no more: ids, names of
//! connectors and scopes, outcomes; never a secret, nor who somebody is. `docs/traces.md` lists them. What
//! a host does in every request (vending, validating a token) is at the level `debug`, all else at `info`.
//!
//! # A flow is in one place
//!
//! A sign-in is started by one request and ended by another, often on another replica, and between
//! the two there is a browser and a provider, who carry no trace. With the feature `otel` the record
//! that waits meanwhile (a PKCE state, a pending, a flow of headers) keeps the trace context of the span
//! that began it: the W3C `traceparent`, sealed with everything else that is in the record. Whoever ends
//! the flow joins its span to that, on whichever replica:
//!
//! * A request that is in no trace, or in one that is not sampled, goes on with the flow's trace: its
//!   span is a child of the one that began.
//! * One that has a sampled trace of its own stays in it. Its span has a *link* to the one that began,
//!   and the attribute `vestibule.flow.trace_id`.
//!
//! So there is one trace id by which all of a sign-in is found. Whoever [waits](crate::pending::Pendings::wait)
//! for a pending is linked to the request that completed it. A record without a
//! trace context, or with a damaged one, is as good as any: its end is joined to nothing.
//!
//! # Wiring it up
//!
//! The library installs nothing. A host adds the layer of `tracing-opentelemetry`, of the minor version
//! that this crate depends on (0.34): the layer of another one is not recognised, and no context is kept.
//! Incoming `traceparent` headers are for the host's own middleware, as they are for all its routes.
//!
#![cfg_attr(feature = "otel", doc = "```")]
#![cfg_attr(not(feature = "otel"), doc = "```ignore")]
//! use opentelemetry::trace::TracerProvider as _;
//! use opentelemetry_sdk::trace::SdkTracerProvider;
//! use tracing::level_filters::LevelFilter;
//! use tracing_subscriber::{Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};
//!
//! // With an exporter: `.with_batch_exporter(…)`, of `opentelemetry-otlp` for example.
//! let provider = SdkTracerProvider::builder().build();
//! let traces = tracing_opentelemetry::layer().with_tracer(provider.tracer("my-service"));
//! tracing_subscriber::registry()
//!     .with(traces.with_filter(LevelFilter::INFO))
//!     .with(tracing_subscriber::fmt::layer().with_filter(LevelFilter::WARN))
//!     .init();
//!
//! // … serve, and before the process ends:
//! provider.shutdown()?;
//! # Ok::<(), opentelemetry_sdk::error::OTelSdkError>(())
//! ```
//!
//! A tracing layer around a handler's routes (`tower_http::trace::TraceLayer`, say) makes the span of the
//! request, which the library's spans are then in.

#[cfg(feature = "otel")]
mod began;
#[cfg(not(feature = "otel"))]
mod unrecorded;

use std::fmt::Display;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::IgnoredAny};
use tracing::{Instrument, Span};

#[cfg(feature = "otel")]
use self::began::{Began, carried, fail};
#[cfg(not(feature = "otel"))]
use self::unrecorded::{Began, carried, fail};

/// Runs a verb in its span, which is marked if the verb fails.
pub(crate) async fn within<T, E: Display>(
    span: &Span,
    verb: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let result = verb.instrument(span.clone()).await;
    judge(span, &result);
    result
}

/// Marks the span of a verb that failed.
pub(crate) fn judge<T, E: Display>(span: &Span, result: &Result<T, E>) {
    if let Err(error) = result {
        fail(span, error);
    }
}

/// Work for a task of its own, which goes on where its caller is.
pub(crate) fn follow<F: Future>(work: F) -> impl Future<Output = F::Output> {
    carried(work.in_current_span())
}

/// The span that began a flow, as its record keeps it; none if nobody samples that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TraceContext(Option<Began>);

impl TraceContext {
    /// Where the caller is.
    pub(crate) fn current() -> Self {
        Self(Began::here())
    }

    #[cfg_attr(
        not(feature = "otel"),
        expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")
    )]
    pub(crate) fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Joins the span that ends what began here. It must not have been entered: which trace a span is
    /// in is settled by then. So the verbs that end a flow make their span first, learn from the record
    /// where it began, and enter the span for what is left to do.
    pub(crate) fn join(self, span: &Span) {
        if let Some(began) = self.0 {
            began.join(span);
        }
    }

    /// Links a span to what began here, and leaves it in the trace that it is in.
    pub(crate) fn link(self, span: &Span) {
        if let Some(began) = self.0 {
            began.link(span);
        }
    }
}

impl Serialize for TraceContext {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Some(began) => serializer.collect_str(began),
            None => serializer.serialize_none(),
        }
    }
}

/// Whatever is there: a trace is never worth a record that does not open.
impl<'de> Deserialize<'de> for TraceContext {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Kept {
            Text(String),
            Other(IgnoredAny),
        }
        Ok(match Kept::deserialize(deserializer)? {
            Kept::Text(text) => Self(Began::parse(&text)),
            Kept::Other(IgnoredAny) => Self(None),
        })
    }
}
