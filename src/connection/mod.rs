//! Connections: credentials of users at other people's systems, fresh, and refreshed once.
//!
//! A provider that rotates refresh tokens punishes a second use. So a refresh is four steps, and
//! any replica may die in any of them:
//!
//! 1. **begin**: the lease, a fence, and the write-ahead of the attempt, in one script. The lease
//!    only saves provider calls.
//! 2. **exchange**, in a task of its own that outlives its caller and renews its lease.
//! 3. **commit**, judged by grant and lineage: if the refresh token that was presented is the
//!    current one, the answer is accepted however stale the fence, because throwing a freshly
//!    rotated token away bricks the account.
//! 4. or **fail**, judged by the fence.
//!
//! A crash leaves the attempt on record; whoever begins next sees it and applies the connector's
//! [`ReplayPolicy`]: inside the provider's grace the same refresh token is presented again. Past it,
//! or without one, the lease and the journal's window are waited out, what still lives is served,
//! and then there is one more try.
//!
//! ```no_run
//! # #[cfg(feature = "exchange")]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use vestibule::{
//!     Keys, Vestibule,
//!     connection::{
//!         Callback, ClientSecret, ConnectionsConfig, Connector, HttpExchange, Registry, SignIn,
//!     },
//!     store::redis::RedisConfig,
//! };
//!
//! let redis = RedisConfig::new("redis://localhost:6379")?;
//! let vestibule = Vestibule::connect(redis, &Keys::from_toml("…the file of keygen…")?).await?;
//! let mut github = Connector::new(
//!     "github",
//!     "https://github.com/login/oauth/authorize".parse()?,
//!     "https://github.com/login/oauth/access_token".parse()?,
//!     "my-client",
//! )?;
//! github.client_secret = Some(ClientSecret::new("from the environment"));
//! let config = ConnectionsConfig::new(Registry::new([github])?, Arc::new(HttpExchange::new()?));
//! let connections = vestibule.connections(config);
//!
//! // Where the person is sent to sign in.
//! let callback = "https://app.example/callback";
//! let started = connections.start(SignIn::new("alice", "github", "her session", callback)).await?;
//! println!("Location: {}", started.authorize_url);
//! // The callback, on whichever replica.
//! let came = Callback {
//!     state: "the state parameter",
//!     code: Some("the code parameter"),
//!     session: "her session",
//!     ..Callback::default()
//! };
//! let finished = connections.finish(came).await?;
//!
//! // From then on, on every replica: fresh, and refreshed once.
//! let vended = connections.vend("alice", &finished.connection).await?;
//! println!("Authorization: Bearer {}", vended.access_token.secret());
//! # Ok(()) }
//! ```

mod access;
#[cfg(feature = "exchange")]
mod answer;
mod api_key;
mod asking;
mod cache;
mod came_back;
mod catalogue;
mod claimed;
mod config;
mod connector;
mod error;
mod exchange;
#[cfg(feature = "exchange")]
mod http_exchange;
#[cfg(feature = "exchange")]
mod http_wire;
pub mod journal;
mod lifecycle;
mod limits;
mod obtained;
mod outlasting;
mod persisting;
mod place;
mod poison;
mod refresh;
mod refreshed;
mod registry;
mod reloading;
mod replay_policy;
mod resealing;
mod return_url;
mod schedule;
mod secret;
mod settle;
mod sign_in;
mod storing;
mod telling;
mod under_way;
mod vend;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use tokio_util::task::TaskTracker;

#[cfg(feature = "exchange")]
pub use self::http_exchange::{HttpExchange, HttpExchangeError};
pub use self::{
    access::Reconciled,
    api_key::VendedKey,
    catalogue::WellKnown,
    config::ConnectionsConfig,
    connector::{AuthType, ClientAuth, Connector, Quirk, RateProfile},
    error::{ConnectionError, SignInError},
    exchange::{CodeGrant, ExchangeClass, ExchangeError, TokenAnswer, TokenExchange},
    refreshed::Refreshed,
    registry::{ConnectorError, Registry},
    replay_policy::ReplayPolicy,
    secret::{
        AccessToken, ApiKey, ApiSecret, AuthorizationCode, ClientSecret, CredentialSecret,
        RefreshToken,
    },
    sign_in::{Callback, Finished, SignIn, Started},
    vend::{VendPath, Vended},
};
#[cfg(feature = "exchange")]
pub(crate) use self::{answer::error_in, http_exchange::tokens_in, http_wire::Answered};
pub(crate) use self::{
    asking::PATIENCE,
    obtained::{Obtained, Place},
    persisting::{MayPass, persist},
    resealing::reseal,
};
use self::{cache::Cache, outlasting::Outlasting, poison::Poison, under_way::UnderWay};
pub use crate::cache::CacheConfig;
use crate::{
    digest::RequestId,
    foundation::Foundation,
    pkce::PkceStates,
    store::{self, Actor, ConnectionId, Retry, StoreError},
};

/// The connections of all owners. Clones are handles to the same.
#[derive(Debug, Clone)]
pub struct Connections {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    foundation: Arc<Foundation>,
    config: ConnectionsConfig,
    pkce: PkceStates,
    /// The exchanges under way: they outlive their callers, and a graceful stop waits for them.
    exchanges: TaskTracker,
    in_flight: journal::InFlight,
    replays: journal::Rounds,
    outlasting: Outlasting,
    /// The connections that are refreshed behind a vend: a std Mutex, never held across an await.
    behind: Arc<Mutex<HashSet<ConnectionId>>>,
    poison: Poison,
    under_way: Arc<UnderWay>,
    cache: Option<Arc<Cache>>,
}

