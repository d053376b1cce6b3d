//! What providers answer, and what follows for the credential: byte for byte over a loopback
//! socket, and end to end on Redis.

mod endpoint;
mod overtaken;
mod requests;
mod table;
mod transport;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use redis::AsyncCommands;
use vestibule::{
    connection::{
        AccessToken, ClientAuth, ClientSecret, CodeGrant, Connections, ConnectionsConfig,
        Connector, ExchangeClass, ExchangeError, HttpExchange, Quirk, RefreshToken, Refreshed,
        Registry, TokenAnswer, TokenExchange,
    },
    store::ConnectionId,
};

use self::{
    endpoint::{Endpoint, Reply},
    table::{Case, Means, refusals, successes, unreadable},
};
use crate::{
    properties::{connect, connections::install_tls},
    support::{ageing::age, server, stores::fresh_prefix},
};

const HOUR: Duration = Duration::from_secs(3600);
const TOKENS: &str = r#"{"access_token":"a2","token_type":"Bearer"}"#;

fn connector(port: u16) -> Connector {
    let url = |path: &str| format!("http://127.0.0.1:{port}/{path}").parse().unwrap();
    let mut connector = Connector::new("demo", url("authorize"), url("token"), "client").unwrap();
    connector.client_secret = Some(ClientSecret::new("hush"));
    connector
}

fn all_refusals() -> impl Iterator<Item = Case> {
    refusals().into_iter().chain(unreadable())
}

fn exchange() -> HttpExchange {
    install_tls();
    HttpExchange::new().unwrap()
}

/// One provider, one replica on Redis.
struct Scene {
    endpoint: Endpoint,
    prefix: String,
    connections: Connections,
}

impl Scene {
    async fn new() -> Self {
        Self::with(Arc::new(exchange())).await
    }

    async fn with(exchange: Arc<dyn TokenExchange>) -> Self {
        let (endpoint, prefix) = (Endpoint::start().await, fresh_prefix());
        let url = server::shared().await.url();
        let vestibule = connect(&url, &prefix).await;
        let registry = Registry::new([connector(endpoint.port)]).unwrap();
        let config = ConnectionsConfig::new(registry, exchange);
        Self { endpoint, prefix, connections: vestibule.connections(config) }
    }

    /// A connection that is due.
    async fn due(&self) -> ConnectionId {
        let answer = TokenAnswer {
            access_token: AccessToken::new("a1"),
            refresh_token: Some(RefreshToken::new("r1")),
            expires_in: Some(HOUR),
            scope: None,
            refresh_expires_in: None,
        };
        let id = self.connections.store("alice", "demo", None, &answer).await.unwrap();
        let mut raw = server::shared().await.raw().await;
        age(&mut raw, &self.prefix, HOUR - Duration::from_secs(60)).await;
        id
    }

    /// What must not change unless a provider said so.
    async fn kept(&self, id: &ConnectionId) -> Vec<Option<Vec<u8>>> {
        let key = format!("{}:{{{}}}:conn:{id}", self.prefix, id.shard());
        let fields = ["status", "reason", "secret", "token", "grant", "ver", "expires_at"];
        server::shared().await.raw().await.hmget(key, &fields).await.unwrap()
    }

    /// What a refresh fails with.
    async fn refused(&self, case: &Case, id: &ConnectionId) -> ExchangeError {
        self.endpoint.answer(case.reply.clone());
        match self.connections.refresh(id).await.unwrap() {
            Refreshed::Failed(error) => error,
            refreshed => panic!("{}: {refreshed:?}", case.name),
        }
    }

    async fn refresh(&self, case: &Case) -> (ConnectionId, Refreshed) {
        let id = self.due().await;
        self.endpoint.answer(case.reply.clone());
        let refreshed = self.connections.refresh(&id).await.unwrap();
        // Whatever came of it, it was asked once.
        let requests = self.endpoint.requests();
        assert_eq!(requests.len(), 1, "{}", case.name);
        assert!(requests[0].contains("refresh_token=r1"), "{}", case.name);
        (id, refreshed)
    }
}

/// C-4, C-5, H-13: tokens are found however they are written down, a refresh token that is left out
/// keeps the old one, and nobody refreshes a second time for that.
#[tokio::test]
async fn tokens_are_read_however_they_are_written_down() {
    let scene = Scene::new().await;
    for case in successes() {
        let Means::Tokens(rotated, life) = case.means else { unreachable!() };
        let (id, refreshed) = scene.refresh(&case).await;
        let Refreshed::Fresh { access_token, expires_in } = refreshed else {
            panic!("{}: {refreshed:?}", case.name)
        };
        assert_eq!(access_token.secret(), "a2", "{}", case.name);
        assert_eq!(expires_in, life.map(Duration::from_secs), "{}", case.name);
        if life == Some(3600) {
            // What is presented next is what was kept.
            age(&mut server::shared().await.raw().await, &scene.prefix, HOUR).await;
            scene.endpoint.answer(Reply::http(200, "", TOKENS));
            scene.connections.refresh(&id).await.unwrap();
            let next = scene.endpoint.requests().pop().unwrap();
            let presented = format!("refresh_token={}", rotated.unwrap_or("r1"));
            assert!(next.contains(&presented), "{}: {next}", case.name);
        }
    }
}

