//! The sign-in: start on one replica, finish on another.

use std::sync::Arc;

use url::Url;

use super::{AuthorizationCode, CodeGrant, ConnectionError, ExchangeError, Inner};
use crate::{
    digest::RequestId,
    pkce::{InvalidState, OauthState, PkceError, PkceState, PkceVerifier},
    store::ConnectionId,
};

/// A sign-in to be started.
#[derive(Debug, Clone)]
pub struct SignIn<'a> {
    /// Whose connection it will be: whatever the host authenticated.
    pub owner: &'a str,
    /// The slug of the connector.
    pub connector: &'a str,
    /// What the user's browser session is known by; the callback must come from the same.
    pub session: &'a str,
    /// Where the provider sends the user back: exactly as registered there.
    pub redirect_uri: &'a str,
    /// Where to send the user afterwards: a path, or a URL of the redirect URI's origin.
    pub return_url: Option<&'a str>,
    /// The resource that the token is for (RFC 8707).
    pub resource: Option<&'a str>,
    /// The connection to re-authorise; `None` for a new one.
    pub reauthorises: Option<&'a ConnectionId>,
}

impl<'a> SignIn<'a> {
    /// With nothing optional.
    #[must_use]
    pub fn new(
        owner: &'a str,
        connector: &'a str,
        session: &'a str,
        redirect_uri: &'a str,
    ) -> Self {
        Self {
            owner,
            connector,
            session,
            redirect_uri,
            return_url: None,
            resource: None,
            reauthorises: None,
        }
    }
}

/// A sign-in under way.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Started {
    /// Where to send the user. Contains the state: do not log it.
    pub authorize_url: Url,
    /// The state in it.
    pub state: OauthState,
}

/// What the provider's redirect brought, as it came.
#[derive(Debug, Clone, Copy, Default)]
pub struct Callback<'a> {
    /// The `state` parameter.
    pub state: &'a str,
    /// The `code` parameter.
    pub code: Option<&'a str>,
    /// The `error` parameter.
    pub error: Option<&'a str>,
    /// The `iss` parameter (RFC 9207).
    pub iss: Option<&'a str>,
    /// What the session of the browser that came back is known by.
    pub session: &'a str,
}

/// A finished sign-in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finished {
    /// The connection, new or re-authorised.
    pub connection: ConnectionId,
    /// Where to send the user: of the redirect URI's own origin.
    pub return_url: Option<String>,
}

