//! What changes where a header credential stands: marks, withdrawn access, access given back, and
//! its end.

use std::time::Duration;

use super::{HeaderRecords, Remains, after};
use crate::{
    digest::Digest,
    store::{
        BindingName, GRACE, HeadersId, HeadersMode, HeadersStatus, MarkHeaders, MarkedHeaders,
        RemovedHeaders, RestoredHeaders, WithdrawnHeaders,
    },
};

impl HeaderRecords {
    pub(super) fn mark(&mut self, mark: &MarkHeaders<'_>, now: u64) -> MarkedHeaders {
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

    pub(super) fn withdraw(
        &mut self,
        binding: BindingName,
        request: Digest,
        reason: &str,
        now: u64,
    ) -> WithdrawnHeaders {
        let found = self.bindings.get(&binding).and_then(|id| self.by_id.get_mut(id));
        let Some(record) = found else { return WithdrawnHeaders::Absent };
        if record.receipts.has(request) {
            return WithdrawnHeaders::Withdrawn;
        }
        if record.mode == HeadersMode::Session {
            return WithdrawnHeaders::Session;
        }
        if record.status == HeadersStatus::Orphaned {
            return WithdrawnHeaders::Already;
        }
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
        binding: BindingName,
        request: Digest,
        now: u64,
    ) -> RestoredHeaders {
        let found = self.bindings.get(&binding).and_then(|id| self.by_id.get_mut(id));
        let Some(record) = found else { return RestoredHeaders::Absent };
        if record.receipts.has(request) {
            return RestoredHeaders::Restored(record.status);
        }
        let Some((status, reason)) = record.was.take() else { return RestoredHeaders::NotOrphaned };
        record.status = status;
        record.reason = reason;
        record.status_at = now;
        record.times.updated_at = now;
        record.receipts = record.receipts.with(request);
        RestoredHeaders::Restored(status)
    }

    pub(super) fn remove(
        &mut self,
        id: HeadersId,
        retention: Option<Duration>,
        request: Digest,
        now: u64,
    ) -> RemovedHeaders {
        let Some(record) = self.by_id.get(&id) else {
            let mine = self.removed.get(id, now).is_some_and(|left| left.removed_by == request);
            return if mine { RemovedHeaders::Removed } else { RemovedHeaders::Absent };
        };
        if let Some(retention) = retention {
            if record.status != HeadersStatus::Orphaned {
                return RemovedHeaders::NotOrphaned;
            }
            match after(record.status_at, retention).saturating_sub(now) {
                0 => {}
                left => return RemovedHeaders::TooYoung { left: Duration::from_millis(left) },
            }
        }
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
        self.by_id.remove(&id);
        self.bindings.remove(&binding);
        self.removed.insert(id, remains, until, now);
        self.unbound.insert(binding, id, until, now);
        RemovedHeaders::Removed
    }
}
