//! Replies that are lost, a Redis that is full, and rights that are missing.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use vestibule::{
    RequestId, Vestibule,
    store::{
        Class, Revocation,
        redis::{RedisConfig, Timeouts},
    },
    token::{MCP_AUTH, MintSpec, NotFound, TempTokens, TokenError},
};

use super::{LIMITED, MAX_TTL, RESOURCE, cause, get, scopes, spec};
use crate::{
    properties::{connect, pkce::shared_keys},
    support::{ageing::age, proxy::Proxy, server::TestServer},
};

async fn tokens_at(url: &str) -> TempTokens {
    connect(url, "vst").await.temp_tokens(scopes())
}

async fn tell(raw: &mut MultiplexedConnection, words: &str) {
    let mut words = words.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    for word in words {
        command.arg(word);
    }
    command.query_async::<()>(raw).await.unwrap();
}

/// Every verb once, so that each script is there: a reply that is lost shall not be NOSCRIPT.
async fn warm_up(tokens: &TempTokens) {
    for scope in [MCP_AUTH, LIMITED] {
        let minted = tokens.mint(&spec(scope)).await.unwrap();
        get(tokens, &minted).await.unwrap();
        tokens.list(scope, RESOURCE, None, 1).await.unwrap();
        tokens.revoke_id(minted.id).await.unwrap();
        tokens.mint(&spec(scope)).await.unwrap();
        tokens.revoke_resource(scope, RESOURCE).await.unwrap();
        tokens.mint(&spec(scope)).await.unwrap();
        tokens.delete_expired(Duration::ZERO).await.unwrap();
        tokens.revoke_scope(scope).await.unwrap();
    }
}

/// whatever verb loses its reply, its caller gets the answer of the run that it did not see.
#[tokio::test]
async fn a_lost_reply_is_asked_for_again() {
    let server = TestServer::builder().start().await;
    let proxy = Proxy::start(server.port());
    proxy.announce_on(&server).await;
    for url in [proxy.url(), proxy.cluster_url()] {
        let tokens = tokens_at(&url).await;
        warm_up(&tokens).await;
        let mint = spec(LIMITED);
        let minted = proxy.without_reply(tokens.mint(&mint)).await.unwrap();
        assert_eq!(tokens.list(LIMITED, RESOURCE, None, 10).await.unwrap().tokens.len(), 1);
        let valid = proxy.without_reply(get(&tokens, &minted)).await.unwrap();
        assert_eq!(valid.uses_left, Some(2), "counted once");
        assert_eq!(get(&tokens, &minted).await.unwrap().uses_left, Some(1));
        let revoked = proxy.without_reply(tokens.revoke_id(minted.id)).await.unwrap();
        assert_eq!(revoked, Revocation::Revoked, "by itself");

        for _ in 0..3 {
            tokens.mint(&spec(MCP_AUTH)).await.unwrap();
        }
        let dropped = tokens.revoke_resource(MCP_AUTH, RESOURCE);
        assert_eq!(proxy.without_reply(dropped).await.unwrap(), 3);
        for number in 0..9 {
            let one = MintSpec::new(MCP_AUTH, format!("flow-{number}"), MAX_TTL);
            tokens.mint(&one).await.unwrap();
        }
        let dropped = proxy.without_reply(tokens.revoke_scope(MCP_AUTH)).await.unwrap();
        assert_eq!((dropped.resources, dropped.tokens), (9, 9));
    }
}

/// The count of the expired is not lost with its reply either.
#[tokio::test]
async fn a_lost_count_is_asked_for_again() {
    let server = TestServer::builder().start().await;
    let proxy = Proxy::start(server.port());
    let tokens = tokens_at(&proxy.url()).await;
    warm_up(&tokens).await;
    let mut raw = server.raw().await;
    for number in 0..9 {
        let ttl = Duration::from_secs(60);
        let one = MintSpec { ttl, ..MintSpec::new(MCP_AUTH, format!("flow-{number}"), ttl) };
        tokens.mint(&one).await.unwrap();
    }
    age(&mut raw, "vst", Duration::from_secs(60)).await;
    // Each call to a shard loses its reply with this chance, the ones that count something too.
    proxy.drop_reply(0.1, 7);
    let counted = tokens.delete_expired(Duration::ZERO).await;
    proxy.pass();
    assert!(proxy.dropped_replies() > 0);
    assert_eq!(counted.unwrap(), 9);
}

