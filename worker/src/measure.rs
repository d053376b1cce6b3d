//! What the loops around sweeps measure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use vestibule::metric;

/// So often a pass of this sweep is begun.
pub(crate) fn cadence(sweep: &'static str, every: Duration) {
    metric::SWEEP_INTERVAL.of(&[sweep]).set(every);
}

/// A pass that took so long, what it did, and whether it met no error.
pub(crate) fn pass(
    sweep: &'static str,
    took: Duration,
    outcomes: &[(&'static str, u64)],
    succeeded: bool,
) {
    metric::SWEEP_SECONDS.of(&[sweep]).record(took);
    for (outcome, count) in outcomes {
        metric::SWEPT.of(&[sweep, outcome]).increment(*count);
    }
    if succeeded {
        #[expect(
            clippy::disallowed_methods,
            reason = "whoever scrapes compares it with their own clock; nothing here is decided by it"
        )]
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        metric::SWEEP_LAST_SUCCESS.of(&[sweep]).set(now);
    }
}
