//! People who sign in keep to a connector's caps like refreshes, and wait a little.

use std::{
    num::NonZero,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};
use vestibule::{
    Keys, Vestibule,
    connection::{
        AccessToken, Callback, CodeGrant, ConnectionError, Connections, ConnectionsConfig,
        Connector, ExchangeClass, ExchangeError, RefreshToken, Registry, SignIn, SignInError,
        TokenAnswer, TokenExchange,
    },
    seal::Seal,
};

use crate::{
    properties::pkce::shared_keys,
    support::{
        server,
        stores::{fresh_prefix, store},
    },
};

const REDIRECT: &str = "https://app.example/callback";

/// Takes its time, and counts how many it is asked at once.
#[derive(Debug, Default)]
struct Slow {
    takes: Duration,
    refuses: AtomicBool,
    asked: AtomicUsize,
    at_once: AtomicUsize,
    peak: AtomicUsize,
}

#[async_trait]
impl TokenExchange for Slow {
    async fn exchange_code(
        &self,
        _: &Connector,
        _: CodeGrant<'_>,
    ) -> Result<TokenAnswer, ExchangeError> {
        self.answer().await
    }

    async fn exchange_client_credentials(
        &self,
        _: &Connector,
    ) -> Result<TokenAnswer, ExchangeError> {
        self.answer().await
    }

    async fn exchange_refresh_token(
        &self,
        _: &Connector,
        _: &RefreshToken,
    ) -> Result<TokenAnswer, ExchangeError> {
        unreachable!("nothing is due here")
    }
}

impl Slow {
    async fn answer(&self) -> Result<TokenAnswer, ExchangeError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.peak.fetch_max(now, Ordering::SeqCst);
        sleep(self.takes).await;
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        if self.refuses.load(Ordering::SeqCst) {
            return Err(ExchangeError::new(ExchangeClass::Client, "invalid_client"));
        }
        Ok(TokenAnswer {
            access_token: AccessToken::new("access"),
            refresh_token: None,
            expires_in: None,
            scope: None,
            refresh_expires_in: None,
        })
    }
}

async fn replica(prefix: &str, keys: &Keys, provider: &Arc<Slow>) -> Connections {
    let url = |path| format!("https://provider.example/{path}").parse().unwrap();
    let mut connector = Connector::new("demo", url("authorize"), url("token"), "client").unwrap();
    connector.concurrency = NonZero::new(2);
    let registry = Registry::new([connector]).unwrap();
    let redis = store(server::shared().await, prefix).await;
    let vestibule = Vestibule::assemble(redis, Seal::new(keys.ring.clone()), keys);
    vestibule.connections(ConnectionsConfig::new(registry, provider.clone()))
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
    let provider = Arc::new(Slow { takes: Duration::from_millis(150), ..Slow::default() });
    let mut replicas = Vec::new();
    for _ in 0..3 {
        replicas.push(replica(&prefix, &keys, &provider).await);
    }
    let owners: Vec<_> = (0..12).map(|n| format!("owner-{n}")).collect();
    let signed_in =
        join_all(owners.iter().zip(replicas.iter().cycle()).map(|(o, r)| sign_in(r, o))).await;
    assert!(signed_in.iter().all(Result::is_ok), "{signed_in:?}");
    assert_eq!(provider.asked.load(Ordering::SeqCst), 12);
    assert_eq!(provider.peak.load(Ordering::SeqCst), 2);
}

/// who finds no place in 5 s is told so, and the provider is not asked.
#[tokio::test]
async fn people_do_not_wait_for_ever() {
    let (prefix, keys) = (fresh_prefix(), shared_keys());
    let provider = Arc::new(Slow { takes: Duration::from_secs(20), ..Slow::default() });
    let replica = replica(&prefix, &keys, &provider).await;
    let two = ["a", "b"].map(|owner| {
        let replica = replica.clone();
        tokio::spawn(async move { sign_in(&replica, owner).await })
    });
    while provider.asked.load(Ordering::SeqCst) < 2 {
        sleep(Duration::from_millis(5)).await;
    }
    let started = Instant::now();
    let third = sign_in(&replica, "c").await.unwrap_err();
    assert!(matches!(third, SignInError::AtCap { .. }), "{third:?}");
    let waited = started.elapsed();
    assert!(waited < Duration::from_millis(5500), "{waited:?}");
    assert!(waited > Duration::from_secs(3), "it gave up at once: {waited:?}");
    assert_eq!(provider.asked.load(Ordering::SeqCst), 2);
    for task in two {
        task.abort();
    }
}

/// a provider that does not accept the host is paused by a sign-in as by a refresh; then nobody
/// is sent there, and the probe of one who was there already ends it.
#[tokio::test]
async fn a_sign_in_pauses_its_connector_and_probes_it() {
    let (prefix, keys) = (fresh_prefix(), shared_keys());
    let provider = Arc::new(Slow { refuses: AtomicBool::new(true), ..Slow::default() });
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
    assert_eq!(provider.asked.load(Ordering::SeqCst), 1, "nobody was asked meanwhile");

    // The pause is over: one asks, and is accepted.
    provider.refuses.store(false, Ordering::SeqCst);
    let mut raw = server::shared().await.raw().await;
    crate::support::ageing::age(&mut raw, &prefix, Duration::from_secs(61)).await;
    sign_in(&replica, "carol").await.unwrap();
    assert!(replica.paused("demo").await.unwrap().is_none(), "the probe has ended it");
}

/// the host's own tokens too.
#[tokio::test]
async fn a_paused_connector_gives_the_host_no_token() {
    let (prefix, keys) = (fresh_prefix(), shared_keys());
    let provider = Arc::new(Slow::default());
    let url = "https://provider.example/token".parse().unwrap();
    let secret = vestibule::connection::ClientSecret::new("secret");
    let connector = Connector::client_credentials("own", url, "client", secret).unwrap();
    let registry = Registry::new([connector]).unwrap();
    let redis = store(server::shared().await, &prefix).await;
    let vestibule = Vestibule::assemble(redis, Seal::new(keys.ring.clone()), &keys);
    let replica = vestibule.connections(ConnectionsConfig::new(registry, provider.clone()));
    provider.refuses.store(true, Ordering::SeqCst);
    let refused = replica.connect_client("host", "own").await.unwrap_err();
    assert!(matches!(refused, ConnectionError::Exchange(_)), "{refused:?}");
    let paused = replica.connect_client("host", "own").await.unwrap_err();
    assert!(matches!(paused, ConnectionError::ConnectorPaused { .. }), "{paused:?}");
    assert_eq!(provider.asked.load(Ordering::SeqCst), 1);
}
