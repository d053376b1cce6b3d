//! A host with the demo provider as its connector, and a person who signs in there.

use std::sync::Arc;

use vestibule::{
    Vestibule,
    connection::{
        Callback, ClientSecret, Connections, ConnectionsConfig, Connector, HttpExchange, Registry,
        ReplayPolicy, SignIn,
    },
    store::ConnectionId,
};
use vestibule_worker::provider::Settings;

const REDIRECT: &str = "http://127.0.0.1:9/callback";

/// The provider's connector, as a host would configure it.
pub fn connector(issuer: &str, replay: ReplayPolicy) -> Connector {
    let url = |path: &str| format!("{issuer}{path}").parse().unwrap();
    let settings = Settings::default();
    let mut connector =
        Connector::new("demo", url("/authorize"), url("/token"), settings.client_id).unwrap();
    connector.client_secret = Some(ClientSecret::new(settings.client_secret));
    connector.issuer = Some(issuer.to_owned());
    connector.replay = replay;
    connector
}

pub fn connections_of(vestibule: &Vestibule, connector: Connector) -> Connections {
    install_tls();
    let registry = Registry::new([connector]).unwrap();
    let exchange = Arc::new(HttpExchange::new().unwrap());
    vestibule.connections(ConnectionsConfig::new(registry, exchange).with_instance("test"))
}

/// What the worker does in its `main`.
pub fn install_tls() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// A person's browser: goes to the provider, and says what it is sent back with.
pub async fn consent(authorize_url: &str) -> Vec<(String, String)> {
    install_tls();
    let client =
        reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let answer = client.get(authorize_url).send().await.unwrap();
    let location = answer.headers()["location"].to_str().unwrap();
    let location = url::Url::parse(location).unwrap();
    location.query_pairs().into_owned().collect()
}

/// A parameter of what the provider sent back.
pub fn param<'a>(params: &'a [(String, String)], name: &str) -> Option<&'a str> {
    params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// A whole sign-in.
pub async fn sign_in(connections: &Connections, owner: &str) -> ConnectionId {
    let started = connections.start(SignIn::new(owner, "demo", "s", REDIRECT)).await.unwrap();
    let params = consent(started.authorize_url.as_str()).await;
    let callback = Callback {
        state: param(&params, "state").unwrap(),
        code: param(&params, "code"),
        error: param(&params, "error"),
        iss: param(&params, "iss"),
        session: "s",
        ..Callback::default()
    };
    connections.finish(callback).await.unwrap().connection
}
