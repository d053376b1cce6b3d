//! The token endpoint (RFC 6749, 4.1.3 and 6; RFC 8628, 3.4).
//!
//! A request is decided in one synchronous step under the lock, as soon as its body is here; only
//! then may a delay or a scripted failure stand between the decision and the answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Json,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::{Settings, Shared, client::authenticate, held::Held, ledger::Tokens, params::Params};

pub(super) async fn token(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let _in_flight = InFlight::enter(&shared.in_flight);
    let mut held = shared.held.subscribe();
    let Held { holds, given } = *held.borrow_and_update();
    let (outgoing, delay) = decide(&shared, &headers, &body);
    let answer = async {
        if holds {
            // Who would give it lasts as long as this.
            let _ = held.wait_for(|now| now.given > given).await;
        }
        send(outgoing, delay).await
    };
    tokio::select! {
        biased;
        () = shared.stopped.cancelled() => hang_up(),
        response = answer => response,
    }
}

/// What the endpoint will send.
pub(super) enum Outgoing {
    Response(Response),
    Hang,
    HangUp,
}

async fn send(outgoing: Outgoing, delay: Duration) -> Response {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    match outgoing {
        Outgoing::Response(response) => response,
        Outgoing::Hang => std::future::pending().await,
        Outgoing::HangUp => hang_up(),
    }
}

/// Closes the connection without an answer: it ends with the task that serves it, and unwinding
/// without a panic message is the way out of that task which a handler has.
fn hang_up() -> ! {
    std::panic::resume_unwind(Box::new("hung up"))
}

fn decide(shared: &Shared, headers: &HeaderMap, body: &[u8]) -> (Outgoing, Duration) {
    let now = shared.now();
    let mut state = shared.lock();
    let delay = state.answer_delay;
    let counts = &mut state.ledger.counts;
    counts.token_calls += 1;
    counts.peak_in_flight =
        counts.peak_in_flight.max(shared.in_flight.load(Ordering::SeqCst) as u64);
    state.arrivals.push(now);

    let failure = state.failure.as_mut().and_then(|failure| {
        let in_front = failure.is_in_front();
        failure.play().map(|answer| (answer, in_front))
    });
    let Some((answer, in_front)) = failure else {
        return (Outgoing::Response(process(shared, &mut state, headers, body, now)), delay);
    };
    state.ledger.counts.scripted_failures += 1;
    if !in_front {
        process(shared, &mut state, headers, body, now);
    }
    (answer.render(&shared.issuer), delay)
}

fn process(
    shared: &Shared,
    state: &mut super::State,
    headers: &HeaderMap,
    body: &[u8],
    now: Instant,
) -> Response {
    match grant(&shared.settings, state, headers, body, now) {
        Ok(tokens) => tokens.into_response(now),
        Err(refusal) => {
            state.ledger.counts.refused += 1;
            tracing::debug!(error = refusal.code, why = refusal.why, "token request refused");
            refusal.into_response()
        }
    }
}

fn grant(
    settings: &Settings,
    super::State { ledger, devices, .. }: &mut super::State,
    headers: &HeaderMap,
    body: &[u8],
    now: Instant,
) -> Result<Tokens, Refusal> {
    if !is_form(headers) {
        return Err(Refusal::invalid_request("the body must be a form"));
    }
    let params =
        Params::parse(body).ok_or(Refusal::invalid_request("a parameter is there twice"))?;
    authenticate(settings, headers, &params)?;

    let required = |name, why| params.find(name).ok_or(Refusal::invalid_request(why));
    match required("grant_type", "grant_type is missing")? {
        "authorization_code" => ledger.redeem(
            required("code", "code is missing")?,
            required("redirect_uri", "redirect_uri is missing")?,
            required("code_verifier", "code_verifier is missing")?,
            settings,
            now,
        ),
        "refresh_token" => ledger.refresh(
            required("refresh_token", "refresh_token is missing")?,
            params.find("scope"),
            settings,
            now,
        ),
        "urn:ietf:params:oauth:grant-type:device_code" => {
            let device_code = required("device_code", "device_code is missing")?;
            let (subject, scope) = devices.poll(device_code, &mut ledger.counts, now)?;
            Ok(ledger.sign_in(subject, scope, settings, now))
        }
        _ => Err(Refusal::bad_request("unsupported_grant_type", "unknown grant_type")),
    }
}

pub(super) fn is_form(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|value| value.starts_with("application/x-www-form-urlencoded"))
}

impl Tokens {
    fn into_response(self, now: Instant) -> Response {
        let body = json!({
            "access_token": self.access_token,
            "token_type": "Bearer",
            "expires_in": self.expires.saturating_duration_since(now).as_secs(),
            "refresh_token": self.refresh_token,
            "scope": self.scope,
        });
        (NO_STORE, Json(body)).into_response()
    }
}

/// A request refused on its merits (RFC 6749, 5.2).
#[derive(Debug, Clone, Copy)]
pub(super) struct Refusal {
    status: StatusCode,
    code: &'static str,
    why: &'static str,
}

impl Refusal {
    pub(super) const INVALID_CLIENT: Self = Self {
        status: StatusCode::UNAUTHORIZED,
        code: "invalid_client",
        why: "unknown client or wrong secret",
    };

    pub(super) fn invalid_request(why: &'static str) -> Self {
        Self::bad_request("invalid_request", why)
    }

    pub(super) fn invalid_grant(why: &'static str) -> Self {
        Self::bad_request("invalid_grant", why)
    }

    pub(super) fn bad_request(code: &'static str, why: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code, why }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = Json(json!({ "error": self.code, "error_description": self.why }));
        let mut response = (self.status, NO_STORE, body).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = header::HeaderValue::from_static(r#"Basic realm="token""#);
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

pub(super) const NO_STORE: [(header::HeaderName, &str); 2] =
    [(header::CACHE_CONTROL, "no-store"), (header::PRAGMA, "no-cache")];

/// Counts one request as in flight until dropped, also when its client goes away.
struct InFlight<'a>(&'a AtomicUsize);

impl<'a> InFlight<'a> {
    fn enter(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
