//! Signing in over two replicas, and what comes of it.

use std::sync::Arc;

use axum::{
    Form, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::json;
use vestibule::{
    connection::{Callback, ConnectionError, Connections, SignIn, SignInError},
    pkce::{NotFound, PkceError},
};

use super::{Event, answer, failed, warn};

/// The routes of a sign-in, and the one that vends what came of it.
pub(super) fn routes(connections: Connections, redirect_uri: String) -> Router {
    Router::new()
        .route("/login", get(login))
        .route("/callback", get(callback))
        .route("/vend", get(vend))
        .route("/access", post(access))
        .with_state(Arc::new(SignIns { connections, redirect_uri }))
}

struct SignIns {
    connections: Connections,
    redirect_uri: String,
}

#[derive(Deserialize)]
struct Login {
    /// A real host knows its user from a session of its own. This one believes what it is told.
    owner: String,
    /// At which provider.
    connector: String,
}

/// Sends the user to the provider.
async fn login(
    State(it): State<Arc<SignIns>>,
    headers: HeaderMap,
    Query(Login { owner, connector }): Query<Login>,
) -> Response {
    let session = session_of(&headers).unwrap_or_else(random_session);
    let sign_in = SignIn::new(&owner, &connector, &session, &it.redirect_uri);
    match it.connections.start(sign_in).await {
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
    State(it): State<Arc<SignIns>>,
    headers: HeaderMap,
    Query(redirected): Query<Redirected>,
) -> Response {
    let session = session_of(&headers).unwrap_or_default();
    let finished = it.connections.finish(Callback {
        state: &redirected.state,
        code: redirected.code.as_deref(),
        error: redirected.error.as_deref(),
        iss: redirected.iss.as_deref(),
        session: &session,
        ..Callback::default()
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
async fn vend(State(it): State<Arc<SignIns>>, Query(asked): Query<Vend>) -> Response {
    let vended = match asked.connection.parse() {
        Ok(id) => it.connections.vend(&asked.owner, &id).await,
        Err(_) => Err(ConnectionError::NotFound),
    };
    match vended {
        Ok(vended) => {
            let access_token = vended.access_token.secret();
            let path = vended.path.as_str();
            answer(StatusCode::OK, json!({ "access_token": access_token, "path": path }))
        }
        Err(error @ ConnectionError::NotFound) => not_vended(StatusCode::NOT_FOUND, &error),
        Err(error @ ConnectionError::Withdrawn) => not_vended(StatusCode::FORBIDDEN, &error),
        Err(error) => {
            warn(&error.to_string());
            not_vended(StatusCode::SERVICE_UNAVAILABLE, &error)
        }
    }
}

fn not_vended(status: StatusCode, error: &ConnectionError) -> Response {
    answer(status, json!({ "error": error.to_string(), "reason": reason_of(error) }))
}

/// In a word, so that whoever counts refusals can tell them apart.
fn reason_of(error: &ConnectionError) -> &'static str {
    match error {
        ConnectionError::NotFound => "not_found",
        ConnectionError::Withdrawn => "withdrawn",
        ConnectionError::NeedsReauth { .. } => "needs_reauth",
        ConnectionError::Exhausted { .. } => "exhausted",
        ConnectionError::RanOut => "ran_out",
        ConnectionError::BackingOff { .. } => "backing_off",
        ConnectionError::TimedOut { .. } => "refresh_still_running",
        ConnectionError::AtCap { .. } => "at_cap",
        ConnectionError::ConnectorPaused { .. } => "connector_paused",
        ConnectionError::Exchange(_) => "exchange_failed",
        ConnectionError::Store(_) => "store_failed",
        _ => "failed",
    }
}

#[derive(Deserialize)]
struct Access {
    owner: String,
    connection: String,
    granted: bool,
}

/// A real host learns this from whoever grants access: a directory, a contract, an operator.
async fn access(State(it): State<Arc<SignIns>>, Form(asked): Form<Access>) -> Response {
    let Ok(id) = asked.connection.parse() else {
        return answer(StatusCode::NOT_FOUND, json!({ "error": "no such connection" }));
    };
    let outcome = if asked.granted {
        it.connections.restore_access(&asked.owner, &id).await.map(|outcome| format!("{outcome:?}"))
    } else {
        it.connections
            .withdraw_access(&asked.owner, &id)
            .await
            .map(|outcome| format!("{outcome:?}"))
    };
    match outcome {
        Ok(outcome) => (StatusCode::OK, outcome.to_lowercase()).into_response(),
        Err(error) => failed(&error.to_string()),
    }
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

const COOKIE: &str = "demo_session";
