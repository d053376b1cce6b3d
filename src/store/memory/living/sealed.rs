//! What is sealed by which key: here it is read off the records.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::{
    super::{MemoryStore, State},
    Answer, Connection, Connections,
};
use crate::store::{
    Reseal, Resealed, SealedName, SealedOf, SealedPage, SealedRecord, SealedSecret, SealedStore,
    Shard, StoreError,
};

#[async_trait]
impl SealedStore for MemoryStore {
    async fn list_sealed(&self, page: SealedPage) -> Result<Vec<SealedRecord>, StoreError> {
        let mut records = self.enter().0.sealed(page.shard);
        records.retain(|record| record.by != page.not_by);
        records.sort_by(|one, two| (one.by, &one.name).cmp(&(two.by, &two.name)));
        let skip = usize::try_from(page.skip).unwrap_or(usize::MAX);
        Ok(records.into_iter().skip(skip).take(page.limit.clamp(1, 100).into()).collect())
    }

    async fn count_sealed(&self, shard: Shard) -> Result<Vec<(u32, u64)>, StoreError> {
        let mut counts = BTreeMap::new();
        for record in self.enter().0.sealed(shard) {
            *counts.entry(record.by).or_insert(0) += 1;
        }
        Ok(counts.into_iter().collect())
    }

    async fn read_sealed(&self, name: &SealedName) -> Result<Option<SealedSecret>, StoreError> {
        let state = self.enter().0;
        Ok(match name {
            SealedName::Headers(id) => state.headers.read_sealed(*id),
            name => state.connections.read_sealed(name),
        })
    }

    async fn reseal(&self, reseal: Reseal<'_>) -> Result<Resealed, StoreError> {
        let mut state = self.enter().0;
        Ok(match reseal.name {
            SealedName::Headers(id) => state.headers.reseal(*id, &reseal),
            _ => state.connections.reseal(&reseal),
        })
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
            add(SealedName::Sibling(id.clone()), connection.alts.first());
            add(SealedName::OlderSibling(id.clone()), connection.alts.get(1));
        }
        records
    }

    fn read_sealed(&self, name: &SealedName) -> Option<SealedSecret> {
        let (id, place) = part(name)?;
        let connection = self.by_id.get(id)?;
        let sealed = connection.answers().nth(place)?.secret.clone();
        let (owner, connector) = (connection.owner, connection.connector.clone());
        let of = SealedOf::Connection { owner, connector };
        Some(SealedSecret { of, sealed }).filter(|secret| !secret.sealed.is_empty())
    }

    fn reseal(&mut self, reseal: &Reseal<'_>) -> Resealed {
        let found = part(reseal.name).and_then(|(id, _)| self.by_id.get_mut(id));
        let Some(connection) = found else { return Resealed::Absent };
        let Connection { current, alts, .. } = connection;
        let mut resealed = Resealed::Changed;
        for answer in [current].into_iter().chain(alts) {
            if !reseal.old.is_empty() && answer.secret == reseal.old {
                answer.secret = reseal.new.to_vec();
                answer.sealed_by = reseal.sealed_by;
            }
            if !reseal.new.is_empty() && answer.secret == reseal.new {
                resealed = Resealed::Resealed;
            }
        }
        resealed
    }
}

impl Connection {
    /// All that is held, the current one first.
    fn answers(&self) -> impl Iterator<Item = &Answer> {
        [&self.current].into_iter().chain(&self.alts)
    }
}

/// Of which connection it is, and the how-manieth of its answers.
fn part(name: &SealedName) -> Option<(&crate::store::ConnectionId, usize)> {
    match name {
        SealedName::Connection(id) => Some((id, 0)),
        SealedName::Sibling(id) => Some((id, 1)),
        SealedName::OlderSibling(id) => Some((id, 2)),
        _ => None,
    }
}
