//! Puts the parts of a [`Vestibule`] together.

use std::sync::Arc;

use crate::{
    Keys, Vestibule,
    seal::Seal,
    store::{
        Store, StoreError,
        memory::MemoryStore,
        redis::{RedisConfig, RedisStore},
    },
};

/// What a [`Vestibule`] is made of. Whatever is left out has a default that is right for tests and
/// for one process alone; [`connect`](Self::connect) alone insists on keys.
///
/// # A service
///
/// ```no_run
/// use vestibule::{Keys, Vestibule, store::redis::RedisConfig};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let vestibule = Vestibule::builder()
///     .keys(Keys::from_file("keys.toml")?)
///     .connect(RedisConfig::new("redis://localhost:6379")?)
///     .await?;
/// # Ok(())
/// # }
/// ```
///
/// # A host's test
///
/// The store's clock is moved by hand: nothing sleeps.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use vestibule::{
///     Vestibule,
///     pkce::{NotFound, OauthState, PkceError, PkceState, PkceVerifier},
///     store::memory::MemoryStore,
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = Arc::new(MemoryStore::new());
/// let states = Vestibule::builder().store(store.clone()).build().pkce();
///
/// let state = OauthState::random();
/// states.put(&state, &PkceState::new("github", PkceVerifier::random())).await?;
/// store.advance(Duration::from_secs(601)); // they went for lunch: it was good for ten minutes
///
/// let late = states.take(&state).await;
/// assert!(matches!(late, Err(PkceError::StateNotFound(NotFound::Expired))));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until it builds or connects"]
pub struct Builder {
    keys: Option<Keys>,
    seal: Option<Seal>,
    store: Option<Arc<dyn Store>>,
}

impl Builder {
    /// Names, peppers and the key ring. Every replica has the same. Default: fresh random ones.
    pub fn keys(self, keys: Keys) -> Self {
        Self { keys: Some(keys), ..self }
    }

    /// Another seal than that of the keys' ring.
    pub fn seal(self, seal: Seal) -> Self {
        Self { seal: Some(seal), ..self }
    }

    /// Another store than a fresh [`MemoryStore`]: one whose clock is moved by hand, or a host's
    /// own. [`connect`](Self::connect) takes no heed of it.
    pub fn store(self, store: Arc<dyn Store>) -> Self {
        Self { store: Some(store), ..self }
    }

    /// In this process; never fails.
    #[must_use]
    pub fn build(self) -> Vestibule {
        let keys = self.keys.unwrap_or_else(Keys::random);
        let seal = self.seal.unwrap_or_else(|| Seal::new(keys.ring.clone()));
        let store = self.store.unwrap_or_else(|| Arc::new(MemoryStore::new()));
        Vestibule::assemble(store, seal, &keys)
    }

    /// On Redis.
    ///
    /// # Errors
    ///
    /// [`StoreError::Operator`] if there are no keys: random ones would open nothing that another
    /// replica has sealed. Otherwise as [`RedisStore::connect`].
    pub async fn connect(self, redis: RedisConfig) -> Result<Vestibule, StoreError> {
        let Some(keys) = self.keys else {
            return Err(StoreError::Operator {
                verb: "connect",
                cause: "no keys are given".to_owned(),
                fix: "make a file with `vestibule-worker keygen` and give Keys::from_file to every \
                      replica",
            });
        };
        let store = RedisStore::connect(redis, &keys.naming).await?;
        let builder = Self { keys: Some(keys), store: Some(Arc::new(store)), ..self };
        Ok(builder.build())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Class;

    #[tokio::test]
    async fn redis_without_keys_is_told_before_it_is_asked() {
        let nowhere = RedisConfig::new("redis://127.0.0.1:1").unwrap();
        let error = Vestibule::builder().connect(nowhere).await.unwrap_err();
        assert_eq!(error.class(), Class::Operator);
        assert!(error.to_string().contains("keygen"), "{error}");
    }
}
