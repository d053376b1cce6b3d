//! What the scripts in `lua/pending` must do.

mod flow;
mod namespace;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use async_trait::async_trait;

use super::{MemoryStore, after, fading::Fading};
use crate::{
    digest::Digest,
    store::{
        Cleared, Ending, Finish, Finished, GRACE, Handed, NewPending, Outcome, PageCursor,
        PendingId, PendingPage, PendingRow, PendingStore, PutPending, Replaced, StoreError,
        WakeHub, millis,
    },
};

#[async_trait]
impl PendingStore for MemoryStore {
    async fn put_pending(&self, pending: NewPending<'_>) -> Result<PutPending, StoreError> {
        let (mut state, now) = self.enter();
        Ok(state.pendings.put(&pending, now))
    }

    async fn replace_pending(&self, pending: NewPending<'_>) -> Result<Replaced, StoreError> {
        let (mut state, now) = self.enter();
        let replaced = state.pendings.replace(&pending, now);
        drop(state);
        self.hub.wake(pending.id);
        Ok(replaced)
    }

    async fn find_pending(
        &self,
        namespace: Digest,
        dedup: Digest,
    ) -> Result<Option<PendingId>, StoreError> {
        let (mut state, now) = self.enter();
        Ok(state.pendings.find(namespace, dedup, now))
    }

    async fn read_pending(&self, id: PendingId) -> Result<PendingRow, StoreError> {
        let (mut state, now) = self.enter();
        Ok(state.pendings.read(id, now))
    }

    async fn finish_pending(&self, finish: Finish<'_>) -> Result<Finished, StoreError> {
        let (mut state, now) = self.enter();
        let finished = state.pendings.finish(&finish, now);
        drop(state);
        self.hub.wake(finish.id);
        Ok(finished)
    }

    async fn list_pendings(
        &self,
        namespace: Digest,
        cursor: Option<PageCursor>,
        limit: u16,
    ) -> Result<PendingPage, StoreError> {
        let (state, now) = self.enter();
        Ok(state.pendings.list(namespace, cursor.as_ref(), limit, now))
    }

    async fn clear_pendings(
        &self,
        namespace: Digest,
        request: Digest,
        by: &str,
        limit: u16,
    ) -> Result<Cleared, StoreError> {
        let (mut state, now) = self.enter();
        let cleared = state.pendings.clear(namespace, request, by, limit, now);
        drop(state);
        for id in &cleared.ids {
            self.hub.wake(*id);
        }
        Ok(cleared)
    }

    async fn read_outcome(&self, id: PendingId) -> Result<Option<Outcome>, StoreError> {
        let (mut state, now) = self.enter();
        Ok(state.pendings.outcome(id, now))
    }

    async fn note_waiter(
        &self,
        id: PendingId,
        waiter: &str,
        life: Duration,
    ) -> Result<(), StoreError> {
        let (mut state, now) = self.enter();
        state.pendings.note_waiter(id, waiter, after(now, life), now);
        Ok(())
    }

    async fn waiters(&self, id: PendingId) -> Result<Vec<String>, StoreError> {
        let (state, now) = self.enter();
        Ok(state.pendings.waiters(id, now))
    }

    fn wake_hub(&self) -> WakeHub {
        self.hub.clone()
    }
}

#[derive(Default)]
pub(super) struct Pendings {
    records: Fading<PendingId, Record>,
    outcomes: Fading<PendingId, Outcome>,
    /// By namespace: the live ones, by their end.
    index: HashMap<Digest, BTreeSet<(u64, PendingId)>>,
    /// By namespace and digest: the pending that a second one joins, if it still lives.
    dedup: Fading<(Digest, Digest), PendingId>,
    /// Who checks what was submitted, and until when.
    claims: Fading<PendingId, (Digest, u64)>,
    /// What a clear returned, for its retries.
    cleared: Fading<Digest, Cleared>,
    /// Who waits, until when that is known.
    waiters: HashMap<PendingId, BTreeMap<String, u64>>,
}

struct Record {
    put_by: Digest,
    body: Vec<u8>,
    subject: Option<Digest>,
    expires_at: u64,
    ceiling_at: u64,
    replaced_by: Option<Digest>,
    ended: Option<Ended>,
}

#[derive(Clone, Copy)]
struct Ended {
    how: Ending,
    by: Digest,
    at: u64,
}

impl Record {
    fn left(&self, now: u64) -> Option<u64> {
        let lives = self.ended.is_none() && self.expires_at > now;
        lives.then(|| self.expires_at - now)
    }
}

impl Pendings {
    pub(super) fn put(&mut self, new: &NewPending<'_>, now: u64) -> PutPending {
        if let Some(found) = self.records.get(new.id, now) {
            let mine = found.put_by == new.request;
            return if mine { PutPending::Stored } else { PutPending::Collision };
        }
        let dedup = new.dedup.map(|dedup| (new.id.namespace(), dedup));
        let other = dedup.and_then(|dedup| self.dedup.get(dedup, now).copied());
        if let Some(id) = other
            && let Some(left) = self.join(id, new, now)
        {
            return PutPending::Joined { id, left: Duration::from_millis(left) };
        }
        let expires_at = after(now, new.ttl);
        let record = Record {
            put_by: new.request,
            body: new.body.to_vec(),
            subject: new.subject,
            expires_at,
            ceiling_at: after(now, new.ceiling.max(new.ttl)),
            replaced_by: None,
            ended: None,
        };
        self.records.insert(new.id, record, after(expires_at, GRACE), now);
        let index = self.index.entry(new.id.namespace()).or_default();
        index.retain(|(end, _)| *end > now);
        index.insert((expires_at, new.id));
        if let Some(dedup) = dedup {
            self.dedup.insert(dedup, new.id, expires_at, now);
        }
        PutPending::Stored
    }

