//! Pendings: interactions that need a person, somewhere else, some time.
//!
//! A tool call needs a device code approved, a form filled in, a redirect followed. The replica that
//! asked is not the one that the answer reaches, and somebody waits. A pending is the record in
//! between: any replica can complete, cancel, list, clear and await it.
//!
//! * It lives in a [`Namespace`], which says whose it is, and for a stated time: [`Life`].
//! * Completing or cancelling hands it to exactly one caller; everybody else learns how, when and by
//!   whom it ended. A completion may leave an answer for those who wait.
//! * [`wait`](Pendings::wait) is woken by completion, cancellation, clearing and expiry, wherever
//!   they happen; the outcome outlives the pending, so a wait that begins late still learns it.
//! * With a [`Dedup`] many callers get one prompt: the later ones join the first.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use vestibule::{
//!     Vestibule,
//!     pending::{Completion, Namespace, Pendings, PendingsConfig, Spec, Waited},
//! };
//!
//! let pendings: Pendings<String> = Vestibule::in_memory().pendings(PendingsConfig::default());
//! let spec = Spec::new("form", "which account?".to_owned());
//! let created = pendings.create(&Namespace::new("alice")?, &spec).await?;
//!
//! // The page that the answer reaches, on another replica.
//! let ended = pendings.complete(created.id, None, &"savings").await?;
//! assert!(matches!(ended, Completion::Won(pending) if pending.data == "which account?"));
//!
//! // The tool call that asked.
//! let waited = pendings.wait::<String>(created.id, Duration::from_secs(30)).await?;
//! assert!(matches!(waited, Waited::Completed { answer, .. } if answer == "savings"));
//! # Ok(()) }
//! ```

#[cfg(feature = "jwt")]
mod claims;
mod create;
mod error;
mod finish;
mod join;
mod manager;
mod namespace;
mod record;
mod wait;

use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

#[cfg(feature = "jwt")]
pub use self::claims::{
    ClaimsNamespace, JwtAlgorithm, Unverified, VerifyingKeys, VerifyingKeysError,
};
use self::record::Body;
pub use self::{
    create::Replacement,
    error::PendingError,
    finish::Completion,
    manager::{CallbackUrl, PendingManager},
    namespace::{
        BearerNamespace, Descriptor, InvalidNamespace, Namespace, NamespaceError, NamespaceKind,
        NamespaceProvider,
    },
    record::{Created, Dedup, InvalidSpec, Life, Pending, Spec},
    wait::Waited,
};
use crate::{
    digest::{Digest, RequestId},
    foundation::Foundation,
    seal::{Binding, SealError},
    store::{self, Cleared, Handed, PageCursor, PendingId, PendingPage, PendingRow},
};

/// What all pendings of a process share.
#[derive(Debug, Clone)]
pub struct PendingsConfig {
    /// The longest life: what [`Life::Ceiling`] means, and what no other may exceed. Default 24 h.
    pub ceiling: Duration,
    /// How long an outcome is kept for those who wait, at the most; a minute at the least.
    /// Default 1 h.
    pub outcome_longest: Duration,
    /// Which replica this is, for people: of `[a-z0-9-]`, at most 32 characters; others are dropped.
    pub instance: String,
}

impl Default for PendingsConfig {
    fn default() -> Self {
        Self {
            ceiling: Duration::from_secs(24 * 3600),
            outcome_longest: Duration::from_secs(3600),
            instance: "library".to_owned(),
        }
    }
}

