//! The wrong store's pendings, with one mistake each as well.

use std::{collections::HashMap, time::Duration};

use vestibule::{
    Digest,
    store::{
        Cleared, Ending, Finish, Finished, NewPending, Outcome, PageCursor, PendingId, PendingPage,
        PendingRow, PendingStore, PutPending, Replaced, StoreError, WakeHub,
    },
};

use super::wrong::{Wrong, WrongStore};

/// The mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WrongPending {
    PutForgetsItsRetry,
    PutOverwrites,
    ReplaceForgetsItsRetry,
    ReplaceHasNoCeiling,
    ReplaceKeepsItsSubject,
    ReplaceForgetsItsDedup,
    DedupIsForgotten,
    DedupJoinsTheDead,
    FindsNothing,
    FinishForgetsItsRetry,
    FinishIsForAnybody,
    FinishIgnoresTheSubject,
    OutcomeIsNotTold,
    OutcomeLivesTooShort,
    ListShowsTheExpired,
    ListDropsAnEntry,
    ClearForgetsItsRetry,
    ClearIsNoEnding,
    ClearIsNeverDone,
    WaiterShortensTheOthers,
}

impl WrongPending {
    pub(super) const ALL: [Self; 20] = [
        Self::PutForgetsItsRetry,
        Self::PutOverwrites,
        Self::ReplaceForgetsItsRetry,
        Self::ReplaceHasNoCeiling,
        Self::ReplaceKeepsItsSubject,
        Self::ReplaceForgetsItsDedup,
        Self::DedupIsForgotten,
        Self::DedupJoinsTheDead,
        Self::FindsNothing,
        Self::FinishForgetsItsRetry,
        Self::FinishIsForAnybody,
        Self::FinishIgnoresTheSubject,
        Self::OutcomeIsNotTold,
        Self::OutcomeLivesTooShort,
        Self::ListShowsTheExpired,
        Self::ListDropsAnEntry,
        Self::ClearForgetsItsRetry,
        Self::ClearIsNoEnding,
        Self::ClearIsNeverDone,
        Self::WaiterShortensTheOthers,
    ];
}

/// What it must know to get them wrong.
#[derive(Debug, Default)]
pub(super) struct PendingNotes {
    put: HashMap<PendingId, Option<Digest>>,
    dedups: HashMap<Digest, Vec<PendingId>>,
    winners: HashMap<PendingId, Digest>,
    waiters: HashMap<PendingId, Vec<String>>,
}

impl WrongStore {
    fn is(&self, wrong: WrongPending) -> bool {
        self.how == Wrong::Pending(wrong)
    }

    fn fresh_pending_if(&self, wrong: WrongPending, request: Digest) -> Digest {
        self.fresh_if(Wrong::Pending(wrong), request)
    }

    fn notes<T>(&self, with: impl FnOnce(&mut PendingNotes) -> T) -> T {
        with(&mut self.pendings.lock().unwrap())
    }

    /// The dead pending that a dedup key leads to.
    async fn dead(&self, new: &NewPending<'_>) -> Option<PutPending> {
        let known = self.notes(|notes| notes.dedups.get(&new.dedup?).cloned())?;
        for id in known.into_iter().filter(|id| *id != new.id) {
            if let PendingRow::Ended(_) = self.inner.read_pending(id).await.unwrap() {
                return Some(PutPending::Joined { id, left: Duration::ZERO });
            }
        }
        None
    }
}

#[async_trait::async_trait]
impl PendingStore for WrongStore {
    async fn put_pending(&self, mut pending: NewPending<'_>) -> Result<PutPending, StoreError> {
        pending.request = self.fresh_pending_if(WrongPending::PutForgetsItsRetry, pending.request);
        if self.is(WrongPending::DedupJoinsTheDead)
            && let Some(joined) = self.dead(&pending).await
        {
            return Ok(joined);
        }
        if self.is(WrongPending::DedupIsForgotten) {
            pending.dedup = None;
        }
        self.put_for_headers(&mut pending);
        let (id, subject, dedup) = (pending.id, pending.subject, pending.dedup);
        let put = self.inner.put_pending(pending).await?;
        match &put {
            PutPending::Stored => self.notes(|notes| {
                notes.put.insert(id, subject);
                notes.dedups.entry(dedup.unwrap_or(Digest::NONE)).or_default().push(id);
            }),
            PutPending::Collision if self.is(WrongPending::PutOverwrites) => {
                return Ok(PutPending::Stored);
            }
            _ => {}
        }
        Ok(put)
    }

