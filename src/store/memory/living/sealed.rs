//! What is sealed by which key: here it is read off the records.

use async_trait::async_trait;

use super::{
    super::{MemoryStore, State},
    Answer, Connections,
};
use crate::store::{SealedName, SealedRecord, SealedStore, Shard, StoreError};

#[async_trait]
impl SealedStore for MemoryStore {
    async fn list_sealed(
        &self,
        shard: Shard,
        not_by: u32,
        limit: u16,
    ) -> Result<Vec<SealedRecord>, StoreError> {
        let state = self.enter().0;
        let mut records = state.sealed(shard);
        records.retain(|record| record.by != not_by);
        records.sort_by(|one, two| (one.by, &one.name).cmp(&(two.by, &two.name)));
        records.truncate(limit.clamp(1, 100).into());
        Ok(records)
    }

    async fn count_sealed(&self, shard: Shard, by: u32) -> Result<u64, StoreError> {
        let records = self.enter().0.sealed(shard);
        Ok(records.iter().filter(|record| record.by == by).count() as u64)
    }
}

impl State {
    fn sealed(&self, shard: Shard) -> Vec<SealedRecord> {
        let mut records = self.connections.sealed(shard);
        records.extend(self.headers.sealed(shard));
        records
    }
}

impl Connections {
    fn sealed(&self, shard: Shard) -> Vec<SealedRecord> {
        let mut records = Vec::new();
        for (id, connection) in self.by_id.iter().filter(|(id, _)| id.shard() == shard) {
            let current = Some(&connection.current).filter(|answer| !answer.secret.is_empty());
            let mut add = |name: SealedName, answer: Option<&Answer>| {
                records.extend(answer.map(|answer| SealedRecord { name, by: answer.sealed_by }));
            };
            add(SealedName::Connection(id.clone()), current);
            // Of two siblings the last is the older one.
            add(SealedName::Siblings(id.clone()), connection.alts.last());
        }
        records
    }
}