/// Row 10, H-12, C-5: what each refusal means; only the provider's word about the refresh token
/// itself asks for the user, and `invalid_client` changes nothing.
#[tokio::test]
async fn refusals_mean_what_they_say_and_no_more() {
    let scene = Scene::new().await;
    assert!(all_refusals().count() + successes().len() >= 60, "the table has shrunk");
    for case in all_refusals() {
        let Means::Error(class) = case.means else { unreachable!() };
        let id = scene.due().await;
        let before = scene.kept(&id).await;
        let error = scene.refused(&case, &id).await;
        assert_eq!((error.class, error.retry_after), (class, case.retry_after), "{}", case.name);
        assert_eq!(scene.endpoint.requests().len(), 1, "{}: sent once", case.name);
        assert!(error.reason.chars().count() <= 200, "{}", case.name);
        for secret in ["r1", "hush", "127.0.0.1", "://"] {
            assert!(!error.to_string().contains(secret), "{}: {error}", case.name);
        }

        let after = scene.kept(&id).await;
        if class == ExchangeClass::Rejected {
            assert_eq!(after[0].as_deref(), Some(&b"needs_reauth"[..]), "{}", case.name);
            assert_eq!(after[1].as_deref(), Some(error.reason.as_bytes()), "{}", case.name);
        } else {
            assert_eq!(before, after, "{}: the credential stays as it was", case.name);
            let vended = scene.connections.vend("alice", &id).await.unwrap();
            assert_eq!(vended.access_token.secret(), "a1", "{}: and is served", case.name);
        }
    }
}

/// What some do: an unknown code is the end, or a client that is not accepted is its users' fault.
#[derive(Debug)]
struct Condemns(HttpExchange, ExchangeClass);

#[async_trait]
impl TokenExchange for Condemns {
    async fn exchange_code(
        &self,
        _: &Connector,
        _: CodeGrant<'_>,
    ) -> Result<TokenAnswer, ExchangeError> {
        unreachable!("nobody signs in here")
    }

    async fn exchange_refresh_token(
        &self,
        connector: &Connector,
        refresh_token: &RefreshToken,
    ) -> Result<TokenAnswer, ExchangeError> {
        self.0.exchange_refresh_token(connector, refresh_token).await.map_err(|error| match error {
            error if error.class == self.1 => {
                ExchangeError { class: ExchangeClass::Rejected, ..error }
            }
            error => error,
        })
    }
}

/// With either of them users are asked to sign in again who need not.
#[tokio::test]
async fn whoever_condemns_too_early_is_found_out() {
    for class in [ExchangeClass::Transient, ExchangeClass::Client, ExchangeClass::Config] {
        let scene = Scene::with(Arc::new(Condemns(exchange(), class))).await;
        let mut condemned = 0;
        for case in all_refusals().filter(|case| case.means == Means::Error(class)) {
            let id = scene.due().await;
            scene.refused(&case, &id).await;
            let status = &scene.kept(&id).await[0];
            condemned += usize::from(status.as_deref() == Some(b"needs_reauth"));
        }
        assert!(condemned > 0, "{class:?}");
    }
}

/// C-4: the host shows who it is as the connector says: in a header, form-encoded or raw, in the
/// body, or not at all; and never twice.
#[tokio::test]
async fn clients_authenticate_as_their_provider_wants() {
    use base64ct::{Base64, Encoding};
    let endpoint = Endpoint::start().await;
    let basic = |pair: &str| format!("Basic {}", Base64::encode_string(pair.as_bytes()));
    let encoded = basic("cli+ent%2B:h%3Au%2Fsh%C3%A9");
    let raw = basic("cli ent+:h:u/shé");
    let cases = [
        (ClientAuth::Basic, false, Some(encoded), ""),
        (ClientAuth::Basic, true, Some(raw), ""),
        (ClientAuth::Post, false, None, "client_id=cli+ent%2B&client_secret=h%3Au%2Fsh%C3%A9"),
        (ClientAuth::None, false, None, "client_id=cli+ent%2B"),
    ];
    for (auth, is_raw, header, body) in cases {
        let mut connector = connector(endpoint.port);
        connector.client_id = "cli ent+".to_owned();
        connector.client_secret = (auth != ClientAuth::None).then(|| ClientSecret::new("h:u/shé"));
        connector.client_auth = auth;
        if is_raw {
            connector.quirks.insert(Quirk::RawBasic);
        }
        Registry::new([connector.clone()]).unwrap();
        endpoint.answer(Reply::http(200, "", TOKENS));
        let token = RefreshToken::new("r1");
        exchange().exchange_refresh_token(&connector, &token).await.unwrap();
        let request = endpoint.requests().pop().unwrap();
        let (head, form) = request.split_once("\r\n\r\n").unwrap();
        let sent = head.lines().find_map(|line| line.strip_prefix("authorization: "));
        assert_eq!(sent, header.as_deref(), "{auth:?}");
        assert!(form.contains(body), "{auth:?}: {form}");
        assert_eq!(form.contains("client_id"), header.is_none(), "{auth:?}: {form}");
        assert_eq!(form.contains("client_secret"), auth == ClientAuth::Post, "{auth:?}: {form}");
    }
}
