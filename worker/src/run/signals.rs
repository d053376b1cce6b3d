//! The signals that end a worker.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The first stops gracefully, the second at once.
pub(super) struct Signals(CancellationToken);

impl Signals {
    /// Cancels `stop` at the first.
    pub(super) fn watch(stop: CancellationToken) -> anyhow::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let second = CancellationToken::new();
        let told = second.clone();
        let watch = async move {
            for heard in [stop, told] {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                tracing::info!("told to stop");
                heard.cancel();
            }
        };
        #[expect(clippy::disallowed_methods, reason = "signals are heard beside everything else")]
        tokio::spawn(watch);
        Ok(Self(second))
    }

    /// Returns at the second.
    pub(super) async fn second(&self) {
        self.0.cancelled().await;
    }
}
