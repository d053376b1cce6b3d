//! Header credentials: what a person, a virtual key, a session or the host itself sends along to one
//! client. One of each binding; a living record like a connection, with nothing to refresh.
//!
//! An orphan is one whose access was withdrawn: it is kept as it was, until access is back or a
//! sweep finds that it has been one for too long.

mod id;
mod row;

use std::time::Duration;

use async_trait::async_trait;

pub use self::{
    id::{HeadersId, InvalidHeadersId},
    row::{
        BindingName, HeadersBinding, HeadersMode, HeadersPage, HeadersPlace, HeadersRow,
        HeadersStatus, SealedHeaders,
    },
};
use super::{Ending, PendingId, Reaped, Shard, StoreError};
use crate::digest::Digest;

/// The part of the port that header credentials need, and the claims of their submission flows,
/// which are pendings. The rules and errors are [`Store`](super::Store)'s.
#[async_trait]
pub trait HeadersStore {
    /// Stores the credential of a binding, new or anew: active, whatever it was. With a flow, that
    /// must be claimed by this submitter, and ends as completed in the same step.
    async fn upsert_headers(&self, new: NewHeaders<'_>) -> Result<UpsertedHeaders, StoreError>;

    /// Reads the credential of a binding, whatever its status; `None` if there is none.
    async fn read_headers(&self, binding: BindingName)
    -> Result<Option<SealedHeaders>, StoreError>;

    /// Removes a credential, with all that is known of it.
    async fn delete_headers(
        &self,
        id: HeadersId,
        request: Digest,
    ) -> Result<RemovedHeaders, StoreError>;

    /// [`delete_headers`](Self::delete_headers), only if it has been an orphan for `retention`.
    async fn reap_headers(
        &self,
        id: HeadersId,
        retention: Duration,
        request: Digest,
    ) -> Result<Reaped, StoreError>;

    /// Marks up to `limit` (1 to 50) credentials of a client in a shard as needing an update.
    async fn mark_headers(&self, mark: MarkHeaders<'_>) -> Result<MarkedHeaders, StoreError>;

    /// Lists a client's credentials in a shard, up to `limit` (1 to 100) at a time.
    async fn list_headers(
        &self,
        shard: Shard,
        client: Digest,
        after: Option<HeadersPlace>,
        limit: u16,
    ) -> Result<HeadersPage, StoreError>;

    /// What a credential is of; `None` if there is none. It stays that for as long as there is one.
    async fn find_headers(&self, id: HeadersId) -> Result<Option<HeadersBinding>, StoreError>;

    /// Makes the credential of a binding an orphan, whichever it is or `only` this one. A session's is
    /// never touched.
    async fn withdraw_headers(
        &self,
        binding: BindingName,
        only: Option<HeadersId>,
        request: Digest,
        reason: &str,
    ) -> Result<WithdrawnHeaders, StoreError>;

    /// Makes an orphan what it was: whichever the binding has, or `only` this one.
    async fn restore_headers(
        &self,
        binding: BindingName,
        only: Option<HeadersId>,
        request: Digest,
    ) -> Result<RestoredHeaders, StoreError>;

    /// Claims a flow for `lease`: until then only this request may submit, and nobody who asks for
    /// the same is sent to it.
    async fn claim_flow(
        &self,
        id: PendingId,
        request: Digest,
        lease: Duration,
    ) -> Result<ClaimedFlow, StoreError>;

    /// Gives a claim back. Once is enough: one that is another's is left alone.
    async fn release_flow(&self, id: PendingId, request: Digest) -> Result<(), StoreError>;
}

/// A credential to be stored.
#[derive(Clone)]
pub struct NewHeaders<'a> {
    /// What it is called if the binding has none yet; in the shard of its binding.
    pub id: HeadersId,
    /// The digest of the request id.
    pub request: Digest,
    /// Its binding.
    pub binding: BindingName,
    /// In whose name it is sent.
    pub mode: HeadersMode,
    /// The digest of whose it is.
    pub identity: Digest,
    /// The digest of what it is for.
    pub client: Digest,
    /// What that is called, for people: `[a-z0-9-]`, at most 64 characters, or empty.
    pub client_name: &'a str,
    /// The sealed headers.
    pub secret: &'a [u8],
    /// The id of the key that sealed them in eight hexadecimal digits; empty if that is not known.
    pub key: &'a str,
    /// The flow that they were submitted in.
    pub flow: Option<SubmittedFlow<'a>>,
}

/// A flow that ends with what was submitted in it.
#[derive(Clone)]
pub struct SubmittedFlow<'a> {
    /// Which; in the shard of the binding.
    pub id: PendingId,
    /// The digest of the request that claimed it.
    pub claim: Digest,
    /// Who does it, for people: `[a-z0-9-]`, at most 32 characters.
    pub by: &'a str,
    /// What those who wait for the flow are told, sealed.
    pub answer: &'a [u8],
    /// How long the outcome lives at the most.
    pub longest: Duration,
}

