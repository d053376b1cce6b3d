//! Sign-ins by device code (RFC 8628), polled by one replica at a time.
//!
//! A person signs in on another device: here they are shown a code and an address, there they type
//! it in, and meanwhile somebody must poll the provider, which minds being polled too often. With
//! several replicas, any of which may die, that is a matter of turns:
//!
//! 1. [`start`](DeviceSignIns::start) asks the provider for a code and creates a *pending* of the
//!    kind `device_code`. Whoever starts the same sign-in again, on whichever replica, joins it and
//!    shows the same code.
//! 2. [`wait`](DeviceSignIns::wait), on any number of replicas, awaits the pending and takes part
//!    in the polling. Redis says whose turn it is and when: the interval counts for all replicas
//!    together, and so does every `slow_down`. Once nobody waits, nobody polls.
//! 3. Whoever is told the tokens ends the pending with them, sealed: that decides. A sign-in that was
//!    cancelled, cleared or ran out before makes no connection, however late its poll is answered.
//! 4. All who wait are woken, and each stores the credential under the same request: it is stored
//!    once, and none is told of a connection before.
//!
//! **What a crash costs.** A turn is written down, before its poll, as if that took the whole
//! lease. So a poller that dies costs [`DeviceConfig::poll_timeout`], 2 s and one interval, and
//! the provider is never polled too soon.
//!
//! The one thing that cannot be made safe is the provider's own answer: it gives the tokens once.
//! If the poller dies, or its connection breaks, between that answer and the end of the pending,
//! they are lost, and the next poll is told `invalid_grant`: the sign-in ends as
//! [`DeviceOutcome::Lost`], for all who wait, and the person signs in again. If the poller was only
//! slow, one of the two ends wins, and the other comes to nothing. A crash *after* the end costs
//! nothing, if anybody waits, or comes back within 40 s: whoever learns of the end has the tokens.
//!
//! ```no_run
//! # #[cfg(feature = "exchange")]
//! # async fn example(
//! #     vestibule: vestibule::Vestibule,
//! #     connections: vestibule::connection::Connections,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! # use std::{sync::Arc, time::Duration};
//! use vestibule::{
//!     connection::HttpExchange,
//!     device::{DeviceConfig, DeviceOutcome, DeviceSignIn},
//!     pending::{Namespace, PendingsConfig},
//! };
//!
//! let config = DeviceConfig::new(Arc::new(HttpExchange::new()?));
//! let devices = vestibule.device_sign_ins(&connections, PendingsConfig::default(), config);
//! let namespace = Namespace::new("alice")?;
//! let started = devices.start(DeviceSignIn::new(&namespace, "alice", "github")).await?;
//! println!("go to {:?}", started.prompt);
//!
//! // On any replica, as often as need be.
//! match devices.wait("alice", started.id, Duration::from_secs(30)).await? {
//!     DeviceOutcome::Connected(id) => println!("vend from {id}"),
//!     DeviceOutcome::TimedOut => println!("ask again"),
//!     other => println!("no: {other:?}"),
//! }
//! # Ok(()) }
//! ```

mod endpoint;
mod error;
mod flow;
mod gate;
mod granted;
#[cfg(feature = "exchange")]
mod http_endpoint;
mod poll;
mod start;
mod wait;

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use self::gate::Gates;
pub use self::{
    endpoint::{Authorization, DeviceCode, DeviceEndpoint, Polled, Prompt, UserCode},
    error::DeviceError,
    flow::{DeviceFlow, DeviceOutcome},
};
use crate::{
    connection::Connections,
    foundation::Foundation,
    pending::{Completion, Dedup, Namespace, Pending, Pendings, Spec},
    store::{ConnectionId, PendingId},
    trace,
};

/// What sign-ins by device code need besides connections and pendings.
#[derive(Debug, Clone)]
pub struct DeviceConfig {
    /// How providers are asked. `HttpExchange` (feature `exchange`) is one that does.
    pub endpoint: Arc<dyn DeviceEndpoint>,
    /// The longest that a sign-in waits, however long the provider's codes live. Default 30 min;
    /// more than the ceiling of the pendings is that ceiling.
    pub longest: Duration,
    /// How long the answer to one poll is waited for; at most 4 min. Default 10 s. A poller that
    /// dies is succeeded after this, 2 s and one interval.
    pub poll_timeout: Duration,
}

impl DeviceConfig {
    /// With the defaults.
    #[must_use]
    pub fn new(endpoint: Arc<dyn DeviceEndpoint>) -> Self {
        let (longest, poll_timeout) = (Duration::from_secs(1800), Duration::from_secs(10));
        Self { endpoint, longest, poll_timeout }
    }
}

/// A sign-in to be started.
#[derive(Clone, Copy)]
pub struct DeviceSignIn<'a> {
    /// Whose pending it is.
    pub namespace: &'a Namespace,
    /// Whose connection it will be: whatever the host authenticated. Nobody else can wait for it,
    /// see its prompt or cancel it.
    pub owner: &'a str,
    /// The slug of the connector.
    pub connector: &'a str,
    /// The connection to re-authorise; `None` for a new one.
    pub reauthorises: Option<&'a ConnectionId>,
    /// What tells it from another sign-in of the same owner at the same connector; empty for
    /// nothing: then there is one at a time.
    pub label: &'a str,
}

