//! A small but honest OAuth 2.1 provider on loopback, for the demo and for tests.
//!
//! It does what a careful provider does, and keeps count of it:
//!
//! * `GET /authorize` answers at once, without a consent page: 302 to the redirect URI with `code`,
//!   `state` and `iss` (RFC 9207). PKCE with S256 and a `state` are required. `login_hint` names
//!   the subject; `demo_deny=1` stands for a user who declines.
//! * `POST /token` redeems a code once (a second use revokes what the first one issued) and
//!   **rotates refresh tokens**: each may be presented once. A second presentation within
//!   [`Settings::reuse_grace`] of the first is answered with tokens again; a later one revokes the
//!   whole family, access tokens included (RFC 9700, 4.14.2).
//! * `POST /device_authorization` gives a device code and a user code (RFC 8628); `/device` is the
//!   page where a person types it in, and [`Provider::approve_device`] does the same. `POST /token`
//!   is polled with it: polls that come too soon are counted, and told `slow_down`.
//! * `GET /userinfo` (and `/api`) answers 200 to a live access token and 401 to any other.
//!
//! The rotation happens **on receipt**, before [`Provider::set_answer_delay`] holds the answer
//! back: a client that dies while it waits has lost the successor, which is the worst case that
//! real clients meet. The decision is taken in one step that nothing can interrupt; a client that
//! goes away only misses the answer.
//!
//! Everything lives in memory and nothing is forgotten: the provider lasts as long as a demo or a
//! test. It binds 127.0.0.1 only.

use std::{
    fmt, io,
    net::Ipv4Addr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    routing::{any, get, post},
    serve::ListenerExt,
};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

mod authorize;
mod client;
mod counts;
mod device;
mod failure;
mod held;
mod ledger;
mod params;
mod token;
mod userinfo;

pub use counts::Counts;
use device::Devices;
pub use failure::{Answer, Failure};
use held::Held;
use ledger::Ledger;

/// How the provider behaves from its start on.
#[derive(Clone)]
pub struct Settings {
    /// How long after its rotation a refresh token may be presented again. Zero is strict: the
    /// first reuse revokes the family.
    pub reuse_grace: Duration,
    /// Whether a reuse inside the grace mints a sibling with tokens of its own; otherwise it is
    /// given the same tokens as the first presentation.
    pub grace_mints_new: bool,
    /// How long an authorization code may be redeemed.
    pub code_lifetime: Duration,
    /// The life of the access token that a code is exchanged for. `expires_in` tells whole
    /// seconds, rounded down.
    pub access_lifetime_first: Duration,
    /// The life of the access tokens that refreshes return.
    pub access_lifetime_refreshed: Duration,
    /// How far apart polls with a device code must be.
    pub device_interval: Duration,
    /// How long a device code and its user code live.
    pub device_code_lifetime: Duration,
    /// The one client that is registered.
    pub client_id: String,
    /// Its secret; empty makes it a public client, which only names itself.
    pub client_secret: String,
    /// Its redirect URIs, compared character by character. None registered: any `http` URI on a
    /// loopback address.
    pub redirect_uris: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            reuse_grace: Duration::from_secs(30),
            grace_mints_new: true,
            code_lifetime: Duration::from_secs(60),
            access_lifetime_first: Duration::from_secs(300),
            access_lifetime_refreshed: Duration::from_secs(300),
            device_interval: Duration::from_secs(5),
            device_code_lifetime: Duration::from_secs(600),
            client_id: "loopback-client".to_owned(),
            client_secret: "loopback-secret".to_owned(),
            redirect_uris: Vec::new(),
        }
    }
}

/// A running provider. Dropping it stops it: unanswered clients are hung up on.
pub struct Provider {
    shared: Arc<Shared>,
}

