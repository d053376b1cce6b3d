//! What is sealed by which key, on Redis: an index for each shard.

use async_trait::async_trait;
use redis::{Value, cmd, from_redis_value, from_redis_value_ref};

use super::{RedisStore, reply};
use crate::store::{SealedName, SealedRecord, SealedStore, Shard, StoreError};

#[async_trait]
impl SealedStore for RedisStore {
    async fn list_sealed(
        &self,
        shard: Shard,
        not_by: u32,
        limit: u16,
    ) -> Result<Vec<SealedRecord>, StoreError> {
        const VERB: &str = "list_sealed";
        let limit = usize::from(limit.clamp(1, 100));
        let (key, beside) = (self.keys.sealed(shard), format!("({not_by}"));
        let mut found = redis::pipe();
        for (from, to) in [("-inf", &*beside), (&*beside, "+inf")] {
            let range = found.cmd("ZRANGEBYSCORE").arg(&key).arg(from).arg(to);
            range.arg("WITHSCORES").arg("LIMIT").arg(0).arg(limit);
        }
        let found = self.read_all(VERB, &found).await?;
        let ranges: Vec<Vec<(Vec<u8>, u32)>> =
            from_redis_value(found).map_err(|_| reply::unreadable(VERB))?;
        let name = |member: &[u8]| SealedName::from_member(str::from_utf8(member).ok()?);
        // A member that is none of ours is nobody's to seal anew.
        let records = ranges
            .into_iter()
            .flatten()
            .filter_map(|(member, by)| Some(SealedRecord { name: name(&member)?, by }));
        Ok(records.take(limit).collect())
    }

    async fn count_sealed(&self, shard: Shard, by: u32) -> Result<u64, StoreError> {
        const VERB: &str = "count_sealed";
        let mut command = cmd("ZCOUNT");
        command.arg(self.keys.sealed(shard)).arg(by).arg(by);
        let count: Value = self.read(VERB, &command).await?;
        from_redis_value_ref(&count).map_err(|_| reply::unreadable(VERB))
    }
}
