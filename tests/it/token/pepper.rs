//! The pepper rotates: what was minted before stays valid, and revocable, until it is dropped.

use redis::aio::MultiplexedConnection;
use vestibule::{
    Keys, Peppers, TokenPepper,
    store::Revocation,
    token::{MCP_AUTH, NotFound},
};

use super::{LIMITED, RESOURCE, cause, get, scopes, spec};
use crate::{
    properties::{connect_with, pkce::shared_keys},
    support::{server::TestServer, stores::fresh_prefix},
};

/// The keys of all tests with other peppers, by their numbers.
fn peppered(current: u8, other: Option<u8>) -> Keys {
    let pepper = |number| TokenPepper::new([number; 32]);
    let peppers = Peppers { current: pepper(current), other: other.map(pepper) };
    Keys { peppers, ..shared_keys() }
}

/// Under the old pepper, under the new one with the old one behind, and under the new one alone.
#[tokio::test]
async fn a_pepper_is_rotated() {
    let (server, prefix) = (TestServer::builder().start().await, fresh_prefix());
    for url in [server.url(), server.cluster_url()] {
        let at = async |keys: &Keys| connect_with(&url, &prefix, keys).await.temp_tokens(scopes());
        let old = at(&peppered(1, None)).await;
        let both = at(&peppered(2, Some(1))).await;
        let new = at(&peppered(2, None)).await;
        let [one, two, three] = [(); 3].map(|()| spec(LIMITED));
        let one = old.mint(&one).await.unwrap();
        let (two, three) = (old.mint(&two).await.unwrap(), old.mint(&three).await.unwrap());
        let since = both.mint(&spec(LIMITED)).await.unwrap();

        // Old ones are accepted and counted under the old name, new ones under the new.
        let valid = get(&both, &one).await.unwrap();
        assert_eq!((valid.id, valid.uses_left), (one.id, Some(2)));
        assert_eq!(get(&old, &one).await.unwrap().uses_left, Some(1));
        assert_eq!(get(&both, &since).await.unwrap().id, since.id);
        assert!(get(&new, &since).await.is_ok());
        // Who has not heard of a pepper does not know its tokens.
        assert_eq!(cause(get(&old, &since).await), NotFound::Absent);
        assert_eq!(cause(get(&new, &one).await), NotFound::Absent);

        // Revocation by text finds it under either.
        assert_eq!(new.revoke(one.token.secret()).await.unwrap(), Revocation::Absent);
        assert_eq!(both.revoke(one.token.secret()).await.unwrap(), Revocation::Revoked);
        assert_eq!(cause(get(&both, &one).await), NotFound::Revoked);
        assert_eq!(cause(get(&old, &one).await), NotFound::Revoked);
        // And indexes know nothing of peppers: lists and revocations are whole under any.
        let listed = new.list(LIMITED, RESOURCE, None, 10).await.unwrap().tokens;
        assert_eq!(listed.len(), 3);
        assert!(listed.iter().any(|token| token.id == two.id));
        assert_eq!(new.revoke_id(two.id).await.unwrap(), Revocation::Revoked);
        assert_eq!(new.revoke_resource(LIMITED, RESOURCE).await.unwrap(), 2);
        for minted in [&three, &since] {
            assert_eq!(cause(get(&both, minted).await), NotFound::Dropped);
        }
    }
}

/// The three roll-outs of the guide, and both replicas of each while they run side by side: whatever
/// one mints, the other accepts, counts and revokes.
#[tokio::test]
async fn neighbouring_roll_outs_accept_and_revoke_each_others_tokens() {
    let (server, prefix) = (TestServer::builder().start().await, fresh_prefix());
    let rollouts = [(1, None), (1, Some(2)), (2, Some(1)), (2, None)];
    let mut replicas = Vec::new();
    for (current, other) in rollouts {
        let keys = peppered(current, other);
        replicas.push(connect_with(&server.url(), &prefix, &keys).await.temp_tokens(scopes()));
    }
    for (number, side_by_side) in replicas.windows(2).enumerate() {
        for (minter, judge) in [(0, 1), (1, 0)] {
            let (minter, judge) = (&side_by_side[minter], &side_by_side[judge]);
            let minted = minter.mint(&spec(LIMITED)).await.unwrap();
            assert_eq!(get(judge, &minted).await.unwrap().uses_left, Some(2), "{number}");
            assert_eq!(get(minter, &minted).await.unwrap().uses_left, Some(1), "{number}");
            let revoked = judge.revoke(minted.token.secret()).await.unwrap();
            assert_eq!(revoked, Revocation::Revoked, "{number}");
            assert_eq!(cause(get(minter, &minted).await), NotFound::Revoked, "{number}");
        }
    }
}

/// One round trip, of three reads for each pepper; a counted use is one more, and one script.
#[tokio::test]
async fn a_second_pepper_costs_no_round_trip() {
    let server = TestServer::builder().start().await;
    let prefix = fresh_prefix();
    let mut raw = server.raw().await;
    for (keys, peppers) in [(peppered(2, None), 1), (peppered(2, Some(1)), 2)] {
        let tokens = connect_with(&server.url(), &prefix, &keys).await.temp_tokens(scopes());
        let (plain, limited) = (
            tokens.mint(&spec(MCP_AUTH)).await.unwrap(),
            tokens.mint(&spec(LIMITED)).await.unwrap(),
        );
        get(&tokens, &limited).await.unwrap(); // the script is loaded
        for (minted, scripts) in [(&plain, 0), (&limited, 1)] {
            let _: () = redis::cmd("CONFIG").arg("RESETSTAT").query_async(&mut raw).await.unwrap();
            get(&tokens, minted).await.unwrap();
            // In the script there are GETRANGE and ZSCORE in the place of GET and ZRANK.
            assert_eq!(calls(&mut raw, "get").await, peppers);
            assert_eq!(calls(&mut raw, "pttl").await, peppers + scripts);
            assert_eq!(calls(&mut raw, "zrank").await, peppers);
            assert_eq!(calls(&mut raw, "zscore").await, 2 * scripts);
            assert_eq!(calls(&mut raw, "evalsha").await, scripts);
        }
    }
}

async fn calls(raw: &mut MultiplexedConnection, command: &str) -> u64 {
    let stats: String = redis::cmd("INFO").arg("commandstats").query_async(raw).await.unwrap();
    let line = format!("cmdstat_{command}:calls=");
    let count = stats
        .lines()
        .find_map(|l| l.strip_prefix(&line))
        .map(|rest| rest.split(',').next().unwrap().parse().unwrap());
    count.unwrap_or(0)
}