    pub(super) fn replace(&mut self, new: &NewPending<'_>, now: u64) -> Replaced {
        let dedup = new.dedup.map(|dedup| (new.id.namespace(), dedup));
        let other = dedup.and_then(|dedup| self.dedup.get(dedup, now).copied());
        let taken = other.filter(|other| *other != new.id).is_some_and(|other| {
            self.records.get(other, now).is_some_and(|record| record.ended.is_none())
        });
        let Some(record) = self.records.get(new.id, now) else { return Replaced::Absent };
        match (record.ended, record.left(now)) {
            (Some(ended), _) => return Replaced::Ended(ended.how),
            (None, None) => return Replaced::Expired,
            (None, Some(_)) if record.replaced_by == Some(new.request) => {
                return Replaced::Replaced;
            }
            (None, Some(_)) => {}
        }
        let (end, expires_at) = (record.expires_at, after(now, new.ttl));
        if expires_at > record.ceiling_at {
            let left = Duration::from_millis(record.ceiling_at.saturating_sub(now));
            return Replaced::BeyondCeiling { left };
        }
        record.body = new.body.to_vec();
        record.subject = new.subject;
        record.expires_at = expires_at;
        record.replaced_by = Some(new.request);
        self.records.end_at(new.id, expires_at.saturating_add(millis(GRACE)));
        let index = self.index.entry(new.id.namespace()).or_default();
        index.remove(&(end, new.id));
        index.insert((expires_at, new.id));
        if let Some(dedup) = dedup.filter(|_| !taken) {
            self.dedup.insert(dedup, new.id, expires_at, now);
        }
        Replaced::Replaced
    }

    pub(super) fn read(&mut self, id: PendingId, now: u64) -> PendingRow {
        let Some(record) = self.records.get(id, now) else { return PendingRow::Absent };
        match (record.ended, record.left(now)) {
            (Some(ended), _) => PendingRow::Ended(ended.how),
            (None, Some(left)) => {
                PendingRow::Live { body: record.body.clone(), left: Duration::from_millis(left) }
            }
            (None, None) => PendingRow::Expired,
        }
    }

    /// The pending that one with this dedup key would join, if it lives.
    pub(super) fn find(&mut self, namespace: Digest, dedup: Digest, now: u64) -> Option<PendingId> {
        self.dedup.get((namespace, dedup), now).copied()
    }

    pub(super) fn finish(&mut self, finish: &Finish<'_>, now: u64) -> Finished {
        let by = self.outcomes.get(finish.id, now).map(|outcome| outcome.by.clone());
        let Some(record) = self.records.get(finish.id, now) else { return Finished::Absent };
        match record.ended {
            Some(ended) if ended.by == finish.request => {
                let ago = now.saturating_sub(ended.at);
                return Finished::Finished(Handed::ago(record.body.clone(), ago));
            }
            Some(Ended { how, at, .. }) => {
                return Finished::Already { how, at_ms: at, by: by.unwrap_or_default() };
            }
            None => {}
        }
        let Some(left) = record.left(now) else { return Finished::Expired };
        if record.subject.is_some() && record.subject != finish.subject {
            return Finished::OtherSubject;
        }
        let body = record.body.clone();
        record.ended = Some(Ended { how: finish.how, by: finish.request, at: now });
        let end = record.expires_at;
        let outcome = Outcome {
            how: finish.how,
            at_ms: now,
            by: finish.by.to_owned(),
            body: finish.body.to_vec(),
        };
        let life = left.min(millis(finish.longest)).max(millis(GRACE));
        self.end(finish.id, end, outcome, life, now);
        Finished::Finished(Handed::now(body))
    }

    pub(super) fn outcome(&mut self, id: PendingId, now: u64) -> Option<Outcome> {
        self.outcomes.get(id, now).cloned()
    }

    pub(super) fn note_waiter(&mut self, id: PendingId, waiter: &str, until: u64, now: u64) {
        self.waiters.retain(|_, known| known.values().any(|until| *until > now));
        self.waiters.entry(id).or_default().insert(waiter.to_owned(), until);
    }

    pub(super) fn waiters(&self, id: PendingId, now: u64) -> Vec<String> {
        let known = self.waiters.get(&id).into_iter().flatten();
        known.filter(|(_, until)| **until > now).map(|(waiter, _)| waiter.clone()).collect()
    }

    /// What every ending leaves: a tombstone, an outcome, and no entry in the index.
    fn end(&mut self, id: PendingId, end: u64, outcome: Outcome, life: u64, now: u64) {
        self.records.end_at(id, after(now, GRACE));
        self.outcomes.insert(id, outcome, now.saturating_add(life), now);
        if let Some(index) = self.index.get_mut(&id.namespace()) {
            index.remove(&(end, id));
            if index.is_empty() {
                self.index.remove(&id.namespace());
            }
        }
    }
}
