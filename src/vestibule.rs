//! The handle that a host keeps: it joins the store, the seal and the naming key.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::{StreamExt, stream};
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
    keys::{Keys, KeysError},
    operator::Operator,
    pending::{BearerNamespace, Pendings, PendingsConfig},
    pkce::PkceStates,
    seal::{KeyId, KeyUsage, Seal},
    store::{Backlog, Shard, Store, StoreError, redis::RedisConfig},
    token::{Scopes, TempTokens},
};

/// So many shards are asked at a time.
const AT_ONCE: usize = 16;

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
    /// As [`RedisStore::connect`](crate::store::redis::RedisStore::connect).
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

    /// The same with the ring and the token peppers of other keys, on the same connections to the
    /// store: how a rotated key comes into a process that runs. This handle, and what was made from
    /// it, go on with what they have; what is under way ends with what it began with.
    ///
    /// A [`Sealer`](crate::seal::Sealer) of the host's stays.
    ///
    /// ```
    /// # use vestibule::{KeyFile, Keys, Vestibule, seal::Seal, store::memory::MemoryStore};
    /// # use std::sync::Arc;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut file = KeyFile::parse(&Keys::generate_toml())?;
    /// let keys = Keys::from_toml(&file.to_toml())?;
    /// let seal = Seal::new(keys.ring.clone());
    /// let vestibule = Vestibule::assemble(Arc::new(MemoryStore::new()), seal, &keys);
    /// file.add();
    /// let vestibule = vestibule.with_keys(&Keys::from_toml(&file.to_toml())?)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`KeysError::Naming`] if they name records otherwise.
    pub fn with_keys(&self, keys: &Keys) -> Result<Self, KeysError> {
        let Foundation { store, seal, naming, .. } = &*self.foundation;
        if naming.check() != keys.naming.check() {
            return Err(KeysError::Naming);
        }
        let (store, seal) = (store.clone(), seal.with_ring(keys.ring.clone()));
        let (naming, peppers) = (naming.clone(), keys.peppers.clone());
        Ok(Self { foundation: Arc::new(Foundation { store, seal, naming, peppers }) })
    }

    pub(crate) fn shared(&self) -> Arc<Foundation> {
        self.foundation.clone()
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

    /// How many long-lived secrets each key has sealed, and which keys are there: a fan-out over all
    /// shards, for a start, for metrics, and before a key is taken away. Not atomic: a replica with
    /// another ring may be at work.
    ///
    /// ```
    /// # use vestibule::Vestibule;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let vestibule = Vestibule::in_memory();
    /// // Fails if secrets are sealed by a key that is not in this process's ring.
    /// vestibule.key_usage().await?.check()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Store`] says.
    pub async fn key_usage(&self) -> Result<KeyUsage, StoreError> {
        let Foundation { store, seal, .. } = &*self.foundation;
        let mut counted = stream::iter(Shard::all())
            .map(|shard| store.count_sealed(shard))
            .buffer_unordered(AT_ONCE);
        let mut secrets = BTreeMap::new();
        while let Some(counts) = counted.next().await {
            for (by, count) in counts? {
                *secrets.entry(KeyId::of_number(by)).or_insert(0) += count;
            }
        }
        Ok(KeyUsage::new(seal.keys(), secrets))
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
