//! What a sign-in is bound to, and what becomes of it when its caller or its store goes away.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use redis::AsyncCommands;
use tokio::sync::Semaphore;
use vestibule::{
    Keys, Vestibule,
    connection::{
        Callback, CodeGrant, Connections, ConnectionsConfig, Connector, ExchangeError, Finished,
        RefreshToken, Registry, ReplayPolicy, SignIn, SignInError, TokenAnswer, TokenExchange,
    },
    event::{Events, Filter},
    seal::Seal,
    store::{
        EventKind,
        memory::MemoryStore,
        redis::{RedisConfig, RedisStore, Timeouts},
    },
};

use crate::{
    properties::pkce::shared_keys,
    support::{
        provider::{Scripted, connections_at, connector, tokens},
        server::TestServer,
        stores::naming_key,
    },
};

const HOUR: Duration = Duration::from_secs(3600);
const REDIRECT: &str = "https://app.example/callback";
const ISSUER: &str = "https://provider.example";

fn host(provider: &Arc<Scripted>) -> Connections {
    with_events(provider).0
}

fn with_events(provider: &Arc<Scripted>) -> (Connections, Events) {
    let keys = Keys { naming: naming_key(), ..Keys::random() };
    let seal = Seal::new(keys.ring.clone());
    let vestibule = Vestibule::assemble(Arc::new(MemoryStore::new()), seal, &keys);
    let mut connector = connector("demo", ReplayPolicy::Strict);
    connector.issuer = Some(ISSUER.to_owned());
    connector.scopes = vec!["repo".to_owned(), "user:email".to_owned()];
    (connections_at(provider, &vestibule, [connector]), vestibule.events())
}

fn good(state: &str) -> Callback<'_> {
    Callback { state, code: Some("code"), iss: Some(ISSUER), session: "s", ..Callback::default() }
}

/// RFC 6749 section 4.1.1, RFC 7636 section 4.3, RFC 8707 section 2.1: where a person is sent.
#[tokio::test]
async fn an_authorize_url_says_all_that_is_asked_for() {
    let all = host(&Scripted::nobody());
    for resource in [None, Some(""), Some("https://api.example/v1")] {
        let sign_in = SignIn { resource, ..SignIn::new("alice", "demo", "s", REDIRECT) };
        let started = all.start(sign_in).await.unwrap();
        let query: Vec<_> = started.authorize_url.query_pairs().into_owned().collect();
        let one = |name: &str| {
            let mut all = query.iter().filter(|(key, _)| key == name);
            let found = all.next().map(|(_, value)| value.as_str());
            assert!(all.next().is_none(), "{name} twice");
            found
        };
        assert_eq!(one("response_type"), Some("code"));
        assert_eq!(one("client_id"), Some("client"));
        assert_eq!(one("redirect_uri"), Some(REDIRECT));
        assert_eq!(one("state"), Some(started.state.secret()));
        assert_eq!(one("code_challenge_method"), Some("S256"));
        assert_eq!(one("code_challenge").unwrap().len(), 43);
        assert_eq!(one("scope"), Some("repo user:email"));
        assert_eq!(one("resource"), resource.filter(|resource| !resource.is_empty()));
    }
}

