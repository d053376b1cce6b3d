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

/// `in 37 min`, `5 s ago` or, of what is less than a second away, `just now` and `within 1 s`.
pub(crate) fn relative(at_ms: u64, now_ms: u64) -> String {
    let away = at_ms.abs_diff(now_ms);
    match (at_ms > now_ms, away) {
        (true, ..1000) => "within 1 s".to_owned(),
        (true, _) => format!("in {}", long(away)),
        (false, ..1000) => "just now".to_owned(),
        (false, _) => format!("{} ago", long(away)),
    }
}

/// The same, or a dash.
pub(crate) fn maybe(at_ms: Option<u64>, now_ms: u64) -> String {
    at_ms.map_or_else(|| "–".to_owned(), |at_ms| relative(at_ms, now_ms))
}

/// `2026-11-21T15:04:05.120Z`, always as long; or what cannot be a time as the number that it is.
pub(crate) fn utc(at_ms: u64) -> String {
    match seconds(at_ms) {
        Some(text) => format!("{}.{:03}Z", text.trim_end_matches('Z'), at_ms % 1000),
        None => format!("{at_ms} ms"),
    }
}

/// The same, to the second.
pub(crate) fn utc_seconds(at_ms: u64) -> String {
    seconds(at_ms).unwrap_or_else(|| format!("{at_ms} ms"))
}

fn seconds(at_ms: u64) -> Option<String> {
    let at = time::Duration::try_from(Duration::from_secs(at_ms / 1000)).ok()?;
    OffsetDateTime::UNIX_EPOCH.checked_add(at)?.format(&Rfc3339).ok()
}

/// The `word=value` pairs of an event, with times as people read them.
pub(crate) fn detail(detail: &str) -> String {
    let words = detail.split(' ').map(|word| match word.split_once('=') {
        Some((name @ ("before" | "after" | "refresh_until"), at)) => {
            let at = at.parse().map_or_else(|_| at.to_owned(), utc_seconds);
            format!("{name}={at}")
        }
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_people_do() {
        assert_eq!(relative(10_000, 5_000), "in 5 s");
        assert_eq!(relative(0, 3_600_000), "60 min ago");
        assert_eq!((relative(999, 0), relative(0, 999)), ("within 1 s".into(), "just now".into()));
        assert_eq!(relative(86_400_000 * 3, 0), "in 3 days");
        assert_eq!(maybe(None, 0), "–");
        assert_eq!(utc(1_763_697_824_123), "2025-11-21T04:03:44.123Z");
        assert_eq!(utc(1_763_697_824_120), "2025-11-21T04:03:44.120Z");
        assert_eq!(utc_seconds(1_763_697_824_999), "2025-11-21T04:03:44Z");
        assert_eq!(utc(u64::MAX), format!("{} ms", u64::MAX));
    }

    #[test]
    fn a_detail_has_times_that_can_be_read() {
        for (stored, read) in [
            ("", ""),
            ("grant=1 after=1763697824123", "grant=1 after=2025-11-21T04:03:44Z"),
            (
                "before=soon refresh_until=1763697824123 ",
                "before=soon refresh_until=2025-11-21T04:03:44Z ",
            ),
            ("grant=1763697824123 after", "grant=1763697824123 after"),
        ] {
            assert_eq!(detail(stored), read);
        }
    }
}
