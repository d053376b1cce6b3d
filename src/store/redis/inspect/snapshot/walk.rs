//! What no index leads to: found along all keys, a bounded part at a time.

use std::collections::BTreeSet;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{
    super::{AT_ONCE, Cursor, Inspector, WaiterView, connectors::is_slug},
    LeaseLine, WaitLine, Walk,
};
use crate::store::{Class, PendingId, Shard, StoreError};

/// So many keys are looked at in one look, or a few hundred more.
const BUDGET: u16 = 10_000;
/// The kinds that are counted: each is the record of something.
const KINDS: [&str; 6] = ["conn", "headers", "pending", "pkce", "token", "waiters"];
/// So many connectors are remembered.
const CONNECTORS: usize = 200;

/// A walk that is under way.
#[derive(Debug, Default)]
pub(super) struct Walking {
    cursor: Option<Cursor>,
    so_far: Walk,
    paused: BTreeSet<(String, Shard)>,
    last: Option<(Walk, BTreeSet<(String, Shard)>)>,
}

impl Walking {
    /// Goes on for a while; `None` if this user may not walk. With the connectors that have a pause.
    pub(super) async fn go_on(
        &mut self,
        inspector: &Inspector,
        now_ms: u64,
    ) -> Result<Option<(Walk, BTreeSet<(String, Shard)>)>, StoreError> {
        let pattern = inspector.keys.everywhere("*");
        let scanned = inspector.reader.scan(&pattern, self.cursor, BUDGET.into()).await;
        let (keys, next) = match scanned {
            Ok(page) => page,
            Err(error) if error.class() == Class::Operator => return Ok(None),
            Err(error) => return Err(error),
        };
        self.note(inspector, &keys, now_ms).await?;
        self.cursor = next;
        if next.is_none() {
            let ended = Walk { ended_at_ms: Some(now_ms), ..std::mem::take(&mut self.so_far) };
            self.last = Some((ended, std::mem::take(&mut self.paused)));
        }
        let so_far = || (self.so_far.clone(), self.paused.clone());
        Ok(Some(self.last.clone().unwrap_or_else(so_far)))
    }

    async fn note(
        &mut self,
        inspector: &Inspector,
        keys: &[String],
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let names = inspector.keyspace();
        let of = |kind: &'static str| -> Vec<(Shard, &str)> {
            keys.iter().filter_map(|key| names.parts(kind, key)).collect()
        };
        let waited = pendings(of("waiters"));
        let waiters = stream::iter(waited).map(|id| waiters(inspector, id, now_ms));
        let waiters: Vec<_> = waiters.buffered(AT_ONCE).try_collect().await?;
        let polled = pendings(of("lease"));
        let polls = stream::iter(polled).map(|id| inspector.poll_at(id, now_ms));
        let polls: Vec<_> = polls.buffered(AT_ONCE).try_collect().await?;

        // From here on nothing waits: a look that is cancelled has counted a part whole, or not.
        let so_far = &mut self.so_far;
        for kind in KINDS {
            *so_far.kinds.entry(kind.to_owned()).or_default() += of(kind).len() as u64;
        }
        for (shard, slug) in of("pause") {
            if is_slug(slug) && self.paused.len() < CONNECTORS {
                self.paused.insert((slug.to_owned(), shard));
            }
        }
        for (id, found) in waiters {
            for row in found {
                let (pending, by, until_ms) = (id.to_string(), row.by, row.until_ms);
                so_far.waiters.push(WaitLine { pending, by, until_ms });
            }
        }
        for poll in polls.into_iter().flatten() {
            let (Some(by), Some(ends_at_ms)) = (poll.by, poll.ends_at_ms) else { continue };
            let (id, connector) = (poll.pending, String::new());
            so_far.polls.push(LeaseLine { id, connector, by, ends_at_ms });
        }
        Ok(())
    }
}

fn pendings(keys: Vec<(Shard, &str)>) -> Vec<PendingId> {
    keys.into_iter().filter_map(|(_, id)| id.parse().ok()).collect()
}

async fn waiters(
    inspector: &Inspector,
    id: PendingId,
    now_ms: u64,
) -> Result<(PendingId, Vec<WaiterView>), StoreError> {
    Ok((id, inspector.waiters_at(id, now_ms).await?))
}
