//! Where spans go: to an OTLP collector, if the program was built with the feature `otlp` and
//! somebody named one.
//!
//! Nothing waits for a collector. Spans are queued, and sent in batches from a thread of their own;
//! what does not fit into the queue, or is not taken, is dropped. That a collector is away is said once,
//! and once more when it is back.

#[cfg(feature = "otlp")]
mod collector;
#[cfg(feature = "otlp")]
mod otlp;
#[cfg(not(feature = "otlp"))]
mod unbuilt;

use std::time::Duration;

#[cfg(feature = "otlp")]
pub use self::otlp::Traces;
#[cfg(not(feature = "otlp"))]
pub use self::unbuilt::Traces;
use crate::config::{Connect, TracesOptions, TracesSettings};

/// The longest that a process stays for its last spans.
pub const FLUSH: Duration = Duration::from_secs(2);

impl Traces {
    /// Starts to send spans, if the configuration says where to. Before the log is installed, which
    /// takes their [`layer`](Self::layer); inside the runtime.
    ///
    /// # Errors
    ///
    /// As [`TracesSettings::load`]; or if the exporter does not accept what the environment has for it.
    pub fn load(
        connect: &Connect,
        options: &TracesOptions,
        instance: &str,
    ) -> anyhow::Result<Option<Self>> {
        let settings = TracesSettings::load(connect, options)?;
        settings.map(|settings| Self::start(&settings, instance)).transpose()
    }
}
