//! Configuration: the only reader of the environment.
//!
//! Flags come first, then the environment, then the TOML file. The file alone holds connectors.

mod admin;
mod connectors;
mod effective;
mod file_text;
mod notify;
mod options;
mod refreshing;
mod run;
mod secret;
mod sweeps;
mod traces;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, anyhow, bail};
use serde::Deserialize;
use vestibule::{
    Keys,
    connection::Registry,
    store::redis::{Confirmation, RedisConfig},
};

pub(crate) use self::sweeps::scopes;
use self::{
    admin::AdminTable, connectors::ConnectorEntry, notify::NotifyEntry, secret::Secret,
    sweeps::SweepsTable, traces::TracesTable,
};
pub use self::{
    admin::{AdminError, AdminSettings, AdminToken},
    effective::{Effective, effective},
    notify::{NotifySettings, Receiver},
    options::{
        Admin, Connect, GraceS, IntervalMs, LogFormat, LogOption, Parallel, RefreshOptions,
        RunOptions, Within,
    },
    refreshing::{ProviderCaError, Refreshing},
    run::RunSettings,
    sweeps::SweepSettings,
    traces::{TracesError, TracesOptions, TracesSettings},
};

/// The variables that hold a secret's text.
pub const TEXTS: [&str; 2] = ["VESTIBULE_KEYS", "VESTIBULE_ADMIN_TOKEN"];
/// The prefix of keys that are given none.
const PREFIX: &str = "vst";
/// For so long replicas are waited for, if any are.
const CONFIRM_WITHIN_MS: u64 = 500;

/// What was found, checked.
#[derive(Debug)]
pub struct Settings {
    /// How to reach Redis.
    pub redis: RedisConfig,
    /// The keys.
    pub keys: Keys,
    /// The connectors.
    pub registry: Registry,
    /// How the sweeps run.
    pub sweeps: SweepSettings,
    /// Who is told of events.
    pub notify: NotifySettings,
}

impl Settings {
    /// Reads flags, environment and file.
    ///
    /// # Errors
    ///
    /// Names what is missing or wrong, where it may be set, and never a value.
    pub fn load(connect: &Connect) -> anyhow::Result<Self> {
        let file = ConfigFile::of(connect)?;
        Ok(Self {
            redis: file.redis(connect)?,
            keys: file.keys(connect)?,
            registry: file.registry()?,
            sweeps: file.sweeps(),
            notify: file.notify.settings()?,
        })
    }
}

/// Where Redis is: all that a command needs which only looks.
///
/// # Errors
///
/// As [`Settings::load`].
pub fn load_redis(connect: &Connect) -> anyhow::Result<RedisConfig> {
    ConfigFile::of(connect)?.redis(connect)
}

/// Where Redis is, and the keys: for who mends something by hand, and knows no provider's secret.
///
/// # Errors
///
/// As [`Settings::load`].
pub fn load_store(connect: &Connect) -> anyhow::Result<(RedisConfig, Keys)> {
    let file = ConfigFile::of(connect)?;
    Ok((file.redis(connect)?, file.keys(connect)?))
}

/// How the sweeps run.
///
/// # Errors
///
/// If the configuration file cannot be read.
pub fn load_sweeps(connect: &Connect) -> anyhow::Result<SweepSettings> {
    Ok(ConfigFile::of(connect)?.sweeps())
}

/// The keys alone; `None` if none are given.
///
/// # Errors
///
/// As [`Settings::load`], but for keys that are not given at all.
pub fn load_keys(connect: &Connect) -> anyhow::Result<Option<Keys>> {
    let file = ConfigFile::of(connect)?;
    file.keys_from(connect).map(|from| keys(&from)).transpose()
}

/// The key file, if the keys come from one.
///
/// # Errors
///
/// If the configuration file cannot be read.
pub fn keys_path(connect: &Connect) -> anyhow::Result<Option<PathBuf>> {
    Ok(match ConfigFile::of(connect)?.keys_from(connect) {
        Some(Secret::File(path)) => Some(path),
        Some(Secret::Text(_)) | None => None,
    })
}

/// The connectors' names alone: for who looks, and has none of their secrets.
///
/// # Errors
///
/// If the configuration file cannot be read.
pub fn load_slugs(connect: &Connect) -> anyhow::Result<Vec<String>> {
    let file = ConfigFile::of(connect)?;
    Ok(file.connectors.iter().map(|entry| entry.slug().to_owned()).collect())
}

/// How long orphans are kept, if there is a file to say so.
///
/// # Errors
///
/// If the configuration file cannot be read.
pub fn load_retention(connect: &Connect) -> anyhow::Result<Option<Duration>> {
    let file = ConfigFile::of(connect)?;
    Ok(connect.config.as_ref().map(|_| file.sweeps().orphan_retention))
}

