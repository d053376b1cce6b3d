//! The sign-in: start on one replica, finish on another.

use std::{fmt, sync::Arc};

use tracing::{Instrument, Span, field::Empty};
use url::Url;

use super::{
    AuthorizationCode, CodeGrant, ConnectionError, ExchangeError, Inner, PATIENCE, SignInError,
    came_back::Came, persisting, return_url::is_same_origin, telling::Began,
};
use crate::{
    digest::RequestId,
    pkce::{OauthState, PkceState, PkceVerifier},
    store::ConnectionId,
    trace,
};

/// A sign-in to be started.
#[derive(Clone)]
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
#[derive(Clone)]
#[non_exhaustive]
pub struct Started {
    /// Where to send the user. Contains the state: do not log it.
    pub authorize_url: Url,
    /// The state in it.
    pub state: OauthState,
}

/// What the provider's redirect brought, as it came.
#[derive(Clone, Copy, Default)]
pub struct Callback<'a> {
    /// The `state` parameter.
    pub state: &'a str,
    /// The `code` parameter.
    pub code: Option<&'a str>,
    /// The `error` parameter.
    pub error: Option<&'a str>,
    /// Who is signed in at the host now, to be compared with whose sign-in it is: for a host whose
    /// sessions outlive a change of their user.
    pub owner: Option<&'a str>,
    /// The `iss` parameter (RFC 9207).
    pub iss: Option<&'a str>,
    /// What the session of the browser that came back is known by.
    pub session: &'a str,
    /// Where it came in, to be compared with where it was to: a host with a callback for each connector
    /// tells providers apart by it that send no `iss` (RFC 9700 section 4.4.2.2).
    pub redirect_uri: Option<&'a str>,
}

// Hand-written: the states, codes and sessions in them are as good as the sign-in.
impl fmt::Debug for SignIn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignIn").field("connector", &self.connector).finish_non_exhaustive()
    }
}

impl fmt::Debug for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Started([redacted])")
    }
}

impl fmt::Debug for Callback<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callback").field("error", &self.error).finish_non_exhaustive()
    }
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

impl Inner {
    pub(super) async fn start(&self, sign_in: SignIn<'_>) -> Result<Started, SignInError> {
        let owner = self.owner(sign_in.owner)?;
        let connector = self.config.registry.lookup(sign_in.connector)?;
        let Some(mut authorize_url) = connector.authorize_url.clone() else {
            return Err(ConnectionError::other_auth(connector).into());
        };
        self.not_paused(connector).await.map_err(SignInError::unasked)?;
        let redirect = Url::parse(sign_in.redirect_uri).map_err(|_| SignInError::RedirectUri)?;
        if !matches!(redirect.scheme(), "http" | "https") || redirect.fragment().is_some() {
            return Err(SignInError::RedirectUri);
        }
        if sign_in.session.is_empty() {
            return Err(SignInError::NoSession);
        }
        let return_url = sign_in.return_url.unwrap_or_default();
        if !return_url.is_empty() && !is_same_origin(return_url, &redirect) {
            return Err(SignInError::ReturnUrl);
        }

        let known_end_ms = match sign_in.reauthorises {
            Some(id) => self.stands(owner, connector, id).await?.known_end_ms,
            None => None,
        };

        let (state, verifier) = (OauthState::random(), PkceVerifier::random());
        let challenge = verifier.challenge();
        let mut record = PkceState::new(sign_in.connector, verifier).with_kind("connection");
        record.started_by = sign_in.owner.to_owned();
        record.created_at_ms = self.foundation.store.now_ms();
        record.return_url = return_url.to_owned();
        record.redirect_uri = sign_in.redirect_uri.to_owned();
        record.session = self.session_digest(sign_in.session);
        record.resource = sign_in.resource.unwrap_or_default().to_owned();
        record.reauthorises =
            sign_in.reauthorises.map(|id| id.as_str().to_owned()).unwrap_or_default();
        record.known_end_ms = known_end_ms;
        self.pkce.put(&state, &record).await?;
        let (name, reauthorises) = (self.pkce.name(&state), &*record.reauthorises);
        let began = Began { connector: sign_in.connector, owner, reauthorises };
        self.tell_started((name.shard, &name.digest.to_hex()), began).await;

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
            if !record.resource.is_empty() {
                query.append_pair("resource", &record.resource);
            }
        }
        Ok(Started { authorize_url, state })
    }

    /// In a task of its own: once the state is taken, what follows must not die with the caller.
    pub(super) async fn finish(
        inner: &Arc<Self>,
        request: RequestId,
        callback: Callback<'_>,
    ) -> Result<Finished, SignInError> {
        let state = OauthState::parse(callback.state)?;
        let came = Came::of(&callback);
        let task = inner.clone();
        let span = tracing::info_span!("vestibule.sign_in.finish", connector = Empty);
        let finishing = async move {
            let finished = task.take_and_redeem(&request, &state, came, &span).await;
            trace::judge(&span, &finished);
            finished
        };
        let running = inner.exchanges.spawn(trace::follow(finishing));
        running.await.map_err(|_| {
            let what = "the exchange's task ended early";
            ExchangeError::new(super::ExchangeClass::Undecided, what)
        })?
    }

    async fn take_and_redeem(
        &self,
        request: &RequestId,
        state: &OauthState,
        came: Came,
        span: &Span,
    ) -> Result<Finished, SignInError> {
        // First of all, and whatever the rest says: one state, one try.
        let record = self.pkce.take_unseen(request, state).await?;
        record.trace().join(span);
        let connector = self.is_of(state, &record, &came).await?;
        span.record("connector", &*connector.slug);
        let code = came.code()?;
        self.redeem(&code, record).instrument(span.clone()).await
    }

    async fn redeem(
        &self,
        code: &AuthorizationCode,
        record: PkceState,
    ) -> Result<Finished, SignInError> {
        let connector = self.config.registry.lookup(&record.connection)?;
        let before = match record.reauthorises.as_str() {
            "" => None,
            id => Some(id.parse::<ConnectionId>().map_err(|_| ConnectionError::NotFound)?),
        };
        if let Some(id) = &before {
            let owner = self.owner(&record.started_by)?;
            self.still_stands(owner, connector, id, record.known_end_ms).await?;
        }
        let grant = CodeGrant {
            code,
            verifier: &record.verifier,
            redirect_uri: &record.redirect_uri,
            resource: &record.resource,
        };
        let call = self.config.exchange.exchange_code(connector, grant);
        let asked = self.ask(connector, PATIENCE, call, |_| None).await;
        let answer = asked.map_err(SignInError::unasked)??;
        let (owner, slug) = (&record.started_by, &record.connection);
        // The code is spent: its credential is kept trying for as long as a refreshed one would be.
        let new = self.prepare(owner, slug, before.as_ref(), &answer).await?;
        let new = new.with_known_end(record.known_end_ms);
        let connection = persisting::persist(|| self.store(&new)).await?;
        let return_url = Some(record.return_url).filter(|url| !url.is_empty());
        Ok(Finished { connection, return_url })
    }
}