/// Why a sign-in did not start or finish. The messages may be shown outside.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SignInError {
    /// The state cannot be one.
    #[error(transparent)]
    InvalidState(#[from] InvalidState),
    /// The state, or what is stored of it, failed: see the cause.
    #[error(transparent)]
    State(#[from] PkceError),
    /// Another session than the one that started it came back. The sign-in is over.
    #[error("this sign-in was started by another session")]
    OtherSession,
    /// The `iss` is not the connector's (RFC 9207): a mix-up attack, or a wrong configuration.
    #[error("this answer is from another issuer than the one that was asked")]
    OtherIssuer,
    /// The provider reported an error instead of a code.
    #[error("the provider refused: {code}")]
    Refused {
        /// Its code, sanitised.
        code: String,
    },
    /// Neither a code nor an error.
    #[error("the provider's answer has neither a code nor an error")]
    NoCode,
    /// The redirect URI cannot be one.
    #[error("the redirect URI is not an absolute http or https URL")]
    RedirectUri,
    /// The return URL leads elsewhere.
    #[error("the return URL is neither a path nor of the redirect URI's origin")]
    ReturnUrl,
    /// The code exchange failed.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The credential could not be stored, or what was asked for does not exist.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
}

impl Inner {
    pub(super) async fn start(&self, sign_in: SignIn<'_>) -> Result<Started, SignInError> {
        self.owner(sign_in.owner)?;
        let connector = self.config.registry.lookup(sign_in.connector)?;
        let redirect = Url::parse(sign_in.redirect_uri).map_err(|_| SignInError::RedirectUri)?;
        if !matches!(redirect.scheme(), "http" | "https") || redirect.fragment().is_some() {
            return Err(SignInError::RedirectUri);
        }
        let return_url = sign_in.return_url.unwrap_or_default();
        if !return_url.is_empty() && !is_same_origin(return_url, &redirect) {
            return Err(SignInError::ReturnUrl);
        }

        let (state, verifier) = (OauthState::random(), PkceVerifier::random());
        let challenge = verifier.challenge();
        let mut record = PkceState::new(sign_in.connector, verifier).with_kind("connection");
        record.started_by = sign_in.owner.to_owned();
        record.created_at_ms = self.foundation.store.now_ms();
        record.return_url = return_url.to_owned();
        record.redirect_uri = sign_in.redirect_uri.to_owned();
        record.session = sign_in.session.to_owned();
        record.resource = sign_in.resource.unwrap_or_default().to_owned();
        record.reauthorises =
            sign_in.reauthorises.map(|id| id.as_str().to_owned()).unwrap_or_default();
        self.pkce.put(&state, &record).await?;

        let mut authorize_url = connector.authorize_url.clone();
        {
            let mut query = authorize_url.query_pairs_mut();
            query
                .append_pair("response_type", "code")
                .append_pair("client_id", &connector.client_id)
                .append_pair("redirect_uri", sign_in.redirect_uri)
                .append_pair("state", state.secret())
                .append_pair("code_challenge", challenge.as_str())
                .append_pair("code_challenge_method", "S256");
            if !connector.scopes.is_empty() {
                query.append_pair("scope", &connector.scopes.join(" "));
            }
            if let Some(resource) = sign_in.resource {
                query.append_pair("resource", resource);
            }
        }
        Ok(Started { authorize_url, state })
    }

    pub(super) async fn finish(
        inner: &Arc<Self>,
        callback: Callback<'_>,
    ) -> Result<Finished, SignInError> {
        let state = OauthState::parse(callback.state)?;
        // First of all, and whatever the rest says: one state, one try.
        let record = inner.pkce.take(&state).await?;
        if !is_same(&record.session, callback.session) {
            tracing::warn!(connector = %record.connection, "a sign-in came back in another session");
            return Err(SignInError::OtherSession);
        }
        let connector = inner.config.registry.lookup(&record.connection)?;
        if let Some(issuer) = &connector.issuer
            && callback.iss != Some(issuer)
        {
            tracing::warn!(connector = %record.connection, "a sign-in came back from another issuer");
            return Err(SignInError::OtherIssuer);
        }
        if let Some(code) = callback.error {
            let code = ExchangeError::new(super::ExchangeClass::Rejected, code).reason;
            return Err(SignInError::Refused { code });
        }
        let code = callback.code.filter(|code| !code.is_empty()).ok_or(SignInError::NoCode)?;

        // The code is redeemed once the request is sent: what follows must not die with the caller.
        let (task, code) = (inner.clone(), AuthorizationCode::new(code));
        let running = inner.exchanges.spawn(async move { task.redeem(&code, record).await });
        running.await.map_err(|_| {
            let what = "the exchange's task ended early";
            ExchangeError::new(super::ExchangeClass::Undecided, what)
        })?
    }

    async fn redeem(
        &self,
        code: &AuthorizationCode,
        record: PkceState,
    ) -> Result<Finished, SignInError> {
        let connector = self.config.registry.lookup(&record.connection)?;
        let grant = CodeGrant {
            code,
            verifier: &record.verifier,
            redirect_uri: &record.redirect_uri,
            resource: &record.resource,
        };
        let answer = self.config.exchange.exchange_code(connector, grant).await?;
        let before = match record.reauthorises.as_str() {
            "" => None,
            id => Some(id.parse::<ConnectionId>().map_err(|_| ConnectionError::NotFound)?),
        };
        let (owner, request) = (&record.started_by, RequestId::random());
        let slug = &record.connection;
        let connection = self.store(&request, owner, slug, before.as_ref(), &answer).await?;
        let return_url = Some(record.return_url).filter(|url| !url.is_empty());
        Ok(Finished { connection, return_url })
    }
}

/// A path on this site, or a URL of the same origin: never an open redirect.
fn is_same_origin(return_url: &str, redirect: &Url) -> bool {
    // What a browser would read otherwise: `//host`, `/\host`, and control characters it drops.
    if return_url.chars().any(|c| c.is_control() || c == '\\' || c.is_whitespace()) {
        return false;
    }
    match redirect.join(return_url) {
        Ok(url) => {
            url.origin() == redirect.origin()
                && (return_url.starts_with('/') || Url::parse(return_url).is_ok())
        }
        Err(_) => false,
    }
}

/// Sessions are secrets of their browsers: compared in constant time.
fn is_same(one: &str, other: &str) -> bool {
    use subtle::ConstantTimeEq;
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_return_url_stays_on_its_site() {
        let redirect = Url::parse("https://app.example/callback").unwrap();
        for good in ["/", "/a?b=c#d", "https://app.example/x"] {
            assert!(is_same_origin(good, &redirect), "{good}");
        }
        for bad in [
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "http://app.example/",
            "javascript:alert(1)",
            "x",
            "/\t/evil.example",
            "https://app.example@evil.example/",
            "https://app.example:444/",
        ] {
            assert!(!is_same_origin(bad, &redirect), "{bad}");
        }
    }
}
