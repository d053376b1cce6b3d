//! The authorization endpoint (RFC 6749, 4.1.1 to 4.1.2.1).
//!
//! A request that does not name the client and one of its redirect URIs is answered here, with a
//! plain 400: nobody is redirected to an address that was not checked. Every later error goes back
//! to the client with the redirect.

use std::sync::Arc;

use axum::{
    extract::{RawQuery, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use url::{Host, Url};

use super::{Settings, Shared, ledger::Sanction, params::Params};

pub(super) async fn authorize(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
) -> Response {
    let Some(params) = Params::parse(query.unwrap_or_default().as_bytes()) else {
        return refuse_here("a parameter is there twice");
    };
    if params.find("client_id") != Some(shared.settings.client_id.as_str()) {
        return refuse_here("unknown client_id");
    }
    let Some(redirect_uri) = params.find("redirect_uri") else {
        return refuse_here("redirect_uri is missing");
    };
    let Some(mut target) = registered(&shared.settings, redirect_uri) else {
        return refuse_here("redirect_uri is not registered");
    };

    match examine(&params, redirect_uri) {
        Ok(sanction) => {
            let expires = shared.now() + shared.settings.code_lifetime;
            let code = shared.lock().ledger.issue_code(sanction, expires);
            target.query_pairs_mut().append_pair("code", &code);
            tracing::debug!("code issued");
        }
        Err(error) => {
            target.query_pairs_mut().append_pair("error", error);
            tracing::debug!(error, "authorization refused");
        }
    }
    if let Some(state) = params.find("state") {
        target.query_pairs_mut().append_pair("state", state);
    }
    target.query_pairs_mut().append_pair("iss", &shared.issuer);
    let headers = [(header::LOCATION, target.as_str()), (header::CACHE_CONTROL, "no-store")];
    (StatusCode::FOUND, headers).into_response()
}

/// What the client may be told by redirect: the sanction to issue a code for, or an error code.
fn examine(params: &Params, redirect_uri: &str) -> Result<Sanction, &'static str> {
    if params.find("response_type").ok_or("invalid_request")? != "code" {
        return Err("unsupported_response_type");
    }
    params.find("state").ok_or("invalid_request")?;
    let challenge = params.find("code_challenge").ok_or("invalid_request")?;
    if params.find("code_challenge_method") != Some("S256") || !is_s256(challenge) {
        return Err("invalid_request");
    }
    if params.find("demo_deny") == Some("1") {
        return Err("access_denied");
    }
    Ok(Sanction {
        subject: params.find("login_hint").unwrap_or("someone").to_owned(),
        scope: params.find("scope").unwrap_or("offline_access").to_owned(),
        redirect_uri: redirect_uri.to_owned(),
        challenge: challenge.to_owned(),
    })
}

/// The redirect URI as a URL, if the client may be answered there.
fn registered(settings: &Settings, redirect_uri: &str) -> Option<Url> {
    let url = Url::parse(redirect_uri).ok().filter(|url| url.fragment().is_none())?;
    let known = if settings.redirect_uris.is_empty() {
        url.scheme() == "http" && is_loopback(&url)
    } else {
        settings.redirect_uris.iter().any(|registered| registered == redirect_uri)
    };
    known.then_some(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// A SHA-256 in base64url without padding is 43 characters long.
fn is_s256(challenge: &str) -> bool {
    challenge.len() == 43
        && challenge.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn refuse_here(why: &'static str) -> Response {
    tracing::debug!(why, "authorization refused without a redirect");
    (StatusCode::BAD_REQUEST, [(header::CACHE_CONTROL, "no-store")], why).into_response()
}
