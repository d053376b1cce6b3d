//! One replica of the service in the demo: a host that links the library.
//!
//! It keeps nothing between two requests: whatever it starts, another replica can finish. On
//! standard output it tells the demo what a service would write to its own logs; a browser is
//! never told why a state was refused.

use std::{net::Ipv4Addr, sync::Arc};

use anyhow::Context;
use axum::{
    Json, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{io::AsyncReadExt, net::TcpListener};
use vestibule::{
    Vestibule,
    connection::{
        Callback, ConnectionError, Connections, ConnectionsConfig, HttpExchange, SignIn,
        SignInError,
    },
    pkce::{NotFound, PkceError},
};

use crate::{
    config::{Connect, LogFormat, Settings},
    logs,
};

/// What a replica is told.
#[derive(Debug, Args)]
pub struct Options {
    /// Where things are.
    #[command(flatten)]
    pub connect: Connect,
    /// Which replica this is
    #[arg(long, value_name = "NAME")]
    pub instance: String,
    /// Where the provider sends users back to: the same for all replicas
    #[arg(long, value_name = "URL")]
    pub redirect_uri: String,
}

/// What a replica says, one object a line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event {
    Ready { port: u16 },
    SignedIn { connection: String },
    StateRefused { cause: String },
    Failed { why: String },
}

impl Event {
    fn tell(&self) {
        if let Ok(line) = serde_json::to_string(self) {
            println!("{line}");
        }
    }
}

/// Serves until standard input ends.
///
/// # Errors
///
/// If it cannot start.
pub async fn run(options: Options) -> anyhow::Result<()> {
    logs::install(LogFormat::Plain);
    let settings = Settings::load(&options.connect)?;
    let vestibule = Vestibule::connect(settings.redis, &settings.keys).await?;
    let config = ConnectionsConfig::new(settings.registry, Arc::new(HttpExchange::new()?));
    let connections = vestibule.connections(config.with_instance(&options.instance));

    let service = Service { connections: connections.clone(), redirect_uri: options.redirect_uri };
    let routes = Router::new()
        .route("/login", get(login))
        .route("/callback", get(callback))
        .route("/vend", get(vend))
        .with_state(Arc::new(service));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no free port")?;
    Event::Ready { port: listener.local_addr()?.port() }.tell();
    axum::serve(listener, routes).with_graceful_shutdown(end_of_input()).await?;
    connections.drained().await;
    Ok(())
}

struct Service {
    connections: Connections,
    redirect_uri: String,
}

#[derive(Deserialize)]
struct Login {
    /// A real host knows its user from a session of its own. This one believes what it is told.
    owner: String,
}

/// Sends the user to the provider.
async fn login(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    Query(Login { owner }): Query<Login>,
) -> Response {
    let session = session_of(&headers).unwrap_or_else(random_session);
    let sign_in = SignIn::new(&owner, CONNECTOR, &session, &service.redirect_uri);
    match service.connections.start(sign_in).await {
        Ok(started) => {
            let cookie = format!("{COOKIE}={session}; Path=/; HttpOnly; SameSite=Lax");
            let headers = [
                (header::LOCATION, String::from(started.authorize_url)),
                (header::SET_COOKIE, cookie),
                (header::CACHE_CONTROL, "no-store".to_owned()),
            ];
            (StatusCode::FOUND, headers).into_response()
        }
        Err(error) => failed(&error.to_string()),
    }
}

#[derive(Deserialize)]
struct Redirected {
    #[serde(default)]
    state: String,
    code: Option<String>,
    error: Option<String>,
    iss: Option<String>,
}

/// Finishes whatever sign-in the state names, wherever that was started.
async fn callback(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    Query(redirected): Query<Redirected>,
) -> Response {
    let session = session_of(&headers).unwrap_or_default();
    let finished = service.connections.finish(Callback {
        state: &redirected.state,
        code: redirected.code.as_deref(),
        error: redirected.error.as_deref(),
        iss: redirected.iss.as_deref(),
        session: &session,
    });
    match finished.await {
        Ok(finished) => {
            let connection = finished.connection.to_string();
            Event::SignedIn { connection: connection.clone() }.tell();
            answer(StatusCode::OK, json!({ "connection": connection }))
        }
        Err(SignInError::State(PkceError::StateNotFound(cause))) => {
            let cause = match cause {
                NotFound::Replayed { .. } => "replayed",
                NotFound::Expired => "expired",
                _ => "absent",
            };
            Event::StateRefused { cause: cause.to_owned() }.tell();
            let told = "this sign-in is not known here: please start again";
            answer(StatusCode::BAD_REQUEST, json!({ "error": told }))
        }
        Err(error) => failed(&error.to_string()),
    }
}

#[derive(Deserialize)]
struct Vend {
    owner: String,
    connection: String,
}

/// Vends an access token. A real host uses it for its user and shows it to nobody; this one hands
/// it out, so that the demo can hold it against what the provider knows.
async fn vend(State(service): State<Arc<Service>>, Query(asked): Query<Vend>) -> Response {
    let Ok(id) = asked.connection.parse() else {
        return answer(StatusCode::NOT_FOUND, json!({ "error": "no such connection" }));
    };
    match service.connections.vend(&asked.owner, &id).await {
        Ok(vended) => {
            let access_token = vended.access_token.secret();
            let path = vended.path.as_str();
            answer(StatusCode::OK, json!({ "access_token": access_token, "path": path }))
        }
        Err(ConnectionError::NotFound) => {
            answer(StatusCode::NOT_FOUND, json!({ "error": "no such connection" }))
        }
        Err(error) => failed(&error.to_string()),
    }
}

fn failed(why: &str) -> Response {
    tracing::warn!(why, "a request failed");
    Event::Failed { why: why.to_owned() }.tell();
    answer(StatusCode::SERVICE_UNAVAILABLE, json!({ "error": why }))
}

fn answer(status: StatusCode, body: Value) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// What the browser's session is known by, if it has one.
fn session_of(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get(header::COOKIE)?.to_str().ok()?;
    let mut pairs = cookies.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value.to_owned())
}

fn random_session() -> String {
    vestibule::pkce::OauthState::random().secret().to_owned()
}

async fn end_of_input() {
    let mut unread = Vec::new();
    // An input that cannot be read has ended as well.
    let _ = tokio::io::stdin().read_to_end(&mut unread).await;
}

const CONNECTOR: &str = "demo";
const COOKIE: &str = "demo_session";
