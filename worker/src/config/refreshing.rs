//! With what credentials are refreshed, by whichever command.

use std::{path::PathBuf, sync::Arc, time::Duration};

use vestibule::connection::{
    ConnectionsConfig, HttpExchange, HttpExchangeError, Registry, journal::DirectoryJournal,
};

use super::{ConfigFile, Connect, RefreshOptions};

const JOURNAL_WINDOW: Duration = Duration::from_secs(60);
const HORIZON: Duration = Duration::from_secs(24 * 3600);

/// What is said of it, checked.
#[derive(Debug, Clone)]
pub struct Refreshing {
    exchange: HttpExchange,
    plan: Plan,
}

/// What is said of it: each value from the first of flag, environment, file and default.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) provider_ca_file: Option<PathBuf>,
    pub(super) journal_dir: Option<PathBuf>,
    pub(super) journal_window: Duration,
    pub(super) horizon: Duration,
}

/// Why providers cannot be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProviderCaError {
    /// The file cannot be read.
    #[error(
        "`provider_ca_file`: cannot read {}: {error}; name a PEM file that this user may read in the \
         config file, VESTIBULE_PROVIDER_CA_FILE or --provider-ca-file, or leave it out to trust the \
         public roots alone",
        path.display()
    )]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// What is there is no bundle.
    #[error("`provider_ca_file`: {0}")]
    NoBundle(#[from] HttpExchangeError),
}

impl Refreshing {
    /// Reads flags, environment and file, and the bundle that they name.
    ///
    /// # Errors
    ///
    /// A [`ProviderCaError`], or what is wrong with the file as a whole.
    pub fn load(connect: &Connect, options: &RefreshOptions) -> anyhow::Result<Self> {
        let plan = ConfigFile::of(connect)?.refreshing(options);
        Ok(Self { exchange: exchange(plan.provider_ca_file.as_ref())?, plan })
    }

    /// The same for the library.
    ///
    /// # Errors
    ///
    /// If there is to be a journal, and it cannot be written.
    pub fn connections(
        self,
        registry: Registry,
        instance: &str,
    ) -> anyhow::Result<ConnectionsConfig> {
        let Self { exchange, plan } = self;
        let mut config =
            ConnectionsConfig::new(registry, Arc::new(exchange)).with_instance(instance);
        if let Some(dir) = plan.journal_dir {
            config.journal = Arc::new(DirectoryJournal::open(dir)?);
        }
        config.journal_window = plan.journal_window;
        config.horizon = plan.horizon;
        Ok(config)
    }
}

impl ConfigFile {
    pub(super) fn refreshing(&self, options: &RefreshOptions) -> Plan {
        let seconds = |said: Option<u64>, usual| said.map_or(usual, Duration::from_secs);
        let first = |one: &Option<PathBuf>, other: &Option<PathBuf>| {
            one.as_ref().or(other.as_ref()).cloned()
        };
        Plan {
            provider_ca_file: first(&options.provider_ca_file, &self.provider_ca_file),
            journal_dir: first(&options.journal_dir, &self.journal_dir),
            journal_window: seconds(self.journal_window_s, JOURNAL_WINDOW),
            horizon: seconds(self.refresh_horizon_s, HORIZON),
        }
    }
}

fn exchange(ca_file: Option<&PathBuf>) -> Result<HttpExchange, ProviderCaError> {
    let read = |path: &PathBuf| {
        std::fs::read(path)
            .map_err(|error| ProviderCaError::Unreadable { path: path.clone(), error })
    };
    let bundle = ca_file.map(read).transpose()?;
    Ok(HttpExchange::with_ca_pem(bundle.as_deref())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is printed as the default is the library's.
    #[test]
    fn the_defaults_are_the_librarys() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let registry = Registry::new([]).unwrap();
        let exchange = Arc::new(HttpExchange::new().unwrap());
        let usual = ConnectionsConfig::new(registry, exchange);
        assert_eq!((usual.journal_window, usual.horizon), (JOURNAL_WINDOW, HORIZON));
    }
}
