//! Redis's time, known locally: an offset to `TIME` plus monotonic time.
//!
//! For head timestamps and vend margins only. Where a yes or no depends on time, a script asks
//! Redis itself.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// Older calibrations are renewed by the next verb.
const FRESH_FOR: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct ServerClock {
    epoch: Instant,
    /// Redis's time at `epoch`, in ms since 1970; 0 before the first calibration.
    base_ms: AtomicU64,
    /// When it was calibrated, in ms since `epoch`.
    calibrated_ms: AtomicU64,
}

impl ServerClock {
    pub(super) fn new() -> Self {
        Self { epoch: Instant::now(), base_ms: AtomicU64::new(0), calibrated_ms: AtomicU64::new(0) }
    }

    /// Redis's time in ms since 1970.
    pub(super) fn now_ms(&self) -> u64 {
        self.base_ms.load(Ordering::Relaxed) + millis(self.epoch.elapsed())
    }

    pub(super) fn is_stale(&self) -> bool {
        let age = millis(self.epoch.elapsed())
            - self.calibrated_ms.load(Ordering::Relaxed).min(millis(self.epoch.elapsed()));
        self.base_ms.load(Ordering::Relaxed) == 0 || age > millis(FRESH_FOR)
    }

    /// Redis said `server_ms` in answer to something sent at `sent`: take the middle of the trip.
    pub(super) fn calibrate(&self, server_ms: u64, sent: Instant) {
        let trip = sent.elapsed();
        let middle = sent.duration_since(self.epoch) + trip / 2;
        self.base_ms.store(server_ms.saturating_sub(millis(middle)), Ordering::Relaxed);
        self.calibrated_ms.store(millis(self.epoch.elapsed()), Ordering::Relaxed);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_server_even_backwards() {
        let clock = ServerClock::new();
        assert!(clock.is_stale());
        let began = Instant::now();
        clock.calibrate(1_700_000_000_000, Instant::now());
        let now = clock.now_ms();
        let latest = 1_700_000_000_000 + millis(began.elapsed()) + 1;
        assert!((1_700_000_000_000..=latest).contains(&now), "{now} of {latest}");
        assert!(!clock.is_stale());
        clock.calibrate(1_600_000_000_000, Instant::now());
        assert!(clock.now_ms() <= 1_600_000_000_000 + millis(began.elapsed()) + 1);
    }
}
