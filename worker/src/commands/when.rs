//! Times as people read them.

use std::time::Duration;

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// `37 min`. Rounded down, and never more exact than anybody wants to know.
pub(crate) fn long(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 => "less than 1 s".to_owned(),
        1..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// `in 37 min`, or `5 s ago`.
pub(crate) fn relative(at_ms: u64, now_ms: u64) -> String {
    if at_ms > now_ms {
        format!("in {}", long(at_ms - now_ms))
    } else {
        format!("{} ago", long(now_ms - at_ms))
    }
}

/// The same, or a dash.
pub(crate) fn maybe(at_ms: Option<u64>, now_ms: u64) -> String {
    at_ms.map_or_else(|| "–".to_owned(), |at_ms| relative(at_ms, now_ms))
}

/// `2026-11-21T15:04:05.123Z`, or what cannot be a time as the number that it is.
pub(crate) fn utc(at_ms: u64) -> String {
    let at = Duration::from_millis(at_ms);
    let time = OffsetDateTime::UNIX_EPOCH
        .checked_add(time::Duration::try_from(at).unwrap_or(time::Duration::MAX));
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| format!("{at_ms} ms"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_people_do() {
        assert_eq!(relative(10_000, 5_000), "in 5 s");
        assert_eq!(relative(0, 3_600_000), "60 min ago");
        assert_eq!(relative(86_400_000 * 3, 0), "in 3 days");
        assert_eq!(maybe(None, 0), "–");
        assert_eq!(utc(1_763_697_824_123), "2025-11-21T04:03:44.123Z");
        assert_eq!(utc(u64::MAX), format!("{} ms", u64::MAX));
    }
}
