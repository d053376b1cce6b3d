//! Turns at polling, on Redis: a hash beside each pending that is polled for.

use std::time::Duration;

use async_trait::async_trait;
use redis::{cmd, from_redis_value};

use super::{RedisStore, reply, scripts, scripts::Arg};
use crate::{
    digest::Digest,
    store::{
        AcquirePoll, DeviceStore, GRACE, PendingId, PollRelease, PollTurn, ReleasePoll, Shard,
        StoreError, device::poll_millis, millis,
    },
};

#[async_trait]
impl DeviceStore for RedisStore {
    async fn find_pending(
        &self,
        namespace: Digest,
        dedup: Digest,
    ) -> Result<Option<PendingId>, StoreError> {
        let key = self.keys.dedup(Shard::new(namespace.as_bytes()[0]), dedup);
        let found = self.read("find_pending", cmd("GET").arg(&key)).await?;
        let id: Option<String> =
            from_redis_value(found).map_err(|_| reply::unreadable("find_pending"))?;
        Ok(id.and_then(|id| id.parse().ok()))
    }

    async fn acquire_poll(&self, turn: AcquirePoll<'_>) -> Result<PollTurn, StoreError> {
        let (key, record) = (self.keys.lease(turn.id), self.keys.pending(turn.id));
        let holder = turn.holder.to_hex();
        let argv = [
            Arg::Bytes(holder.as_bytes()),
            Arg::Number(poll_millis(turn.lease)),
            Arg::Number(poll_millis(turn.interval)),
            Arg::Number(millis(GRACE)),
            Arg::Bytes(turn.instance.as_bytes()),
        ];
        let verb = &scripts::DEVICE_ACQUIRE;
        let reply = self.run_script(verb, [&key, &record], argv, holder.as_bytes()).await?;
        Ok(match reply.word() {
            "yours" => PollTurn::Yours {
                interval: Duration::from_millis(reply.part(0)?),
                failures: reply.part(1)?,
                inherited: reply.part::<u8>(2)? == 1,
            },
            "later" => PollTurn::Later(Duration::from_millis(reply.part(0)?)),
            "ended" => PollTurn::Ended,
            _ => return Err(reply.unknown_word()),
        })
    }

    async fn release_poll(&self, turn: ReleasePoll) -> Result<PollRelease, StoreError> {
        let (key, holder) = (self.keys.lease(turn.id), turn.holder.to_hex());
        let argv = [
            Arg::Bytes(holder.as_bytes()),
            Arg::Number(poll_millis(turn.next_in)),
            Arg::Number(poll_millis(turn.interval)),
            Arg::Number(turn.failures.into()),
        ];
        let verb = &scripts::DEVICE_RELEASE;
        let reply = self.run_script(verb, [&key], argv, holder.as_bytes()).await?;
        match reply.word() {
            "released" => Ok(PollRelease::Released),
            "lost" => Ok(PollRelease::Lost),
            _ => Err(reply.unknown_word()),
        }
    }
}
