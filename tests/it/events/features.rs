//! What is told beside the changes: of sign-ins, of replays, and of what the journal brings back.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use vestibule::{
    Vestibule,
    connection::{Callback, ReplayPolicy, SignIn, TokenAnswer},
    pkce::{OauthState, PkceState, PkceVerifier},
    seal::Seal,
    store::{
        Actor, Event, EventKind, Shard, Store, Subject,
        redis::{RedisConfig, RedisStore},
    },
    token::{MintSpec, Scope, Scopes},
};
use vestibule_worker::provider::{Provider, Settings};

use super::{history, said};
use crate::{
    properties::{
        connect,
        connections::connections,
        journal::{Kill, Scene},
        pkce::shared_keys,
    },
    support::{
        ageing::age,
        provider::{Scripted, connections_at, connector, tokens},
        server,
        sign_in::{consent, param},
        stores::fresh_prefix,
    },
};

/// The store behind what a test does there.
async fn reader(prefix: &str) -> Arc<RedisStore> {
    let config = RedisConfig::new(&server::shared().await.url()).unwrap();
    let config = config.with_prefix(prefix).unwrap();
    Arc::new(RedisStore::connect(config, &shared_keys().naming).await.unwrap())
}

/// Of all shards.
async fn all_events(store: &dyn Store) -> Vec<Event> {
    let mut events = Vec::new();
    for shard in Shard::all() {
        events.extend(history(store, shard).await);
    }
    events.sort_by_key(|event| event.at_ms);
    events
}

fn of_kind(events: &[Event], kind: EventKind) -> Vec<&Event> {
    events.iter().filter(|event| event.kind == kind).collect()
}

/// E-1, K-3: a sign-in is told when it begins and when it is complete; its replay is refused, and
/// that is told once, however often it is tried.
#[tokio::test]
async fn a_sign_in_and_its_replays_are_told() {
    let (server, prefix) = (server::shared().await, fresh_prefix());
    let provider = Provider::start(Settings::default()).await.unwrap();
    let replica = connections(&server.url(), &prefix, &provider.issuer()).await;
    let redirect = "http://127.0.0.1:9/callback";
    let started = replica.start(SignIn::new("alice", "demo", "s", redirect)).await.unwrap();
    let params = consent(started.authorize_url.as_str()).await;
    let callback = Callback {
        state: param(&params, "state").unwrap(),
        code: param(&params, "code"),
        error: None,
        iss: param(&params, "iss"),
        session: "s",
        ..Callback::default()
    };
    let finished = replica.finish(callback).await.unwrap();
    for _ in 0..3 {
        assert!(replica.finish(callback).await.is_err());
    }
    let events = all_events(&*reader(&prefix).await).await;
    assert_eq!(events.len(), 3, "{events:#?}");
    let [began, completed, replayed] =
        [EventKind::ConnectStarted, EventKind::ConnectCompleted, EventKind::ReplayRefused]
            .map(|kind| of_kind(&events, kind)[0]);
    assert_eq!((began.subject, began.actor, &*began.name), (Subject::State, Actor::Owner, "demo"));
    assert_eq!(completed.subject_id, finished.connection.as_str());
    assert_eq!((began.owner, completed.actor), (completed.owner, Actor::Owner));
    assert!(began.owner.is_some());
    assert_eq!(began.subject_id, replayed.subject_id, "the same state");
    assert_ne!(began.subject_id, callback.state, "by its digest");
    assert_eq!([&*began.idp_host, &*completed.idp_host], ["127.0.0.1"; 2]);
    let text = format!("{events:?}");
    assert!(!text.contains("alice") && !text.contains(callback.state), "{text}");
}

/// E-1: a store that cannot tell is no reason not to sign in.
#[tokio::test]
async fn what_cannot_be_told_is_no_fault_of_the_verb() {
    let (server, prefix) = (server::shared().await, fresh_prefix());
    let vestibule = connect(&server.url(), &prefix).await;
    let mut raw = server.raw().await;
    for shard in Shard::all() {
        let key = format!("{prefix}:{{{shard}}}:history");
        redis::cmd("SET").arg(&[&*key, "text"]).query_async::<()>(&mut raw).await.unwrap();
    }
    let (pkce, state) = (vestibule.pkce(), OauthState::random());
    pkce.put(&state, &PkceState::new("demo", PkceVerifier::random())).await.unwrap();
    pkce.take(&state).await.unwrap();
    let refused = pkce.take(&state).await.unwrap_err();
    assert!(refused.to_string().contains("state not found"), "{refused}");
}