impl Provider {
    /// Binds a free port of 127.0.0.1 and serves from a task of its own, until dropped.
    pub async fn start(settings: Settings) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let shared = Arc::new(Shared {
            issuer: format!("http://{}", listener.local_addr()?),
            settings,
            state: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            advanced_ms: AtomicU64::new(0),
            held: watch::Sender::default(),
            stopped: CancellationToken::new(),
        });
        let routes = Router::new()
            .route("/authorize", get(authorize::authorize))
            .route("/token", post(token::token))
            .route("/device_authorization", post(device::authorize))
            .route("/device", get(device::page).post(device::decide))
            .route("/userinfo", get(userinfo::userinfo))
            .route("/api", get(userinfo::userinfo))
            .route(failure::ELSEWHERE, any(failure::elsewhere))
            .with_state(Arc::clone(&shared));
        let listener = listener.tap_io(|stream| {
            // Only latency would suffer, so a refusal may go unheard.
            let _ = stream.set_nodelay(true);
        });
        let serving = axum::serve(listener, routes)
            .with_graceful_shutdown(shared.stopped.clone().cancelled_owned());
        #[expect(clippy::disallowed_methods, reason = "the server lives beside its handle")]
        tokio::spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "the loopback provider stopped serving");
            }
        });
        tracing::debug!(issuer = shared.issuer, "loopback provider listening");
        Ok(Self { shared })
    }

    /// The issuer, `http://127.0.0.1:<port>`, as `iss` names it.
    pub fn issuer(&self) -> String {
        self.shared.issuer.clone()
    }

    /// The authorization endpoint.
    pub fn authorize_url(&self) -> String {
        format!("{}/authorize", self.shared.issuer)
    }

    /// The token endpoint.
    pub fn token_url(&self) -> String {
        format!("{}/token", self.shared.issuer)
    }

    /// Where device codes are asked for.
    pub fn device_authorization_url(&self) -> String {
        format!("{}/device_authorization", self.shared.issuer)
    }

    /// The resource that wants a live access token.
    pub fn userinfo_url(&self) -> String {
        format!("{}/userinfo", self.shared.issuer)
    }

    /// A person types this user code in, as `subject`, and says yes. False if there is no such code
    /// that still waits.
    pub fn approve_device(&self, user_code: &str, subject: &str) -> bool {
        self.shared.lock().devices.decide(user_code, Some(subject), self.shared.now())
    }

    /// A person types this user code in and says no; as [`approve_device`](Self::approve_device).
    pub fn deny_device(&self, user_code: &str) -> bool {
        self.shared.lock().devices.decide(user_code, None, self.shared.now())
    }

    /// The next poll for this user code is told to slow down, though it is not too fast, and from
    /// then on must be 5 s further apart.
    pub fn slow_device_down(&self, user_code: &str) -> bool {
        self.shared.lock().devices.slow_down(user_code, self.shared.now())
    }

    /// Holds every answer of the token endpoint back for so long, from the next request on. What
    /// the request asked for has been done by then.
    pub fn set_answer_delay(&self, delay: Duration) {
        self.shared.lock().answer_delay = delay;
    }

    /// Another life for the access tokens that codes are exchanged for, from the next one on.
    pub fn set_access_lifetime_first(&self, lifetime: Duration) {
        self.shared.lock().ledger.access_lifetime_first = Some(lifetime);
    }

    /// Another life for the access tokens that refreshes return, from the next one on.
    pub fn set_access_lifetime_refreshed(&self, lifetime: Duration) {
        self.shared.lock().ledger.access_lifetime_refreshed = Some(lifetime);
    }

    /// Makes the next token requests fail as told; `None` heals the provider.
    pub fn set_failure(&self, failure: Option<Failure>) {
        self.shared.lock().failure = failure;
    }

    /// Moves the time forward that codes, tokens, polls and graces are judged by.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.shared.advanced_ms.fetch_add(by, Ordering::Relaxed);
    }

    /// What has happened so far.
    pub fn counts(&self) -> Counts {
        self.shared.lock().ledger.counts
    }

    /// When each request came to the token endpoint, in order.
    pub fn arrivals(&self) -> Vec<Instant> {
        self.shared.lock().arrivals.clone()
    }

    /// How many token requests have been received and not answered yet.
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::SeqCst)
    }

    /// Whether this access token would be accepted now.
    pub fn is_access_token_live(&self, access_token: &str) -> bool {
        self.shared.lock().ledger.subject_of(access_token, self.shared.now()).is_some()
    }

    /// The same, so long ago: but what was revoked since then does not count as live.
    pub fn was_access_token_live(&self, access_token: &str, ago: Duration) -> bool {
        let now = self.shared.now();
        let then = now.checked_sub(ago).unwrap_or(now);
        self.shared.lock().ledger.subject_of(access_token, then).is_some()
    }

    /// The user withdraws consent: every token of this subject dies. Returns how many families
    /// were revoked by it.
    pub fn revoke_subject(&self, subject: &str) -> u64 {
        self.shared.lock().ledger.revoke_subject(subject)
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("issuer", &self.shared.issuer).finish_non_exhaustive()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.shared.stopped.cancel();
    }
}

/// What the handlers share.
struct Shared {
    issuer: String,
    settings: Settings,
    /// A std Mutex: every use is a few map operations, and none spans an await.
    state: Mutex<State>,
    in_flight: AtomicUsize,
    advanced_ms: AtomicU64,
    held: watch::Sender<Held>,
    stopped: CancellationToken,
}

impl Shared {
    /// The time that codes, tokens, polls and graces are judged by.
    fn now(&self) -> Instant {
        Instant::now() + Duration::from_millis(self.advanced_ms.load(Ordering::Relaxed))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct State {
    ledger: Ledger,
    devices: Devices,
    arrivals: Vec<Instant>,
    answer_delay: Duration,
    failure: Option<Failure>,
}
