//! Another key ring and other connectors, without a restart.

use std::sync::Arc;

use super::{Cache, Connections, Inner, Poison, Registry};
use crate::{Vestibule, pkce::PkceStates};

impl Connections {
    /// The same connections with the ring of `vestibule` and the connectors of `registry`. These go on
    /// with theirs: an exchange under way ends as it began, and [`drained`](Self::drained) of
    /// either waits for the exchanges of both. What did not open before is tried again.
    ///
    /// `vestibule` must stand on the same store: one that
    /// [`with_keys`](Vestibule::with_keys) made.
    #[must_use]
    pub fn reloaded(&self, vestibule: &Vestibule, registry: Registry) -> Self {
        let (inner, foundation) = (&self.inner, vestibule.shared());
        let mut config = inner.config.clone();
        config.registry = registry;
        Self {
            inner: Arc::new(Inner {
                pkce: PkceStates::new(foundation.clone()),
                foundation,
                exchanges: inner.exchanges.clone(),
                in_flight: inner.in_flight.clone(),
                replays: inner.replays.clone(),
                outlasting: inner.outlasting.clone(),
                behind: inner.behind.clone(),
                poison: Poison::default(),
                under_way: inner.under_way.clone(),
                cache: config.cache.map(|config| Arc::new(Cache::new(config))),
                config,
            }),
        }
    }
}