/// What became of storing a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpsertedHeaders {
    /// Stored; also on a retry with the same request id, which is told what is there by then.
    Upserted {
        /// What it is called: the first one's id stays.
        id: HeadersId,
        /// When the first one was stored (ms since 1970, by the store's clock).
        created_at_ms: u64,
        /// When this one was.
        updated_at_ms: u64,
        /// Counts those that were stored.
        ver: u64,
    },
    /// The flow is claimed by another request, or by none. Nothing was written.
    NotClaimed,
    /// The flow has ended. Nothing was written.
    FlowEnded(Ending),
    /// The flow is past its life, or never was. Nothing was written.
    FlowGone,
}

/// What became of removing a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemovedHeaders {
    /// Removed; also on a retry with the same request id.
    Removed,
    /// There is no such credential, or not any more.
    Absent,
}

/// A page of a client's credentials to be marked.
#[derive(Debug, Clone)]
pub struct MarkHeaders<'a> {
    /// The shard.
    pub shard: Shard,
    /// The digest of the client.
    pub client: Digest,
    /// The digest of the request id: each page has its own.
    pub request: Digest,
    /// Why, in a word.
    pub reason: &'a str,
    /// Where the page begins; `None` for the first.
    pub after: Option<HeadersPlace>,
    /// At most so many.
    pub limit: u16,
}

/// What became of marking a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MarkedHeaders {
    /// How many are marked now that were not: active ones, and orphans that were active.
    pub count: u64,
    /// Where the next page begins; `None` if this was the last.
    pub next: Option<HeadersPlace>,
}

/// What became of withdrawing access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WithdrawnHeaders {
    /// The credential is an orphan; also on a retry with the same request id, whatever came since.
    Withdrawn,
    /// It was one already, whose reason and time are kept.
    Already,
    /// It is a session's, and those are never touched.
    Session,
    /// There is none, or another than was meant.
    Absent,
}

/// What became of giving access back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestoredHeaders {
    /// The credential is what it was; also on a retry with the same request id, which is told what
    /// it is by then.
    Restored(HeadersStatus),
    /// It was no orphan.
    NotOrphaned,
    /// There is none, or another than was meant, or it was swept.
    Absent,
}

/// What became of claiming a flow.
#[derive(Clone, PartialEq, Eq)]
pub enum ClaimedFlow {
    /// Claimed; also on a retry with the same request id while the lease runs.
    Claimed {
        /// The sealed body.
        body: Vec<u8>,
        /// What is left of its life.
        left: Duration,
    },
    /// Another has claimed it.
    Busy {
        /// For so long, unless it is given back before.
        left: Duration,
    },
    /// It has ended.
    Ended(Ending),
    /// Past its life, still within its grace.
    Expired,
    /// It never existed, or is long gone.
    Absent,
}

impl ClaimedFlow {
    /// The outcome's word, for metrics and logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Claimed { .. } => "claimed",
            Self::Busy { .. } => "busy",
            Self::Ended(_) => "ended",
            Self::Expired => "expired",
            Self::Absent => "absent",
        }
    }
}

impl std::fmt::Debug for ClaimedFlow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