/// How to log: what the command line says, or the file.
///
/// # Errors
///
/// If the configuration file cannot be read.
pub fn log_format(connect: &Connect, option: LogOption) -> anyhow::Result<LogFormat> {
    Ok(option.log.or(ConfigFile::of(connect)?.log).unwrap_or_default())
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    redis: Option<String>,
    redis_ca_file: Option<PathBuf>,
    redis_confirm_replicas: Option<u32>,
    redis_confirm_within_ms: Option<Within<1, 2000>>,
    prefix: Option<String>,
    keys_file: Option<PathBuf>,
    provider_ca_file: Option<PathBuf>,
    journal_dir: Option<PathBuf>,
    journal_window_s: Option<u64>,
    refresh_horizon_s: Option<u64>,
    interval_ms: Option<IntervalMs>,
    parallel: Option<Parallel>,
    grace_s: Option<GraceS>,
    log: Option<LogFormat>,
    #[serde(default)]
    admin: AdminTable,
    #[serde(default)]
    sweeps: SweepsTable,
    #[serde(default)]
    notify: NotifyEntry,
    #[serde(default)]
    traces: TracesTable,
    #[serde(default)]
    connectors: Vec<ConnectorEntry>,
}

impl ConfigFile {
    fn of(connect: &Connect) -> anyhow::Result<Self> {
        connect.config.as_deref().map_or_else(|| Ok(Self::default()), Self::read)
    }

    fn redis(&self, connect: &Connect) -> anyhow::Result<RedisConfig> {
        let url = connect.redis.clone().or_else(|| self.redis.clone()).ok_or_else(|| {
            anyhow!(
                "no Redis URL: give --redis, VESTIBULE_REDIS_URL, or `redis` in the config file"
            )
        })?;
        let mut redis = RedisConfig::new(&url)?.with_prefix(self.prefix(connect))?;
        if let Some(path) = &self.redis_ca_file {
            let pem = std::fs::read(path)
                .with_context(|| format!("`redis_ca_file`: cannot read {}", path.display()))?;
            redis = redis.with_ca_pem(pem);
        }
        let confirmation = self.confirmation();
        if confirmation.replicas > 0 {
            redis = redis.with_confirmation(confirmation);
        }
        Ok(redis)
    }

    fn prefix<'a>(&'a self, connect: &'a Connect) -> &'a str {
        connect.prefix.as_deref().or(self.prefix.as_deref()).unwrap_or(PREFIX)
    }

    /// By no replica, if it is not asked for.
    fn confirmation(&self) -> Confirmation {
        let within_ms = self.redis_confirm_within_ms.map_or(CONFIRM_WITHIN_MS, Within::get);
        Confirmation {
            replicas: self.redis_confirm_replicas.unwrap_or(0),
            within: Duration::from_millis(within_ms),
        }
    }

    fn keys_from(&self, connect: &Connect) -> Option<Secret> {
        Secret::first(connect.keys.as_ref(), "VESTIBULE_KEYS", self.keys_file.as_ref())
    }

    fn keys(&self, connect: &Connect) -> anyhow::Result<Keys> {
        match self.keys_from(connect) {
            Some(from) => keys(&from),
            None => bail!(
                "no keys: give --keys, VESTIBULE_KEYS_FILE, VESTIBULE_KEYS (the text of a key \
                 file), or `keys_file` in the config file; `vestibule-worker keygen` makes one"
            ),
        }
    }

    fn sweeps(&self) -> SweepSettings {
        self.sweeps.settings(self.notify.history_age())
    }

    fn registry(&self) -> anyhow::Result<Registry> {
        let connectors = self
            .connectors
            .iter()
            .map(ConnectorEntry::connector)
            .collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Registry::new(connectors)?)
    }

    fn read(path: &std::path::Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the config file {}", path.display()))?;
        toml::from_str(&text).map_err(|error| anyhow!("{} {}", path.display(), told(&error, &text)))
    }
}

fn keys(from: &Secret) -> anyhow::Result<Keys> {
    Ok(match from {
        Secret::File(path) => Keys::from_file(path)?,
        Secret::Text(text) => Keys::from_toml(text)?,
    })
}

/// Where an error is, which key it is about, and what is expected there: not the parser's own text,
/// which repeats the line, and that may hold a password.
fn told(error: &toml::de::Error, text: &str) -> String {
    let start = error.span().map_or(0, |span| span.start);
    let number = text[..start].matches('\n').count() + 1;
    let line = text.lines().nth(number - 1).unwrap_or_default();
    let message = error.message();
    // Those name a key, and what it may be instead.
    if ["unknown field", "missing field", "duplicate"].iter().any(|it| message.starts_with(it)) {
        return format!("line {number}: {message}");
    }
    let is_key = |name: &&str| {
        !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_lowercase() || b"_0123456789".contains(&b))
    };
    let key = line.split_once('=').map(|(key, _)| key.trim()).filter(is_key);
    // What comes last is the deserializer's own.
    let expected = message.rsplit_once("expected ").map(|(_, expected)| expected);
    match (key, expected) {
        (Some(key), Some(expected)) => format!("line {number}: `{key}` must be {expected}"),
        (Some(key), None) => format!("line {number}: the value of `{key}` has another form"),
        (None, _) => format!("line {number}: a value is not of the expected form"),
    }
}

fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "this module is where the environment is read")]
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
