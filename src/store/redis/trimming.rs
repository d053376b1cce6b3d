//! Trimming events on Redis: a little at a time, as a script may not take long.

use std::time::Duration;

use async_trait::async_trait;
use redis::{Value, cmd, from_redis_value};

use super::{
    RedisStore, reply,
    reply::Reply,
    scripts,
    scripts::{Arg, Verb},
};
use crate::{
    RequestId,
    store::{Shard, StoreError, TrimStore, at_once, millis},
};

/// A consumer that has held nothing and asked for nothing for so long is a process that is gone.
const GONE: Duration = Duration::from_secs(24 * 3600);
/// So many entries are read at once to count them.
const PAGE: usize = 1000;

#[async_trait]
impl TrimStore for RedisStore {
    async fn trim_outbox(&self, shard: Shard, most: u16) -> Result<u64, StoreError> {
        let key = self.keys.outbox(shard);
        let reply = self.trim(&scripts::EVENT_TRIM, &key, millis(GONE), most).await?;
        if reply.word() == "trimmed" { reply.part(0) } else { Err(reply.unknown_word()) }
    }

    async fn count_acknowledged(&self, shard: Shard) -> Result<u64, StoreError> {
        let keep: String = self.behind(shard).await?.part(0)?;
        // Without a group nothing is to be kept.
        let before = if keep.is_empty() { "+".to_owned() } else { format!("({keep}") };
        self.count_before(&self.keys.outbox(shard), before).await
    }

    async fn outbox_lags(&self, shard: Shard) -> Result<Vec<(String, u64)>, StoreError> {
        let reply = self.behind(shard).await?;
        let groups = reply.parts().len().saturating_sub(1) / 2;
        (0..groups).map(|n| Ok((reply.part(1 + 2 * n)?, reply.part(2 + 2 * n)?))).collect()
    }

    async fn trim_history(
        &self,
        shard: Shard,
        age: Duration,
        most: u16,
    ) -> Result<u64, StoreError> {
        let key = self.keys.history(shard);
        let reply = self.trim(&scripts::EVENT_FORGET, &key, millis(age), most).await?;
        if reply.word() == "forgotten" { reply.part(0) } else { Err(reply.unknown_word()) }
    }

    async fn count_history(&self, shard: Shard, age: Duration) -> Result<u64, StoreError> {
        self.keep_time().await?;
        match self.clock.now_ms().saturating_sub(millis(age)) {
            0 => Ok(0),
            before => self.count_before(&self.keys.history(shard), format!("({before}-0")).await,
        }
    }
}

impl RedisStore {
    async fn trim(
        &self,
        verb: &'static Verb<1, 3>,
        key: &str,
        age_ms: u64,
        most: u16,
    ) -> Result<Reply, StoreError> {
        let request = RequestId::random().digest();
        let argv = [
            Arg::Bytes(request.as_bytes()),
            Arg::Number(age_ms),
            Arg::Number(at_once(most).into()),
        ];
        self.run_script(verb, [key], argv, request.as_bytes()).await
    }

    async fn behind(&self, shard: Shard) -> Result<Reply, StoreError> {
        let (key, request) = (self.keys.outbox(shard), RequestId::random().digest());
        let argv = [Arg::Bytes(request.as_bytes())];
        let verb = &scripts::EVENT_BEHIND;
        let reply = self.run_script(verb, [&key], argv, request.as_bytes()).await?;
        if reply.word() == "behind" { Ok(reply) } else { Err(reply.unknown_word()) }
    }

    /// How many entries a stream has before one, as XREVRANGE names it: Redis itself does not count.
    async fn count_before(&self, key: &str, mut before: String) -> Result<u64, StoreError> {
        let mut count = 0;
        loop {
            let mut command = cmd("XREVRANGE");
            command.arg(key).arg(&before).arg("-").arg("COUNT").arg(PAGE);
            let page = self.read("count_events", &command).await?;
            let page: Vec<(String, Value)> =
                from_redis_value(page).map_err(|_| reply::unreadable("count_events"))?;
            count += page.len() as u64;
            match page.last() {
                Some((first, _)) if page.len() == PAGE => before = format!("({first}"),
                _ => return Ok(count),
            }
        }
    }
}
