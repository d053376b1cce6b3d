//! The port: atomic verbs on records, with every outcome a word of its own.
//!
//! Two implementations stand behind it. [`redis`] is the one for production: each verb that needs
//! more than one command is one Lua script. [`memory`] lives in the process: the default for a
//! first run, for a host's unit tests and for single-process deployments. It is also the
//! executable specification: a property test drives random verb sequences, with time moving,
//! against both and demands the same outcomes.
//!
//! **Retries.** Every mutating verb carries the digest of a [`RequestId`](crate::RequestId). The
//! same one gets the same answer again for [`GRACE`], whatever was lost on the way; another one is
//! somebody else. So a verb may be retried at any layer, and is.
//!
//! **Time.** The store decides it. Callers pass durations; absolute times appear in answers only.
//!
//! The port knows nothing of sealing: bodies and secrets are bytes to it.

mod access;
mod attempt;
mod changes;
mod connection_id;
mod credential;
mod device;
mod error;
pub(crate) mod event;
mod failing;
mod failure;
mod headers;
mod lifecycle;
mod limit;
pub mod memory;
mod millis;
mod one_shot;
mod outbox;
mod pending;
mod pending_id;
pub mod redis;
mod sealed;
mod shard;
mod sweep;
pub(crate) mod telling;
mod token;
mod token_store;
mod trimming;
mod wake;

use std::{fmt::Debug, time::Duration};

use async_trait::async_trait;

pub(crate) use self::access::retention_ms;
pub(crate) use self::failing::Failing;
pub(crate) use self::millis::millis;
pub(crate) use self::pending::instance;
pub(crate) use self::trimming::at_once;
pub use self::{
    access::{
        AccessStore, Orphan, OrphanPage, ReapConnection, Reaped, RestoredConnection,
        WithdrawConnection, WithdrawnConnection,
    },
    attempt::{Attempt, Begin, Begun, Commit, CommitOutcome, Renewal, Retry},
    changes::{Change, Keeper},
    connection_id::{ConnectionId, InvalidConnectionId, Status},
    credential::{Backlog, Claim, CredentialRow, NewCredential, Stored},
    device::{AcquirePoll, DeviceStore, PollRelease, PollTurn, ReleasePoll},
    error::{Class, StoreError},
    event::{Actor, Event, EventId, EventKind, InvalidEventId, NewEvent, Subject},
    failure::{Fail, FailOutcome, FailureKind},
    headers::{
        BindingName, ClaimedFlow, HeadersBinding, HeadersId, HeadersMode, HeadersPage,
        HeadersPlace, HeadersRow, HeadersStatus, HeadersStore, InvalidHeadersId, MarkHeaders,
        MarkedHeaders, NewHeaders, RemovedHeaders, RestoredHeaders, SealedHeaders, SubmittedFlow,
        UpsertedHeaders, WithdrawnHeaders,
    },
    lifecycle::{
        ConnectionCursor, ConnectionPage, ConnectionRow, CreatedConnection, DeletedConnection,
        LifecycleStore, NewConnection, Revoke, RevokedConnection,
    },
    limit::{
        Caps, ConnectorName, LimitStore, Pause, PauseRow, Paused, Release, Reserve, Reserved,
        Resumed,
    },
    one_shot::{Handed, Kind, NewRecord, Put, RecordName, Take},
    outbox::{
        EventStore, HISTORY_CAP, HistoryPage, OUTBOX_CAP, OutboxGroup, OutboxPage, OutboxRead,
        ReadHistory, ReadOutbox,
    },
    pending::{
        Cleared, Ending, Finish, Finished, NewPending, Outcome, PageCursor, PendingPage,
        PendingRow, PutPending, Replaced,
    },
    pending_id::{InvalidPendingId, PendingId},
    sealed::{
        Reseal, Resealed, SealedName, SealedOf, SealedPage, SealedRecord, SealedSecret, SealedStore,
    },
    shard::Shard,
    sweep::{BeginTurn, EndTurn, SweepName, SweepStore, Turn, TurnEnd},
    telling::By,
    token::{
        DroppedScope, InvalidTokenId, ListedToken, MintReceipt, NewToken, PutToken, Revocation,
        ScopePage, TokenCursor, TokenId, TokenPage, TokenRow, TrimmedScope, Use,
    },
    token_store::TokenStore,
    trimming::{TRIMMED_AT_ONCE, TrimStore},
    wake::{Waiter, WakeHub},
};
use crate::digest::Digest;

/// How long a receipt answers a retry, and how long *expired* and *already taken* can be told
/// from *absent*: a record's life in the store is its own life plus this.
pub const GRACE: Duration = Duration::from_secs(60);

