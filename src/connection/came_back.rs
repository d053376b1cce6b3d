//! What a provider's redirect brought, and whether it is of the sign-in that it says.

use super::{
    AuthorizationCode, Callback, Connector, ExchangeClass, ExchangeError, Inner, SignInError,
};
use crate::{
    pkce::{OauthState, PkceState},
    store::{Actor, EventKind, NewEvent, Subject},
};

/// A callback, for a task of its own.
pub(super) struct Came {
    session: String,
    owner: Option<String>,
    redirect_uri: Option<String>,
    iss: Option<String>,
    error: Option<String>,
    code: Option<AuthorizationCode>,
}

impl Came {
    pub(super) fn of(callback: &Callback<'_>) -> Self {
        let Callback { session, owner, redirect_uri, iss, error, .. } = callback;
        Self {
            session: (*session).to_owned(),
            owner: owner.map(str::to_owned),
            redirect_uri: redirect_uri.map(str::to_owned),
            iss: iss.map(str::to_owned),
            error: error.map(str::to_owned),
            code: callback.code.filter(|code| !code.is_empty()).map(AuthorizationCode::new),
        }
    }

    /// The code, if the provider gave one.
    pub(super) fn code(self) -> Result<AuthorizationCode, SignInError> {
        match self.error {
            Some(code) => {
                let code = ExchangeError::new(ExchangeClass::Rejected, &code).reason;
                Err(SignInError::Refused { code })
            }
            None => self.code.ok_or(SignInError::NoCode),
        }
    }
}

impl Inner {
    /// What is kept of a session: it is as good as its cookie.
    pub(super) fn session_digest(&self, session: &str) -> String {
        self.foundation.naming.digest("sign-in-session", &[session.as_bytes()]).to_hex()
    }

    /// Refuses what came back with anything else than its sign-in was begun with, and tells it.
    pub(super) async fn is_of(
        &self,
        state: &OauthState,
        record: &PkceState,
        came: &Came,
    ) -> Result<&Connector, SignInError> {
        let connector = self.config.registry.lookup(&record.connection);
        let issuer = connector.as_ref().ok().and_then(|connector| connector.issuer.as_ref());
        let (why, refused) = if !is_same(&record.session, &self.session_digest(&came.session)) {
            ("other_session", SignInError::OtherSession)
        } else if came.owner.as_ref().is_some_and(|came| *came != record.started_by) {
            ("other_owner", SignInError::OtherOwner)
        } else if came.redirect_uri.as_ref().is_some_and(|came| *came != record.redirect_uri) {
            ("other_redirect", SignInError::OtherRedirect)
        } else if issuer.is_some_and(|issuer| came.iss.as_ref() != Some(issuer)) {
            ("other_issuer", SignInError::OtherIssuer)
        } else {
            return Ok(connector?);
        };
        tracing::warn!(connector = %record.connection, why, "a callback is refused");
        let name = self.pkce.name(state);
        let event = NewEvent {
            kind: EventKind::ReplayRefused,
            subject: Subject::State,
            subject_id: &name.digest.to_hex(),
            name: &record.connection,
            owner: self.owner(&record.started_by).ok(),
            actor: Actor::Owner,
            idp_host: connector.map_or("", Connector::idp_host),
            detail: &format!("reason={why}"),
        };
        // Once: the state is used up by it.
        let request = self.foundation.naming.digest("refused", &[name.digest.as_bytes()]);
        self.foundation.tell(name.shard, event, request).await;
        Err(refused)
    }
}

/// Sessions are secrets of their browsers: compared in constant time.
fn is_same(one: &str, other: &str) -> bool {
    use subtle::ConstantTimeEq;
    one.as_bytes().ct_eq(other.as_bytes()).into()
}
