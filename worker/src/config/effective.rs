//! The configuration as it is, value by value, for who asks what it amounts to.

use std::{fmt::Display, path::PathBuf, time::Duration};

use serde::Serialize;

use super::{ConfigFile, Connect, RunOptions, Secret, file_text::FileText};

/// A value, and where it comes from. No secret is in it.
#[derive(Debug, Serialize)]
pub struct Effective {
    /// Its name in the file, or that of its flag.
    pub name: String,
    /// What counts.
    pub value: String,
    /// The flag, the variable or the key of the file that says so, or `default`.
    pub from: String,
}

/// Every value that `run` would have, and what the file says besides. `given` tells by a flag's id
/// whether the command line or the environment has it, and which of them.
///
/// # Errors
///
/// If the file cannot be read, or is not of its form.
pub fn effective(
    connect: &Connect,
    options: &RunOptions,
    given: &dyn Fn(&str) -> Option<String>,
) -> anyhow::Result<Vec<Effective>> {
    let (file, text) = (ConfigFile::of(connect)?, FileText::read(connect)?);
    let mut rows = Rows { given, text, told: Vec::new() };
    places(&file, connect, &mut rows);
    running(&file, options, &mut rows);
    sweeps(&file, &mut rows);
    notify(&file, &mut rows);
    let (endpoint, service, ratio) = file.traces.chosen(&options.traces);
    let endpoint = if endpoint == "off" { endpoint } else { redacted(&endpoint) };
    rows.add("traces.endpoint", "traces_endpoint", endpoint);
    rows.add("traces.service", "traces_service", service);
    rows.add("traces.ratio", "traces_ratio", ratio);
    Ok(rows.with_the_rest())
}

fn places(file: &ConfigFile, connect: &Connect, rows: &mut Rows<'_>) {
    rows.add("config", "config", path(connect.config.as_ref(), "none"));
    let url = connect.redis.as_ref().or(file.redis.as_ref());
    rows.add("redis", "redis", url.map_or_else(|| "none: required".to_owned(), |it| redacted(it)));
    let public = "none: the public roots";
    rows.add("redis_ca_file", "", path(file.redis_ca_file.as_ref(), public));
    let confirmation = file.confirmation();
    rows.add("redis_confirm_replicas", "", confirmation.replicas);
    rows.add("redis_confirm_within_ms", "", confirmation.within.as_millis());
    rows.add("prefix", "prefix", file.prefix(connect));
    let from = file.keys_from(connect);
    rows.add_secret("keys_file", "keys", "VESTIBULE_KEYS", from, "none: required");
}

fn running(file: &ConfigFile, options: &RunOptions, rows: &mut Rows<'_>) {
    let plan = file.refreshing(&options.refreshing);
    let ca = path(plan.provider_ca_file.as_ref(), "none: the public roots alone");
    rows.add("provider_ca_file", "provider_ca_file", ca);
    rows.add("journal_dir", "journal_dir", path(plan.journal_dir.as_ref(), "none: no journal"));
    rows.add("journal_window_s", "", plan.journal_window.as_secs());
    rows.add("refresh_horizon_s", "", plan.horizon.as_secs());
    let run = file.run(options);
    let instance = options.instance.as_deref().unwrap_or("worker-<host>-<4 hex>");
    rows.add("instance", "instance", instance);
    rows.add("interval_ms", "interval_ms", run.interval.as_millis());
    rows.add("parallel", "parallel", run.parallel);
    rows.add("grace_s", "grace_s", run.grace.as_secs());
    rows.add("log", "log", format!("{:?}", run.log).to_lowercase());
    rows.add("allow_missing_keys", "allow_missing_keys", options.allow_missing_keys);
    rows.add("admin.address", "admin", run.admin);
    let (from, variable) = (file.token_from(options), "VESTIBULE_ADMIN_TOKEN");
    let none = "none: for this machine alone";
    rows.add_secret("admin.token_file", "admin_token_file", variable, from, none);
}

