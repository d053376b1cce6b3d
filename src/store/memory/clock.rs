//! What time it is in memory.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

use crate::{store::millis, wall_clock::WallClock};

/// The wall clock once, then tokio's monotonic time: it never runs backwards, and what waits and
/// what ends go by one clock.
pub(super) struct Clock {
    base_ms: u64,
    started: Instant,
    advanced_ms: AtomicU64,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self {
            base_ms: WallClock::default().now_ms(),
            started: Instant::now(),
            advanced_ms: AtomicU64::new(0),
        }
    }

    pub(super) fn now_ms(&self) -> u64 {
        after(self.base_ms, self.started.elapsed()) + self.advanced_ms.load(Ordering::Relaxed)
    }

    pub(super) fn advance(&self, by: Duration) {
        self.advanced_ms.fetch_add(millis(by), Ordering::Relaxed);
    }
}

/// The time that is `wait` later.
pub(super) fn after(now_ms: u64, wait: Duration) -> u64 {
    now_ms.saturating_add(millis(wait))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_stands_still_with_tokios_time_and_goes_on_with_it() {
        let clock = Clock::start();
        let began = clock.now_ms();
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(clock.now_ms(), began);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(clock.now_ms(), began + 60_000);
    }
}
