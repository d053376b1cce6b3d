//! Pendings on Redis: a record, its outcome, its namespace's index, and who waits.

mod namespace;
mod write;

use std::time::Duration;

use async_trait::async_trait;
use redis::{Value, cmd, from_redis_value_ref};

use super::{RedisStore, record, reply, scripts, scripts::Arg};
use crate::{
    digest::Digest,
    store::{
        Cleared, Ending, Finish, Finished, GRACE, Handed, NewPending, Outcome, PageCursor,
        PendingId, PendingPage, PendingRow, PendingStore, PutPending, Replaced, StoreError,
        WakeHub, millis,
    },
};

#[async_trait]
impl PendingStore for RedisStore {
    async fn put_pending(&self, pending: NewPending<'_>) -> Result<PutPending, StoreError> {
        write::put(self, pending).await
    }

    async fn replace_pending(&self, pending: NewPending<'_>) -> Result<Replaced, StoreError> {
        write::replace(self, pending).await
    }

    async fn find_pending(
        &self,
        namespace: Digest,
        dedup: Digest,
    ) -> Result<Option<PendingId>, StoreError> {
        namespace::find(self, namespace, dedup).await
    }

    async fn read_pending(&self, id: PendingId) -> Result<PendingRow, StoreError> {
        read(self, id).await
    }

    async fn finish_pending(&self, how: Finish<'_>) -> Result<Finished, StoreError> {
        finish(self, how).await
    }

    async fn list_pendings(
        &self,
        namespace: Digest,
        cursor: Option<PageCursor>,
        limit: u16,
    ) -> Result<PendingPage, StoreError> {
        namespace::list(self, namespace, cursor, limit).await
    }

    async fn clear_pendings(
        &self,
        namespace: Digest,
        request: Digest,
        by: &str,
        limit: u16,
    ) -> Result<Cleared, StoreError> {
        namespace::clear(self, namespace, request, by, limit).await
    }

    async fn read_outcome(&self, id: PendingId) -> Result<Option<Outcome>, StoreError> {
        outcome(self, id).await
    }

    async fn note_waiter(
        &self,
        id: PendingId,
        waiter: &str,
        life: Duration,
    ) -> Result<(), StoreError> {
        note_waiter(self, id, waiter, life).await
    }

    async fn waiters(&self, id: PendingId) -> Result<Vec<String>, StoreError> {
        waiters(self, id).await
    }

    fn wake_hub(&self) -> WakeHub {
        self.listener.hub()
    }
}

async fn read(store: &RedisStore, id: PendingId) -> Result<PendingRow, StoreError> {
    let key = store.keys.pending(id);
    let namespace = id.namespace();
    let request = namespace.as_bytes();
    let verb = &scripts::PENDING_READ;
    let mut reply = store.run_script(verb, [&key], [Arg::Bytes(request)], request).await?;
    if reply.word() == "absent" {
        return Ok(PendingRow::Absent);
    }
    let mut bytes = reply.take_bytes(0)?;
    let left: i64 = reply.part(1)?;
    let Some((state, body)) = record::read_pending(&bytes) else {
        let what = "its head cannot be read";
        return Err(StoreError::Corrupt { verb: "read_pending", key, what });
    };
    if let Some(how) = Ending::from_word(state) {
        return Ok(PendingRow::Ended(how));
    }
    let grace = i64::try_from(millis(GRACE)).unwrap_or(i64::MAX);
    match u64::try_from(left - grace) {
        Ok(left) if left > 0 => {
            bytes.drain(..body);
            Ok(PendingRow::Live { body: bytes, left: Duration::from_millis(left) })
        }
        _ => Ok(PendingRow::Expired),
    }
}

async fn finish(store: &RedisStore, finish: Finish<'_>) -> Result<Finished, StoreError> {
    let (id, key) = (finish.id.to_string(), store.keys.pending(finish.id));
    let outcome = store.keys.outcome(finish.id);
    let index = store.keys.pendings(finish.id.shard(), finish.id.namespace());
    let channel = store.keys.wake();
    let request = finish.request.as_bytes();
    let subject = finish.subject.unwrap_or(Digest::NONE);
    let argv = [
        Arg::Bytes(request),
        text(&id),
        text(finish.how.as_str()),
        Arg::Bytes(subject.as_bytes()),
        text(finish.by),
        Arg::Bytes(finish.body),
        Arg::Number(millis(GRACE)),
        Arg::Number(millis(finish.longest)),
        text(&channel),
    ];
    let keys = [key.as_str(), &outcome, &index];
    let mut reply = store.run_script(&scripts::PENDING_FINISH, keys, argv, request).await?;
    let corrupt = |what| StoreError::Corrupt { verb: "pending/finish", key: key.clone(), what };
    Ok(match reply.word() {
        "finished" => {
            let mut bytes = reply.take_bytes(0)?;
            let Some((_, body)) = record::read_pending(&bytes) else {
                return Err(corrupt("its head cannot be read"));
            };
            bytes.drain(..body);
            Finished::Finished(Handed::ago(bytes, reply.part(1)?))
        }
        "already" => Finished::Already {
            how: Ending::from_word(&reply.part::<String>(0)?)
                .ok_or_else(|| corrupt("its state is unknown"))?,
            at_ms: reply.part(1)?,
            by: reply.part(2)?,
        },
        "other_subject" => Finished::OtherSubject,
        "expired" => Finished::Expired,
        "absent" => Finished::Absent,
        "corrupt" => return Err(corrupt("its head cannot be read")),
        _ => return Err(reply.unknown_word()),
    })
}

async fn outcome(store: &RedisStore, id: PendingId) -> Result<Option<Outcome>, StoreError> {
    let key = store.keys.outcome(id);
    let found = store.read("read_outcome", cmd("GET").arg(&key)).await?;
    let Value::BulkString(bytes) = found else { return Ok(None) };
    record::read_outcome(&bytes).map(Some).ok_or(StoreError::Corrupt {
        verb: "read_outcome",
        key,
        what: "its head cannot be read",
    })
}

async fn note_waiter(
    store: &RedisStore,
    id: PendingId,
    waiter: &str,
    life: Duration,
) -> Result<(), StoreError> {
    let (key, namespace) = (store.keys.waiters(id), id.namespace());
    let request = namespace.as_bytes();
    let argv = [Arg::Bytes(request), text(waiter), Arg::Number(millis(life))];
    store.run_script(&scripts::PENDING_NOTE, [&key], argv, request).await.map(drop)
}

async fn waiters(store: &RedisStore, id: PendingId) -> Result<Vec<String>, StoreError> {
    store.keep_time().await?;
    let key = store.keys.waiters(id);
    let mut known = cmd("ZRANGEBYSCORE");
    known.arg(&key).arg(store.clock.now_ms()).arg("+inf").arg("LIMIT").arg(0).arg(1000);
    let found = store.read("waiters", &known).await?;
    from_redis_value_ref(&found).map_err(|_| reply::unreadable("waiters"))
}

fn text(text: &str) -> Arg<'_> {
    Arg::Bytes(text.as_bytes())
}
