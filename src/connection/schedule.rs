//! When to refresh, and when to try again.

use std::time::Duration;

use crate::store::ConnectionId;

/// So long before a grant's end it is refreshed once more, whatever its access token has left.
const LAST_CHANCE: Duration = Duration::from_secs(3600);
/// An answer that is never fresh must not make its connection refresh without a pause.
const SOONEST: Duration = Duration::from_secs(1);
/// A refreshed token that is dead on arrival is not worth another sooner, but for a caller's asking.
const DEAD_ON_ARRIVAL: Duration = Duration::from_secs(60);
/// An absurd `Retry-After` must not park a credential for ever.
const LONGEST_ASKED: Duration = Duration::from_secs(24 * 3600);
const FIRST_BACKOFF: Duration = Duration::from_secs(2);
const LONGEST_BACKOFF: Duration = Duration::from_secs(15 * 60);

/// When a grant is to be refreshed whose access token lives for `life`, and which can be refreshed
/// for as long as `deadline`: ahead of either end. Inside its last hour it has just been refreshed
/// for the last time, but for what its access token needs; then its end is looked at.
pub(super) fn next_due(
    life: Option<Duration>,
    lead: Duration,
    deadline: Option<Duration>,
    id: &ConnectionId,
) -> Option<Duration> {
    // Always the same for one connection, or it would be due again on the way into its last hour.
    let last_chance = LAST_CHANCE + (LAST_CHANCE / 10).mul_f64(spread(id));
    let before_the_end = deadline.map(|deadline| match deadline.checked_sub(last_chance) {
        Some(ahead) if !ahead.is_zero() => ahead,
        _ => deadline,
    });
    let fresh = life.map(|life| next_refresh(life, lead, id));
    fresh.into_iter().chain(before_the_end).min().map(|next| next.max(SOONEST))
}

/// When a token that lives for `life` is to be refreshed: `lead` before its end, but not before
/// 80 % of a short life; and up to a tenth of its life earlier, always the same for one
/// connection, so that a fleet of tokens made in one minute does not come due in one minute.
fn next_refresh(life: Duration, lead: Duration, id: &ConnectionId) -> Duration {
    let lead = lead.min(life / 5);
    let early = (life / 10).mul_f64(spread(id));
    life.saturating_sub(lead + early).max(SOONEST)
}

/// The pause after so many failures in a row: doubling, capped, with a quarter of jitter; never
/// sooner than the provider asked for.
pub(super) fn backoff(attempts: u32, retry_after: Option<Duration>, id: &ConnectionId) -> Duration {
    let doubled = FIRST_BACKOFF.saturating_mul(1 << attempts.min(16)).min(LONGEST_BACKOFF);
    let jittered = doubled.mul_f64(0.75 + spread(id) / 4.0);
    jittered.max(asked_for(retry_after))
}

/// How long a provider asked to be left alone, within reason.
pub(super) fn asked_for(retry_after: Option<Duration>) -> Duration {
    retry_after.unwrap_or_default().min(LONGEST_ASKED)
}

/// A provider whose tokens live for nothing is not asked each second for another one.
pub(super) fn not_at_once(next: Duration, life: Option<Duration>) -> Duration {
    if life.is_some_and(|life| life < SOONEST) { next.max(DEAD_ON_ARRIVAL) } else { next }
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

    /// C-9: ahead of the access token's end or of the grant's, whichever comes first; and within
    /// the last hour not again and again.
    #[test]
    fn a_refresh_comes_before_the_end_of_the_grant() {
        let id = id("00000000");
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let due = |life, deadline| next_due(life, Duration::from_secs(300), deadline, &id);
        let fresh = Some(Duration::from_secs(3300));
        assert_eq!(due(Some(hours(1)), None), fresh);
        assert_eq!(due(Some(hours(1)), Some(hours(48))), fresh);
        assert_eq!(due(Some(hours(24)), Some(hours(8))), Some(hours(7)));
        assert_eq!(due(None, Some(hours(8))), Some(hours(7)), "an undisclosed life");
        assert_eq!(due(None, None), None);
        // The boundary is inside.
        assert_eq!(due(Some(hours(24)), Some(hours(1))), Some(hours(1)));
        assert_eq!(due(Some(hours(1)), Some(hours(1))), fresh);
        assert_eq!(due(None, Some(Duration::from_secs(60))), Some(Duration::from_secs(60)));
        assert_eq!(due(Some(hours(1)), Some(Duration::ZERO)), Some(SOONEST));
    }

    /// However the ways into its last hour fall, a grant is refreshed in it once.
    #[test]
    fn the_last_hour_is_entered_once() {
        for random in ["00000000", "80000000", "ffffffff"] {
            let id = id(random);
            let (mut left, mut refreshed) = (Duration::from_secs(5 * 3600), 0);
            // Each refresh brings a day's access token, and takes a moment.
            while let Some(rest) = left.checked_sub(
                next_due(Some(DAY), Duration::from_secs(300), Some(left), &id).unwrap(),
            ) && !rest.is_zero()
            {
                refreshed += 1;
                left = rest.saturating_sub(Duration::from_millis(1));
            }
            assert_eq!(refreshed, 1, "{random}");
        }
    }

    const DAY: Duration = Duration::from_secs(24 * 3600);

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
