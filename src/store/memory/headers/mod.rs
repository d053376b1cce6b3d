//! What the scripts in `lua/headers` must do; those of a flow's claim are with the pendings.

mod access;
mod record;

use std::{
    collections::{BTreeSet, HashMap},
    ops::Bound,
    time::Duration,
};

use async_trait::async_trait;

use self::record::{Record, Remains, Times};
use super::{
    MemoryStore, after,
    fading::Fading,
    recent::Recent,
    telling::{Telling, told},
};
use crate::{
    digest::Digest,
    store::{
        Actor, BindingName, Change, ClaimedFlow, EventKind, HeadersBinding, HeadersId, HeadersPage,
        HeadersPlace, HeadersStatus, HeadersStore, MarkHeaders, MarkedHeaders, NewHeaders,
        PendingId, Reaped, RemovedHeaders, RestoredHeaders, SealedHeaders, Shard, StoreError,
        UpsertedHeaders, WithdrawnHeaders,
    },
};

#[async_trait]
impl HeadersStore for MemoryStore {
    async fn upsert_headers(&self, new: NewHeaders<'_>) -> Result<UpsertedHeaders, StoreError> {
        let (mut state, now) = self.enter();
        if let Some(before) = state.headers.has_stored(&new, now) {
            return Ok(before);
        }
        if let Some(flow) = &new.flow
            && let Err(refused) = state.pendings.submit(flow, new.request, now)
        {
            return Ok(refused);
        }
        let upserted = {
            let (headers, telling) = state.telling_headers(access::who_changes(new.mode), now);
            headers.upsert(&new, telling)
        };
        drop(state);
        self.changes.tell(Change::Headers(new.binding.digest));
        if let Some(flow) = &new.flow {
            self.hub.wake(flow.id);
        }
        Ok(upserted)
    }

    async fn read_headers(
        &self,
        binding: BindingName,
    ) -> Result<Option<SealedHeaders>, StoreError> {
        Ok(self.enter().0.headers.read(binding))
    }

    async fn delete_headers(
        &self,
        id: HeadersId,
        request: Digest,
    ) -> Result<RemovedHeaders, StoreError> {
        let (mut state, now) = self.enter();
        let removed = {
            let (headers, telling) = state.telling_headers(Actor::Owner, now);
            headers.delete(id, request, telling)
        };
        drop(state);
        if removed == RemovedHeaders::Removed {
            self.changes.tell(Change::AllHeaders);
        }
        Ok(removed)
    }

    async fn reap_headers(
        &self,
        id: HeadersId,
        retention: Duration,
        request: Digest,
    ) -> Result<Reaped, StoreError> {
        let (mut state, now) = self.enter();
        let reaped = {
            let (headers, telling) = state.telling_headers(Actor::Sweep, now);
            headers.reap(id, retention, request, telling)
        };
        drop(state);
        if reaped == Reaped::Reaped {
            self.changes.tell(Change::AllHeaders);
        }
        Ok(reaped)
    }

    async fn mark_headers(&self, mark: MarkHeaders<'_>) -> Result<MarkedHeaders, StoreError> {
        let (mut state, now) = self.enter();
        let marked = {
            let (headers, telling) = state.telling_headers(Actor::Operator, now);
            headers.mark(&mark, telling)
        };
        drop(state);
        self.changes.tell(Change::AllHeaders);
        Ok(marked)
    }

    async fn list_headers(
        &self,
        shard: Shard,
        client: Digest,
        after: Option<HeadersPlace>,
        limit: u16,
    ) -> Result<HeadersPage, StoreError> {
        Ok(self.enter().0.headers.list(shard, client, after, limit.clamp(1, 100).into()))
    }

    async fn find_headers(&self, id: HeadersId) -> Result<Option<HeadersBinding>, StoreError> {
        Ok(self.enter().0.headers.find(id))
    }

    async fn withdraw_headers(
        &self,
        binding: BindingName,
        only: Option<HeadersId>,
        request: Digest,
        reason: &str,
    ) -> Result<WithdrawnHeaders, StoreError> {
        let (mut state, now) = self.enter();
        let withdrawn = {
            let (headers, telling) = state.telling_headers(Actor::Operator, now);
            headers.withdraw((binding, only), request, reason, telling)
        };
        drop(state);
        if withdrawn == WithdrawnHeaders::Withdrawn {
            self.changes.tell(Change::Headers(binding.digest));
        }
        Ok(withdrawn)
    }

    async fn restore_headers(
        &self,
        binding: BindingName,
        only: Option<HeadersId>,
        request: Digest,
    ) -> Result<RestoredHeaders, StoreError> {
        let (mut state, now) = self.enter();
        let restored = {
            let (headers, telling) = state.telling_headers(Actor::Operator, now);
            headers.restore((binding, only), request, telling)
        };
        drop(state);
        if let RestoredHeaders::Restored(_) = restored {
            self.changes.tell(Change::Headers(binding.digest));
        }
        Ok(restored)
    }

