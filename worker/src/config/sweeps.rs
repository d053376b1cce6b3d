//! The `[sweeps]` table: what, how often, how old, how much.

use std::time::Duration;

use serde::Deserialize;
use vestibule::token::{InvalidScope, MCP_AUTH, MCP_HEADERS_AUTH, Scope, Scopes};

use super::notify::NotifyEntry;

/// How the sweeps run. A cadence or a retention of zero switches that sweep off, and no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepSettings {
    /// Between two rounds of the orphans' sweep, give or take a fifth. Default a day.
    pub orphans_every: Duration,
    /// How long an orphan is kept. Default 30 days.
    pub orphan_retention: Duration,
    /// Between two rounds of the sweep of what has expired. Default a minute.
    pub expired_every: Duration,
    /// The names of the scopes whose expired tokens are swept. Default `mcp_auth` and
    /// `mcp_headers_auth`.
    pub scopes: Vec<String>,
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
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SweepsTable {
    orphans_every_s: Option<i64>,
    orphan_retention_days: Option<i64>,
    expired_every_s: Option<i64>,
    scopes: Option<ScopeNames>,
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
            scopes: self.scopes.clone().unwrap_or_default().0,
            reseal_every: times(self.reseal_every_s, 300, 1),
            events_every: times(self.events_every_s, 5, 1),
            history_every: times(self.history_every_s, 3600, 1),
            history_age,
            limit: self.limit.map_or(10_000, |limit| limit.get().into()),
        }
    }
}

/// One name or more, each as a scope's.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "toml::Value")]
struct ScopeNames(Vec<String>);

impl Default for ScopeNames {
    fn default() -> Self {
        Self([MCP_AUTH, MCP_HEADERS_AUTH].map(str::to_owned).into())
    }
}

impl TryFrom<toml::Value> for ScopeNames {
    type Error = String;

    fn try_from(value: toml::Value) -> Result<Self, String> {
        let names: Option<Vec<String>> = value.try_into().ok();
        names.filter(|names| !names.is_empty() && scopes(names).is_ok()).map(Self).ok_or_else(|| {
            format!(
                "expected a list of the names that hosts register scopes under, each once: 1 to 64 \
                 visible ASCII characters, as in [{MCP_AUTH:?}, \"page\"]"
            )
        })
    }
}

/// Scopes of these names. What else they are is the hosts' to know: a sweep goes by the names alone.
///
/// # Errors
///
/// If one is no name of a scope, or is there twice.
pub(crate) fn scopes(names: &[String]) -> Result<Scopes, InvalidScope> {
    let scopes = Scopes::new();
    for name in names {
        let ttl = Duration::from_secs(1);
        scopes.register(Scope::new(name).with_route("GET", "/any").with_max_ttl(ttl))?;
    }
    Ok(scopes)
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
        assert_eq!(settings.scopes, ["mcp_auth", "mcp_headers_auth"]);
        assert!(scopes(&settings.scopes).is_ok());
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

    #[test]
    fn a_list_of_scopes_has_names_each_once() {
        let longest = "x".repeat(64);
        assert_eq!(read(&format!("scopes = [\"page\", {longest:?}]")).scopes, ["page", &*longest]);
        for bad in [
            "[]",
            "\"page\"",
            "[1]",
            "[\"\"]",
            "[\"a page\"]",
            "[\"page\", \"page\"]",
            "[\"é\"]",
            &format!("[{:?}]", "x".repeat(65)),
        ] {
            let error = toml::from_str::<SweepsTable>(&format!("scopes = {bad}")).unwrap_err();
            assert!(error.message().contains("each once: 1 to 64 visible"), "{bad}: {error}");
        }
    }
}
