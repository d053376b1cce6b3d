//! Header credentials on Redis: a hash each, found by its binding. How one is read is in [`row`].

mod flow;
mod row;
mod upsert;

use std::time::Duration;

use async_trait::async_trait;

use super::{RedisStore, reply::Reply, scripts, scripts::Arg};
use crate::{
    digest::Digest,
    store::{
        BindingName, Change, ClaimedFlow, GRACE, HeadersBinding, HeadersId, HeadersPage,
        HeadersPlace, HeadersStore, MarkHeaders, MarkedHeaders, NewHeaders, PendingId, Reaped,
        RemovedHeaders, RestoredHeaders, SealedHeaders, Shard, StoreError, UpsertedHeaders,
        WithdrawnHeaders, millis, retention_ms,
    },
};

#[async_trait]
impl HeadersStore for RedisStore {
    async fn upsert_headers(&self, new: NewHeaders<'_>) -> Result<UpsertedHeaders, StoreError> {
        let digest = new.binding.digest;
        let upserted = upsert::upsert(self, new).await?;
        if let UpsertedHeaders::Upserted { .. } = upserted {
            self.changes.tell(Change::Headers(digest));
        }
        Ok(upserted)
    }

    async fn read_headers(
        &self,
        binding: BindingName,
    ) -> Result<Option<SealedHeaders>, StoreError> {
        row::read(self, binding).await
    }

    async fn delete_headers(
        &self,
        id: HeadersId,
        request: Digest,
    ) -> Result<RemovedHeaders, StoreError> {
        let reply = remove(self, id, None, request).await?;
        match reply.word() {
            "removed" => {
                self.tell_removed(&reply)?;
                Ok(RemovedHeaders::Removed)
            }
            "absent" => Ok(RemovedHeaders::Absent),
            _ => Err(reply.unknown_word()),
        }
    }

    async fn reap_headers(
        &self,
        id: HeadersId,
        retention: Duration,
        request: Digest,
    ) -> Result<Reaped, StoreError> {
        let reply = remove(self, id, Some(retention), request).await?;
        match reply.word() {
            "removed" => {
                self.tell_removed(&reply)?;
                Ok(Reaped::Reaped)
            }
            "not_orphaned" => Ok(Reaped::NotOrphaned),
            "too_young" => {
                Ok(Reaped::TooYoung { remaining: Duration::from_millis(reply.part(0)?) })
            }
            "absent" => Ok(Reaped::Absent),
            _ => Err(reply.unknown_word()),
        }
    }

    async fn mark_headers(&self, mark: MarkHeaders<'_>) -> Result<MarkedHeaders, StoreError> {
        let clients = self.keys.client(mark.shard, mark.client);
        let receipt = self.keys.receipt(mark.shard, mark.request);
        let [outbox, history] = self.keys.events(mark.shard);
        let request = mark.request.to_hex();
        let (from, after) = row::place(mark.after);
        let argv = [
            text(&request),
            Arg::Number(mark.limit.clamp(1, 50).into()),
            text(mark.reason),
            Arg::Number(from),
            text(&after),
            Arg::Number(millis(GRACE)),
        ];
        let (verb, keys) = (&scripts::HEADERS_MARK, [&*clients, &receipt, &outbox, &history]);
        let reply = self.run_script(verb, keys, argv, request.as_bytes()).await?;
        match reply.word() {
            "marked" => {
                self.changes.tell(Change::AllHeaders);
                Ok(MarkedHeaders { count: reply.part(0)?, next: next(&reply)? })
            }
            _ => Err(reply.unknown_word()),
        }
    }

    async fn list_headers(
        &self,
        shard: Shard,
        client: Digest,
        after: Option<HeadersPlace>,
        limit: u16,
    ) -> Result<HeadersPage, StoreError> {
        row::list(self, shard, client, after, limit).await
    }

    async fn find_headers(&self, id: HeadersId) -> Result<Option<HeadersBinding>, StoreError> {
        row::find(self, id).await
    }

    async fn withdraw_headers(
        &self,
        binding: BindingName,
        only: Option<HeadersId>,
        request: Digest,
        reason: &str,
    ) -> Result<WithdrawnHeaders, StoreError> {
        let keys = access(self, binding);
        let (request, only) = (request.to_hex(), this(only));
        let argv = [text(&request), text(reason), text(&only)];
        let (verb, keys) = (&scripts::HEADERS_WITHDRAW, keys.each_ref().map(String::as_str));
        let reply = self.run_script(verb, keys, argv, request.as_bytes()).await?;
        match reply.word() {
            "withdrawn" => {
                self.changes.tell(Change::Headers(binding.digest));
                Ok(WithdrawnHeaders::Withdrawn)
            }
            "already" => Ok(WithdrawnHeaders::Already),
            "session" => Ok(WithdrawnHeaders::Session),
            "absent" => Ok(WithdrawnHeaders::Absent),
            "corrupt" => Err(self.damaged(verb.name, &reply, row::STATUS)?),
            _ => Err(reply.unknown_word()),
        }
    }