    async fn replace_pending(&self, mut pending: NewPending<'_>) -> Result<Replaced, StoreError> {
        let (id, request) = (pending.id, pending.request);
        pending.request = self.fresh_pending_if(WrongPending::ReplaceForgetsItsRetry, request);
        if self.is(WrongPending::ReplaceKeepsItsSubject) {
            pending.subject = self.notes(|notes| notes.put.get(&id).copied().flatten());
        }
        if self.is(WrongPending::ReplaceForgetsItsDedup) {
            pending.dedup = None;
        }
        let replaced = self.inner.replace_pending(pending).await?;
        let beyond = matches!(replaced, Replaced::BeyondCeiling { .. });
        Ok(if beyond && self.is(WrongPending::ReplaceHasNoCeiling) {
            Replaced::Replaced
        } else {
            replaced
        })
    }

    async fn find_pending(
        &self,
        namespace: Digest,
        dedup: Digest,
    ) -> Result<Option<PendingId>, StoreError> {
        let found = self.inner.find_pending(namespace, dedup).await?;
        Ok(found.filter(|_| !self.is(WrongPending::FindsNothing)))
    }

    async fn read_pending(&self, id: PendingId) -> Result<PendingRow, StoreError> {
        self.inner.read_pending(id).await
    }

    async fn finish_pending(&self, mut finish: Finish<'_>) -> Result<Finished, StoreError> {
        let (id, request) = (finish.id, finish.request);
        finish.request = self.fresh_pending_if(WrongPending::FinishForgetsItsRetry, request);
        if self.is(WrongPending::FinishIgnoresTheSubject) {
            finish.subject = self.notes(|notes| notes.put.get(&id).copied().flatten());
        }
        if self.is(WrongPending::OutcomeIsNotTold) {
            finish.body = b"";
        }
        if self.is(WrongPending::OutcomeLivesTooShort) {
            finish.longest = Duration::ZERO;
        }
        let finished = self.inner.finish_pending(finish.clone()).await?;
        let winner = self.notes(|notes| notes.winners.get(&id).copied());
        match (&finished, winner) {
            (Finished::Finished(_), _) => {
                self.notes(|notes| notes.winners.insert(id, request));
            }
            (Finished::Already { .. }, Some(request))
                if self.is(WrongPending::FinishIsForAnybody) =>
            {
                return self.inner.finish_pending(Finish { request, ..finish }).await;
            }
            _ => {}
        }
        Ok(finished)
    }

    async fn list_pendings(
        &self,
        namespace: Digest,
        cursor: Option<PageCursor>,
        limit: u16,
    ) -> Result<PendingPage, StoreError> {
        let goes_on = cursor.is_some();
        let mut page = self.inner.list_pendings(namespace, cursor, limit).await?;
        if self.is(WrongPending::ListDropsAnEntry) && goes_on && !page.ids.is_empty() {
            page.ids.remove(0);
        }
        if self.is(WrongPending::ListShowsTheExpired) && page.next.is_none() {
            let put: Vec<_> = self.notes(|notes| notes.put.keys().copied().collect());
            for id in put.into_iter().filter(|id| id.namespace() == namespace) {
                if self.inner.read_pending(id).await? == PendingRow::Expired {
                    page.ids.push(id);
                }
            }
        }
        Ok(page)
    }

    async fn clear_pendings(
        &self,
        namespace: Digest,
        request: Digest,
        by: &str,
        limit: u16,
    ) -> Result<Cleared, StoreError> {
        let request = self.fresh_pending_if(WrongPending::ClearForgetsItsRetry, request);
        let mut cleared = self.inner.clear_pendings(namespace, request, by, limit).await?;
        cleared.more |= self.is(WrongPending::ClearIsNeverDone) && !cleared.ids.is_empty();
        Ok(cleared)
    }

    async fn read_outcome(&self, id: PendingId) -> Result<Option<Outcome>, StoreError> {
        let outcome = self.inner.read_outcome(id).await?;
        let cleared = |outcome: &Outcome| outcome.how == Ending::Cleared;
        Ok(outcome.filter(|o| !(self.is(WrongPending::ClearIsNoEnding) && cleared(o))))
    }

    async fn note_waiter(
        &self,
        id: PendingId,
        waiter: &str,
        life: Duration,
    ) -> Result<(), StoreError> {
        if self.is(WrongPending::WaiterShortensTheOthers) {
            let known = self.notes(|notes| {
                let known = notes.waiters.entry(id).or_default();
                known.push(waiter.to_owned());
                known.clone()
            });
            for other in self.inner.waiters(id).await?.iter().filter(|w| known.contains(*w)) {
                self.inner.note_waiter(id, other, life).await?;
            }
        }
        self.inner.note_waiter(id, waiter, life).await
    }

    async fn waiters(&self, id: PendingId) -> Result<Vec<String>, StoreError> {
        self.inner.waiters(id).await
    }

    fn wake_hub(&self) -> WakeHub {
        self.inner.wake_hub()
    }
}
