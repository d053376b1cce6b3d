//! Header credentials: the headers that somebody wants sent along to one client.
//!
//! Some servers know no sign-in: they want a key in a header. Whose key it is goes by the
//! [`Binding`]: a person's, a virtual key's, a session's or the host's own, for one client.
//!
//! * **One of each binding.** Storing it again keeps its id and when it was created. There is no
//!   fallback from one mode to another: what is not there is not there.
//! * **Sealed**, like every credential, under a data key of its own, and bound to its binding:
//!   moved to another record it does not open.
//! * **Three statuses**: `active`; `needs_update`, whose headers are still read, to fill a form
//!   with; and `orphaned`, since access was withdrawn, which is hidden, given back as it was, or
//!   swept after a while.
//! * **Kept in memory** if the host wants that: for as long as every change of any replica is heard
//!   of, as of the moment it was read.
//! * **Submitted in flows**, which are [pendings](crate::pending): one for a binding, for 15 minutes
//!   from when it was asked for last. What was submitted is checked by the host first; meanwhile the
//!   flow is [claimed](HeaderCredentials::claim). Its end and the credential are one step.
//!
//! If Redis cannot be reached nothing is known of any credential:
//! [`HeadersError::NotAvailable`], never *not found*.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use vestibule::{
//!     Vestibule,
//!     headers::{Binding, Headers, HeadersConfig, HeadersError, Identity},
//!     token::Scopes,
//! };
//!
//! let vestibule = Vestibule::in_memory();
//! let config = HeadersConfig::new(vestibule.temp_tokens(Scopes::new()));
//! let credentials = vestibule.header_credentials(config);
//!
//! let binding = Binding::new(Identity::user("alice@example.com")?, "weather")?;
//! let headers = Headers::new([("Authorization", "Bearer of-alice")])?;
//! credentials.upsert(&binding, &headers).await?;
//!
//! let sent = credentials.vend(&binding).await?;
//! assert_eq!(sent.get("authorization").unwrap().secret(), "Bearer of-alice");
//!
//! credentials.withdraw_access(&binding, "left the team").await?;
//! assert!(matches!(credentials.vend(&binding).await, Err(HeadersError::NotFound)));
//! credentials.restore_access(&binding).await?;
//! credentials.vend(&binding).await?;
//! # Ok(()) }
//! ```

mod access;
mod binding;
mod cache;
mod credential;
mod error;
mod flow;
mod list;
mod map;
mod resealing;
mod submit;

use std::{error::Error, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio_util::task::TaskTracker;

pub(crate) use self::resealing::reseal;
pub use self::{
    access::{RevokedHeaders, WithdrawnAccess},
    binding::{Binding, BindingParts, Identity, InvalidBinding},
    credential::{HeaderCredential, StoredHeaders},
    error::HeadersError,
    flow::{Flow, FlowPage, Initiated},
    list::{CredentialCursor, CredentialPage},
    map::{HeaderText, Headers, InvalidHeaders},
    submit::FlowClaim,
};
use self::{cache::Cache, flow::FlowData};
pub use crate::{
    cache::CacheConfig,
    store::{HeadersMode as Mode, HeadersStatus as Status},
};
use crate::{
    digest::Digest,
    foundation::Foundation,
    pending::{Pendings, PendingsConfig},
    store::BindingName,
    token::TempTokens,
};

/// Whether links may have tokens in them: the host's to say, at each of them.
#[async_trait]
pub trait LinkToggle: Send + Sync {
    /// Reads it. Where it cannot be read there is no token.
    ///
    /// # Errors
    ///
    /// Whatever keeps the host from knowing; it is logged.
    async fn links_allowed(&self) -> Result<bool, Box<dyn Error + Send + Sync>>;
}

/// Always the same.
#[async_trait]
impl LinkToggle for bool {
    async fn links_allowed(&self) -> Result<bool, Box<dyn Error + Send + Sync>> {
        Ok(*self)
    }
}

/// What header credentials need besides the store.
#[derive(Clone)]
pub struct HeadersConfig {
    /// Mints the tokens of links: the scope [`MCP_HEADERS_AUTH`](crate::token::MCP_HEADERS_AUTH)
    /// must be registered, or links have none.
    pub tokens: TempTokens,
    /// Of the flows. Their ceiling is how long one is extended; at least 15 minutes.
    pub pendings: PendingsConfig,
    /// Whether links may have tokens. Default: they may.
    pub links: Arc<dyn LinkToggle>,
    /// Where the page of the form is, below the base of links. Default:
    /// `workspace/mcp-sessions/auth`.
    pub page: String,
    /// How long a submission may be checked before another may take its place: longer than the
    /// host's check ever takes. Default 60 s.
    pub claim_lease: Duration,
    /// Keeps credentials in memory, wiped when they leave it. Default: none are kept.
    pub cache: Option<CacheConfig>,
}

impl HeadersConfig {
    /// With the defaults.
    #[must_use]
    pub fn new(tokens: TempTokens) -> Self {
        Self {
            tokens,
            pendings: PendingsConfig::default(),
            links: Arc::new(true),
            page: "workspace/mcp-sessions/auth".to_owned(),
            claim_lease: Duration::from_secs(60),
            cache: None,
        }
    }
}

impl fmt::Debug for HeadersConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeadersConfig")
            .field("tokens", &self.tokens)
            .field("pendings", &self.pendings)
            .field("page", &self.page)
            .field("claim_lease", &self.claim_lease)
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}

/// The header credentials. Clones are handles to the same.
#[derive(Debug, Clone)]
pub struct HeaderCredentials {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    foundation: Arc<Foundation>,
    pendings: Pendings<FlowData>,
    config: HeadersConfig,
    cache: Option<Arc<Cache>>,
    /// The ends of flows under way: they outlive their callers, and a graceful stop waits for them.
    endings: TaskTracker,
}

impl HeaderCredentials {
    pub(crate) fn new(foundation: Arc<Foundation>, config: HeadersConfig) -> Self {
        let pendings = Pendings::new(foundation.clone(), config.pendings.clone());
        let endings = TaskTracker::new();
        let cache = config.cache.map(|config| Arc::new(Cache::new(config)));
        Self { inner: Arc::new(Inner { foundation, pendings, config, cache, endings }) }
    }

    /// What stands for an identity in what is listed.
    #[must_use]
    pub fn identity_digest(&self, identity: &Identity) -> Digest {
        self.inner.identity(identity)
    }

    /// Waits until no flow is being ended in this process. New ones may still be: stop the callers
    /// first.
    pub async fn drained(&self) {
        self.inner.endings.close();
        self.inner.endings.wait().await;
        self.inner.endings.reopen();
    }

    /// Does what takes several steps to its end, also if the caller is dropped meanwhile.
    async fn outlive<T: Send + 'static>(
        &self,
        verb: &'static str,
        work: impl Future<Output = Result<T, HeadersError>> + Send + 'static,
    ) -> Result<T, HeadersError> {
        let running = self.inner.endings.spawn(work);
        running.await.map_err(|_| HeadersError::interrupted(verb))?
    }
}

impl Inner {
    /// The digest of an identity is the one of its flows' namespace: so a credential, its indexes and
    /// its flows are in one slot.
    fn identity(&self, identity: &Identity) -> Digest {
        self.pendings.namespace(&identity.namespace(&self.foundation.naming))
    }

    fn name(&self, binding: &Binding) -> BindingName {
        binding.name(&self.foundation.naming, self.identity(binding.identity()))
    }

    fn client(&self, client: &str) -> Digest {
        self.foundation.naming.digest("headers-client", &[client.as_bytes()])
    }
}
