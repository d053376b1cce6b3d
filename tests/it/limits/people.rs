//! People who sign in keep to a connector's caps like refreshes, and wait a little.

use std::{num::NonZero, sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use vestibule::{
    Keys, Vestibule,
    connection::{
        Callback, ConnectionError, Connections, Connector, ExchangeClass, ReplayPolicy, SignIn,
        SignInError, TokenAnswer,
    },
    seal::Seal,
    store::{Store, memory::MemoryStore},
    sweep::RefreshDue,
};

use crate::{
    properties::pkce::shared_keys,
    support::{
        provider::{Scripted, connections_at, connector, tokens},
        server,
        stores::{fresh_prefix, store},
    },
};

const HOUR: Duration = Duration::from_secs(3600);
const REDIRECT: &str = "https://app.example/callback";

/// Takes so long.
fn slow(takes: Duration) -> Arc<Scripted> {
    Scripted::new(move |asked| async move {
        sleep(takes).await;
        Ok(TokenAnswer { refresh_token: None, ..tokens(asked.number, HOUR) })
    })
}

async fn replica(prefix: &str, keys: &Keys, provider: &Arc<Scripted>) -> Connections {
    replica_on(store(server::shared().await, prefix).await, keys, provider)
}

fn replica_on(store: Arc<dyn Store>, keys: &Keys, provider: &Arc<Scripted>) -> Connections {
    let mut connector = connector("demo", ReplayPolicy::Strict);
    connector.concurrency = NonZero::new(2);
    let vestibule = Vestibule::assemble(store, Seal::new(keys.ring.clone()), keys);
    connections_at(provider, &vestibule, [connector])
}

async fn sign_in(replica: &Connections, owner: &str) -> Result<(), SignInError> {
    let started = replica.start(SignIn::new(owner, "demo", "s", REDIRECT)).await?;
    let state = started.state.secret();
    let callback = Callback { state, code: Some("code"), session: "s", ..Callback::default() };
    replica.finish(callback).await.map(drop)
}

/// twelve people at three replicas and two places: all of them sign in, two at a time.
#[tokio::test]
async fn people_wait_for_a_place() {
    let (prefix, keys) = (fresh_prefix(), shared_keys());
    let provider = slow(Duration::from_millis(150));
    let mut replicas = Vec::new();
    for _ in 0..3 {
        replicas.push(replica(&prefix, &keys, &provider).await);
    }
    let owners: Vec<_> = (0..12).map(|n| format!("owner-{n}")).collect();
    let signed_in =
        join_all(owners.iter().zip(replicas.iter().cycle()).map(|(o, r)| sign_in(r, o))).await;
    assert!(signed_in.iter().all(Result::is_ok), "{signed_in:?}");
    assert_eq!(provider.calls(), 12);
    assert_eq!(provider.peak(), 2);
}

/// who finds no place in 5 s is told so, and the provider is not asked.
#[tokio::test(start_paused = true)]
async fn people_do_not_wait_for_ever() {
    let provider = slow(Duration::from_secs(20));
    let replica = replica_on(Arc::new(MemoryStore::new()), &shared_keys(), &provider);
    let two = ["a", "b"].map(|owner| {
        let replica = replica.clone();
        tokio::spawn(async move { sign_in(&replica, owner).await })
    });
    while provider.calls() < 2 {
        sleep(Duration::from_millis(5)).await;
    }
    let started = Instant::now();
    let third = sign_in(&replica, "c").await.unwrap_err();
    assert!(matches!(third, SignInError::AtCap { .. }), "{third:?}");
    let waited = started.elapsed();
    assert!(waited < Duration::from_millis(5500), "{waited:?}");
    assert!(waited > Duration::from_secs(3), "it gave up at once: {waited:?}");
    assert_eq!(provider.calls(), 2);
    for task in two {
        task.abort();
    }
}

/// a provider that does not accept the host is paused by a sign-in as by a refresh; then nobody
/// is sent there, and the probe of one who was there already ends it.
#[tokio::test]
async fn a_sign_in_pauses_its_connector_and_probes_it() {
    let (prefix, keys) = (fresh_prefix(), shared_keys());
    let provider = slow(Duration::ZERO);
    provider.will_fail(ExchangeClass::Client, "invalid_client");
    let replica = replica(&prefix, &keys, &provider).await;
    let early = replica.start(SignIn::new("early", "demo", "s", REDIRECT)).await.unwrap();
    let refused = sign_in(&replica, "alice").await.unwrap_err();
    assert!(matches!(refused, SignInError::Exchange(_)), "{refused:?}");
    let sent = sign_in(&replica, "bob").await.unwrap_err();
    assert!(matches!(sent, SignInError::Paused { .. }), "{sent:?}");
    assert_eq!(replica.paused("demo").await.unwrap().unwrap().reason, "invalid_client");

    let finish = |state: String| {
        let replica = replica.clone();
        async move {
            let callback =
                Callback { state: &state, code: Some("code"), session: "s", ..Callback::default() };
            replica.finish(callback).await
        }
    };
    let back = finish(early.state.secret().to_owned()).await.unwrap_err();
    assert!(matches!(back, SignInError::Paused { .. }), "{back:?}");
    assert_eq!(provider.calls(), 1, "nobody was asked meanwhile");

    // The pause is over: one asks, and is accepted.
    provider.will_give(HOUR);
    let mut raw = server::shared().await.raw().await;
    crate::support::ageing::age(&mut raw, &prefix, Duration::from_secs(61)).await;
    sign_in(&replica, "carol").await.unwrap();
    assert!(replica.paused("demo").await.unwrap().is_none(), "the probe has ended it");
}

/// the host's own tokens too.
#[tokio::test]
async fn a_paused_connector_gives_the_host_no_token() {
    let (prefix, keys) = (fresh_prefix(), shared_keys());
    let provider = slow(Duration::ZERO);
    let url = "https://provider.example/token".parse().unwrap();
    let secret = vestibule::connection::ClientSecret::new("secret");
    let connector = Connector::client_credentials("own", url, "client", secret).unwrap();
    let redis = store(server::shared().await, &prefix).await;
    let vestibule = Vestibule::assemble(redis, Seal::new(keys.ring.clone()), &keys);
    let replica = connections_at(&provider, &vestibule, [connector]);
    provider.will_fail(ExchangeClass::Client, "invalid_client");
    let refused = replica.connect_client("host", "own").await.unwrap_err();
    assert!(matches!(refused, ConnectionError::Exchange(_)), "{refused:?}");
    let paused = replica.connect_client("host", "own").await.unwrap_err();
    assert!(matches!(paused, ConnectionError::ConnectorPaused { .. }), "{paused:?}");
    assert_eq!(provider.calls(), 1);
}

/// Whoever gives up waiting leaves: eight who did so at a slow provider do not hold up its refreshes.
#[tokio::test(start_paused = true)]
async fn who_gives_up_waiting_holds_up_nothing() {
    let (keys, memory) = (shared_keys(), Arc::new(MemoryStore::new()));
    let provider = slow(Duration::from_secs(20));
    let vestibule = Vestibule::assemble(memory.clone(), Seal::new(keys.ring.clone()), &keys);
    let url = "https://provider.example/token".parse().unwrap();
    let secret = vestibule::connection::ClientSecret::new("secret");
    let own = Connector::client_credentials("own", url, "client", secret).unwrap();
    let all = connections_at(&provider, &vestibule, [own]);
    let answer = TokenAnswer { refresh_token: None, ..tokens(0, HOUR) };
    all.store("host", "own", None, &answer).await.unwrap();
    for _ in 0..8 {
        let gone = timeout(Duration::from_millis(10), all.connect_client("host", "own")).await;
        assert!(gone.is_err(), "{gone:?}");
    }
    tokio::time::advance(Duration::from_secs(3)).await;
    provider.will_give(HOUR);
    memory.advance(HOUR);
    let pass = RefreshDue::default().pass(&all, &CancellationToken::new()).await;
    assert_eq!((pass.refreshed, pass.put_off), (1, 0), "{pass:?}");
}
