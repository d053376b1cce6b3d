//! The configuration file as it is written, for who asks where a value comes from.

use anyhow::Context;
use toml::{Table, Value};

use super::{ConfigFile, Connect, variable};

/// What the file says, key by key.
#[derive(Debug, Default)]
pub struct FileText(Table);

impl FileText {
    /// Reads it; without a file it says nothing.
    ///
    /// # Errors
    ///
    /// As [`Settings::load`](super::Settings::load): the whole of it must be of its form.
    pub fn read(connect: &Connect) -> anyhow::Result<Self> {
        let Some(path) = &connect.config else { return Ok(Self::default()) };
        ConfigFile::read(path)?;
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the config file {}", path.display()))?;
        Ok(Self(toml::from_str(&text).unwrap_or_default()))
    }

    /// A value of the first level.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<String> {
        self.0.get(key).map(plain)
    }

    /// What no flag can say instead: the rest of the first level, and every connector's keys. No
    /// secret is in the file; of the variable that holds one, it is told whether it is set.
    #[must_use]
    pub fn others(&self) -> Vec<(String, String)> {
        const FLAGS: [&str; 4] = ["redis", "keys_file", "prefix", "journal_dir"];
        let mut others = Vec::new();
        for (key, value) in self.0.iter().filter(|(key, _)| !FLAGS.contains(&key.as_str())) {
            let Value::Array(entries) = value else {
                others.push((key.clone(), plain(value)));
                continue;
            };
            for entry in entries.iter().filter_map(Value::as_table) {
                let slug = entry.get("slug").map(plain).unwrap_or_default();
                for (field, value) in entry.iter().filter(|(field, _)| *field != "slug") {
                    let mut shown = plain(value);
                    if field == "client_secret_env" {
                        let is_set = variable(&shown).is_some();
                        shown += if is_set { " (set)" } else { " (NOT set)" };
                    }
                    others.push((format!("{key}.{slug}.{field}"), shown));
                }
            }
        }
        others
    }

    /// Whether the keys come as the text of a key file.
    #[must_use]
    pub fn has_keys_variable() -> bool {
        variable("VESTIBULE_KEYS").is_some()
    }
}

fn plain(value: &Value) -> String {
    let json = || serde_json::to_string(value).unwrap_or_default();
    value.as_str().map_or_else(json, str::to_owned)
}
