//! Takes out of the outboxes what all receivers have been told.

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::turns::{self, Budget, Duty, Room, Swept};
use crate::{
    Vestibule,
    store::{Shard, Store, StoreError, SweepName},
};

/// The sweep of events that every receiver has acknowledged: those are not needed any more.
///
/// What one of them has yet to be told stays, however long it takes; only an outbox that is full
/// drops it. Without receivers there are no outboxes, and nothing to do; a shard whose outbox is
/// empty is not even visited. What is behind a receiver's name, its lag, is
/// [`Events::lags`](crate::event::Events::lags).
#[derive(Debug, Clone, Copy, Default)]
pub struct TrimEvents {
    /// What one pass may do; its limit is of events.
    pub budget: Budget,
}

impl TrimEvents {
    /// One pass.
    pub async fn pass(&self, vestibule: &Vestibule, stop: &CancellationToken) -> Swept {
        let store = &*vestibule.foundation().store;
        turns::pass(vestibule, &Trimming { store }, &self.budget, stop).await
    }
}

struct Trimming<'a> {
    store: &'a dyn Store,
}

#[async_trait]
impl Duty for Trimming<'_> {
    const NAME: SweepName = SweepName::Events;

    /// Those that hold something: a turn at each of the others, every few seconds, would be nothing
    /// but writes.
    async fn shards(&self) -> Result<Vec<Shard>, StoreError> {
        let backlog = self.store.outbox_backlog().await?;
        Ok(backlog.into_iter().map(|(shard, _)| shard).collect())
    }

    /// There is no cursor: what is done is gone.
    async fn shard(
        &self,
        shard: Shard,
        _: &str,
        room: &mut Room<'_>,
    ) -> Result<Option<String>, StoreError> {
        if room.dry_run {
            room.swept.found += self.store.count_acknowledged(shard).await?;
            return Ok(None);
        }
        room.remove(|most| self.store.trim_outbox(shard, most)).await
    }
}