fn sweeps(file: &ConfigFile, rows: &mut Rows<'_>) {
    let sweeps = file.sweeps();
    let days = |duration: Duration| duration.as_secs() / (24 * 3600);
    rows.add("sweeps.orphans_every_s", "", sweeps.orphans_every.as_secs());
    rows.add("sweeps.orphan_retention_days", "", days(sweeps.orphan_retention));
    rows.add("sweeps.expired_every_s", "", sweeps.expired_every.as_secs());
    rows.add("sweeps.scopes", "", sweeps.scopes.join(", "));
    rows.add("sweeps.reseal_every_s", "", sweeps.reseal_every.as_secs());
    rows.add("sweeps.events_every_s", "", sweeps.events_every.as_secs());
    rows.add("sweeps.history_every_s", "", sweeps.history_every.as_secs());
    rows.add("sweeps.limit", "", sweeps.limit);
}

fn notify(file: &ConfigFile, rows: &mut Rows<'_>) {
    let notify = &file.notify;
    let events = match &notify.log_events {
        Some(words) => words.join(", "),
        None => "all transitions".to_owned(),
    };
    rows.add("notify.log", "", notify.log);
    rows.add("notify.log_events", "", events);
    rows.add("notify.history_days", "", notify.history_days());
    let removed =
        if notify.removed.is_empty() { "none".to_owned() } else { notify.removed.join(", ") };
    rows.add("notify.removed", "", removed);
}

struct Rows<'a> {
    given: &'a dyn Fn(&str) -> Option<String>,
    text: FileText,
    told: Vec<Effective>,
}

impl Rows<'_> {
    /// What may stand in the file under that name; an empty `flag` for what no flag can say.
    fn add(&mut self, name: &str, flag: &str, value: impl Display) {
        let flag = Some(flag).filter(|flag| !flag.is_empty());
        let from = flag.and_then(|flag| (self.given)(flag)).unwrap_or_else(|| {
            let said = self.text.says(name);
            if said { format!("`{name}` in the file") } else { "default".to_owned() }
        });
        self.told.push(Effective { name: name.to_owned(), value: value.to_string(), from });
    }

    fn add_secret(
        &mut self,
        name: &str,
        flag: &str,
        variable: &str,
        from: Option<Secret>,
        none: &str,
    ) {
        match from {
            Some(Secret::Text(_)) => self.told.push(Effective {
                name: name.to_owned(),
                value: "[redacted]".to_owned(),
                from: variable.to_owned(),
            }),
            Some(Secret::File(path)) => self.add(name, flag, path.display()),
            None => self.add(name, flag, none),
        }
    }

    /// What the file says of connectors and webhooks is taken as it is.
    fn with_the_rest(mut self) -> Vec<Effective> {
        for (name, value) in self.text.all() {
            if !self.told.iter().any(|row| row.name == name) {
                let from = format!("`{name}` in the file");
                self.told.push(Effective { name, value, from });
            }
        }
        self.told
    }
}

fn path(path: Option<&PathBuf>, none: &str) -> String {
    path.map_or_else(|| none.to_owned(), |path| path.display().to_string())
}

/// A URL without its password, of any of the forms.
fn redacted(url: &str) -> String {
    // What is no URL may be anything, a password too.
    let Some((scheme, rest)) = url.split_once("://") else { return "[redacted]".to_owned() };
    // A password may have a slash or an @ in it: the last one decides.
    let Some(at) = rest.rfind('@') else { return url.to_owned() };
    let user = rest[..at].split(':').next().unwrap_or_default();
    format!("{scheme}://{user}:***@{}", &rest[at + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_left() {
        for (url, shown) in [
            ("redis://h:1/2", "redis://h:1/2"),
            ("redis://:hunter2@h", "redis://:***@h"),
            ("rediss://u:hunter2@h:1/0", "rediss://u:***@h:1/0"),
            ("redis-cluster://u:hun@ter2@a:1,b:2", "redis-cluster://u:***@a:1,b:2"),
            ("redis://u:hun/ter2@h", "redis://u:***@h"),
            ("hunter2", "[redacted]"),
        ] {
            assert_eq!(redacted(url), shown);
        }
    }
}