/// The pendings whose payload is a `T`. Clones are handles to the same.
pub struct Pendings<T> {
    foundation: Arc<Foundation>,
    config: PendingsConfig,
    payload: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned + Sync> Pendings<T> {
    pub(crate) fn new(foundation: Arc<Foundation>, mut config: PendingsConfig) -> Self {
        config.instance = store::instance(&config.instance);
        Self { foundation, config, payload: PhantomData }
    }

    /// Reads a live pending; `None` if there is none. It is not consumed.
    ///
    /// # Errors
    ///
    /// [`PendingError::Shape`] if it was stored with another payload type: it stays; a failure of
    /// the seal or the store.
    pub async fn get(&self, id: PendingId) -> Result<Option<Pending<T>>, PendingError> {
        match self.foundation.store.read_pending(id).await? {
            PendingRow::Live { body, left } => self.open(id, &Handed::now(body), left),
            _ => Ok(None),
        }
    }

    /// Lists the live pendings of a namespace, up to 100 at a time: every one at least once, unless
    /// its life was shortened meanwhile.
    ///
    /// # Errors
    ///
    /// A failure of the store.
    pub async fn list(
        &self,
        namespace: &Namespace,
        cursor: Option<PageCursor>,
        limit: u16,
    ) -> Result<PendingPage, PendingError> {
        let digest = self.namespace(namespace);
        Ok(self.foundation.store.list_pendings(digest, cursor, limit).await?)
    }

    /// Clears a namespace, page by page, and wakes whoever waits. Returns the ids that were live.
    /// Each page is atomic, the whole is not: what is created meanwhile may be left.
    ///
    /// # Errors
    ///
    /// [`PendingError::ClearedInPart`] if the store fails after the first page: it has the ids
    /// that are cleared. Clear again for the rest.
    pub async fn clear(&self, namespace: &Namespace) -> Result<Vec<PendingId>, PendingError> {
        // So many keep Redis for less than a millisecond.
        const PAGE: u16 = 40;
        let digest = self.namespace(namespace);
        let mut all = Vec::new();
        loop {
            let request = RequestId::random().digest();
            let by = &self.config.instance;
            let page = self.foundation.store.clear_pendings(digest, request, by, PAGE).await;
            match page {
                Ok(Cleared { ids, more }) => {
                    all.extend(ids);
                    if !more {
                        return Ok(all);
                    }
                }
                Err(source) if all.is_empty() => return Err(source.into()),
                Err(source) => return Err(PendingError::ClearedInPart { ids: all, source }),
            }
        }
    }

    /// Who waits for a pending, on any replica.
    ///
    /// # Errors
    ///
    /// A failure of the store.
    pub async fn waiters(&self, id: PendingId) -> Result<Vec<String>, PendingError> {
        Ok(self.foundation.store.waiters(id).await?)
    }

    /// `None` if its life is over by this machine's clock, whatever Redis says.
    pub(crate) fn open(
        &self,
        id: PendingId,
        handed: &Handed,
        left: Duration,
    ) -> Result<Option<Pending<T>>, PendingError> {
        let text = id.to_string();
        let Handed { body, ago } = handed;
        match self.foundation.seal.open_handed::<Body<T>>(self.binding(&text), body, *ago) {
            Ok(body) => Ok(Some(body.into_pending(id, left))),
            Err(SealError::PastItsLife) => {
                tracing::error!(pending = %id,
                    "redis says that a pending lives, this machine's clock that it is over: \
                     one of the two clocks is wrong");
                Ok(None)
            }
            Err(error) => {
                tracing::error!(pending = %id, %error, "a pending does not open");
                Err(match error {
                    SealError::Codec(source) => PendingError::Shape { id, source },
                    other => PendingError::Seal(other),
                })
            }
        }
    }

    /// Which replica this is.
    pub(crate) fn instance(&self) -> &str {
        &self.config.instance
    }

    pub(crate) fn namespace(&self, namespace: &Namespace) -> Digest {
        self.digest("namespace", namespace.name())
    }

    fn digest(&self, domain: &'static str, text: &str) -> Digest {
        self.foundation.naming.digest(domain, &[text.as_bytes()])
    }

    fn binding<'a>(&'a self, text: &'a str) -> Binding<'a> {
        let prefix = self.foundation.store.prefix();
        Binding { purpose: "pending", prefix, name: text.as_bytes() }
    }
}

impl<T> Clone for Pendings<T> {
    fn clone(&self) -> Self {
        Self {
            foundation: self.foundation.clone(),
            config: self.config.clone(),
            payload: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Pendings<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pendings").field("config", &self.config).finish_non_exhaustive()
    }
}
