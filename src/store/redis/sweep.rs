//! Turns at sweeping, on Redis: a small hash for each sweep and shard.

use std::time::Duration;

use async_trait::async_trait;

use super::{RedisStore, scripts, scripts::Arg};
use crate::store::{BeginTurn, EndTurn, StoreError, SweepStore, Turn, TurnEnd, millis};

#[async_trait]
impl SweepStore for RedisStore {
    async fn begin_turn(&self, begin: BeginTurn) -> Result<Turn, StoreError> {
        let key = self.keys.sweep(begin.shard, begin.sweep);
        let request = begin.request.to_hex();
        let argv = [
            Arg::Bytes(request.as_bytes()),
            Arg::Number(millis(begin.lease)),
            Arg::Number(millis(begin.not_within)),
            Arg::Number(millis(begin.keep())),
        ];
        let mut reply =
            self.run_script(&scripts::SWEEP_BEGIN, [&key], argv, request.as_bytes()).await?;
        let remaining = || reply.part(0).map(Duration::from_millis);
        match reply.word() {
            // What is no text is no cursor: the round begins anew, instead of never.
            "begun" => {
                let cursor = String::from_utf8(reply.take_bytes(0)?).unwrap_or_default();
                Ok(Turn::Begun { cursor })
            }
            "held" => Ok(Turn::Held { remaining: remaining()? }),
            "recent" => Ok(Turn::Recent { remaining: remaining()? }),
            _ => Err(reply.unknown_word()),
        }
    }

    async fn end_turn(&self, end: EndTurn<'_>) -> Result<TurnEnd, StoreError> {
        let key = self.keys.sweep(end.shard, end.sweep);
        let request = end.request.to_hex();
        let argv = [
            Arg::Bytes(request.as_bytes()),
            Arg::Number(end.cursor.is_some().into()),
            Arg::Bytes(end.cursor.unwrap_or_default().as_bytes()),
            Arg::Number(end.found),
            Arg::Number(end.done),
        ];
        let reply = self.run_script(&scripts::SWEEP_END, [&key], argv, request.as_bytes()).await?;
        match reply.word() {
            "ended" => Ok(TurnEnd::Ended),
            "lost" => Ok(TurnEnd::Lost),
            _ => Err(reply.unknown_word()),
        }
    }
}
