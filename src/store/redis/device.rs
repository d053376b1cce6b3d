//! Turns at polling, on Redis: a hash beside each pending that is polled for.

use std::time::Duration;

use async_trait::async_trait;
use redis::{cmd, from_redis_value};

use super::{RedisStore, reply, scripts, scripts::Arg};
use crate::{
    digest::Digest,
    store::{
        AcquirePoll, ConnectionId, DeviceStore, GRACE, PollRelease, PollTurn, ReleasePoll,
        StoreError, millis,
    },
};

#[async_trait]
impl DeviceStore for RedisStore {
    async fn acquire_poll(&self, turn: AcquirePoll<'_>) -> Result<PollTurn, StoreError> {
        let (key, record) = (self.keys.lease(turn.id), self.keys.pending(turn.id));
        let holder = turn.holder.to_hex();
        let argv = [
            Arg::Bytes(holder.as_bytes()),
            Arg::Number(millis(turn.lease)),
            Arg::Number(millis(turn.interval)),
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
            Arg::Number(millis(turn.next_in)),
            Arg::Number(millis(turn.interval)),
            Arg::Number(turn.failures.into()),
        ];
        let verb = &scripts::DEVICE_RELEASE;
        let reply = self.run_script(verb, [&key], argv, holder.as_bytes()).await?;
        match reply.word() {
            "released" => {
                let next_in = Duration::from_millis(reply.part(0)?);
                Ok(PollRelease::Released { next_in })
            }
            "lost" => Ok(PollRelease::Lost),
            _ => Err(reply.unknown_word()),
        }
    }

    async fn has_stored(&self, id: &ConnectionId, request: Digest) -> Result<bool, StoreError> {
        // Whoever asks goes by the store's time as well.
        self.keep_time().await?;
        let mut command = cmd("HGET");
        command.arg(self.keys.connection(id)).arg("stored");
        let receipts: Option<Vec<u8>> = from_redis_value(self.read("has_stored", &command).await?)
            .map_err(|_| reply::unreadable("has_stored"))?;
        let mine = request.to_hex();
        let receipts = receipts.unwrap_or_default();
        Ok(receipts.split(|byte| *byte == b' ').any(|receipt| receipt == mine.as_bytes()))
    }
}
