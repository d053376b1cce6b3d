//! Without the feature `otlp` there is nothing to send spans with.

use std::time::Duration;

use tracing_subscriber::layer::Identity;

use crate::config::{TracesError, TracesSettings};

/// There are none.
#[derive(Debug)]
pub enum Traces {}

impl Traces {
    pub(super) fn start(_: &TracesSettings, _: &str) -> anyhow::Result<Self> {
        Err(TracesError::NotBuilt.into())
    }

    /// Takes no span.
    #[must_use]
    pub fn layer(&self) -> Identity {
        match *self {}
    }

    /// Has nothing to send.
    #[expect(clippy::unused_async, reason = "as the one that has something to send")]
    pub async fn flush(self, _: Duration) {
        match self {}
    }
}
