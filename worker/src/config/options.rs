//! What the command line takes, and the environment instead of it.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use clap::{Args, ValueEnum};
use serde::Deserialize;

use super::TracesOptions;

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

/// What a command takes that refreshes.
#[derive(Debug, Clone, Default, Args)]
pub struct RefreshOptions {
    /// Where a provider's answers are kept until Redis has them: a directory that outlives the
    /// process; also `journal_dir` in the config file
    #[arg(long, env = "VESTIBULE_JOURNAL_DIR", value_name = "DIR")]
    pub journal_dir: Option<PathBuf>,
    /// Certificates (PEM) that providers' are signed by, trusted beside the public roots; also
    /// `provider_ca_file` in the config file
    #[arg(long, env = "VESTIBULE_PROVIDER_CA_FILE", value_name = "FILE")]
    pub provider_ca_file: Option<PathBuf>,
}

/// What `run` takes. What is not given may stand in the file; [`RunSettings`](super::RunSettings) has
/// what counts.
#[derive(Debug, Clone, Default, Args)]
pub struct RunOptions {
    /// Which replica this is, for people: a-z, 0-9 and -
    #[arg(long, env = "VESTIBULE_INSTANCE", value_name = "NAME")]
    pub instance: Option<String>,
    /// Milliseconds between two passes of the refresh-due sweep: 50 to 3600000 [default: 1000]; also
    /// `interval_ms` in the config file
    #[arg(long, env = "VESTIBULE_INTERVAL_MS", value_name = "MS")]
    pub interval_ms: Option<IntervalMs>,
    /// With what it refreshes.
    #[command(flatten)]
    pub refreshing: RefreshOptions,
    /// Do what is due now, once, and exit: for cron. It serves no port, and does not wait for a Redis
    /// that is away
    #[arg(long)]
    pub once: bool,
    /// How many exchanges run at a time: 1 to 256 [default: 16]; also `parallel` in the config file
    #[arg(long, env = "VESTIBULE_PARALLEL", value_name = "COUNT")]
    pub parallel: Option<Parallel>,
    /// Start although secrets are sealed by keys that are not in the key ring: those are not refreshed
    #[arg(long)]
    pub allow_missing_keys: bool,
    /// Where the status page, /metrics, /healthz and /readyz are served; `off` for nowhere
    /// [default: 127.0.0.1:9464]; also `admin.address` in the config file. What other machines can
    /// reach wants a token
    #[arg(long, env = "VESTIBULE_ADMIN", value_name = "ADDR|off")]
    pub admin: Option<Admin>,
    /// The file with the token of the status page; also `admin.token_file` in the config file
    #[arg(long, env = "VESTIBULE_ADMIN_TOKEN_FILE", value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,
    /// Seconds that a graceful stop may take: 1 to 3600 [default: 25]; also `grace_s` in the config
    /// file
    #[arg(long, env = "VESTIBULE_GRACE_S", value_name = "SECONDS")]
    pub grace_s: Option<GraceS>,
    /// What `run` and `sweep` have in common.
    #[command(flatten)]
    pub log: LogOption,
    /// Where spans go.
    #[command(flatten)]
    pub traces: TracesOptions,
}

/// How a command logs.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct LogOption {
    /// How to log, to standard error [default: plain]; also `log` in the config file
    #[arg(long, value_enum, env = "VESTIBULE_LOG", value_name = "FORMAT")]
    pub log: Option<LogFormat>,
}

/// Milliseconds between two passes.
pub type IntervalMs = Within<50, 3_600_000>;
/// How many exchanges at a time.
pub type Parallel = Within<1, 256>;
/// Seconds that a stop may take.
pub type GraceS = Within<1, 3600>;

/// A number from `LEAST` to `MOST`, at the command line, in the environment and in the file alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u64")]
pub struct Within<const LEAST: u64, const MOST: u64>(u64);

impl<const LEAST: u64, const MOST: u64> Within<LEAST, MOST> {
    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl<const LEAST: u64, const MOST: u64> TryFrom<u64> for Within<LEAST, MOST> {
    type Error = String;

    fn try_from(number: u64) -> Result<Self, String> {
        let fits = (LEAST..=MOST).contains(&number);
        fits.then_some(Self(number))
            .ok_or_else(|| format!("expected a number from {LEAST} to {MOST}"))
    }
}

impl<const LEAST: u64, const MOST: u64> FromStr for Within<LEAST, MOST> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::try_from(text.parse().unwrap_or(u64::MAX))
    }
}

/// Where the admin port is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Admin {
    /// Nowhere.
    Off,
    /// There.
    At(SocketAddr),
}

impl Default for Admin {
    /// For this machine alone.
    fn default() -> Self {
        Self::At((Ipv4Addr::LOCALHOST, 9464).into())
    }
}

impl FromStr for Admin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse().map(Self::At).map_err(|_| "expected ADDRESS:PORT or off".to_owned())
    }
}

impl TryFrom<String> for Admin {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::At(address) => address.fmt(f),
        }
    }
}

/// How to log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Plain,
    /// One object a line.
    Json,
}
