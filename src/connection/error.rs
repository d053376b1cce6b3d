use std::time::Duration;

use super::{AuthType, Connector, ExchangeError};
use crate::{
    pkce::{InvalidState, PkceError},
    seal::SealError,
    store::{Status, StoreError},
};

/// What can go wrong with a connection. No variant carries a secret.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// There is none of this id, or it is another owner's: the two look the same.
    #[error("connection not found")]
    NotFound,
    /// The provider will not refresh it any more: its owner must sign in again.
    #[error("connection needs re-authorization: {reason}")]
    NeedsReauth {
        /// Why, as the provider said.
        reason: String,
    },
    /// Its refresh failed for so long that it was given up: [retry](super::Connections::retry) it
    /// once the cause is mended.
    #[error("the refresh was given up after too many failures ({last_error}); retry it by hand")]
    Exhausted {
        /// What the last one failed with.
        last_error: String,
    },
    /// It was revoked.
    #[error("connection revoked")]
    Revoked,
    /// Access to it was [withdrawn](super::Connections::withdraw_access): it is kept for a while,
    /// and vends again once access is [given back](super::Connections::restore_access).
    #[error("access to this connection was withdrawn")]
    Withdrawn,
    /// Its access token ran out, and there is nothing to refresh it with.
    #[error("the access token ran out, and the provider gave no refresh token: sign in again")]
    RanOut,
    /// The last refresh failed, and the next try is not due yet.
    #[error(
        "the access token ran out; the last refresh failed ({last_error}), next try in {retry_in:?}"
    )]
    BackingOff {
        /// When the next try is due.
        retry_in: Duration,
        /// What the last one failed with.
        last_error: String,
    },
    /// Its connector is paused: the provider does not accept the host itself, and nobody asks it.
    /// The credential is as it was; an operator must mend the client.
    #[error(
        "no fresh access token: connector {connector} is paused ({reason}) for another \
         {remaining:?}: mend its client"
    )]
    ConnectorPaused {
        /// The connector.
        connector: String,
        /// What the provider said.
        reason: String,
        /// For so long nobody asks.
        remaining: Duration,
    },
    /// The connector's provider takes no more calls at the moment.
    #[error(
        "no fresh access token: connector {connector} is at its cap: try again in {retry_in:?}"
    )]
    AtCap {
        /// The connector.
        connector: String,
        /// When there may be room.
        retry_in: Duration,
    },
    /// The exchange that this caller waited for failed.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The refresh that this caller waited for did not end within the deadline.
    #[error("no fresh access token within {waited:?}: a refresh is still running")]
    TimedOut {
        /// How long it waited.
        waited: Duration,
    },
    /// No connector of this slug is in the registry.
    #[error("connector {slug:?} is not in the registry")]
    UnknownConnector {
        /// The slug.
        slug: String,
    },
    /// The connector's credentials are of another kind than this verb is for.
    #[error("connector {connector} works with {}: use {}", .auth.as_str(), verbs(*.auth))]
    OtherAuth {
        /// The connector.
        connector: String,
        /// What its credentials are.
        auth: AuthType,
    },
    /// What was pasted cannot be a key.
    #[error("this cannot be an API key: {why}")]
    InvalidKey {
        /// Why not.
        why: &'static str,
    },
    /// Not an owner.
    #[error("an owner has 1 to 512 bytes; this has {length}")]
    InvalidOwner {
        /// How many bytes it has.
        length: usize,
    },
    /// The credential does not seal or open.
    #[error("credential: {0}")]
    Seal(#[from] SealError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ConnectionError {
    /// Of a connection that was revoked, withdrawn or, without a status, deleted.
    pub(super) fn ended(status: Option<Status>) -> Self {
        match status {
            Some(Status::Revoked) => Self::Revoked,
            Some(Status::Orphaned) => Self::Withdrawn,
            _ => Self::NotFound,
        }
    }

    pub(super) fn other_auth(connector: &Connector) -> Self {
        Self::OtherAuth { connector: connector.slug.clone(), auth: connector.auth }
    }

    /// What it is called where vends are counted: `refused` where no waiting helps.
    pub(super) const fn vend_word(&self) -> &'static str {
        match self {
            Self::NotFound
            | Self::NeedsReauth { .. }
            | Self::Exhausted { .. }
            | Self::Revoked
            | Self::Withdrawn
            | Self::RanOut
            | Self::OtherAuth { .. }
            | Self::InvalidKey { .. }
            | Self::InvalidOwner { .. } => "refused",
            _ => "failed",
        }
    }
}

/// What a connection of this kind is made and used with.
fn verbs(auth: AuthType) -> &'static str {
    match auth {
        AuthType::OAuth2 => "start and finish, then vend",
        AuthType::ClientCredentials => "connect_client, then vend",
        AuthType::ApiKey => "store_api_key without a secret, then vend_api_key",
        AuthType::ApiKeyAndSecret => "store_api_key with a secret, then vend_api_key",
    }
}

/// Why a sign-in did not start or finish. The messages may be shown outside.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SignInError {
    /// The state cannot be one.
    #[error(transparent)]
    InvalidState(#[from] InvalidState),
    /// The state, or what is stored of it, failed: the source says how, for logs.
    #[error("{}", outside(.0))]
    State(#[from] PkceError),
    /// Another session than the one that started it came back. The sign-in is over.
    #[error("this sign-in was started by another session")]
    OtherSession,
    /// Another owner than the one whose sign-in it is came back. The sign-in is over.
    #[error("this sign-in was started by somebody else")]
    OtherOwner,
    /// It came back elsewhere than it was to (RFC 9700 section 4.4): a mix-up attack, or a wrong
    /// configuration. The sign-in is over.
    #[error("this answer came in at another address than it was asked to")]
    OtherRedirect,
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
    /// No session: whoever gets hold of the callback could finish another's sign-in.
    #[error("a sign-in needs the session that starts it")]
    NoSession,
    /// The redirect URI cannot be one.
    #[error("the redirect URI is not an absolute http or https URL")]
    RedirectUri,
    /// The return URL leads elsewhere.
    #[error("the return URL is neither a path nor of the redirect URI's origin")]
    ReturnUrl,
    /// The code exchange failed.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The connector is paused, since its provider does not accept the host: nobody asks it. When
    /// it ends, the sign-in can be started again.
    #[error("sign-ins there are paused: try again later")]
    Paused {
        /// For so much longer.
        remaining: Duration,
    },
    /// The connector was at its cap for as long as a sign-in waits: the provider was not asked.
    #[error("too many sign in there at the moment: start again")]
    AtCap {
        /// When there may be room.
        retry_in: Duration,
    },
    /// The credential could not be stored, or what was asked for does not exist: the source says
    /// how, for logs.
    #[error("the connection could not be made")]
    Connection(#[from] ConnectionError),
}

impl SignInError {
    /// Of a call that was not made.
    pub(super) fn unasked(error: ConnectionError) -> Self {
        match error {
            ConnectionError::ConnectorPaused { remaining, .. } => Self::Paused { remaining },
            ConnectionError::AtCap { retry_in, .. } => Self::AtCap { retry_in },
            error => Self::Connection(error),
        }
    }
}

/// What may be said outside of a state that failed.
fn outside(error: &PkceError) -> &'static str {
    match error {
        PkceError::StateNotFound(_) => "this sign-in is not known here: start again",
        PkceError::Put { .. } | PkceError::Take { .. } => "not at the moment: try again",
        _ => "this sign-in cannot be used: start again",
    }
}
