//! What connections are made with.

use std::{sync::Arc, time::Duration};

use super::{
    CacheConfig, Registry, TokenExchange,
    journal::{Journal, NoJournal},
};

/// What connections need besides the store.
#[derive(Debug, Clone)]
pub struct ConnectionsConfig {
    /// The providers that are known, frozen.
    pub registry: Registry,
    /// How tokens are exchanged.
    pub exchange: Arc<dyn TokenExchange>,
    /// Which replica this is, for people: `[a-z0-9-]`, at most 32 characters; others are dropped.
    pub instance: String,
    /// How long a vend may wait for a refresh, its own or another replica's. Default 10 s.
    pub vend_deadline: Duration,
    /// How long after a crashed exchange's lease its journal may still bring the answer, where a
    /// second presentation would not be forgiven. Default 60 s: give a restart that long.
    pub journal_window: Duration,
    /// A refresh that fails for so long is given up, until somebody [retries](super::Connections::retry)
    /// it. Default 24 h. What only an operator can mend does not count.
    pub horizon: Duration,
    /// Where a provider's answer is kept until Redis has it. Default: nowhere.
    pub journal: Arc<dyn Journal>,
    /// Keeps vended tokens in memory, wiped when they leave it. Default: none are kept.
    pub cache: Option<CacheConfig>,
}

impl ConnectionsConfig {
    /// With the defaults.
    #[must_use]
    pub fn new(registry: Registry, exchange: Arc<dyn TokenExchange>) -> Self {
        let instance = "library".to_owned();
        Self {
            registry,
            exchange,
            instance,
            vend_deadline: Duration::from_secs(10),
            journal_window: Duration::from_secs(60),
            horizon: Duration::from_secs(24 * 3600),
            journal: Arc::new(NoJournal),
            cache: None,
        }
    }

    /// Names this replica.
    #[must_use]
    pub fn with_instance(mut self, instance: &str) -> Self {
        instance.clone_into(&mut self.instance);
        self
    }
}
