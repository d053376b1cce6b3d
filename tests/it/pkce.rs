//! PKCE states on Redis, row by row. What races, loses replies or dies is in `prove_small`.

use std::{sync::Arc, time::Duration};

use redis::AsyncCommands;
use vestibule::{
    Keys, RequestId, Vestibule,
    pkce::{NotFound, OauthState, PkceError, PkceState, PkceVerifier},
    seal::Seal,
    store::{Class, Store, redis::RedisStore},
};

use crate::{
    properties::pkce::{shared_keys, states},
    support::{
        ageing::age,
        server,
        stores::{fresh_prefix, store},
    },
};

fn state_record() -> PkceState {
    let mut record = PkceState::new("github", PkceVerifier::new("the-verifier"));
    record.started_by = "alice@example.com".to_owned();
    record.return_url = "/after".to_owned();
    record.redirect_uri = "https://app.example/callback".to_owned();
    record.created_at_ms = 1_763_697_824_123;
    record
}

async fn only_key(raw: &mut redis::aio::MultiplexedConnection, prefix: &str) -> String {
    let keys: Vec<String> = raw.keys(format!("{prefix}:*pkce*")).await.unwrap();
    assert_eq!(keys.len(), 1);
    keys.into_iter().next().unwrap()
}

/// K-1, K-3: every field comes back, once; an empty kind means `mcp`; the life is 10 minutes.
#[tokio::test]
async fn a_state_is_taken_exactly_once() {
    let (server, prefix) = (server::shared().await, fresh_prefix());
    let states = states(&server.url(), &prefix, &shared_keys()).await;
    let state = OauthState::random();
    states.put(&state, &state_record().with_kind("")).await.unwrap();

    let mut raw = server.raw().await;
    let key = only_key(&mut raw, &prefix).await;
    let life: i64 = raw.pttl(&key).await.unwrap();
    assert!((655_000..=660_000).contains(&life), "10 min and a minute of grace, not {life}");

    let found = states.take(&state).await.unwrap();
    assert_eq!(found.kind(), "mcp");
    assert_eq!(found.verifier.secret(), "the-verifier");
    assert_eq!(found.started_by, "alice@example.com");
    assert_eq!(found.return_url, "/after");
    assert_eq!(found.redirect_uri, "https://app.example/callback");
    assert_eq!(found.created_at_ms, 1_763_697_824_123);

    let again = states.take(&state).await.unwrap_err();
    assert!(matches!(again, PkceError::StateNotFound(NotFound::Replayed { at_ms }) if at_ms > 0));
    assert_eq!(again.to_string(), "pkce: state not found", "the cause stays inside");
    let left: i64 = raw.pttl(&key).await.unwrap();
    assert!((1..=60_000).contains(&left), "a receipt lives a minute, not {left}");
}

/// K-2: a taken name is refused, loudly, live and as a tombstone; the first record stays.
#[tokio::test]
async fn a_collision_is_refused() {
    let (server, prefix) = (server::shared().await, fresh_prefix());
    let states = states(&server.url(), &prefix, &shared_keys()).await;
    let state = OauthState::random();
    states.put(&state, &state_record()).await.unwrap();
    let other = PkceState::new("other", PkceVerifier::random());
    assert!(matches!(states.put(&state, &other).await, Err(PkceError::StateCollision)));
    assert_eq!(states.take(&state).await.unwrap().connection, "github");
    assert!(matches!(states.put(&state, &other).await, Err(PkceError::StateCollision)));
}

/// the same request id gets the same answer for a minute, another one does not.
#[tokio::test]
async fn a_retry_gets_the_same_answer() {
    let (server, prefix) = (server::shared().await, fresh_prefix());
    let states = states(&server.url(), &prefix, &shared_keys()).await;
    let (state, put, take) = (OauthState::random(), RequestId::random(), RequestId::random());
    states.put_as(&put, &state, &state_record()).await.unwrap();
    states.put_as(&put, &state, &state_record()).await.unwrap();
    for _ in 0..3 {
        assert_eq!(states.take_as(&take, &state).await.unwrap().connection, "github");
    }
    // A put that is retried after the take is still told that it was stored.
    states.put_as(&put, &state, &state_record()).await.unwrap();
    let mine = RequestId::derived("alice", "callback-1");
    assert!(states.take_as(&mine, &state).await.is_err());

    age(&mut server.raw().await, &prefix, Duration::from_secs(61)).await;
    let late = states.take_as(&take, &state).await;
    assert!(matches!(late, Err(PkceError::StateNotFound(NotFound::Absent))), "{late:?}");
}

