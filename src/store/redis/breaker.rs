//! An outage is not hammered: after a failed connect nobody tries again for a moment.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::time::Instant;

use super::fault::Fault;

/// Pauses between retries and between connects, up to twice as long by their jitter, so that
/// replicas do not march in step. At their longest they leave a caller with the default deadline
/// several tries after a failover of some seconds.
pub(super) const PAUSES: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(20))
    .with_max_delay(Duration::from_millis(250))
    .with_jitter()
    .without_max_times();

/// What is known of the last connects.
#[derive(Default)]
pub(super) struct Breaker {
    failures: u32,
    last: Option<Fault>,
}

impl Breaker {
    /// What the last connect failed with, while it is too early for the next.
    pub(super) fn refusal(&self) -> Option<Fault> {
        let early = |fault: &&Fault| fault.retry_at.is_some_and(|at| Instant::now() < at);
        self.last.as_ref().filter(early).cloned()
    }

    pub(super) fn connected(&mut self) {
        *self = Self::default();
    }

    /// Returns the fault with the time of the next connect: whoever waits, waits until then.
    pub(super) fn failed(&mut self, fault: Fault) -> Fault {
        let pause = PAUSES.build().nth(self.failures.min(8) as usize).unwrap_or_default();
        self.failures += 1;
        let fault = Fault { retry_at: Some(Instant::now() + pause), ..fault };
        self.last = Some(fault.clone());
        fault
    }
}
