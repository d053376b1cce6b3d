//! Logging, to standard error.

use std::io::IsTerminal;

use tracing_subscriber::{
    EnvFilter, Layer, fmt, layer::SubscriberExt, registry, util::SubscriberInitExt,
};

use crate::{config::LogFormat, traces::Traces};

/// Installs the subscriber. `RUST_LOG` filters what is logged, and not what is traced; the default
/// is `info`.
pub fn install(format: LogFormat, traces: Option<&Traces>) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = fmt::layer().with_writer(std::io::stderr);
    let logs = match format {
        LogFormat::Plain => logs.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => logs.json().flatten_event(true).with_span_list(false).boxed(),
    };
    registry().with(logs.with_filter(filter)).with(traces.map(Traces::layer)).init();
}
