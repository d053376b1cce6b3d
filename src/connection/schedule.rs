//! When to refresh, and when to try again.

use std::time::Duration;

use crate::store::ConnectionId;

/// An answer that is never fresh must not make its connection refresh without a pause.
const SOONEST: Duration = Duration::from_secs(1);
const FIRST_BACKOFF: Duration = Duration::from_secs(2);
const LONGEST_BACKOFF: Duration = Duration::from_secs(15 * 60);

/// When a token that lives for `life` is to be refreshed: `lead` before its end, but not before
/// 80 % of a short life; and up to a tenth of its life earlier, always the same for one
/// connection, so that a fleet of tokens made in one minute does not come due in one minute.
pub(super) fn next_refresh(life: Duration, lead: Duration, id: &ConnectionId) -> Duration {
    let lead = lead.min(life / 5);
    let early = (life / 10).mul_f64(spread(id));
    life.saturating_sub(lead + early).max(SOONEST)
}

/// The pause after so many failures in a row: doubling, capped, with a quarter of jitter; never
/// sooner than the provider asked for.
pub(super) fn backoff(attempts: u32, retry_after: Option<Duration>, id: &ConnectionId) -> Duration {
    let doubled = FIRST_BACKOFF.saturating_mul(1 << attempts.min(16)).min(LONGEST_BACKOFF);
    let jittered = doubled.mul_f64(0.75 + spread(id) / 4.0);
    // An absurd Retry-After must not park a credential for ever.
    jittered.max(retry_after.unwrap_or_default().min(Duration::from_secs(24 * 3600)))
}

/// A number in 0..1 that belongs to the connection: the random part of its id.
pub(super) fn spread(id: &ConnectionId) -> f64 {
    let digits = id.as_str().get(2..10).and_then(|hex| u32::from_str_radix(hex, 16).ok());
    f64::from(digits.unwrap_or(0)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(random: &str) -> ConnectionId {
        format!("00{random}{}", "0".repeat(24)).parse().unwrap()
    }

    #[test]
    fn a_refresh_comes_before_the_end_and_is_spread() {
        let (first, last) = (id("00000000"), id("ffffffff"));
        let hour = Duration::from_secs(3600);
        let lead = Duration::from_secs(300);
        assert_eq!(next_refresh(hour, lead, &first), Duration::from_secs(3300));
        assert_eq!(next_refresh(hour, lead, &last), Duration::from_secs(2940));
        // A life shorter than the lead would otherwise be due at once, always.
        assert_eq!(next_refresh(Duration::from_secs(60), lead, &first), Duration::from_secs(48));
        assert_eq!(next_refresh(Duration::ZERO, lead, &first), SOONEST);
    }

    #[test]
    fn a_backoff_grows_to_a_cap_and_heeds_the_provider() {
        let id = id("ffffffff");
        assert_eq!(backoff(0, None, &id), FIRST_BACKOFF);
        assert_eq!(backoff(3, None, &id), FIRST_BACKOFF * 8);
        assert_eq!(backoff(u32::MAX, None, &id), LONGEST_BACKOFF);
        assert_eq!(backoff(0, Some(Duration::from_secs(90)), &id), Duration::from_secs(90));
        assert_eq!(backoff(0, Some(Duration::MAX), &id), Duration::from_secs(24 * 3600));
    }
}
