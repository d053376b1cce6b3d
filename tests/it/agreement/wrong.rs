//! Stores with one mistake each, of the kind that the comparison is for.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use vestibule::{
    Digest,
    store::{
        Actor, Attempt, Backlog, Begin, Claim, Commit, CommitOutcome, ConnectionId, CredentialRow,
        EventId, EventKind, EventStore, Fail, FailOutcome, FailureKind, NewCredential, NewEvent,
        NewRecord, Put, RecordName, Renewal, Reseal, Resealed, Retry, SealedName, SealedPage,
        SealedRecord, SealedSecret, SealedStore, Shard, Store, StoreError, Stored, Subject, Take,
        memory::MemoryStore,
    },
};

use super::{
    wrong_access::WrongAccess,
    wrong_device::{DeviceNotes, WrongDevice},
    wrong_event::WrongEvent,
    wrong_headers::WrongHeaders,
    wrong_lifecycle::WrongLifecycle,
    wrong_limit::WrongLimit,
    wrong_pending::{PendingNotes, WrongPending},
    wrong_token::{TokenNotes, WrongToken},
};
use crate::support::side::Side;

/// The mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    PutForgetsItsRetry,
    TakeIsForAnybody,
    StoreForgetsItsRetry,
    ClaimForgetsItsRetry,
    GiveBackDoesNothing,
    GiveBackForgetsTheWait,
    BeginForgetsItsHolder,
    BeginServesAnyOwner,
    RenewIsForAnybody,
    CommitIgnoresTheGrant,
    CommitIgnoresWhatWasPresented,
    CommitOfTheLastToArriveWins,
    FailIgnoresTheFence,
    FailForgetsTheUndecided,
    CommitForgetsTheSibling,
    FailForgetsTheHorizon,
    BeginForgetsTheJournal,
    RetryForgetsItsRetry,
    BeginForgetsTheLifetime,
    StoreForgetsTheRefreshTokensEnd,
    StoreForgetsTheKey,
    ResealTakesThePlaceOfAnything,
    ResealForgetsTheKey,
    CommitTellsItAgain,
    FailSaysSomebodyElseTried,
    Pending(WrongPending),
    Device(WrongDevice),
    Limit(WrongLimit),
    Token(WrongToken),
    Lifecycle(WrongLifecycle),
    Access(WrongAccess),
    Headers(WrongHeaders),
    Event(WrongEvent),
}

impl Wrong {
    pub(super) const ALL: [Self; 14] = [
        Self::PutForgetsItsRetry,
        Self::TakeIsForAnybody,
        Self::StoreForgetsItsRetry,
        Self::ClaimForgetsItsRetry,
        Self::GiveBackDoesNothing,
        Self::GiveBackForgetsTheWait,
        Self::BeginForgetsItsHolder,
        Self::BeginServesAnyOwner,
        Self::RenewIsForAnybody,
        Self::CommitIgnoresTheGrant,
        Self::CommitIgnoresWhatWasPresented,
        Self::CommitOfTheLastToArriveWins,
        Self::FailIgnoresTheFence,
        Self::FailForgetsTheUndecided,
    ];

    /// Those that it takes overlapping or failing refreshes to find.
    pub(super) const REFRESH: [Self; 11] = [
        Self::CommitForgetsTheSibling,
        Self::FailForgetsTheHorizon,
        Self::BeginForgetsTheJournal,
        Self::RetryForgetsItsRetry,
        Self::BeginForgetsTheLifetime,
        Self::StoreForgetsTheRefreshTokensEnd,
        Self::StoreForgetsTheKey,
        Self::ResealTakesThePlaceOfAnything,
        Self::ResealForgetsTheKey,
        Self::CommitTellsItAgain,
        Self::FailSaysSomebodyElseTried,
    ];
}

#[derive(Debug)]
pub(super) struct WrongStore {
    pub(super) inner: Arc<MemoryStore>,
    pub(super) how: Wrong,
    notes: Mutex<Notes>,
    pub(super) pendings: Mutex<PendingNotes>,
    pub(super) polls: Mutex<DeviceNotes>,
    pub(super) tokens: Mutex<TokenNotes>,
    /// Events that never came to the outbox.
    pub(super) untold: Mutex<HashSet<EventId>>,
}