/// K-5, RFC 9207: whoever comes back with something else than what it was begun with is refused,
/// the state is used up, and the code goes nowhere.
#[tokio::test]
async fn what_comes_back_must_be_what_was_begun() {
    type Spoil = fn(&mut Callback<'_>);
    let spoiled: [(&str, Spoil); 7] = [
        ("another session", |came| came.session = "other"),
        ("another session", |came| came.session = ""),
        ("somebody else", |came| came.owner = Some("bob")),
        ("another address", |came| came.redirect_uri = Some("https://app.example/callback/")),
        ("another issuer", |came| came.iss = None),
        ("another issuer", |came| came.iss = Some("https://provider.example/")),
        ("another issuer", |came| came.iss = Some("https://evil.example")),
    ];
    let (all, events) = with_events(&Scripted::nobody());
    for (says, spoil) in spoiled {
        let started = all.start(SignIn::new("alice", "demo", "s", REDIRECT)).await.unwrap();
        let state = started.state.secret();
        let mut came = good(state);
        spoil(&mut came);
        let refused = all.finish(came).await.unwrap_err();
        assert!(refused.to_string().contains(says), "{says}: {refused}");
        let again = all.finish(good(state)).await.unwrap_err();
        assert!(matches!(again, SignInError::State(_)), "{says}: it is used up: {again}");
    }
    // Each is told, as what it was, to whoever asks what happened at this owner's sign-ins.
    let kinds = vec![EventKind::ReplayRefused];
    let hers = Filter { kinds, owner: Some("alice".to_owned()), ..Filter::newest(100) };
    let told = events.list(&hers).await.unwrap().events;
    // Those of one millisecond are in no order.
    let mut reasons: Vec<_> = told.iter().map(|event| event.detail.as_str()).collect();
    reasons.sort_unstable();
    let [session, owner, redirect, issuer] =
        ["session", "owner", "redirect", "issuer"].map(|what| format!("reason=other_{what}"));
    assert_eq!(reasons, [&issuer, &issuer, &issuer, &owner, &redirect, &session, &session]);
    assert!(told.iter().all(|event| event.name == "demo"));

    let all = host(&Scripted::giving(HOUR));
    let started = all.start(SignIn::new("alice", "demo", "s", REDIRECT)).await.unwrap();
    let owner = Some("alice");
    all.finish(Callback { owner, ..good(started.state.secret()) }).await.unwrap();
}

/// Answers when it is let, and tells what it was asked.
#[derive(Debug)]
struct Gated {
    asked: Semaphore,
    may_answer: Semaphore,
    resources: Mutex<Vec<String>>,
}

impl Gated {
    fn new() -> Arc<Self> {
        let (asked, may_answer) = (Semaphore::new(0), Semaphore::new(0));
        Arc::new(Self { asked, may_answer, resources: Mutex::default() })
    }

    fn host(self: &Arc<Self>, vestibule: &Vestibule) -> Connections {
        let registry = Registry::new([connector("demo", ReplayPolicy::Strict)]).unwrap();
        vestibule.connections(ConnectionsConfig::new(registry, self.clone()))
    }
}

#[async_trait]
impl TokenExchange for Gated {
    async fn exchange_code(
        &self,
        _: &Connector,
        grant: CodeGrant<'_>,
    ) -> Result<TokenAnswer, ExchangeError> {
        self.resources.lock().unwrap().push(grant.resource.to_owned());
        self.asked.add_permits(1);
        self.may_answer.acquire().await.unwrap().forget();
        Ok(tokens(1, HOUR))
    }

    async fn exchange_refresh_token(
        &self,
        _: &Connector,
        _: &RefreshToken,
    ) -> Result<TokenAnswer, ExchangeError> {
        unreachable!("nothing is due here")
    }
}

/// A person who closes the page while the code is exchanged is signed in all the same: a code is good
/// for once.
#[tokio::test]
async fn a_sign_in_outlives_its_caller() {
    let (provider, vestibule) = (Gated::new(), Vestibule::in_memory());
    let all = provider.host(&vestibule);
    let resource = Some("https://api.example/v1");
    let sign_in = SignIn { resource, ..SignIn::new("alice", "demo", "s", REDIRECT) };
    let started = all.start(sign_in).await.unwrap();
    let finishing = all.finish(good(started.state.secret()));
    tokio::select! {
        finished = finishing => panic!("nobody has answered: {finished:?}"),
        asked = provider.asked.acquire() => asked.unwrap().forget(),
    }
    provider.may_answer.add_permits(1);
    all.drained().await;
    let page = all.list("alice", None, 10).await.unwrap();
    let vended = all.vend("alice", &page.connections[0].id).await.unwrap();
    assert_eq!(vended.access_token.secret(), "access-1");
    assert_eq!(*provider.resources.lock().unwrap(), ["https://api.example/v1"]);
}

/// K-5: what cannot be stored is said, and not passed over; what can be a moment later is stored.
#[tokio::test]
async fn a_sign_in_that_is_not_stored_says_so() {
    let server = TestServer::builder().start().await;
    let (provider, keys) = (Gated::new(), shared_keys());
    // A verb gives up long before Redis is back.
    let timeouts = Timeouts { overall: Duration::from_secs(1), ..Timeouts::default() };
    let config = RedisConfig::new(&server.url()).unwrap().with_prefix("away").unwrap();
    let store = RedisStore::connect(config.with_timeouts(timeouts), &naming_key()).await.unwrap();
    let vestibule = Vestibule::assemble(Arc::new(store), Seal::new(keys.ring.clone()), &keys);
    let all = provider.host(&vestibule);
    for is_away in [true, false] {
        let started = all.start(SignIn::new("alice", "demo", "s", REDIRECT)).await.unwrap();
        let (replica, state) = (all.clone(), started.state.secret().to_owned());
        let finishing: tokio::task::JoinHandle<Result<Finished, SignInError>> =
            tokio::spawn(async move { replica.finish(good(&state)).await });
        provider.asked.acquire().await.unwrap().forget();
        if is_away {
            server.kill9();
            provider.may_answer.add_permits(1);
            tokio::time::sleep(timeouts.overall * 2).await;
            server.restart().await;
            let finished = finishing.await.unwrap().unwrap();
            assert!(all.vend("alice", &finished.connection).await.is_ok());
        } else {
            // What no waiting mends: an index of another type.
            let mut raw = server.raw().await;
            for shard in 0..=u8::MAX {
                let _: () = raw.set(format!("away:{{{shard:02x}}}:due"), "no index").await.unwrap();
            }
            provider.may_answer.add_permits(1);
            let finished = finishing.await.unwrap();
            assert!(matches!(finished, Err(SignInError::Connection(_))), "{finished:?}");
        }
    }
}