/// The atomic verbs. See the [module](self) for the rules that all of them share.
///
/// # Errors
///
/// Every verb fails with a [`StoreError`], whose [`class`](StoreError::class) says whether the
/// verb ran. Outcomes that a caller must tell apart are never errors.
#[async_trait]
pub trait Store:
    LifecycleStore
    + AccessStore
    + PendingStore
    + DeviceStore
    + TokenStore
    + LimitStore
    + SweepStore
    + HeadersStore
    + EventStore
    + TrimStore
    + SealedStore
    + Send
    + Sync
    + Debug
{
    /// The configurable first part of every key; sealed bodies are bound to it.
    fn prefix(&self) -> &str;

    /// The store's time in milliseconds since 1970, from a calibrated offset: for margins and
    /// for people. No yes/no that two replicas must agree on rests on it.
    fn now_ms(&self) -> u64;

    /// For how long the store was away, as this process saw it, if that lasts or ended less than `ago`
    /// ago; else zero. Nobody could commit or replay then. One that lives in the process never is.
    fn was_away(&self, _ago: Duration) -> Duration {
        Duration::ZERO
    }

    /// Answers if the store can be reached and keeps what it is given: a Redis that would evict live
    /// records is an error.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Puts a one-shot record, unless its name is taken (by a live record or a tombstone).
    async fn put(&self, record: NewRecord<'_>) -> Result<Put, StoreError>;

    /// Hands a one-shot record to exactly one caller.
    async fn take(&self, name: &RecordName, request: Digest) -> Result<Take, StoreError>;

    /// Stores a connection's credential, creating the connection or, for the same owner and
    /// connector, raising its grant: an exchange in flight under the old grant is refused later.
    async fn store_credential(&self, credential: NewCredential<'_>) -> Result<Stored, StoreError>;

    /// Reads a connection with its sealed credential; `None` if there is none.
    async fn read_credential(&self, id: &ConnectionId)
    -> Result<Option<CredentialRow>, StoreError>;

    /// Takes up to `limit` due connections of a shard off the index for `hide`.
    async fn claim_due(&self, claim: Claim) -> Result<Vec<ConnectionId>, StoreError>;

    /// Returns a claimed connection that was not begun: it is due again after so long. Nothing
    /// changes on its record; whoever begins it before may.
    async fn give_back(
        &self,
        id: &ConnectionId,
        request: Digest,
        wait: Duration,
    ) -> Result<(), StoreError>;

    /// Starts an exchange: the lease, the next fence, and the write-ahead of the attempt.
    async fn begin(&self, attempt: Attempt<'_>) -> Result<Begin, StoreError>;

    /// Prolongs the lease that `holder` has, by `lease` from now.
    async fn renew(
        &self,
        id: &ConnectionId,
        holder: Digest,
        lease: Duration,
    ) -> Result<Renewal, StoreError>;

    /// Stores what the provider answered, judged by grant and lineage.
    async fn commit(&self, commit: Commit<'_>) -> Result<CommitOutcome, StoreError>;

    /// Records that an exchange failed, judged by its fence.
    async fn fail(&self, fail: Fail<'_>) -> Result<FailOutcome, StoreError>;

    /// Tries a connection again at once that backs off, or was given up.
    async fn retry(
        &self,
        id: &ConnectionId,
        request: Digest,
        actor: Actor,
    ) -> Result<Retry, StoreError>;

    /// What is refresh-due now and claimed by nobody, over all shards. A bounded fan-out, not atomic.
    async fn due_backlog(&self) -> Result<Backlog, StoreError>;
}

/// The part of the port that pendings need. The rules and errors are [`Store`]'s.
#[async_trait]
pub trait PendingStore {
    /// Puts a pending, unless a live one has its dedup key: then the caller joins that, which may
    /// [extend](NewPending::extends) its life.
    async fn put_pending(&self, pending: NewPending<'_>) -> Result<PutPending, StoreError>;

    /// Replaces a live pending by another of the same id, and so of the same namespace; its dedup
    /// key, if it has one, leads to it from now on. Whoever waits goes on waiting.
    async fn replace_pending(&self, pending: NewPending<'_>) -> Result<Replaced, StoreError>;

    /// The pending that one with this dedup key would join if it is live; `None` if there is none.
    /// Only [`put_pending`](Self::put_pending) decides.
    async fn find_pending(
        &self,
        namespace: Digest,
        dedup: Digest,
    ) -> Result<Option<PendingId>, StoreError>;

    /// Reads a pending. It is not consumed.
    async fn read_pending(&self, id: PendingId) -> Result<PendingRow, StoreError>;

    /// Completes or cancels a pending: hands it to exactly one caller, leaves an outcome, and wakes
    /// who waits.
    async fn finish_pending(&self, finish: Finish<'_>) -> Result<Finished, StoreError>;

    /// Lists the live pendings of a namespace, up to `limit` (1 to 100) at a time.
    async fn list_pendings(
        &self,
        namespace: Digest,
        cursor: Option<PageCursor>,
        limit: u16,
    ) -> Result<PendingPage, StoreError>;

    /// Clears up to `limit` (1 to 50) pendings of a namespace, and wakes who waits for them.
    async fn clear_pendings(
        &self,
        namespace: Digest,
        request: Digest,
        by: &str,
        limit: u16,
    ) -> Result<Cleared, StoreError>;

    /// Reads what a pending left for those who wait; `None` if it did not end, or long ago.
    async fn read_outcome(&self, id: PendingId) -> Result<Option<Outcome>, StoreError>;

    /// Lets people see that somebody waits for a pending, for `life` from now.
    async fn note_waiter(
        &self,
        id: PendingId,
        waiter: &str,
        life: Duration,
    ) -> Result<(), StoreError>;

    /// Who waits for a pending, as far as is known.
    async fn waiters(&self, id: PendingId) -> Result<Vec<String>, StoreError>;

    /// Where this process's waiters are woken. The first call starts to listen.
    fn wake_hub(&self) -> WakeHub;
}
