//! Forgets what happened too long ago.

use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::turns::{self, Budget, Duty, Room, Swept};
use crate::{
    Vestibule,
    store::{Shard, Store, StoreError, SweepName},
};

/// The sweep of the history: of events that people look at, and nobody is told any more.
///
/// Without it a shard keeps the last [`HISTORY_CAP`](crate::store::HISTORY_CAP), however old they are.
#[derive(Debug, Clone, Copy)]
pub struct TrimHistory {
    /// What is older is forgotten, by the clock of Redis. Zero switches this sweep off. Default 90
    /// days.
    pub age: Duration,
    /// What one pass may do; its limit is of events.
    pub budget: Budget,
}

impl Default for TrimHistory {
    fn default() -> Self {
        Self { age: Duration::from_secs(90 * 24 * 3600), budget: Budget::default() }
    }
}

impl TrimHistory {
    /// One pass.
    pub async fn pass(&self, vestibule: &Vestibule, stop: &CancellationToken) -> Swept {
        if self.age.is_zero() {
            return Swept::default();
        }
        let store = &*vestibule.foundation().store;
        let duty = Forgetting { store, age: self.age };
        turns::pass(vestibule, &duty, &self.budget, stop).await
    }
}

struct Forgetting<'a> {
    store: &'a dyn Store,
    age: Duration,
}

#[async_trait]
impl Duty for Forgetting<'_> {
    const NAME: SweepName = SweepName::History;

    /// There is no cursor: what is done is gone.
    async fn shard(
        &self,
        shard: Shard,
        _: &str,
        room: &mut Room<'_>,
    ) -> Result<Option<String>, StoreError> {
        if room.dry_run {
            room.swept.found += self.store.count_history(shard, self.age).await?;
            return Ok(None);
        }
        room.remove(|most| self.store.trim_history(shard, self.age, most)).await
    }
}
