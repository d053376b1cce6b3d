//! How `run` goes about it.

use std::time::Duration;

use super::{Admin, ConfigFile, Connect, LogFormat, RunOptions, Within};

/// Each value from the first of flag, environment, file and default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSettings {
    /// Which replica this is, if it was told.
    pub instance: Option<String>,
    /// Whether what is due now is all there is to do.
    pub once: bool,
    /// Whether to start without keys that are in use.
    pub allow_missing_keys: bool,
    /// Between two passes of the refresh-due sweep, give or take a fifth. Default 1 s.
    pub interval: Duration,
    /// How many exchanges run at a time. Default 16.
    pub parallel: usize,
    /// Where the admin port is. Default this machine's 9464.
    pub admin: Admin,
    /// How long a graceful stop may take. Default 25 s.
    pub grace: Duration,
    /// How to log. Default for people.
    pub log: LogFormat,
}

impl RunSettings {
    /// Reads flags, environment and file.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or a value of it is out of its range: named, with that range.
    pub fn load(connect: &Connect, options: &RunOptions) -> anyhow::Result<Self> {
        Ok(ConfigFile::of(connect)?.run(options))
    }
}

impl ConfigFile {
    pub(super) fn run(&self, options: &RunOptions) -> RunSettings {
        let interval = options.interval_ms.or(self.interval_ms).map_or(1000, Within::get);
        let parallel = options.parallel.or(self.parallel).map_or(16, Within::get);
        let grace = options.grace_s.or(self.grace_s).map_or(25, Within::get);
        RunSettings {
            instance: options.instance.clone(),
            once: options.once,
            allow_missing_keys: options.allow_missing_keys,
            interval: Duration::from_millis(interval),
            parallel: usize::try_from(parallel).unwrap_or(usize::MAX),
            admin: options.admin.or(self.admin.address).unwrap_or_default(),
            grace: Duration::from_secs(grace),
            log: options.log.log.or(self.log).unwrap_or_default(),
        }
    }
}