impl<'a> DeviceSignIn<'a> {
    /// With nothing optional.
    #[must_use]
    pub fn new(namespace: &'a Namespace, owner: &'a str, connector: &'a str) -> Self {
        Self { namespace, owner, connector, reauthorises: None, label: "" }
    }

    fn spec<T>(&self, data: T) -> Spec<T> {
        let connection = self.reauthorises.map_or("", ConnectionId::as_str);
        // The same sign-in has the same text: length-prefixed, so that no other does.
        let parts = ["device", self.connector, self.owner, connection, self.label];
        let dedup = parts.map(|part| format!("{}:{part}", part.len())).join(",");
        Spec {
            alias: self.connector.to_owned(),
            subject: Some(self.owner.to_owned()),
            dedup: Dedup::Key(dedup),
            ..Spec::new("device_code", data)
        }
    }
}

/// It names a person.
impl std::fmt::Debug for DeviceSignIn<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceSignIn").field("connector", &self.connector).finish_non_exhaustive()
    }
}

/// A sign-in under way.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StartedDevice {
    /// What to wait for.
    pub id: PendingId,
    /// Whether it was under way already: the person is looking at this prompt somewhere.
    pub joined: bool,
    /// What the person is shown.
    pub prompt: Prompt,
    /// What is left of the code's life.
    pub expires_in: Duration,
}

/// The sign-ins by device code. Clones are handles to the same.
#[derive(Debug, Clone)]
pub struct DeviceSignIns {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    foundation: Arc<Foundation>,
    connections: Connections,
    pendings: Pendings<DeviceFlow>,
    endpoint: Arc<dyn DeviceEndpoint>,
    config: DeviceConfig,
    gates: Gates,
    /// The turns under way: they outlive their callers, and a graceful stop waits for them.
    turns: TaskTracker,
}

impl DeviceSignIns {
    pub(crate) fn new(
        foundation: Arc<Foundation>,
        connections: Connections,
        pendings: Pendings<DeviceFlow>,
        mut config: DeviceConfig,
    ) -> Self {
        config.poll_timeout = config.poll_timeout.min(Duration::from_secs(240));
        let (endpoint, gates, turns) =
            (config.endpoint.clone(), Gates::default(), TaskTracker::new());
        let inner = Inner { foundation, connections, pendings, endpoint, config, gates, turns };
        Self { inner: Arc::new(inner) }
    }

    /// Starts a sign-in, or joins the same one that is under way: then there is one prompt, however
    /// many ask. The provider is asked only if none is found. Callers who find none at the same
    /// moment each ask; one of the codes is kept for all, the others run out unused.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Connection`] for an unknown connector, a bad owner, or a connection to
    /// re-authorise that is not the owner's; [`DeviceError::NoDeviceFlow`] for a connector without
    /// one; [`ConnectionError::AtCap`](crate::connection::ConnectionError::AtCap) or
    /// [`ConnectorPaused`](crate::connection::ConnectionError::ConnectorPaused) inside the former
    /// if the provider is not asked now; [`DeviceError::Refused`] if the provider gave no code; a failure of the store. Nothing
    /// is left behind then.
    pub async fn start(&self, sign_in: DeviceSignIn<'_>) -> Result<StartedDevice, DeviceError> {
        let known = self.inner.connections.connector(sign_in.connector).ok();
        let connector = known.map(|connector| &*connector.slug);
        let span = tracing::info_span!("vestibule.device.start", connector);
        trace::within(&span, self.inner.start(sign_in)).await
    }

    /// Waits until a sign-in ends, for `patience` at the most, and takes part in the polling
    /// meanwhile. Any number of callers may wait, on any replica; all are told the same.
    ///
    /// A caller that stops waiting in the middle of a poll loses nothing: a turn that has begun
    /// runs to its end.
    ///
    /// # Errors
    ///
    /// A failure of the store that outlasts `patience`. While Redis is away nobody polls.
    pub async fn wait(
        &self,
        owner: &str,
        id: PendingId,
        patience: Duration,
    ) -> Result<DeviceOutcome, DeviceError> {
        let span = tracing::info_span!("vestibule.device.wait", pending = %id);
        let waiting = Inner::wait(&self.inner, owner, id, Instant::now() + patience);
        trace::within(&span, waiting).await
    }

    /// Withdraws a sign-in: whoever waits is told, and nobody polls any more. If it wins, there will
    /// be no connection: the tokens that a poll under way may still bring are dropped.
    ///
    /// # Errors
    ///
    /// A failure of the store.
    pub async fn cancel(
        &self,
        owner: &str,
        id: PendingId,
    ) -> Result<Completion<DeviceFlow>, DeviceError> {
        Ok(self.inner.pendings.cancel(id, Some(owner)).await?)
    }

    /// The pendings behind the sign-ins: for the page that shows a prompt, for lists, for clearing.
    /// Each is bound to its owner. How they end is for [`wait`](Self::wait) to read.
    #[must_use]
    pub fn pendings(&self) -> &Pendings<DeviceFlow> {
        &self.inner.pendings
    }

    /// Waits until no turn is under way in this process. New ones may still start: stop the
    /// callers first.
    pub async fn drained(&self) {
        self.inner.turns.close();
        self.inner.turns.wait().await;
        self.inner.turns.reopen();
    }
}

impl StartedDevice {
    fn of(found: Pending<DeviceFlow>, joined: bool) -> Self {
        let Pending { id, expires_in, data, .. } = found;
        Self { id, joined, prompt: data.prompt, expires_in }
    }
}