/// E-1, T-8: a token that is used up and presented again is told, once a minute.
#[tokio::test]
async fn a_token_that_is_used_up_is_told() {
    let (server, prefix) = (server::shared().await, fresh_prefix());
    let vestibule = connect(&server.url(), &prefix).await;
    let scopes = Scopes::new();
    let scope = Scope::new("once").with_placeholder("{id}").with_route("GET", "/flows/{id}");
    scopes.register(scope.with_max_uses(1).with_max_ttl(Duration::from_secs(60))).unwrap();
    let tokens = vestibule.temp_tokens(scopes);
    let minted = tokens.mint(&MintSpec::new("once", "r", Duration::from_secs(60))).await.unwrap();
    let text = minted.token.secret().to_owned();
    tokens.validate(&text, "GET", "/flows/r", None).await.unwrap();
    for _ in 0..3 {
        assert!(tokens.validate(&text, "GET", "/flows/r", None).await.is_err());
    }
    let events = all_events(&*reader(&prefix).await).await;
    assert_eq!(events.len(), 1, "{events:#?}");
    assert_eq!((events[0].kind, &*events[0].name), (EventKind::ReplayRefused, "once"));
    assert_eq!(events[0].subject_id, minted.id.to_string());
    assert!(!format!("{events:?}").contains(&text));
}

/// C-7: a process is killed between the provider's answer and the commit. What the journal brings
/// back more than 2 s after the exchange began is told as that, once, by whoever replays it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_journal_brings_back_is_told() {
    let server = server::shared().await;
    for (kill, told) in [(Kill::AfterTheJournal, 1), (Kill::AfterTheCommit, 0)] {
        let mut scene = Scene::reach(server, kill, 1).await;
        scene.kill().await;
        sleep(Duration::from_secs(2)).await;
        let replica = scene.replica(server).await;
        for _ in 0..3 {
            replica.replay_journal().await.unwrap();
        }
        let events = all_events(&*reader(&scene.prefix).await).await;
        let refreshed = of_kind(&events, EventKind::RefreshSucceeded);
        let late = of_kind(&events, EventKind::RefreshRotationPersistenceFailed);
        assert_eq!((refreshed.len(), late.len()), (1, told), "{kill:?}: {events:#?}");
        let by = if told == 1 { Actor::Journal } else { Actor::BackgroundRefresh };
        assert_eq!(refreshed[0].actor, by, "{kill:?}");
        assert!(late.iter().all(|event| said(event).contains("stored=late")), "{late:?}");
    }
}

/// C-7: Redis does not take a rotated token. The caller has it all the same, and the loss is told;
/// what was not rotated can be asked for again, and is none.
#[tokio::test]
async fn a_rotated_token_that_is_not_stored_is_told() {
    let server = server::shared().await;
    for rotates in [true, false] {
        let prefix = fresh_prefix();
        let redis = reader(&prefix).await;
        let keys = shared_keys();
        let vestibule = Vestibule::assemble(redis.clone(), Seal::new(keys.ring.clone()), &keys);
        let (life, provider) = (Duration::from_secs(300), Scripted::nobody());
        let connector = connector("demo", ReplayPolicy::Strict);
        let connections = connections_at(&provider, &vestibule, [connector]);
        let id = connections.store("alice", "demo", None, &tokens(0, life)).await.unwrap();
        age(&mut server.raw().await, &prefix, Duration::from_secs(400)).await;
        // While it answers, the record becomes something else.
        let key = format!("{prefix}:{{{}}}:conn:{id}", id.shard());
        provider.will(move |asked| {
            let key = key.clone();
            async move {
                let mut raw = server.raw().await;
                redis::cmd("SET").arg(&[&*key, "text"]).query_async::<()>(&mut raw).await.unwrap();
                let answer = tokens(asked.number, life);
                let refresh_token = answer.refresh_token.filter(|_| rotates);
                Ok(TokenAnswer { refresh_token, ..answer })
            }
        });
        let vended = connections.vend("alice", &id).await.unwrap();
        assert_eq!(vended.access_token.secret(), "access-1");
        let events = all_events(&*redis).await;
        let lost = of_kind(&events, EventKind::RefreshRotationPersistenceFailed);
        assert_eq!(lost.len(), usize::from(rotates), "{events:#?}");
        assert!(lost.iter().all(|event| event.actor == Actor::ToolCall), "{lost:?}");
        assert!(lost.iter().all(|event| said(event).contains("stored=no")), "{lost:?}");
        assert!(of_kind(&events, EventKind::RefreshSucceeded).is_empty());
    }
}