/// K-1, K-2: expiry is the server's: past ten minutes it is refused though its key is there, past
/// the grace it is gone, without any sweep.
#[tokio::test]
async fn a_state_expires_by_itself() {
    let (server, prefix) = (server::shared().await, fresh_prefix());
    let states = states(&server.url(), &prefix, &shared_keys()).await;
    let mut raw = server.raw().await;
    let state = OauthState::random();
    states.put(&state, &state_record()).await.unwrap();
    age(&mut raw, &prefix, Duration::from_secs(599)).await;
    // Still alive a second before its end: another state proves it, so this one is not consumed.
    let twin = OauthState::random();
    states.put(&twin, &state_record()).await.unwrap();
    states.take(&twin).await.unwrap();

    age(&mut raw, &prefix, Duration::from_secs(2)).await;
    let expired = states.take(&state).await;
    assert!(matches!(expired, Err(PkceError::StateNotFound(NotFound::Expired))), "{expired:?}");
    age(&mut raw, &prefix, Duration::from_secs(60)).await;
    let absent = states.take(&state).await;
    assert!(matches!(absent, Err(PkceError::StateNotFound(NotFound::Absent))), "{absent:?}");
    let left: Vec<String> = raw.keys(format!("{prefix}:*pkce*")).await.unwrap();
    assert_eq!(left, Vec::<String>::new());
}

/// K-4: neither the state nor anything in its record is readable in Redis; what is for people is.
#[tokio::test]
async fn redis_sees_no_secret_and_people_see_what_it_is() {
    let (server, prefix) = (server::shared().await, fresh_prefix());
    let states = states(&server.url(), &prefix, &shared_keys()).await;
    let state = OauthState::random();
    states.put(&state, &state_record()).await.unwrap();
    let mut raw = server.raw().await;
    let key = only_key(&mut raw, &prefix).await;
    let value: Vec<u8> = raw.get(&key).await.unwrap();
    let text = String::from_utf8_lossy(&value);
    let mut lines = text.lines();
    assert!(lines.next().unwrap().starts_with("v1 live      "), "{text}");
    assert_eq!(lines.next(), Some("kind=mcp connection=github"));
    for secret in [state.secret(), "the-verifier", "alice", "/after", "app.example"] {
        assert!(!text.contains(secret) && !key.contains(secret), "{secret}");
    }

    states.take(&state).await.unwrap();
    let value: Vec<u8> = raw.get(&key).await.unwrap();
    assert!(String::from_utf8_lossy(&value).starts_with("v1 taken     "));
}

/// K-3, beaten: what was taken and does not open is told apart from *not found*, names its key, and
/// the same request id gets it from a process that has the key.
#[tokio::test]
async fn a_missing_key_does_not_lose_the_state() {
    let (server, prefix) = (server::shared().await, fresh_prefix());
    let store: Arc<RedisStore> = store(server, &prefix).await;
    let (right, wrong) = (shared_keys(), Keys::random());
    let with = |ring| Vestibule::assemble(store.clone(), Seal::new(ring), &shared_keys()).pkce();
    let (right, wrong) = (with(right.ring), with(wrong.ring));
    let (state, request) = (OauthState::random(), RequestId::random());
    right.put(&state, &state_record()).await.unwrap();

    let error = wrong.take_as(&request, &state).await.unwrap_err();
    let named = shared_keys().ring.key_ids().next().unwrap().to_string();
    assert!(matches!(error, PkceError::Open { .. }), "{error}");
    assert!(error.to_string().contains(&named), "{error}");
    assert_eq!(right.take_as(&request, &state).await.unwrap().connection, "github");
}

/// K-4: nothing to close: a handle that is dropped twice, or used after another, harms nobody.
#[tokio::test]
async fn handles_come_and_go() {
    let (server, prefix) = (server::shared().await, fresh_prefix());
    let one = states(&server.url(), &prefix, &shared_keys()).await;
    let two = one.clone();
    let state = OauthState::random();
    one.put(&state, &state_record()).await.unwrap();
    drop(one);
    assert!(two.take(&state).await.is_ok());
}

/// K-2: a store that fails says so on one line, in its class, with the cause underneath.
#[tokio::test]
async fn a_failed_put_matches_both_its_step_and_its_cause() {
    let own = server::TestServer::builder().start().await;
    let states = states(&own.url(), "vst", &shared_keys()).await;
    let mut raw = own.raw().await;
    let _: () = redis::cmd("CONFIG")
        .arg("SET")
        .arg("maxmemory")
        .arg(1)
        .query_async(&mut raw)
        .await
        .unwrap();
    let error = states.put(&OauthState::random(), &state_record()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("pkce: put failed (store): ") && !text.contains('\n'), "{text}");
    let PkceError::Put { source } = &error else { panic!("{error:?}") };
    assert_eq!(source.class(), Class::Resource);
    assert!(std::error::Error::source(&error).is_some());
}

/// The memory store behaves the same, through the same API.
#[tokio::test]
async fn memory_agrees() {
    let states = Vestibule::in_memory().pkce();
    let state = OauthState::random();
    states.put(&state, &state_record()).await.unwrap();
    assert!(matches!(states.put(&state, &state_record()).await, Err(PkceError::StateCollision)));
    assert!(states.take(&state).await.is_ok());
    let again = states.take(&state).await;
    assert!(matches!(again, Err(PkceError::StateNotFound(NotFound::Replayed { .. }))));
    let unknown = states.take(&OauthState::random()).await;
    assert!(matches!(unknown, Err(PkceError::StateNotFound(NotFound::Absent))));
}

/// The prefix is part of what a body is bound to.
#[tokio::test]
async fn stores_tell_their_prefix() {
    let prefix = fresh_prefix();
    assert_eq!(store(server::shared().await, &prefix).await.prefix(), prefix);
}
