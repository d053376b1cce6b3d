//! The device flow (RFC 8628): codes, the page where a person types one in, and who polls too fast.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Json,
    body::Bytes,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use serde_json::json;

use super::{
    Counts, Settings, Shared,
    client::authenticate,
    ledger::random_text,
    params::Params,
    token::{NO_STORE, Refusal, is_form},
};

/// What `slow_down` adds to the interval that a code must be polled at (RFC 8628, 3.5).
const SLOWER: Duration = Duration::from_secs(5);
/// No vowels, and nothing that looks like something else (RFC 8628, 6.1).
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

/// The codes, and what became of them.
#[derive(Default)]
pub(super) struct Devices {
    by_code: HashMap<String, Device>,
}

struct Device {
    user_code: String,
    scope: String,
    expires: Instant,
    interval: Duration,
    slow_down: bool,
    polled: Option<Instant>,
    decision: Decision,
}

enum Decision {
    Open,
    Approved { subject: String },
    Denied,
    Spent,
}

impl Devices {
    fn issue(&mut self, scope: String, settings: &Settings, now: Instant) -> (String, String) {
        let (device_code, user_code) = (random_text(), random_user_code());
        let device = Device {
            user_code: user_code.clone(),
            scope,
            expires: now + settings.device_code_lifetime,
            interval: settings.device_interval,
            slow_down: false,
            polled: None,
            decision: Decision::Open,
        };
        self.by_code.insert(device_code.clone(), device);
        (device_code, user_code)
    }

    /// Whose tokens a poll is to be given, and of which scope.
    pub(super) fn poll(
        &mut self,
        device_code: &str,
        counts: &mut Counts,
        now: Instant,
    ) -> Result<(String, String), Refusal> {
        counts.device_polls += 1;
        let known = self.by_code.get_mut(device_code);
        let device = known.ok_or(Refusal::invalid_grant("the device code is unknown"))?;
        let since = device.polled.replace(now).map(|before| now - before);
        if let Decision::Spent = device.decision {
            return Err(Refusal::invalid_grant("the device code was used before"));
        }
        if now >= device.expires {
            return Err(Refusal::bad_request("expired_token", "the device code has run out"));
        }
        // Judged whatever the person said: whoever polls too fast waits for it longer.
        let too_fast = since.is_some_and(|since| since < device.interval);
        if too_fast {
            counts.device_polls_too_fast += 1;
        }
        if too_fast || std::mem::take(&mut device.slow_down) {
            device.interval += SLOWER;
            return Err(Refusal::bad_request("slow_down", "polled more often than agreed"));
        }
        match std::mem::replace(&mut device.decision, Decision::Spent) {
            Decision::Approved { subject } => {
                counts.device_grants += 1;
                Ok((subject, device.scope.clone()))
            }
            undecided => {
                let denied = matches!(undecided, Decision::Denied);
                device.decision = undecided;
                let code = if denied { "access_denied" } else { "authorization_pending" };
                Err(Refusal::bad_request(code, "nobody has approved it"))
            }
        }
    }

    /// The next poll with this code's device code is told to slow down, and from then on polls must
    /// be that much further apart.
    pub(super) fn slow_down(&mut self, user_code: &str, now: Instant) -> bool {
        self.open(user_code, now).map(|device| device.slow_down = true).is_some()
    }

    /// A person decides; `None` for no. Only once, and only in time.
    pub(super) fn decide(&mut self, user_code: &str, subject: Option<&str>, now: Instant) -> bool {
        let Some(device) = self.open(user_code, now) else { return false };
        device.decision = match subject {
            Some(subject) => Decision::Approved { subject: subject.to_owned() },
            None => Decision::Denied,
        };
        true
    }

    /// Found as a person types it: in any case, with or without the dash.
    fn open(&mut self, typed: &str, now: Instant) -> Option<&mut Device> {
        let letters = |text: &str| -> String {
            text.chars().filter(char::is_ascii_alphabetic).collect::<String>().to_uppercase()
        };
        let typed = letters(typed);
        self.by_code.values_mut().find(|device| {
            let open = matches!(device.decision, Decision::Open) && now < device.expires;
            open && letters(&device.user_code) == typed
        })
    }
}

/// Gives a device code and a user code (RFC 8628, 3.1 and 3.2).
pub(super) async fn authorize(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(params) = Params::parse(&body).filter(|_| is_form(&headers)) else {
        return Refusal::invalid_request("the body must be a form, with nothing twice")
            .into_response();
    };
    let settings = &shared.settings;
    if let Err(refusal) = authenticate(settings, &headers, &params) {
        return refusal.into_response();
    }
    let scope = params.find("scope").unwrap_or("offline_access").to_owned();
    let mut state = shared.lock();
    state.ledger.counts.device_authorizations += 1;
    let (device_code, user_code) = state.devices.issue(scope, settings, shared.now());
    drop(state);
    tracing::debug!("device code issued");
    let page = format!("{}/device", shared.issuer);
    let body = json!({
        "device_code": device_code,
        "user_code": user_code,
        "verification_uri": page,
        "verification_uri_complete": format!("{page}?user_code={user_code}"),
        "expires_in": settings.device_code_lifetime.as_secs_f64(),
        "interval": settings.device_interval.as_secs_f64(),
    });
    (NO_STORE, Json(body)).into_response()
}

/// The page where a person types the code in.
pub(super) async fn page(RawQuery(query): RawQuery) -> Response {
    let params = Params::parse(query.unwrap_or_default().as_bytes());
    let typed = params.as_ref().and_then(|params| params.find("user_code")).unwrap_or_default();
    // Letters and the dash are all that a code has; nothing else goes into the page.
    let code: String =
        typed.chars().filter(|c| c.is_ascii_alphabetic() || *c == '-').take(20).collect();
    let page = format!(
        "<!doctype html><title>Connect a device</title><form method=post>\
         <label>Code <input name=user_code value=\"{code}\"></label>\
         <label>You are <input name=login value=someone></label>\
         <button name=decision value=approve>Allow</button>\
         <button name=decision value=deny>Deny</button></form>"
    );
    ([(header::CACHE_CONTROL, "no-store")], Html(page)).into_response()
}

/// What the person said there.
pub(super) async fn decide(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let Some(params) = Params::parse(&body) else {
        return (StatusCode::BAD_REQUEST, "a field is there twice\n").into_response();
    };
    let login = params.find("login").unwrap_or("someone");
    let subject = (params.find("decision") == Some("approve")).then_some(login);
    let user_code = params.find("user_code").unwrap_or_default();
    if shared.lock().devices.decide(user_code, subject, shared.now()) {
        (StatusCode::OK, "thank you: go back to your device\n").into_response()
    } else {
        (StatusCode::NOT_FOUND, "no such code, or it has run out\n").into_response()
    }
}

fn random_user_code() -> String {
    let letters = random_text().into_bytes().into_iter();
    let mut letters = letters.map(|byte| LETTERS[usize::from(byte) % LETTERS.len()] as char);
    let mut half = || letters.by_ref().take(4).collect::<String>();
    format!("{}-{}", half(), half())
}