/// T-6: without Redis the lookup fails, which is an error and no refusal.
#[tokio::test]
async fn without_redis_nothing_is_valid_and_nothing_is_refused() {
    let server = TestServer::builder().cluster(false).start().await;
    let timeouts = Timeouts { overall: Duration::from_secs(2), ..Timeouts::default() };
    let config = RedisConfig::new(&server.url()).unwrap().with_timeouts(timeouts);
    let hasty = Vestibule::connect(config, &shared_keys()).await.unwrap();
    let tokens = hasty.temp_tokens(scopes());
    let minted = tokens.mint(&spec(MCP_AUTH)).await.unwrap();
    server.kill9();
    let error = get(&tokens, &minted).await.unwrap_err();
    let TokenError::Store(store) = &error else { panic!("{error}") };
    assert_eq!(store.class(), Class::NotExecuted, "{error}");
    assert!(!error.is_refusal());
    server.restart().await;
    assert_eq!(cause(get(&tokens, &minted).await), NotFound::Absent, "it had no persistence");
}

/// A full Redis mints nothing, and goes on to validate, count and revoke.
#[tokio::test]
async fn a_full_redis_mints_nothing_and_revokes() {
    let server = TestServer::builder().start().await;
    let tokens = tokens_at(&server.url()).await;
    warm_up(&tokens).await;
    let (plain, limited) =
        (tokens.mint(&spec(MCP_AUTH)).await.unwrap(), tokens.mint(&spec(LIMITED)).await.unwrap());
    let mut raw = server.raw().await;
    tell(&mut raw, "CONFIG SET maxmemory 1").await;
    let error = tokens.mint(&spec(MCP_AUTH)).await.unwrap_err();
    assert!(matches!(&error, TokenError::Store(error) if error.class() == Class::Resource));
    assert!(get(&tokens, &plain).await.is_ok());
    assert_eq!(get(&tokens, &limited).await.unwrap().uses_left, Some(2));
    assert_eq!(tokens.revoke_id(limited.id).await.unwrap(), Revocation::Revoked);
    assert_eq!(tokens.revoke_resource(MCP_AUTH, RESOURCE).await.unwrap(), 1);
    assert_eq!(tokens.revoke_scope(MCP_AUTH).await.unwrap().tokens, 0);
    assert_eq!(tokens.delete_expired(Duration::ZERO).await.unwrap(), 0);
}

/// A right that a script misses half-way: the operator is told, no revocation is claimed that did
/// not happen, and the same request finishes it once the right is there.
#[tokio::test]
async fn a_missing_right_revokes_nothing_by_word_only() {
    let server = TestServer::builder().start().await;
    let direct = tokens_at(&server.url()).await;
    warm_up(&direct).await;
    let mut raw = server.raw().await;
    let mut grant = async |without: &str| {
        let rule = format!("ACL SETUSER narrow reset on >narrow ~* &* +@all {without}");
        tell(&mut raw, rule.trim()).await;
    };
    grant("").await;
    let narrow = tokens_at(&server.url_as("narrow", "narrow")).await;
    for without in ["-set", "-zadd", "-setrange", "-zrem", "-unlink", "-pexpire", "-time"] {
        let request = RequestId::random();
        grant(without).await;
        let minted = narrow.mint_as(&request, &spec(LIMITED)).await;
        grant("").await;
        if let Err(error) = &minted {
            let operator = matches!(error, TokenError::Store(e) if e.class() == Class::Operator);
            assert!(operator, "{without}: {error}");
        }
        let minted = narrow.mint_as(&request, &spec(LIMITED)).await.unwrap();
        assert!(get(&direct, &minted).await.is_ok(), "{without}");

        let request = RequestId::random();
        grant(without).await;
        let revoked = narrow.revoke_id_as(&request, minted.id).await;
        grant("").await;
        if revoked.is_ok() {
            assert!(get(&direct, &minted).await.is_err(), "{without}: claimed and not done");
        }
        let revoked = narrow.revoke_id_as(&request, minted.id).await.unwrap();
        assert!(matches!(revoked, Revocation::Revoked | Revocation::Already), "{without}");
        assert!(get(&direct, &minted).await.is_err(), "{without}");
        // What could not be finished may have left an id there, which nobody has the text of.
        let listed = direct.list(LIMITED, RESOURCE, None, 9).await.unwrap().tokens;
        assert!(listed.iter().all(|token| token.id != minted.id), "{without}");

        let minted = direct.mint(&spec(LIMITED)).await.unwrap();
        let request = RequestId::random();
        grant(without).await;
        let dropped = narrow.revoke_resource_as(&request, LIMITED, RESOURCE).await;
        grant("").await;
        if dropped.is_ok() {
            assert!(get(&direct, &minted).await.is_err(), "{without}: claimed and not done");
        }
        narrow.revoke_resource_as(&request, LIMITED, RESOURCE).await.unwrap();
        assert!(get(&direct, &minted).await.is_err(), "{without}");
    }
}
