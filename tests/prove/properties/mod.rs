//! What is promised, as functions of a size: the full size is `make prove`, a small one is part of
//! `make test`.
//!
//! A property returns its figure in words, or what it found instead.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::pedantic,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code: a panic is a failed property, and every binary uses a part of this"
)]

pub mod callers;
pub mod connections;
pub mod crashes;
pub mod deliveries;
pub mod devices;
pub mod failover;
pub mod fleet;
pub mod headers;
pub mod journal;
pub mod key_names;
pub mod limits;
pub mod live;
pub mod malformed;
pub mod migration;
pub mod model;
pub mod overload;
pub mod partial;
pub mod patched;
pub mod pendings;
pub mod pkce;
pub mod poison;
pub mod races;
pub mod records;
pub mod refusals;
pub mod rotation;
pub mod seal;
pub mod store;
pub mod sweeps;
#[cfg(target_os = "linux")]
pub mod token_clocks;
pub mod token_timing;
pub mod tokens;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use vestibule::{Keys, Vestibule, store::redis::RedisConfig};

/// How many calls a property has under way where nothing breaks.
pub const AT_ONCE: u64 = 64;

/// A figure, or what was found instead of it.
pub type Verdict = Result<String, String>;

/// Told how much of the size is done.
pub type Progress = Arc<dyn Fn(u64) + Send + Sync>;

/// Nobody watches.
pub fn unwatched() -> Progress {
    Arc::new(|_| {})
}

/// A host with the keys of all tests.
pub async fn connect(url: &str, prefix: &str) -> Vestibule {
    connect_with(url, prefix, &pkce::shared_keys()).await
}

pub async fn connect_with(url: &str, prefix: &str, keys: &Keys) -> Vestibule {
    let config = RedisConfig::new(url).unwrap().with_prefix(prefix).unwrap();
    Vestibule::connect(config, keys).await.unwrap_or_else(|error| panic!("{error}"))
}

/// Calls `act` with every number below `count`, so many at once.
pub async fn for_each(count: u64, at_once: u64, act: impl AsyncFn(u64)) {
    let next = AtomicU64::new(0);
    futures_util::future::join_all((0..at_once).map(|_| async {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return;
            }
            act(number).await;
        }
    }))
    .await;
}

/// `Ok(figure)` if nothing is in `broken`.
pub fn verdict(figure: String, broken: &[(&str, u64)]) -> Verdict {
    let found: Vec<_> = broken.iter().filter(|(_, count)| *count > 0).collect();
    if found.is_empty() {
        return Ok(figure);
    }
    let found: Vec<_> = found.iter().map(|(what, count)| format!("{count} {what}")).collect();
    Err(format!("{}; {figure}", found.join(", ")))
}
