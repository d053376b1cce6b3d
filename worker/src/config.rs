//! Configuration: the only reader of the environment.
//!
//! Flags come first, then the environment, then the TOML file. The file alone holds connectors.

mod admin;
mod connectors;
mod file_text;
mod notify;
mod sweeps;
mod traces;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context, anyhow, bail};
use clap::{Args, ValueEnum};
use serde::Deserialize;
use vestibule::{Keys, connection::Registry, store::redis::RedisConfig};

use self::{
    admin::AdminTable, connectors::ConnectorEntry, notify::NotifyEntry, sweeps::SweepsTable,
    traces::TracesTable,
};
pub use self::{
    admin::{AdminError, AdminSettings, AdminToken},
    file_text::FileText,
    notify::{NotifySettings, Receiver},
    sweeps::SweepSettings,
    traces::{TracesError, TracesOptions, TracesSettings},
};

/// Where things are: what every command that talks to Redis takes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Where things are")]
pub struct Connect {
    /// Where Redis is: redis://…, redis-cluster://…, redis-sentinel://…, or rediss… for TLS
    #[arg(
        long,
        global = true,
        env = "VESTIBULE_REDIS_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub redis: Option<String>,
    /// The key file, as `keygen` makes it
    #[arg(long, global = true, env = "VESTIBULE_KEYS_FILE", value_name = "FILE")]
    pub keys: Option<PathBuf>,
    /// The configuration file (TOML)
    #[arg(long, global = true, env = "VESTIBULE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The first part of every key in Redis
    #[arg(long, global = true, env = "VESTIBULE_PREFIX", value_name = "TEXT")]
    pub prefix: Option<String>,
}

/// What `run` takes.
#[derive(Debug, Clone, Args)]
pub struct RunOptions {
    /// Which replica this is, for people: a-z, 0-9 and -
    #[arg(long, env = "VESTIBULE_INSTANCE", value_name = "NAME")]
    pub instance: Option<String>,
    /// Milliseconds between two passes of the refresh-due sweep
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(50..=3_600_000))]
    pub interval_ms: u64,
    /// Where a provider's answers are kept until Redis has them: a directory that outlives the
    /// process; also `journal_dir` in the config file
    #[arg(long, env = "VESTIBULE_JOURNAL_DIR", value_name = "DIR")]
    pub journal_dir: Option<PathBuf>,
    /// Do what is due now, once, and exit: for cron. It serves no port, and does not wait for a Redis
    /// that is away
    #[arg(long)]
    pub once: bool,
    /// How many exchanges run at a time
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub parallel: u16,
    /// Start although secrets are sealed by keys that are not in the key ring: those are not refreshed
    #[arg(long)]
    pub allow_missing_keys: bool,
    /// Where the status page, /metrics, /healthz and /readyz are served; `off` for nowhere. What
    /// other machines can reach wants a token
    #[arg(long, default_value = "127.0.0.1:9464", value_name = "ADDR|off", value_parser = admin_address)]
    pub admin: Admin,
    /// The file with the token of the status page; also `admin.token_file` in the config file
    #[arg(long, env = "VESTIBULE_ADMIN_TOKEN_FILE", value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,
    /// Seconds that a graceful stop may take
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub grace_s: u64,
    /// How to log, to standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Plain)]
    pub log: LogFormat,
    /// Where spans go.
    #[command(flatten)]
    pub traces: TracesOptions,
}

/// Where the admin port is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admin {
    /// Nowhere.
    Off,
    /// There.
    At(SocketAddr),
}

/// How to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Plain,
    /// One object a line.
    Json,
}

/// What was found, checked.
#[derive(Debug)]
pub struct Settings {
    /// How to reach Redis.
    pub redis: RedisConfig,
    /// The keys.
    pub keys: Keys,
    /// The connectors.
    pub registry: Registry,
    /// Where the file says that answers are kept until Redis has them.
    pub journal_dir: Option<PathBuf>,
    /// How long a crashed exchange's journal is waited for, if the file says.
    pub journal_window: Option<Duration>,
    /// How long a refresh may fail until it is given up, if the file says.
    pub refresh_horizon: Option<Duration>,
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
            journal_dir: file.journal_dir,
            journal_window: file.journal_window_s.map(Duration::from_secs),
            refresh_horizon: file.refresh_horizon_s.map(Duration::from_secs),
            sweeps: file.sweeps.settings(),
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

/// The keys alone; `None` if none are given.
///
/// # Errors
///
/// As [`Settings::load`], but for keys that are not given at all.
pub fn load_keys(connect: &Connect) -> anyhow::Result<Option<Keys>> {
    let file = ConfigFile::of(connect)?;
    let given = connect.keys.is_some() || file.keys_file.is_some();
    if given || variable("VESTIBULE_KEYS").is_some() {
        file.keys(connect).map(Some)
    } else {
        Ok(None)
    }
}

/// The key file, if the keys come from one.
///
/// # Errors
///
/// If the configuration file cannot be read.
pub fn keys_path(connect: &Connect) -> anyhow::Result<Option<PathBuf>> {
    let file = ConfigFile::of(connect)?;
    Ok(connect.keys.clone().or(file.keys_file))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    redis: Option<String>,
    redis_ca_file: Option<PathBuf>,
    prefix: Option<String>,
    keys_file: Option<PathBuf>,
    journal_dir: Option<PathBuf>,
    journal_window_s: Option<u64>,
    refresh_horizon_s: Option<u64>,
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
        let mut redis = RedisConfig::new(&url)?;
        if let Some(prefix) = connect.prefix.clone().or_else(|| self.prefix.clone()) {
            redis = redis.with_prefix(prefix)?;
        }
        if let Some(path) = &self.redis_ca_file {
            let pem = std::fs::read(path)
                .with_context(|| format!("`redis_ca_file`: cannot read {}", path.display()))?;
            redis = redis.with_ca_pem(pem);
        }
        Ok(redis)
    }

    fn keys(&self, connect: &Connect) -> anyhow::Result<Keys> {
        let path = connect.keys.as_ref().or(self.keys_file.as_ref());
        match (path, variable("VESTIBULE_KEYS")) {
            (Some(path), _) => Ok(Keys::from_file(path)?),
            (None, Some(text)) => Ok(Keys::from_toml(&text)?),
            (None, None) => bail!(
                "no keys: give --keys, VESTIBULE_KEYS_FILE, VESTIBULE_KEYS (the text of a key \
                 file), or `keys_file` in the config file; `vestibule-worker keygen` makes one"
            ),
        }
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

fn admin_address(text: &str) -> Result<Admin, String> {
    if text == "off" {
        return Ok(Admin::Off);
    }
    text.parse().map(Admin::At).map_err(|_| "expected ADDRESS:PORT or off".to_owned())
}
