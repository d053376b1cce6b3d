//! Trims what has been delivered, and history that is too old.

use std::{collections::BTreeMap, time::Duration};

use futures_util::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

use crate::{
    event::Events,
    store::{Shard, StoreError, TrimmedOutbox},
};

/// So many shards are trimmed at a time.
const PARALLEL: usize = 8;

/// What a pass over events may remove. Each shard is one short step of its own, so any number of
/// replicas may run it; what one of them has removed another finds gone.
#[derive(Debug, Clone, Copy, Default)]
pub struct TrimEvents {
    /// History that is older goes; `None` leaves history alone.
    pub history_age: Option<Duration>,
}

/// What one pass did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TrimEventsPass {
    /// Events that all receivers have acknowledged.
    pub delivered: u64,
    /// Events that were too old.
    pub forgotten: u64,
    /// How many events each receiver has yet to acknowledge, by its name. One that has
    /// acknowledged all may be missing.
    pub lags: BTreeMap<String, u64>,
    /// Shards that the store failed for: the next pass sees to them.
    pub errors: usize,
}

impl TrimEvents {
    /// One pass. When `stop` is cancelled no further shard is begun.
    pub async fn pass(&self, events: &Events, stop: &CancellationToken) -> TrimEventsPass {
        let mut pass = TrimEventsPass::default();
        let store = &events.foundation().store;
        let shards = match store.outbox_backlog().await {
            Ok(backlog) => backlog.into_iter().map(|(shard, _)| shard).collect(),
            Err(error) => {
                pass.failed(&error);
                Vec::new()
            }
        };
        let begun = |shard: &Shard| std::future::ready((!stop.is_cancelled()).then_some(*shard));
        let outboxes = stream::iter(&shards).filter_map(begun);
        let mut outboxes =
            outboxes.map(|shard| store.trim_outbox(shard)).buffer_unordered(PARALLEL);
        while let Some(trimmed) = outboxes.next().await {
            match trimmed {
                Ok(trimmed) => pass.add(trimmed),
                Err(error) => pass.failed(&error),
            }
        }
        let Some(age) = self.history_age else { return pass };
        let shards: Vec<_> = Shard::all().collect();
        let histories = stream::iter(&shards).filter_map(begun);
        let mut histories =
            histories.map(|shard| store.trim_history(shard, age)).buffer_unordered(PARALLEL);
        while let Some(forgotten) = histories.next().await {
            match forgotten {
                Ok(forgotten) => pass.forgotten += forgotten,
                Err(error) => pass.failed(&error),
            }
        }
        pass
    }
}

impl TrimEventsPass {
    fn add(&mut self, trimmed: TrimmedOutbox) {
        self.delivered += trimmed.removed;
        for (group, lag) in trimmed.lags {
            *self.lags.entry(group).or_default() += lag;
        }
    }

    fn failed(&mut self, error: &StoreError) {
        self.errors += 1;
        tracing::warn!(%error, "events of a shard were not trimmed");
    }
}
