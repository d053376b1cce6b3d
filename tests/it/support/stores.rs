//! Stores on test servers.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use vestibule::{
    NamingKey,
    store::{
        StoreError,
        redis::{RedisConfig, RedisStore},
    },
};

use super::server::TestServer;

/// The naming key of all tests: those that need another make their own.
pub fn naming_key() -> NamingKey {
    NamingKey::new([7; 32])
}

/// A store on `server` as a host would open it.
pub async fn store(server: &TestServer, prefix: &str) -> Arc<RedisStore> {
    store_at(&server.url(), prefix).await.unwrap_or_else(|error| panic!("{error}"))
}

/// A store at a URL: of a proxy, a Cluster, a Sentinel.
pub async fn store_at(url: &str, prefix: &str) -> Result<Arc<RedisStore>, StoreError> {
    store_with(url, prefix, &naming_key()).await
}

/// A store under this naming key.
pub async fn store_with(
    url: &str,
    prefix: &str,
    naming: &NamingKey,
) -> Result<Arc<RedisStore>, StoreError> {
    let config = RedisConfig::new(url)?.with_prefix(prefix)?;
    Ok(Arc::new(RedisStore::connect(config, naming).await?))
}

/// A prefix that no other test has: tests that share a server see only their own records.
pub fn fresh_prefix() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("t-{:x}-{:x}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