    async fn claim_flow(
        &self,
        id: PendingId,
        request: Digest,
        lease: Duration,
    ) -> Result<ClaimedFlow, StoreError> {
        let (mut state, now) = self.enter();
        Ok(state.pendings.claim(id, request, lease, now))
    }

    async fn release_flow(&self, id: PendingId, request: Digest) -> Result<(), StoreError> {
        let (mut state, now) = self.enter();
        state.pendings.release(id, request, now);
        Ok(())
    }
}

#[derive(Default)]
pub(super) struct HeaderRecords {
    by_id: HashMap<HeadersId, Record>,
    bindings: HashMap<BindingName, HeadersId>,
    /// By creation.
    clients: HashMap<(Shard, Digest), BTreeSet<(u64, HeadersId)>>,
    /// What is left of those that were removed.
    removed: Fading<HeadersId, Remains>,
    /// What was removed last of a binding.
    unbound: Fading<BindingName, HeadersId>,
    /// What a page of marks was answered, for its retries.
    marked: Fading<(Shard, Digest), MarkedHeaders>,
}

impl HeaderRecords {
    /// What is there of a binding, or was a moment ago, and its receipts.
    fn last(&mut self, binding: BindingName, now: u64) -> Option<(HeadersId, Times, Recent)> {
        if let Some(id) = self.bindings.get(&binding) {
            let record = self.by_id.get(id)?;
            return Some((*id, record.times, record.receipts));
        }
        let id = *self.unbound.get(binding, now)?;
        let remains = self.removed.get(id, now)?;
        Some((id, remains.times, remains.receipts))
    }

    fn has_stored(&mut self, new: &NewHeaders<'_>, now: u64) -> Option<UpsertedHeaders> {
        let (id, times, receipts) = self.last(new.binding, now)?;
        receipts.has(new.request).then(|| times.upserted(id))
    }

    fn upsert(&mut self, new: &NewHeaders<'_>, mut telling: Telling<'_>) -> UpsertedHeaders {
        let now = telling.now;
        let receipts = self.last(new.binding, now).map(|last| last.2).unwrap_or_default();
        let id = self.bindings.get(&new.binding).copied().unwrap_or(new.id);
        let was = self.by_id.remove(&id);
        let times = Times {
            created_at: was.as_ref().map_or(now, |was| was.times.created_at),
            updated_at: now,
            ver: was.as_ref().map_or(0, |was| was.times.ver) + 1,
        };
        let record = Record {
            binding: new.binding,
            mode: new.mode,
            identity: new.identity,
            client: new.client,
            client_name: new.client_name.to_owned(),
            secret: new.secret.to_vec(),
            sealed_by: u32::from_str_radix(new.key, 16).ok(),
            status: HeadersStatus::Active,
            reason: None,
            status_at: now,
            was: None,
            times,
            receipts: receipts.with(new.request),
        };
        let (name, ver) = (id.to_string(), [("ver", told(times.ver))]);
        telling.note(EventKind::ConnectCompleted, &record.about(&name, id), &ver);
        if let Some(was) = was.filter(|was| was.status != HeadersStatus::Active) {
            let said = [("from", told(was.status.as_str())), ("reason", was.reason)];
            telling.note(EventKind::Recovered, &record.about(&name, id), &said);
        }
        self.bindings.insert(new.binding, id);
        let client = (new.binding.shard, new.client);
        self.clients.entry(client).or_default().insert((times.created_at, id));
        self.by_id.insert(id, record);
        times.upserted(id)
    }

    fn read(&self, binding: BindingName) -> Option<SealedHeaders> {
        let id = self.bindings.get(&binding)?;
        let record = self.by_id.get(id)?;
        Some(SealedHeaders { row: record.row(*id), secret: record.secret.clone() })
    }

    fn page(
        &self,
        client: (Shard, Digest),
        after: Option<HeadersPlace>,
        limit: usize,
    ) -> (Vec<HeadersId>, Option<HeadersPlace>) {
        let Some(index) = self.clients.get(&client) else { return (Vec::new(), None) };
        let page: Vec<_> = match after.map(|place| (place.from_ms, place.after)) {
            None => index.iter().take(limit).collect(),
            Some(last) if index.contains(&last) => {
                let behind = (Bound::Excluded(last), Bound::Unbounded);
                index.range(behind).take(limit).collect()
            }
            Some((from, _)) => index.iter().skip_while(|(at, _)| *at < from).take(limit).collect(),
        };
        let full = page.last().filter(|_| page.len() == limit);
        let next = full.map(|(at, id)| HeadersPlace { after: *id, from_ms: *at });
        (page.into_iter().map(|(_, id)| *id).collect(), next)
    }

    fn list(
        &self,
        shard: Shard,
        client: Digest,
        after: Option<HeadersPlace>,
        limit: usize,
    ) -> HeadersPage {
        let (ids, next) = self.page((shard, client), after, limit);
        let rows = ids.iter().filter_map(|id| Some(self.by_id.get(id)?.row(*id))).collect();
        HeadersPage { rows, damaged: Vec::new(), next }
    }
}
