//! The only place where the library reads the wall clock.
//!
//! No decision between replicas rests on it: Redis decides time. It serves as a second,
//! fail-closed opinion on the `not_after` that is sealed into a record, where a Redis whose clock
//! jumped back would let a dead record live.

use std::time::{SystemTime, UNIX_EPOCH};

/// Where `not_after` is read from: the system's clock, moved by a fixed number of milliseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct WallClock {
    /// Added to the system's time; other than zero in tests only.
    pub(crate) shift_ms: i64,
}

impl WallClock {
    /// Milliseconds since 1970.
    pub(crate) fn now_ms(self) -> u64 {
        #[expect(clippy::disallowed_methods, reason = "the one site: see the module's text")]
        let now = SystemTime::now();
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX).saturating_add_signed(self.shift_ms)
    }
}
