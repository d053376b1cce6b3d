//! A wrong local clock at who mints. At who validates it is in `hostile`; the clock of Redis jumps in
//! `prove_tokens`.

use redis::AsyncCommands;
use vestibule::{
    Keys, Vestibule,
    seal::Seal,
    token::{MCP_AUTH, NotFound, TokenError},
};

use super::{cause, get, scopes, spec};
use crate::support::{
    server,
    stores::{self, fresh_prefix},
};

const HOUR_MS: i64 = 3_600_000;

/// T-6: one that was sealed ahead of its time lives no longer for it, since Redis says no first, even
/// to a replica whose clock is behind. One that was sealed behind is over for everybody else.
#[tokio::test]
async fn who_mints_with_a_wrong_clock_gives_no_longer_life() {
    let (server, prefix, keys) = (server::shared().await, fresh_prefix(), Keys::random());
    let store = stores::store(server, &prefix).await;
    let at = |shift_ms| {
        let seal = Seal::new(keys.ring.clone()).with_wall_clock_shift(shift_ms);
        Vestibule::assemble(store.clone(), seal, &keys).temp_tokens(scopes())
    };
    let (now, ahead, behind) = (at(0), at(HOUR_MS), at(-HOUR_MS));

    let minted = ahead.mint(&spec(MCP_AUTH)).await.unwrap();
    let (shard, digest) = (minted.id.shard(), minted.id.digest());
    let key = format!("{prefix}:{{{shard}}}:token:{digest}");
    for replica in [&now, &ahead, &behind] {
        assert!(get(replica, &minted).await.is_ok());
    }
    let _: () = server.raw().await.pexpire(&key, 60_000).await.unwrap();
    for replica in [&now, &ahead, &behind] {
        assert!(matches!(get(replica, &minted).await, Err(TokenError::Expired)));
    }

    let minted = ahead.mint(&spec(MCP_AUTH)).await.unwrap();
    ahead.revoke_id(minted.id).await.unwrap();
    assert_eq!(cause(get(&behind, &minted).await), NotFound::Revoked);

    let minted = behind.mint(&spec(MCP_AUTH)).await.unwrap();
    assert!(get(&behind, &minted).await.is_ok());
    assert!(matches!(get(&now, &minted).await, Err(TokenError::Expired)));
}
