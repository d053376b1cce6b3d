//! The `[sweeps]` table: how often, how old, how much.

use std::time::Duration;

use serde::Deserialize;

use super::notify::NotifyEntry;

/// How the sweeps run. A cadence or a retention of zero switches that sweep off, and no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SweepSettings {
    /// Between two rounds of the orphans' sweep, give or take a fifth. Default a day.
    pub orphans_every: Duration,
    /// How long an orphan is kept. Default 30 days.
    pub orphan_retention: Duration,
    /// Between two rounds of the sweep of what has expired. Default a minute.
    pub expired_every: Duration,
    /// Between two rounds of the sweep of what an older key has sealed. Default five minutes.
    pub reseal_every: Duration,
    /// Between two rounds of the sweep of events that all have been told. Default five seconds.
    pub events_every: Duration,
    /// Between two rounds of the history's sweep. Default an hour.
    pub history_every: Duration,
    /// How long history is kept, as `[notify]` says. Default 90 days.
    pub history_age: Duration,
    /// What one pass sees to at the most. Default 10,000.
    pub limit: u64,
}

impl Default for SweepSettings {
    fn default() -> Self {
        SweepsTable::default().settings(NotifyEntry::default().history_age())
    }
}

/// Signed, so that what is below zero is understood, and switches off as zero does.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SweepsTable {
    orphans_every_s: Option<i64>,
    orphan_retention_days: Option<i64>,
    expired_every_s: Option<i64>,
    reseal_every_s: Option<i64>,
    events_every_s: Option<i64>,
    history_every_s: Option<i64>,
    limit: Option<std::num::NonZeroU32>,
}

impl SweepsTable {
    pub(super) fn settings(&self, history_age: Duration) -> SweepSettings {
        let times = |count: Option<i64>, usual: i64, seconds: u64| {
            let count = u64::try_from(count.unwrap_or(usual)).unwrap_or(0);
            // Longer than time: never.
            Duration::from_secs(count.saturating_mul(seconds))
        };
        SweepSettings {
            orphans_every: times(self.orphans_every_s, 24 * 3600, 1),
            orphan_retention: times(self.orphan_retention_days, 30, 24 * 3600),
            expired_every: times(self.expired_every_s, 60, 1),
            reseal_every: times(self.reseal_every_s, 300, 1),
            events_every: times(self.events_every_s, 5, 1),
            history_every: times(self.history_every_s, 3600, 1),
            history_age,
            limit: self.limit.map_or(10_000, |limit| limit.get().into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> SweepSettings {
        let age = SweepSettings::default().history_age;
        toml::from_str::<SweepsTable>(text).unwrap().settings(age)
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let settings = read("");
        assert_eq!(settings, SweepSettings::default());
        assert_eq!(settings.orphans_every, Duration::from_secs(86_400));
        assert_eq!(settings.orphan_retention, Duration::from_secs(30 * 86_400));
        assert_eq!(settings.expired_every, Duration::from_secs(60));
        assert_eq!(settings.reseal_every, Duration::from_secs(300));
        assert_eq!(settings.events_every, Duration::from_secs(5));
        assert_eq!(settings.history_every, Duration::from_secs(3600));
        assert_eq!(settings.history_age, Duration::from_secs(90 * 86_400));
    }

    /// H-10, T-9: zero and below switch off that sweep alone; longer than time is for ever.
    #[test]
    fn no_number_is_too_small_or_too_big() {
        for off in ["0", "-1", "-9223372036854775808"] {
            let settings = read(&format!("orphan_retention_days = {off}"));
            assert_eq!(settings.orphan_retention, Duration::ZERO);
            assert_eq!(settings.orphans_every, Duration::from_secs(86_400));
            let settings = read(&format!("expired_every_s = {off}"));
            assert_eq!(settings.expired_every, Duration::ZERO);
            assert_eq!(settings.orphan_retention, Duration::from_secs(30 * 86_400));
        }
        let settings = read("orphan_retention_days = 9223372036854775807");
        assert_eq!(settings.orphan_retention, Duration::from_secs(u64::MAX));
    }
}
