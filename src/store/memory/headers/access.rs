//! What changes where a header credential stands: marks, withdrawn access, access given back, and
//! its end.

use std::time::Duration;

use super::{
    super::telling::{About, Telling, told},
    HeaderRecords, Record, Remains, after,
};
use crate::{
    digest::Digest,
    store::{
        Actor, BindingName, EventKind, GRACE, HeadersBinding, HeadersId, HeadersMode,
        HeadersStatus, MarkHeaders, MarkedHeaders, Orphan, Reaped, RemovedHeaders, Reseal,
        Resealed, RestoredHeaders, SealedName, SealedOf, SealedRecord, SealedSecret, Shard,
        Subject, WithdrawnHeaders, retention_ms,
    },
};

impl HeaderRecords {
    pub(super) fn mark(
        &mut self,
        mark: &MarkHeaders<'_>,
        mut telling: Telling<'_>,
    ) -> MarkedHeaders {
        let now = telling.now;
        let receipt = (mark.shard, mark.request);
        if let Some(before) = self.marked.get(receipt, now) {
            return *before;
        }
        let limit = mark.limit.clamp(1, 50).into();
        let (ids, next) = self.page((mark.shard, mark.client), mark.after, limit);
        if ids.is_empty() {
            return MarkedHeaders::default();
        }
        let mut count = 0;
        for id in ids {
            let Some(record) = self.by_id.get_mut(&id) else { continue };
            let (needs, why) = (HeadersStatus::NeedsUpdate, Some(mark.reason.to_owned()));
            match (record.status, &mut record.was) {
                (HeadersStatus::Active, _) => {
                    (record.status, record.reason) = (needs, why);
                    record.status_at = now;
                    let said = [("reason", told(mark.reason))];
                    telling.note(EventKind::NeedsReauth, &record.about(&id.to_string(), id), &said);
                }
                (HeadersStatus::Orphaned, Some(was)) if was.0 == HeadersStatus::Active => {
                    *was = (needs, why);
                }
                _ => continue,
            }
            record.times.updated_at = now;
            count += 1;
        }
        let marked = MarkedHeaders { count, next };
        self.marked.insert(receipt, marked, after(now, GRACE), now);
        marked
    }

    pub(super) fn find(&self, id: HeadersId) -> Option<HeadersBinding> {
        let Record { binding: name, mode, identity, .. } = *self.by_id.get(&id)?;
        Some(HeadersBinding { name, mode, identity })
    }

    /// What a binding has: whichever it is, or only this one.
    fn bound(
        &mut self,
        (binding, only): (BindingName, Option<HeadersId>),
    ) -> Option<(HeadersId, &mut Record)> {
        let id = *self.bindings.get(&binding).filter(|id| only.is_none_or(|only| only == **id))?;
        Some((id, self.by_id.get_mut(&id)?))
    }

    pub(super) fn withdraw(
        &mut self,
        which: (BindingName, Option<HeadersId>),
        request: Digest,
        reason: &str,
        mut telling: Telling<'_>,
    ) -> WithdrawnHeaders {
        let now = telling.now;
        let Some((id, record)) = self.bound(which) else { return WithdrawnHeaders::Absent };
        if record.receipts.has(request) {
            return WithdrawnHeaders::Withdrawn;
        }
        if record.mode == HeadersMode::Session {
            return WithdrawnHeaders::Session;
        }
        if record.status == HeadersStatus::Orphaned {
            return WithdrawnHeaders::Already;
        }
        let said = [("from", told(record.status.as_str())), ("reason", told(reason))];
        telling.note(EventKind::Orphaned, &record.about(&id.to_string(), id), &said);
        record.was = Some((record.status, record.reason.take()));
        record.status = HeadersStatus::Orphaned;
        record.reason = Some(reason.to_owned());
        record.status_at = now;
        record.times.updated_at = now;
        record.receipts = record.receipts.with(request);
        WithdrawnHeaders::Withdrawn
    }

    pub(super) fn restore(
        &mut self,
        which: (BindingName, Option<HeadersId>),
        request: Digest,
        mut telling: Telling<'_>,
    ) -> RestoredHeaders {
        let now = telling.now;
        let Some((id, record)) = self.bound(which) else { return RestoredHeaders::Absent };
        if record.receipts.has(request) {
            return RestoredHeaders::Restored(record.status);
        }
        let Some((status, reason)) = record.was.take() else { return RestoredHeaders::NotOrphaned };
        let said = [("to", told(status.as_str()))];
        telling.note(EventKind::Reactivated, &record.about(&id.to_string(), id), &said);
        record.status = status;
        record.reason = reason;
        record.status_at = now;
        record.times.updated_at = now;
        record.receipts = record.receipts.with(request);
        RestoredHeaders::Restored(status)
    }

