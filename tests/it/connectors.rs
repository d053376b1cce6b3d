//! Credentials that are not signed in to, end to end on Redis: keys that users paste, and tokens
//! of the host's own.

use std::time::Duration;

use redis::AsyncCommands;
use tokio_util::sync::CancellationToken;
use vestibule::{
    connection::{
        AccessToken, ApiKey, ApiSecret, AuthType, ClientSecret, ConnectionError, Connections,
        Connector, Refreshed, SignIn, SignInError, TokenAnswer, VendPath,
    },
    store::ConnectionId,
    sweep::RefreshDue,
};

use crate::{
    properties::connect,
    support::{
        ageing::age,
        provider::{Answer, Asked, Scripted, With, connections_at, tokens},
        server,
        stores::fresh_prefix,
    },
};

const HOUR: Duration = Duration::from_secs(3600);

struct Scene {
    prefix: String,
    connections: Connections,
}

impl Scene {
    async fn new() -> Self {
        let prefix = fresh_prefix();
        let url = server::shared().await.url();
        let vestibule = connect(&url, &prefix).await;
        let url = |path: &str| format!("https://p.example/{path}").parse().unwrap();
        let secret = ClientSecret::new("hush");
        let connectors = [
            Connector::new("user", url("authorize"), url("token"), "client").unwrap(),
            Connector::client_credentials("host", url("token"), "client", secret).unwrap(),
            Connector::api_key("key", AuthType::ApiKey).unwrap(),
            Connector::api_key("pair", AuthType::ApiKeyAndSecret).unwrap(),
        ];
        let connections = connections_at(&Scripted::new(own), &vestibule, connectors);
        Self { prefix, connections }
    }

    async fn has(&self, id: &ConnectionId, field: &str) -> bool {
        let key = format!("{}:{{{}}}:conn:{id}", self.prefix, id.shard());
        server::shared().await.raw().await.hexists(key, field).await.unwrap()
    }

    async fn is_due_some_day(&self, id: &ConnectionId) -> bool {
        let key = format!("{}:{{{}}}:due", self.prefix, id.shard());
        let mut raw = server::shared().await.raw().await;
        let score: Option<f64> = raw.zscore(key, id.as_str()).await.unwrap();
        score.is_some() || self.has(id, "next_at").await
    }

    async fn age(&self, by: Duration) {
        age(&mut server::shared().await.raw().await, &self.prefix, by).await;
    }
}

/// V-2, V-10: a key is stored as it was pasted, vended warm to its owner, and never comes due.
#[tokio::test]
async fn keys_are_vended_and_never_refreshed() {
    let scene = Scene::new().await;
    let it = &scene.connections;
    let one = it.store_api_key("alice", "key", None, ApiKey::new("k-1"), None).await.unwrap();
    let secret = Some(ApiSecret::new("s-2"));
    let two = it.store_api_key("alice", "pair", None, ApiKey::new("k-2"), secret).await.unwrap();
    scene.age(HOUR * 24 * 365).await;
    for (id, key, secret) in [(&one, "k-1", None), (&two, "k-2", Some("s-2"))] {
        assert!(!scene.is_due_some_day(id).await);
        assert!(!scene.has(id, "token").await && !scene.has(id, "expires_at").await);
        let vended = it.vend_api_key("alice", id).await.unwrap();
        assert_eq!(vended.api_key.secret(), key);
        assert_eq!(vended.api_secret.as_ref().map(ApiSecret::secret), secret);
        assert!(!format!("{vended:?}").contains("-2"), "{vended:?}");
        let refreshed = it.refresh(id).await.unwrap();
        assert!(matches!(refreshed, Refreshed::Not("not_refreshable")), "{refreshed:?}");
        let foreign = it.vend_api_key("mallory", id).await.unwrap_err();
        assert!(matches!(foreign, ConnectionError::NotFound));
    }
    // Another key takes the place of the first.
    let again = it.store_api_key("alice", "key", Some(&one), ApiKey::new("k-3"), None).await;
    assert_eq!(again.unwrap(), one);
    assert_eq!(it.vend_api_key("alice", &one).await.unwrap().api_key.secret(), "k-3");
}

/// Every verb is for its kind of connector, and says which one is for the other.
#[tokio::test]
async fn each_auth_type_has_its_verbs() {
    let scene = Scene::new().await;
    let it = &scene.connections;
    let says = |error: ConnectionError, what: &str| {
        assert!(matches!(error, ConnectionError::OtherAuth { .. }), "{error}");
        assert!(error.to_string().contains(what), "{error}");
    };
    let key = || ApiKey::new("k");
    let secret = || Some(ApiSecret::new("s"));
    says(it.store_api_key("a", "user", None, key(), None).await.unwrap_err(), "start and finish");
    says(
        it.store_api_key("a", "key", None, key(), secret()).await.unwrap_err(),
        "without a secret",
    );
    says(it.store_api_key("a", "pair", None, key(), None).await.unwrap_err(), "with a secret");
    says(it.connect_client("a", "user").await.unwrap_err(), "start and finish");
    let answer = own_token(1);
    says(it.store("a", "key", None, &answer).await.unwrap_err(), "store_api_key");
    let id = it.store_api_key("a", "key", None, key(), None).await.unwrap();
    says(it.vend("a", &id).await.unwrap_err(), "vend_api_key");
    let id = it.store("a", "user", None, &answer).await.unwrap();
    says(it.vend_api_key("a", &id).await.unwrap_err(), "then vend");
    for slug in ["host", "key"] {
        let sign_in = SignIn::new("a", slug, "session", "https://h.example/callback");
        let Err(SignInError::Connection(error)) = it.start(sign_in).await else { panic!("{slug}") };
        says(error, "vend");
    }
    let long = "k".repeat(4097);
    for bad in ["", " k", "k\n", "k\r\nhost: evil", long.as_str()] {
        let error = it.store_api_key("a", "key", None, ApiKey::new(bad), None).await.unwrap_err();
        assert!(matches!(error, ConnectionError::InvalidKey { .. }), "{error}");
    }
}

/// The host's own tokens: asked for once, served warm, and asked for again when they come due,
/// though there is no refresh token.
#[tokio::test]
async fn the_hosts_own_tokens_are_renewed() {
    let scene = Scene::new().await;
    let it = &scene.connections;
    let id = it.connect_client("service", "host").await.unwrap();
    let vended = it.vend("service", &id).await.unwrap();
    assert_eq!((vended.access_token.secret(), vended.path), ("own-1", VendPath::Warm));
    for round in 2..5 {
        scene.age(HOUR).await;
        let pass = RefreshDue::default().pass(it, &CancellationToken::new()).await;
        assert_eq!(pass.refreshed, 1, "{pass:?}");
        let vended = it.vend("service", &id).await.unwrap();
        assert_eq!(vended.access_token.secret(), format!("own-{round}"));
        assert_eq!(vended.path, VendPath::Warm);
        assert!(scene.is_due_some_day(&id).await);
    }
}

/// Numbered tokens of the host's own, and nothing else.
async fn own(asked: Asked) -> Answer {
    assert_eq!((asked.with, asked.connector.auth), (With::Client, AuthType::ClientCredentials));
    Ok(own_token(asked.number))
}

fn own_token(number: usize) -> TokenAnswer {
    let access_token = AccessToken::new(format!("own-{number}"));
    TokenAnswer { access_token, refresh_token: None, ..tokens(number, HOUR) }
}
