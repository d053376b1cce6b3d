//! What must hold of the database before anything is done on it.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use vestibule::{
    Keys, Vestibule,
    store::{Class, redis::RedisConfig},
};

use crate::config::RunSettings;

/// The database, recognised, and with every key that its records need in the ring; `None` if told to
/// stop before. A Redis that is away is waited for, unless all is to be done once.
pub(super) async fn open(
    redis: RedisConfig,
    keys: &Keys,
    run: &RunSettings,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Vestibule>> {
    let vestibule = if run.once {
        Vestibule::connect(redis, keys).await?
    } else {
        match connected(redis, keys, stop).await? {
            Some(vestibule) => vestibule,
            None => return Ok(None),
        }
    };
    check_ring(&vestibule, run.allow_missing_keys).await?;
    Ok(Some(vestibule))
}

async fn connected(
    redis: RedisConfig,
    keys: &Keys,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Vestibule>> {
    while !stop.is_cancelled() {
        match Vestibule::connect(redis.clone(), keys).await {
            Ok(vestibule) => return Ok(Some(vestibule)),
            Err(error) if error.class() == Class::Operator => return Err(error.into()),
            Err(error) => tracing::warn!(%error, "redis is away: will try again"),
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(Duration::from_secs(1)) => {}
        }
    }
    Ok(None)
}

/// A key that was taken away too early is found here, not when its first secret does not open.
async fn check_ring(vestibule: &Vestibule, allow_missing: bool) -> anyhow::Result<()> {
    match vestibule.key_usage().await {
        Ok(usage) => match usage.check() {
            Ok(()) => {}
            Err(error) if allow_missing => tracing::error!(%error, "started all the same"),
            Err(error) => {
                return Err(anyhow::Error::new(error).context(
                    "not started (--allow-missing-keys starts all the same, and leaves them)",
                ));
            }
        },
        Err(error) => tracing::warn!(%error, "whether the key ring lacks a key is not known"),
    }
    Ok(())
}
