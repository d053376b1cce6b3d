//! The exporter: batches of spans, over HTTP, as protobuf.

use std::{thread, time::Duration};

use anyhow::Context;
use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider},
};
use tokio::{sync::oneshot, time::timeout};
use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{Layer, filter::Targets, registry::LookupSpan};

use super::collector::Collector;
use crate::config::TracesSettings;

/// What waits to be sent; beyond that spans are dropped. A span takes about a KiB.
const QUEUE: usize = 2048;
/// What is sent at once, and how often there is something to send.
const BATCH: usize = 512;
const EVERY: Duration = Duration::from_secs(5);
/// What the library and the worker trace; not what HTTP and Redis clients do.
const OURS: &str = "vestibule";

/// Spans under way to a collector.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    pub(super) fn start(settings: &TracesSettings, instance: &str) -> anyhow::Result<Self> {
        // All of it is said here, so that no variable of the exporter's own says otherwise: of those
        // only OTEL_EXPORTER_OTLP_HEADERS and OTEL_RESOURCE_ATTRIBUTES count.
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector::new(settings.endpoint.clone())?)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(settings.endpoint.as_str())
            .with_timeout(Collector::ANSWERS_WITHIN)
            .build()
            .context("traces")?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(EVERY)
            .build();
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
        let resource = Resource::builder()
            .with_service_name(settings.service.clone())
            .with_attributes([
                KeyValue::new("service.instance.id", instance.to_owned()),
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            ])
            .build();
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.ratio)));
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_resource(resource)
            .with_sampler(sampler)
            .build();
        Ok(Self { provider })
    }

    /// What takes the spans of the library and of the worker, whatever the log is told to leave out.
    #[must_use]
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer(env!("CARGO_PKG_NAME")))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(Targets::new().with_target(OURS, LevelFilter::INFO))
    }

    /// Sends what is left, for so long at the most, and ends.
    pub async fn flush(self, within: Duration) {
        let (end, ended) = oneshot::channel::<()>();
        // It blocks, and a runtime that ends would wait for a task that does.
        thread::spawn(move || {
            // What is not taken by now is lost: the collector has said so, or nobody has heard it.
            let _ = self.provider.shutdown_with_timeout(within);
            drop(end);
        });
        let _ = timeout(within, ended).await;
    }
}
