//! The handle that a host keeps: it joins the store, the seal and the naming key.

use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};

#[cfg(feature = "jwt")]
use crate::pending::{ClaimsNamespace, VerifyingKeys};
use crate::{
    builder::Builder,
    connection::{Connections, ConnectionsConfig},
    device::{DeviceConfig, DeviceSignIns},
    event::Events,
    foundation::Foundation,
    headers::{HeaderCredentials, HeadersConfig},
    keys::Keys,
    operator::Operator,
    pending::{BearerNamespace, Pendings, PendingsConfig},
    pkce::PkceStates,
    seal::Seal,
    store::{Backlog, Store, StoreError, redis::RedisConfig},
    token::{Scopes, TempTokens},
};

/// One per process; clones are handles to the same.
#[derive(Debug, Clone)]
pub struct Vestibule {
    foundation: Arc<Foundation>,
}

impl Vestibule {
    /// From parts that are given by name, with defaults for the others.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// On Redis, sealed with the ring of `keys`.
    ///
    /// # Errors
    ///
    /// As [`RedisStore::connect`].
    pub async fn connect(config: RedisConfig, keys: &Keys) -> Result<Self, StoreError> {
        Self::builder().keys(keys.clone()).connect(config).await
    }

    /// In this process, with fresh keys: for a first run, for tests, and for one process alone.
    /// Everything is gone when it ends. A test that moves the clock by hand gives a
    /// [`Builder`] the [`MemoryStore`](crate::store::memory::MemoryStore) that it keeps.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::builder().build()
    }

    /// From parts: another store, another seal.
    #[must_use]
    pub fn assemble(store: Arc<dyn Store>, seal: Seal, keys: &Keys) -> Self {
        let (naming, peppers) = (keys.naming.clone(), keys.peppers.clone());
        Self { foundation: Arc::new(Foundation { store, seal, naming, peppers }) }
    }

    pub(crate) fn foundation(&self) -> &Foundation {
        &self.foundation
    }

    /// The PKCE states.
    #[must_use]
    pub fn pkce(&self) -> PkceStates {
        PkceStates::new(self.foundation.clone())
    }

    /// The pendings whose payload is a `T`.
    #[must_use]
    pub fn pendings<T>(&self, config: PendingsConfig) -> Pendings<T>
    where
        T: Serialize + DeserializeOwned + Sync,
    {
        Pendings::new(self.foundation.clone(), config)
    }

    /// The plainest namespace provider: a keyed digest of the bearer token.
    #[must_use]
    pub fn bearer_namespace(&self) -> BearerNamespace {
        BearerNamespace { foundation: self.foundation.clone() }
    }

    /// The namespace provider that reads the claims of a bearer token, verified with these keys.
    #[cfg(feature = "jwt")]
    #[must_use]
    pub fn claims_namespace(&self, keys: VerifyingKeys) -> ClaimsNamespace {
        ClaimsNamespace::new(self.bearer_namespace(), keys)
    }

    /// The temp tokens of these scopes; others may be registered later.
    #[must_use]
    pub fn temp_tokens(&self, scopes: Scopes) -> TempTokens {
        TempTokens::new(self.foundation.clone(), scopes)
    }

    /// The connections and their credentials.
    #[must_use]
    pub fn connections(&self, config: ConnectionsConfig) -> Connections {
        Connections::new(self.foundation.clone(), config)
    }

    /// The sign-ins by device code, whose credentials go to `connections`.
    #[must_use]
    pub fn device_sign_ins(
        &self,
        connections: &Connections,
        pendings: PendingsConfig,
        mut config: DeviceConfig,
    ) -> DeviceSignIns {
        config.longest = config.longest.min(pendings.ceiling);
        let pendings = self.pendings(pendings);
        DeviceSignIns::new(self.foundation.clone(), connections.clone(), pendings, config)
    }

    /// What a person at the command line may do.
    #[must_use]
    pub fn operator(&self) -> Operator {
        Operator::new(self.foundation.clone())
    }

    /// The header credentials, and the flows that they are submitted in.
    #[must_use]
    pub fn header_credentials(&self, config: HeadersConfig) -> HeaderCredentials {
        HeaderCredentials::new(self.foundation.clone(), config)
    }

    /// The history of events, and where delivery begins.
    #[must_use]
    pub fn events(&self) -> Events {
        Events::new(self.foundation.clone())
    }

    /// Answers if the store can be reached.
    ///
    /// # Errors
    ///
    /// As [`Store`] says.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.foundation.store.ping().await
    }

    /// What is refresh-due now and claimed by nobody: a fan-out over all shards, for metrics.
    ///
    /// # Errors
    ///
    /// As [`Store`] says.
    pub async fn due_backlog(&self) -> Result<Backlog, StoreError> {
        self.foundation.store.due_backlog().await
    }
}