/// What it must know to get things wrong.
#[derive(Debug, Default)]
struct Notes {
    requests: u128,
    takers: HashMap<RecordName, Digest>,
    begun: HashMap<ConnectionId, Begun>,
}

#[derive(Debug, Clone, Copy)]
struct Begun {
    holder: Digest,
    fence: u64,
    presented: Digest,
}

impl WrongStore {
    pub(super) fn new(inner: Arc<MemoryStore>, how: Wrong) -> Self {
        let (notes, pendings, polls, tokens, untold) = Default::default();
        Self { inner, how, notes, pendings, polls, tokens, untold }
    }

    /// A side that makes the mistake.
    pub(super) fn side(how: Wrong) -> Side {
        let inner = Arc::new(MemoryStore::new());
        Side { store: Arc::new(Self::new(inner.clone(), how)), ..Side::over(inner) }
    }

    /// The request, or one that was never seen if this is the mistake.
    pub(super) fn fresh_if(&self, wrong: Wrong, request: Digest) -> Digest {
        if self.how != wrong {
            return request;
        }
        let mut notes = self.notes.lock().unwrap();
        notes.requests += 1;
        Digest::from_bytes(&notes.requests.to_be_bytes()).unwrap()
    }

    fn begun(&self, id: &ConnectionId) -> Option<Begun> {
        self.notes.lock().unwrap().begun.get(id).copied()
    }
}

#[async_trait::async_trait]
impl Store for WrongStore {
    fn prefix(&self) -> &str {
        self.inner.prefix()
    }

    fn now_ms(&self) -> u64 {
        self.inner.now_ms()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.inner.ping().await
    }

    async fn put(&self, record: NewRecord<'_>) -> Result<Put, StoreError> {
        let request = self.fresh_if(Wrong::PutForgetsItsRetry, record.request);
        self.inner.put(NewRecord { request, ..record }).await
    }

    async fn take(&self, name: &RecordName, request: Digest) -> Result<Take, StoreError> {
        let take = self.inner.take(name, request).await?;
        let taker = self.notes.lock().unwrap().takers.get(name).copied();
        match (&take, taker) {
            (Take::Taken(_), _) => {
                self.notes.lock().unwrap().takers.insert(*name, request);
            }
            (Take::AlreadyTaken { .. }, Some(taker)) if self.how == Wrong::TakeIsForAnybody => {
                return self.inner.take(name, taker).await;
            }
            _ => {}
        }
        Ok(take)
    }

    async fn store_credential(
        &self,
        mut credential: NewCredential<'_>,
    ) -> Result<Stored, StoreError> {
        if self.how == Wrong::StoreForgetsTheRefreshTokensEnd {
            credential.refresh_expires_in = None;
        }
        if self.how == Wrong::StoreForgetsTheKey {
            credential.sealed_by = 0;
        }
        let request = self.fresh_if(Wrong::StoreForgetsItsRetry, credential.request);
        self.inner.store_credential(NewCredential { request, ..credential }).await
    }

    async fn read_credential(
        &self,
        id: &ConnectionId,
    ) -> Result<Option<CredentialRow>, StoreError> {
        self.inner.read_credential(id).await
    }

    async fn claim_due(&self, claim: Claim) -> Result<Vec<ConnectionId>, StoreError> {
        let request = self.fresh_if(Wrong::ClaimForgetsItsRetry, claim.request);
        self.inner.claim_due(Claim { request, ..claim }).await
    }

    async fn give_back(
        &self,
        id: &ConnectionId,
        request: Digest,
        wait: Duration,
    ) -> Result<(), StoreError> {
        if self.how == Wrong::GiveBackDoesNothing {
            return Ok(());
        }
        let wait = if self.how == Wrong::GiveBackForgetsTheWait { Duration::ZERO } else { wait };
        self.inner.give_back(id, request, wait).await
    }

    async fn begin(&self, mut attempt: Attempt<'_>) -> Result<Begin, StoreError> {
        attempt.holder = self.fresh_if(Wrong::BeginForgetsItsHolder, attempt.holder);
        if self.how == Wrong::BeginServesAnyOwner {
            attempt.owner = None;
        }
        if self.how == Wrong::BeginForgetsTheJournal {
            attempt.settled = Duration::ZERO;
        }
        if self.how == Wrong::BeginForgetsTheLifetime {
            attempt.lifetime = None;
        }
        let begin = self.inner.begin(attempt.clone()).await?;
        if let Begin::Begun(begun) = &begin {
            let (holder, fence, presented) = (attempt.holder, begun.fence, begun.refresh_token);
            let begun = Begun { holder, fence, presented };
            self.notes.lock().unwrap().begun.insert(attempt.id.clone(), begun);
        }
        Ok(begin)
    }

