//! What must not be lost is tried again, for as long as that may help.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::time::{Instant, sleep};

use super::ConnectionError;
use crate::store::{Class, StoreError};

/// How long an answer that Redis does not take is tried again while somebody waits for it.
const PERSIST_FOR: Duration = Duration::from_secs(60);
/// How long one that only lacks replicas is tried again: it is stored, and somebody may wait.
const CONFIRM_FOR: Duration = Duration::from_secs(5);

/// What [`persist`] asks of an error: whether trying again may help.
pub(crate) trait MayPass {
    fn may_pass(&self) -> bool;

    /// For how long that is worth it.
    fn patience(&self) -> Duration {
        PERSIST_FOR
    }
}

impl MayPass for StoreError {
    fn may_pass(&self) -> bool {
        self.class() != Class::Corrupt
    }

    fn patience(&self) -> Duration {
        if self.class() == Class::Unconfirmed { CONFIRM_FOR } else { PERSIST_FOR }
    }
}

impl MayPass for ConnectionError {
    fn may_pass(&self) -> bool {
        matches!(self, Self::Store(error) if error.may_pass())
    }

    fn patience(&self) -> Duration {
        if let Self::Store(error) = self { error.patience() } else { PERSIST_FOR }
    }
}

/// Runs a verb until the store decides, or its error's [patience](MayPass::patience) is over. The
/// verb carries one request id, so it may run any number of times.
pub(crate) async fn persist<T, E, F>(verb: impl Fn() -> F) -> Result<T, E>
where
    E: MayPass + std::fmt::Display,
    F: Future<Output = Result<T, E>>,
{
    let started = Instant::now();
    let mut pauses = ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(2))
        .without_max_times()
        .with_jitter()
        .build();
    loop {
        match verb().await {
            Err(error) if error.may_pass() && started.elapsed() < error.patience() => {
                tracing::debug!(%error, "trying again to persist");
                sleep(pauses.next().unwrap_or(Duration::from_secs(2))).await;
            }
            decided => return decided,
        }
    }
}
