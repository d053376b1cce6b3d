use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use crate::store::{Backlog, ConnectionId, Shard};

/// Which connections are due when, by shard.
#[derive(Default)]
pub(super) struct Due {
    shards: HashMap<Shard, BTreeSet<(u64, ConnectionId)>>,
    /// Where each is in its shard's set.
    places: HashMap<ConnectionId, u64>,
}

impl Due {
    /// Makes a connection due at this time, and at no other; `None` for never.
    pub(super) fn place(&mut self, id: &ConnectionId, at: Option<u64>) {
        let shard = self.shards.entry(id.shard()).or_default();
        if let Some(before) = self.places.remove(id) {
            shard.remove(&(before, id.clone()));
        }
        if let Some(at) = at {
            shard.insert((at, id.clone()));
            self.places.insert(id.clone(), at);
        }
    }

    pub(super) fn contains(&self, id: &ConnectionId) -> bool {
        self.places.contains_key(id)
    }

    /// Those of a shard that are due, longest first.
    pub(super) fn until(&self, shard: Shard, now: u64) -> impl Iterator<Item = &ConnectionId> {
        let shard = self.shards.get(&shard).into_iter().flatten();
        shard.take_while(move |(at, _)| *at <= now).map(|(_, id)| id)
    }

    pub(super) fn backlog(&self, now: u64) -> Backlog {
        let due = self.shards.keys().map(|shard| self.until(*shard, now).count() as u64).sum();
        let first = self.shards.values().filter_map(|shard| shard.first()).map(|(at, _)| *at).min();
        let oldest = first.filter(|at| *at <= now);
        Backlog { due, oldest: oldest.map(|at| Duration::from_millis(now - at)) }
    }
}
