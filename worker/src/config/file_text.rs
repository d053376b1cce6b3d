//! The configuration file as it is written, for who asks where a value comes from.

use anyhow::Context;
use toml::{Table, Value};
use url::Url;

use super::{ConfigFile, Connect, variable};

/// What the file says, key by key.
#[derive(Debug, Default)]
pub(super) struct FileText(Table);

impl FileText {
    /// Reads it; without a file it says nothing.
    ///
    /// # Errors
    ///
    /// As [`Settings::load`](super::Settings::load): the whole of it must be of its form.
    pub(super) fn read(connect: &Connect) -> anyhow::Result<Self> {
        let Some(path) = &connect.config else { return Ok(Self::default()) };
        ConfigFile::read(path)?;
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the config file {}", path.display()))?;
        Ok(Self(toml::from_str(&text).unwrap_or_default()))
    }

    /// Whether it has a value under this name: `prefix`, or `sweeps.limit`.
    pub(super) fn says(&self, name: &str) -> bool {
        match name.split_once('.') {
            None => self.0.contains_key(name),
            Some((table, key)) => {
                self.0.get(table).and_then(Value::as_table).is_some_and(|it| it.contains_key(key))
            }
        }
    }

    /// All that it says, value by value: `prefix`, `sweeps.limit`, `connectors.github.client_id`. No
    /// secret is in it; of the variable that holds one, it is told whether it is set, and of a webhook
    /// only whose it is.
    pub(super) fn all(&self) -> Vec<(String, String)> {
        let mut all = Vec::new();
        for (key, value) in &self.0 {
            tell(key, value, &mut all);
        }
        all
    }
}

/// Each value under the path to it; an entry of a list by what it is called.
fn tell(path: &str, value: &Value, told: &mut Vec<(String, String)>) {
    match value {
        Value::Table(fields) => {
            for (field, value) in fields {
                tell(&format!("{path}.{field}"), value, told);
            }
        }
        Value::Array(entries) if entries.iter().all(Value::is_table) => {
            for entry in entries.iter().filter_map(Value::as_table) {
                let called = ["slug", "name"].into_iter().find(|name| entry.contains_key(*name));
                let name = called.and_then(|name| entry.get(name)).map(plain).unwrap_or_default();
                for (field, value) in entry.iter().filter(|(field, _)| called != Some(field)) {
                    tell(&format!("{path}.{name}.{field}"), value, told);
                }
            }
        }
        _ => told.push((path.to_owned(), shown(path, value))),
    }
}

fn shown(path: &str, value: &Value) -> String {
    let shown = plain(value);
    match path.rsplit('.').next() {
        Some("client_secret_env" | "secret_env") => {
            let is_set = variable(&shown).is_some();
            shown + if is_set { " (set)" } else { " (NOT set)" }
        }
        Some("url") => origin(&shown),
        _ => shown,
    }
}

/// Who may post to a receiver is often whoever knows the rest of its URL.
fn origin(url: &str) -> String {
    let Ok(url) = Url::parse(url) else { return "[redacted]".to_owned() };
    let rest = if url.path() == "/" && url.query().is_none() { "/" } else { "/[redacted]" };
    url.origin().ascii_serialization() + rest
}

fn plain(value: &Value) -> String {
    let json = || serde_json::to_string(value).unwrap_or_default();
    value.as_str().map_or_else(json, str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_told_and_no_webhooks_path() {
        let text = r#"
            refresh_horizon_s = 5
            [[connectors]]
            slug = "demo"
            token_url = "https://p/token"
            client_secret_env = "NOT_SET_AT_ALL"
            [notify]
            log = true
            removed = ["old", "older"]
            [[notify.webhook]]
            name = "audit"
            url = "https://user:hunter2@hooks.example:8443/T0/hunter2?key=hunter2"
            [[notify.webhook]]
            name = "bare"
            url = "https://hooks.example"
        "#;
        let mut told = FileText(toml::from_str(text).unwrap_or_default()).all();
        told.sort();
        let told: Vec<_> = told.iter().map(|(name, value)| (&**name, &**value)).collect();
        let expected = [
            ("connectors.demo.client_secret_env", "NOT_SET_AT_ALL (NOT set)"),
            ("connectors.demo.token_url", "https://p/token"),
            ("notify.log", "true"),
            ("notify.removed", r#"["old","older"]"#),
            ("notify.webhook.audit.url", "https://hooks.example:8443/[redacted]"),
            ("notify.webhook.bare.url", "https://hooks.example/"),
            ("refresh_horizon_s", "5"),
        ];
        assert_eq!(told, expected);
        assert_eq!(origin("hunter2"), "[redacted]");
    }
}