impl Connections {
    pub(crate) fn new(foundation: Arc<Foundation>, config: ConnectionsConfig) -> Self {
        let config = ConnectionsConfig { instance: store::instance(&config.instance), ..config };
        let pkce = PkceStates::new(foundation.clone());
        let exchanges = TaskTracker::new();
        let cache = config.cache.map(|config| Arc::new(Cache::new(config)));
        Self {
            inner: Arc::new(Inner {
                foundation,
                config,
                pkce,
                exchanges,
                in_flight: journal::InFlight::default(),
                replays: journal::Rounds::default(),
                outlasting: Outlasting::default(),
                behind: Arc::default(),
                poison: Poison::default(),
                under_way: Arc::default(),
                cache,
            }),
        }
    }

    /// Starts a sign-in: stores the state and builds the URL to send the user to.
    ///
    /// # Errors
    ///
    /// [`SignInError`]; nothing was stored then, or it expires by itself.
    pub async fn start(&self, sign_in: SignIn<'_>) -> Result<Started, SignInError> {
        let connector = self.inner.config.registry.slug(sign_in.connector);
        let span = tracing::info_span!("vestibule.sign_in.start", connector);
        crate::trace::within(&span, self.inner.start(sign_in)).await
    }

    /// Finishes a sign-in, on whichever replica its callback lands: takes the state, exchanges the
    /// code, stores the credential.
    ///
    /// The state is consumed first, whatever the callback says then: a provider's error, another
    /// session or a missing code ends the sign-in (RFC 9700 section 4.7.1).
    ///
    /// # Errors
    ///
    /// [`SignInError`]; what may be shown outside is in its `Display`.
    pub async fn finish(&self, callback: Callback<'_>) -> Result<Finished, SignInError> {
        Inner::finish(&self.inner, RequestId::random(), callback).await
    }

    /// [`finish`](Self::finish) with a request id of the caller's: a retry within a minute gets past
    /// the state again, and fails at the provider if the code was redeemed.
    ///
    /// # Errors
    ///
    /// As [`finish`](Self::finish).
    pub async fn finish_as(
        &self,
        request: RequestId,
        callback: Callback<'_>,
    ) -> Result<Finished, SignInError> {
        Inner::finish(&self.inner, request, callback).await
    }

    /// Stores a credential that was obtained elsewhere, under a new connection or, with `id`, as
    /// the new grant of an existing one.
    ///
    /// # Errors
    ///
    /// [`ConnectionError::UnknownConnector`], [`ConnectionError::InvalidOwner`],
    /// [`ConnectionError::NotFound`] if `id` is not there, or is another owner's or connector's; or a
    /// failure of the store or the seal.
    pub async fn store(
        &self,
        owner: &str,
        connector: &str,
        id: Option<&ConnectionId>,
        answer: &TokenAnswer,
    ) -> Result<ConnectionId, ConnectionError> {
        let new = self.inner.prepare(owner, connector, id, answer).await?;
        self.inner.store_over(id, new).await
    }

    /// Gives the owner an access token that is valid for at least the connector's serve margin.
    ///
    /// Warm, this is one read and one open. Inside the refresh lead the token is served while its
    /// refresh runs; past the serve margin the caller waits for the refresh, whoever runs it.
    ///
    /// # Errors
    ///
    /// [`ConnectionError::NotFound`] for another owner's connection, as for none;
    /// [`ConnectionError::NeedsReauth`], [`ConnectionError::Revoked`],
    /// [`ConnectionError::Withdrawn`];
    /// [`ConnectionError::BackingOff`] or [`ConnectionError::TimedOut`] if no fresh token could be
    /// had in time.
    pub async fn vend(&self, owner: &str, id: &ConnectionId) -> Result<Vended, ConnectionError> {
        Inner::vend(&self.inner, owner, id).await
    }

    /// Refreshes a connection if it is due and nobody else does: what the worker calls.
    ///
    /// # Errors
    ///
    /// A failure of the store before the exchange began. What came of the exchange is the outcome.
    pub async fn refresh(&self, id: &ConnectionId) -> Result<Refreshed, ConnectionError> {
        Inner::refresh_claimed(&self.inner, id).await
    }

    /// Tries a connection again at once that backs off after failures, or was given up.
    ///
    /// # Errors
    ///
    /// A failure of the store.
    pub async fn retry(&self, id: &ConnectionId) -> Result<Retry, StoreError> {
        let request = RequestId::random().digest();
        self.inner.foundation.store.retry(id, request, Actor::Operator).await
    }

    /// Waits until no exchange is under way in this process, and up to 5 s for answers that Redis did
    /// not take in time. New ones may still start: stop the callers first.
    pub async fn drained(&self) {
        self.inner.exchanges.close();
        self.inner.exchanges.wait().await;
        self.inner.exchanges.reopen();
        self.inner.outlasting.drained().await;
    }

    pub(crate) fn foundation(&self) -> &Foundation {
        &self.inner.foundation
    }
}
