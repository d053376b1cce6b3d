//! Local clocks that are wrong, and lives that somebody changed in Redis. The clock of Redis itself
//! jumps in `prove_tokens`.

use std::sync::Arc;

use redis::AsyncCommands;
use vestibule::{
    Vestibule,
    seal::Seal,
    store::redis::{RedisConfig, RedisStore},
    token::{MCP_AUTH, Minted, NotFound, TempTokens, TokenError, ValidatedToken},
};

use super::{Scene, cause, get, scopes, shared_keys, spec};
use crate::support::server;

const HOUR_MS: i64 = 3_600_000;
const LIFE_MS: i64 = 15 * 60 * 1_000;

/// Replicas of one store and one set of keys, each with a local clock of its own.
struct Clocks {
    scene: Scene,
    store: Arc<RedisStore>,
}

impl Clocks {
    async fn new() -> Self {
        let scene = Scene::new().await;
        let config = RedisConfig::new(&server::shared().await.url()).unwrap();
        let config = config.with_prefix(&scene.prefix).unwrap();
        let store = RedisStore::connect(config, &shared_keys().naming).await.unwrap();
        Self { scene, store: Arc::new(store) }
    }

    /// One whose local clock is so far ahead.
    fn replica(&self, ahead_ms: i64) -> TempTokens {
        let keys = shared_keys();
        let seal = Seal::new(keys.ring.clone()).with_wall_clock_shift(ahead_ms);
        Vestibule::assemble(self.store.clone(), seal, &keys).temp_tokens(scopes())
    }

    async fn mint(&self, by: &TempTokens) -> (Minted, String) {
        let minted = by.mint(&spec(MCP_AUTH)).await.unwrap();
        let (prefix, id) = (&self.scene.prefix, minted.id);
        let key = format!("{prefix}:{{{}}}:token:{}", id.shard(), id.digest());
        (minted, key)
    }
}

fn expect_expired(judged: Result<ValidatedToken, TokenError>) {
    assert!(matches!(judged, Err(TokenError::Expired)), "{judged:?}");
}

/// A life that was prolonged in Redis: the sealed end is judged by the local clock, and refuses. A
/// clock within the tolerance of two seconds does not.
#[tokio::test]
async fn the_sealed_end_refuses_what_redis_keeps() {
    let mut clocks = Clocks::new().await;
    let now = clocks.replica(0);
    let (minted, key) = clocks.mint(&now).await;
    let _: () = clocks.scene.raw.pexpire(&key, 2 * HOUR_MS).await.unwrap();
    assert!(get(&now, &minted).await.is_ok());
    assert!(get(&clocks.replica(LIFE_MS + 1_000), &minted).await.is_ok());
    expect_expired(get(&clocks.replica(LIFE_MS + 2_100), &minted).await);
    expect_expired(get(&clocks.replica(LIFE_MS + HOUR_MS), &minted).await);
    // If it was the local clock that was wrong, the token is as good as before.
    assert!(get(&now, &minted).await.is_ok());
}

/// A local clock that is behind revives nothing: Redis says no first, whoever minted.
#[tokio::test]
async fn a_clock_that_is_behind_revives_nothing() {
    let mut clocks = Clocks::new().await;
    let (now, behind) = (clocks.replica(0), clocks.replica(-HOUR_MS));
    for minter in [&now, &clocks.replica(HOUR_MS)] {
        let (minted, key) = clocks.mint(minter).await;
        assert!(get(&behind, &minted).await.is_ok());
        let _: () = clocks.scene.raw.pexpire(&key, 60_000).await.unwrap();
        expect_expired(get(&behind, &minted).await);
        let (minted, _) = clocks.mint(minter).await;
        minter.revoke_id(minted.id).await.unwrap();
        assert_eq!(cause(get(&behind, &minted).await), NotFound::Revoked);
    }
    // One that was sealed by a clock an hour behind is over for everybody else: fail closed.
    let (minted, _) = clocks.mint(&behind).await;
    expect_expired(get(&now, &minted).await);
    assert!(get(&behind, &minted).await.is_ok());
}
