//! What `event/trim`, `event/forget` and `event/behind` in `lua` must do.

use std::time::Duration;

use async_trait::async_trait;

use super::{
    MemoryStore,
    event::{Outbox, Streams},
};
use crate::store::{Shard, StoreError, TrimStore, at_once, millis};

#[async_trait]
impl TrimStore for MemoryStore {
    async fn trim_outbox(&self, shard: Shard, most: u16) -> Result<u64, StoreError> {
        let mut state = self.enter().0;
        Ok(state.events.of(shard).outbox.as_mut().map_or(0, |outbox| {
            let count = outbox.acknowledged().min(at_once(most).into());
            outbox.drop_first(count);
            count as u64
        }))
    }

    async fn count_acknowledged(&self, shard: Shard) -> Result<u64, StoreError> {
        let mut state = self.enter().0;
        let outbox = state.events.of(shard).outbox.as_ref();
        Ok(outbox.map_or(0, Outbox::acknowledged) as u64)
    }

    async fn outbox_lags(&self, shard: Shard) -> Result<Vec<(String, u64)>, StoreError> {
        let mut state = self.enter().0;
        let outbox = state.events.of(shard).outbox.as_ref();
        Ok(outbox.map(|outbox| outbox.lags().collect()).unwrap_or_default())
    }

    async fn trim_history(
        &self,
        shard: Shard,
        age: Duration,
        most: u16,
    ) -> Result<u64, StoreError> {
        let (mut state, now) = self.enter();
        let streams = state.events.of(shard);
        let count = older(streams, age, now).min(at_once(most).into());
        Ok(streams.history.drain(..count).len() as u64)
    }

    async fn count_history(&self, shard: Shard, age: Duration) -> Result<u64, StoreError> {
        let (mut state, now) = self.enter();
        Ok(older(state.events.of(shard), age, now) as u64)
    }
}

/// How many in front of the history are older than that.
fn older(streams: &Streams, age: Duration, now: u64) -> usize {
    let before = now.saturating_sub(millis(age));
    streams.history.partition_point(|event| event.id.ms < before)
}