    async fn restore_headers(
        &self,
        binding: BindingName,
        only: Option<HeadersId>,
        request: Digest,
    ) -> Result<RestoredHeaders, StoreError> {
        let keys = access(self, binding);
        let (request, only) = (request.to_hex(), this(only));
        let argv = [text(&request), text(&only)];
        let (verb, keys) = (&scripts::HEADERS_RESTORE, keys.each_ref().map(String::as_str));
        let reply = self.run_script(verb, keys, argv, request.as_bytes()).await?;
        match reply.word() {
            "restored" => {
                self.changes.tell(Change::Headers(binding.digest));
                row::status(&reply.part::<String>(0)?)
                    .map(RestoredHeaders::Restored)
                    .ok_or_else(|| reply.unknown_word())
            }
            "not_orphaned" => Ok(RestoredHeaders::NotOrphaned),
            "absent" => Ok(RestoredHeaders::Absent),
            "corrupt" => Err(self.damaged(verb.name, &reply, row::WAS)?),
            _ => Err(reply.unknown_word()),
        }
    }

    async fn claim_flow(
        &self,
        id: PendingId,
        request: Digest,
        lease: Duration,
    ) -> Result<ClaimedFlow, StoreError> {
        flow::claim(self, id, request, lease).await
    }

    async fn release_flow(&self, id: PendingId, request: Digest) -> Result<(), StoreError> {
        flow::release(self, id, request).await
    }
}

impl RedisStore {
    /// Of a damaged record it is not known whose binding it had.
    fn tell_removed(&self, reply: &Reply) -> Result<(), StoreError> {
        let binding = Digest::from_hex(&reply.part::<String>(0)?);
        self.changes.tell(binding.map_or(Change::AllHeaders, Change::Headers));
        Ok(())
    }

    /// The error of a reply that names a record in which something is damaged.
    fn damaged(
        &self,
        verb: &'static str,
        reply: &Reply,
        what: &'static str,
    ) -> Result<StoreError, StoreError> {
        let id: HeadersId = reply.part::<String>(0)?.parse().map_err(|_| reply.unknown_word())?;
        Ok(StoreError::Corrupt { verb, key: self.keys.headers(id), what })
    }
}

/// Whatever it is, or only an orphan that is old enough.
async fn remove(
    store: &RedisStore,
    id: HeadersId,
    retention: Option<Duration>,
    request: Digest,
) -> Result<Reply, StoreError> {
    let shard = id.shard();
    let record = store.keys.headers(id);
    let (sealed, orphans) = (store.keys.sealed(shard), store.keys.orphans(shard));
    let [outbox, history] = store.keys.events(shard);
    let (request, id) = (request.to_hex(), id.to_string());
    let argv = [
        text(&request),
        text(&id),
        Arg::Optional(retention.map(retention_ms)),
        Arg::Number(millis(GRACE)),
    ];
    let keys = [&*record, &sealed, &orphans, &outbox, &history];
    store.run_script(&scripts::HEADERS_REMOVE, keys, argv, request.as_bytes()).await
}

/// What changes with the access to what a binding has.
fn access(store: &RedisStore, binding: BindingName) -> [String; 4] {
    let (keys, shard) = (&store.keys, binding.shard);
    let [outbox, history] = keys.events(shard);
    [keys.binding(binding), keys.orphans(shard), outbox, history]
}

/// The only one that is meant, as a script takes it; empty: whichever it is.
fn this(only: Option<HeadersId>) -> String {
    only.map(|id| id.to_string()).unwrap_or_default()
}

/// Where the next page begins, as `mark` tells it.
fn next(reply: &Reply) -> Result<Option<HeadersPlace>, StoreError> {
    let after: String = reply.part(1)?;
    if after.is_empty() {
        return Ok(None);
    }
    // Behind a member that is no id of ours nothing can be found again: the rest is done without it.
    let after = after.parse().map_err(|_| reply.unknown_word())?;
    Ok(Some(HeadersPlace { after, from_ms: reply.part(2)? }))
}

fn text(text: &str) -> Arg<'_> {
    Arg::Bytes(text.as_bytes())
}
