//! One look at everything that a person wants to see first.
//!
//! It costs a trip for each shard, and what else there is to read is bounded: the credentials and
//! the keys are counted in parts, a part with each look, so that a look at a large Redis costs no
//! more than one at a small. Whoever looks again and again keeps the [`Watch`].

mod census;
mod shards;
mod view;
mod walk;

use std::{collections::BTreeSet, time::Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use redis::cmd;
use tokio::sync::{Mutex, watch};

pub use self::view::{
    Capped, Census, DueLine, LeaseLine, OrphanLine, Snapshot, SweepLine, Trouble, WaitLine, Walk,
};
use self::{census::Counting, shards::Shards, walk::Walking};
use super::{AT_ONCE, ConnectionView, ConnectorView, Inspector, Names};
use crate::store::{ConnectionId, ConnectorName, Shard, StoreError};

/// So many entries of the index are looked at for leases.
const CANDIDATES: usize = 1000;

/// Looks at everything, again and again.
///
/// # Errors
///
/// As the [`Inspector`]'s: if Redis cannot be reached, or refuses to answer. What its user may not
/// see is [left out](Snapshot::refused), and no error.
#[derive(Debug)]
pub struct Watch {
    inspector: Inspector,
    /// For connectors that are known by name: they are found without a walk.
    known: Option<(Names, watch::Receiver<Vec<String>>)>,
    under_way: Mutex<(Counting, Walking)>,
}

impl Watch {
    /// One that looks through this inspector.
    #[must_use]
    pub fn new(inspector: Inspector) -> Self {
        Self { inspector, known: None, under_way: Mutex::default() }
    }

    /// With the slugs of connectors, those of the moment at each look: whether these are paused is
    /// seen also by a user who may not walk over all keys.
    #[must_use]
    pub fn with_connectors(self, names: Names, slugs: watch::Receiver<Vec<String>>) -> Self {
        Self { known: Some((names, slugs)), ..self }
    }

    /// Looks. Two at once take turns.
    pub async fn look(&self) -> Result<Snapshot, StoreError> {
        let started = Instant::now();
        let mut under_way = self.under_way.lock().await;
        let (counting, walking) = &mut *under_way;
        let inspector = &self.inspector;
        let now_ms = inspector.now_ms().await?;
        let asked = Instant::now();
        inspector.reader.ask("ping", &cmd("PING")).await?;
        let ping_us = u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX);
        let facts = inspector.facts().await?;
        let Shards {
            scheduled,
            overdue,
            due,
            leased,
            orphans,
            sweeps,
            events,
            undelivered,
            mut refused,
        } = inspector.shards(now_ms).await?;
        let oldest_due_ms = due.first().map(|(_, at)| *at).filter(|at| *at <= now_ms);
        let due = Capped { rows: inspector.due_lines(due, now_ms).await?, count: scheduled };
        let leases = inspector.lease_lines(leased, now_ms).await?;
        let census = counting.go_on(inspector, now_ms).await?;
        let walked = walking.go_on(inspector, now_ms).await?;
        if walked.is_none() {
            refused.insert("walk");
        }
        let (walk, mut connectors) =
            walked.map_or((None, BTreeSet::new()), |(walk, paused)| (Some(walk), paused));
        if let Some((names, slugs)) = &self.known {
            let slugs = slugs.borrow();
            connectors.extend(slugs.iter().map(|slug| (slug.clone(), names.connector(slug))));
        }
        Ok(Snapshot {
            now_ms,
            ping_us,
            facts,
            due,
            overdue,
            oldest_due_ms,
            leases,
            census,
            paused: inspector.paused(connectors).await?,
            orphans,
            walk,
            sweeps,
            events,
            undelivered,
            refused,
            took_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }
}

impl Inspector {
    async fn paused(
        &self,
        connectors: BTreeSet<(String, Shard)>,
    ) -> Result<Vec<ConnectorView>, StoreError> {
        let mut paused = Vec::new();
        for (slug, shard) in connectors {
            let name = ConnectorName { shard, slug: &slug };
            paused.push(self.connector(name).await?);
        }
        paused.retain(|connector| connector.paused);
        Ok(paused)
    }

    async fn due_lines(
        &self,
        due: Vec<(String, u64)>,
        now_ms: u64,
    ) -> Result<Vec<DueLine>, StoreError> {
        let lines = self.lines(due, now_ms).await?.into_iter().map(|(id, due_at_ms, row)| {
            let absent = ConnectionView { status: "absent".to_owned(), ..Default::default() };
            let row = row.unwrap_or(absent);
            DueLine {
                id,
                connector: row.connector.unwrap_or_default(),
                status: row.status,
                due_at_ms,
                attempts: row.attempts,
                last_error: row.last_error.filter(|_| row.attempts > 0),
            }
        });
        Ok(lines.collect())
    }

    /// Of those that may be leased the ones that are.
    async fn lease_lines(
        &self,
        mut leased: Vec<(String, u64)>,
        now_ms: u64,
    ) -> Result<Capped<LeaseLine>, StoreError> {
        leased.truncate(CANDIDATES);
        let lines = self.lines(leased, now_ms).await?.into_iter().filter_map(|(id, _, row)| {
            let row = row?;
            let (connector, lease) = (row.connector.unwrap_or_default(), row.lease?);
            Some(LeaseLine { id, connector, by: lease.by, ends_at_ms: lease.ends_at_ms })
        });
        let mut held: Vec<_> = lines.collect();
        held.sort_by_key(|row| row.ends_at_ms);
        let mut found = Capped::default();
        for row in held {
            found.push(row);
        }
        Ok(found)
    }

    /// What members of the index lead to. What is no id leads nowhere.
    async fn lines(
        &self,
        members: Vec<(String, u64)>,
        now_ms: u64,
    ) -> Result<Vec<(String, u64, Option<ConnectionView>)>, StoreError> {
        let read = members.into_iter().map(|(id, at_ms)| self.line(id, at_ms, now_ms));
        stream::iter(read).buffered(AT_ONCE).try_collect().await
    }

    async fn line(
        &self,
        id: String,
        at_ms: u64,
        now_ms: u64,
    ) -> Result<(String, u64, Option<ConnectionView>), StoreError> {
        let row = match id.parse::<ConnectionId>() {
            Ok(id) => self.connection_line(&id, now_ms).await?,
            Err(_) => None,
        };
        Ok((id, at_ms, row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::redis::RedisConfig;

    /// A server looks in a task of its own.
    #[test]
    fn a_look_can_be_sent() {
        fn can_be_sent(_: impl Send) {}
        let config = RedisConfig::new("redis://127.0.0.1:1").unwrap();
        can_be_sent(Watch::new(Inspector::new(config)).look());
    }
}