    pub(super) fn delete(
        &mut self,
        id: HeadersId,
        request: Digest,
        mut telling: Telling<'_>,
    ) -> RemovedHeaders {
        let now = telling.now;
        let Some(record) = self.by_id.get(&id) else {
            let mine = self.has_removed(id, request, now);
            return if mine { RemovedHeaders::Removed } else { RemovedHeaders::Absent };
        };
        telling.by.actor = who_changes(record.mode);
        let said = [("from", told(record.status.as_str()))];
        telling.note(EventKind::TokenDeletedRevoked, &record.about(&id.to_string(), id), &said);
        self.remove(id, request, now);
        RemovedHeaders::Removed
    }

    pub(super) fn reap(
        &mut self,
        id: HeadersId,
        retention: Duration,
        request: Digest,
        mut telling: Telling<'_>,
    ) -> Reaped {
        let now = telling.now;
        let Some(record) = self.by_id.get(&id) else {
            let mine = self.has_removed(id, request, now);
            return if mine { Reaped::Reaped } else { Reaped::Absent };
        };
        if record.status != HeadersStatus::Orphaned {
            return Reaped::NotOrphaned;
        }
        let (age, retention) = (now - record.status_at, retention_ms(retention));
        if age < retention {
            return Reaped::TooYoung { remaining: Duration::from_millis(retention - age) };
        }
        let said = [("since", told(record.status_at))];
        telling.note(EventKind::Reaped, &record.about(&id.to_string(), id), &said);
        self.remove(id, request, now);
        Reaped::Reaped
    }

    /// Those of a shard that have been orphans for so long, with the time since when.
    pub(in crate::store::memory) fn orphans_until(
        &self,
        shard: Shard,
        until: u64,
    ) -> impl Iterator<Item = (u64, Orphan)> {
        let all = self.by_id.iter().filter(move |(id, _)| id.shard() == shard);
        all.filter(move |(_, record)| {
            record.status == HeadersStatus::Orphaned && record.status_at <= until
        })
        .map(|(id, record)| (record.status_at, Orphan::Headers { id: *id }))
    }

    /// Those of a shard of which it is known which key sealed them.
    pub(in crate::store::memory) fn sealed(
        &self,
        shard: Shard,
    ) -> impl Iterator<Item = SealedRecord> {
        let all = self.by_id.iter().filter(move |(id, _)| id.shard() == shard);
        all.filter_map(|(id, record)| {
            Some(SealedRecord { name: SealedName::Headers(*id), by: record.sealed_by? })
        })
    }

    pub(in crate::store::memory) fn read_sealed(&self, id: HeadersId) -> Option<SealedSecret> {
        let record = self.by_id.get(&id)?;
        let (mode, identity, client) = (record.mode, record.identity, record.client);
        let of = SealedOf::Headers { mode, identity, client };
        Some(SealedSecret { of, sealed: record.secret.clone() })
    }

    pub(in crate::store::memory) fn reseal(
        &mut self,
        id: HeadersId,
        reseal: &Reseal<'_>,
    ) -> Resealed {
        let Some(record) = self.by_id.get_mut(&id) else { return Resealed::Absent };
        if !reseal.old.is_empty() && record.secret == reseal.old {
            record.secret = reseal.new.to_vec();
            record.sealed_by = Some(reseal.sealed_by);
        }
        if !reseal.new.is_empty() && record.secret == reseal.new {
            return Resealed::Resealed;
        }
        Resealed::Changed
    }

    fn has_removed(&mut self, id: HeadersId, request: Digest, now: u64) -> bool {
        self.removed.get(id, now).is_some_and(|remains| remains.removed_by == request)
    }

    fn remove(&mut self, id: HeadersId, request: Digest, now: u64) {
        let Some(record) = self.by_id.remove(&id) else { return };
        let (binding, until) = (record.binding, after(now, GRACE));
        let client = (binding.shard, record.client);
        let remains =
            Remains { times: record.times, receipts: record.receipts, removed_by: request };
        if let Some(index) = self.clients.get_mut(&client) {
            index.remove(&(remains.times.created_at, id));
            if index.is_empty() {
                self.clients.remove(&client);
            }
        }
        self.bindings.remove(&binding);
        self.removed.insert(id, remains, until, now);
        self.unbound.insert(binding, id, until, now);
    }
}

impl Record {
    pub(super) fn about<'a>(&'a self, id: &'a str, of: HeadersId) -> About<'a> {
        let (subject, name) = (Subject::Headers, &self.client_name);
        About { subject, id, shard: of.shard(), name, owner: self.identity }
    }
}

/// The host's own are changed by whoever runs it.
pub(super) fn who_changes(mode: HeadersMode) -> Actor {
    if mode == HeadersMode::Admin { Actor::Operator } else { Actor::Owner }
}
