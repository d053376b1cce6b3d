//! What is due, who polls, who waits.

use std::collections::HashMap;

use futures_util::{StreamExt, TryStreamExt, stream};
use redis::{Value, cmd, from_redis_value};

use super::{
    AT_ONCE, ConnectionView, Cursor, Due, DueView, Inspector, Page, PollView, WaiterView,
    connection::{Fields, connection_id, whole},
    printable::printable,
};
use crate::store::{ConnectionId, PendingId, Shard, StoreError};

const POLL: [&str; 5] = ["holder_by", "lease_ends_at", "next_at", "interval", "failures"];

/// Of one shard: how many are on the index, how many of them are due, and the first ones.
type ShardsDue = (u64, u64, Vec<(ConnectionId, f64)>);

impl Inspector {
    /// What is due next, up to `limit` (1 to 1000), over all shards: 256 short reads, not atomic.
    pub async fn due(&self, limit: u16) -> Result<Due, StoreError> {
        let now_ms = self.now_ms().await?;
        let limit = limit.clamp(1, 1000);
        let shards: Vec<ShardsDue> = stream::iter(Shard::all())
            .map(|shard| self.due_in(shard, now_ms, limit))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let scheduled = shards.iter().map(|shard| shard.0).sum();
        let overdue = shards.iter().map(|shard| shard.1).sum();
        let mut first: Vec<_> = shards.into_iter().flat_map(|shard| shard.2).collect();
        first.sort_by(|a, b| a.1.total_cmp(&b.1));
        first.truncate(limit.into());
        let rows = stream::iter(first)
            .map(|(id, due)| self.due_row(id, whole(due), now_ms))
            .buffered(AT_ONCE)
            .try_collect::<Vec<_>>()
            .await?;
        Ok(Due { rows, scheduled, overdue, now_ms })
    }

    async fn due_in(&self, shard: Shard, now_ms: u64, limit: u16) -> Result<ShardsDue, StoreError> {
        const VERB: &str = "due";
        let key = self.keys.due(shard);
        let mut first = cmd("ZRANGE");
        first.arg(&key).arg(0).arg(limit - 1).arg("WITHSCORES");
        let first = self.unless_damaged(VERB, &first).await?.unwrap_or(Value::Nil);
        let first: Vec<(Vec<u8>, f64)> = from_redis_value(first).unwrap_or_default();
        if first.is_empty() {
            return Ok((0, 0, Vec::new()));
        }
        let all = self.reader.ask(VERB, cmd("ZCARD").arg(&key)).await?;
        let mut due = cmd("ZCOUNT");
        due.arg(&key).arg("-inf").arg(now_ms);
        let due = self.reader.ask(VERB, &due).await?;
        // What is no id hides no other.
        let ids = first.into_iter().filter_map(|(id, due)| Some((connection_id(&id)?, due)));
        let count = |value| from_redis_value(value).unwrap_or(0);
        Ok((count(all), count(due), ids.collect()))
    }

    /// A member without a record is shown as `absent`.
    async fn due_row(
        &self,
        id: ConnectionId,
        due_at_ms: u64,
        now_ms: u64,
    ) -> Result<DueView, StoreError> {
        let absent = || ConnectionView {
            id: id.to_string(),
            key: self.keys.connection(&id),
            status: "absent".to_owned(),
            ..Default::default()
        };
        let connection = self.connection_at(&id, now_ms).await?.unwrap_or_else(absent);
        Ok(DueView { due_at_ms, connection })
    }

    /// The turns at polling a provider: of pendings that wait for a device code's sign-in.
    pub async fn polls(
        &self,
        cursor: Option<Cursor>,
        limit: u16,
    ) -> Result<Page<PollView>, StoreError> {
        let read = async |key: String, now_ms| {
            let id = self.keys.parts("lease", &key).and_then(|(_, id)| id.parse().ok());
            match id {
                Some(id) => self.poll_at(id, now_ms).await,
                None => Ok(None),
            }
        };
        self.walk("lease", cursor, limit, read).await
    }

    /// The turn at polling for one pending; `None` if nobody ever polled for it.
    pub async fn poll(&self, id: PendingId) -> Result<Option<PollView>, StoreError> {
        let now_ms = self.now_ms().await?;
        self.poll_at(id, now_ms).await
    }

    pub(super) async fn poll_at(
        &self,
        id: PendingId,
        now_ms: u64,
    ) -> Result<Option<PollView>, StoreError> {
        let key = self.keys.lease(id);
        let mut command = cmd("HMGET");
        command.arg(&key).arg(&POLL);
        let found = self.unless_damaged("poll", &command).await?.unwrap_or(Value::Nil);
        let found: Vec<Option<Vec<u8>>> = from_redis_value(found).unwrap_or_default();
        let fields: HashMap<_, _> =
            POLL.into_iter().zip(found).filter_map(|(name, value)| Some((name, value?))).collect();
        if fields.is_empty() {
            return Ok(None);
        }
        let fields = Fields(fields);
        let ends_at_ms = fields.number("lease_ends_at").filter(|ends| *ends > now_ms);
        Ok(Some(PollView {
            pending: id.to_string(),
            key,
            by: fields.text("holder_by").filter(|_| ends_at_ms.is_some()),
            ends_at_ms,
            next_at_ms: fields.number("next_at"),
            interval_ms: fields.number("interval"),
            failures: fields.number("failures"),
        }))
    }

    /// Who waits for a pending, as far as is known: a thousand at the most.
    pub async fn waiters(&self, id: PendingId) -> Result<Page<WaiterView>, StoreError> {
        let now_ms = self.now_ms().await?;
        Ok(Page { rows: self.waiters_at(id, now_ms).await?, next: None, now_ms })
    }

    pub(super) async fn waiters_at(
        &self,
        id: PendingId,
        now_ms: u64,
    ) -> Result<Vec<WaiterView>, StoreError> {
        let mut command = cmd("ZRANGEBYSCORE");
        command.arg(self.keys.waiters(id)).arg(now_ms).arg("+inf");
        command.arg("WITHSCORES").arg("LIMIT").arg(0).arg(1000);
        let found = self.unless_damaged("waiters", &command).await?.unwrap_or(Value::Nil);
        let found: Vec<(Vec<u8>, f64)> = from_redis_value(found).unwrap_or_default();
        let rows = found.into_iter();
        let rows =
            rows.map(|(by, until)| WaiterView { by: printable(&by), until_ms: whole(until) });
        Ok(rows.collect())
    }
}