    async fn renew(
        &self,
        id: &ConnectionId,
        mut holder: Digest,
        lease: Duration,
    ) -> Result<Renewal, StoreError> {
        if let (Wrong::RenewIsForAnybody, Some(begun)) = (self.how, self.begun(id)) {
            holder = begun.holder;
        }
        self.inner.renew(id, holder, lease).await
    }

    async fn commit(&self, mut commit: Commit<'_>) -> Result<CommitOutcome, StoreError> {
        match self.how {
            Wrong::CommitIgnoresTheGrant => {
                if let Some(row) = self.inner.read_credential(commit.id).await? {
                    commit.grant = row.grant;
                }
            }
            Wrong::CommitIgnoresWhatWasPresented => {
                if let Some(begun) = self.begun(commit.id) {
                    commit.presented = begun.presented;
                }
            }
            Wrong::CommitOfTheLastToArriveWins => commit.answered_ago = Duration::ZERO,
            _ => {}
        }
        let (id, request, by) = (commit.id, commit.request, commit.by);
        let outcome = self.inner.commit(commit).await?;
        if let (CommitOutcome::AlreadyCommitted { .. }, Wrong::CommitTellsItAgain) =
            (outcome, self.how)
        {
            let event = NewEvent {
                kind: EventKind::RefreshSucceeded,
                subject: Subject::Connection,
                subject_id: id.as_str(),
                name: "github",
                owner: None,
                actor: by.actor,
                idp_host: by.idp_host,
                detail: "",
            };
            self.inner.append_event(id.shard(), event, request).await?;
        }
        // Told as dropped, and kept all the same.
        Ok(match outcome {
            CommitOutcome::Alt if self.how == Wrong::CommitForgetsTheSibling => {
                CommitOutcome::Superseded
            }
            outcome => outcome,
        })
    }

    async fn fail(&self, mut fail: Fail<'_>) -> Result<FailOutcome, StoreError> {
        if let (Wrong::FailIgnoresTheFence, Some(begun)) = (self.how, self.begun(fail.id)) {
            fail.fence = begun.fence;
        }
        if self.how == Wrong::FailForgetsTheUndecided && fail.kind == FailureKind::Undecided {
            fail.kind = FailureKind::Transient;
        }
        if self.how == Wrong::FailForgetsTheHorizon {
            fail.horizon = None;
        }
        if self.how == Wrong::FailSaysSomebodyElseTried {
            fail.by.actor = Actor::Operator;
        }
        self.inner.fail(fail).await
    }

    async fn retry(
        &self,
        id: &ConnectionId,
        request: Digest,
        actor: Actor,
    ) -> Result<Retry, StoreError> {
        let request = self.fresh_if(Wrong::RetryForgetsItsRetry, request);
        self.inner.retry(id, request, actor).await
    }

    async fn due_backlog(&self) -> Result<Backlog, StoreError> {
        self.inner.due_backlog().await
    }
}

#[async_trait::async_trait]
impl SealedStore for WrongStore {
    async fn list_sealed(&self, page: SealedPage) -> Result<Vec<SealedRecord>, StoreError> {
        self.inner.list_sealed(page).await
    }

    async fn count_sealed(&self, shard: Shard) -> Result<Vec<(u32, u64)>, StoreError> {
        self.inner.count_sealed(shard).await
    }

    async fn read_sealed(&self, name: &SealedName) -> Result<Option<SealedSecret>, StoreError> {
        self.inner.read_sealed(name).await
    }

    async fn reseal(&self, mut reseal: Reseal<'_>) -> Result<Resealed, StoreError> {
        let there = self.inner.read_sealed(reseal.name).await?;
        if self.how == Wrong::ResealTakesThePlaceOfAnything
            && let Some(there) = &there
        {
            reseal.old = &there.sealed;
        }
        if self.how == Wrong::ResealForgetsTheKey {
            reseal.sealed_by = 0;
        }
        self.inner.reseal(reseal).await
    }
}
