use std::time::Duration;

/// What a store keeps of a duration: whole milliseconds, ten years at the most. A provider may name
/// any number; one that overflows a score must not make a record unreadable.
pub(crate) fn millis(duration: Duration) -> u64 {
    const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
    u64::try_from(duration.min(LONGEST).as_millis()).unwrap_or(u64::MAX)
}
