//! Deletes what nobody has had access to for the retention.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

use super::turns::{self, Budget, Duty, Room, Swept};
use crate::{
    Vestibule,
    digest::{Digest, RequestId},
    store::{
        Class, Orphan, OrphanPage, ReapConnection, Reaped, Shard, Store, StoreError, SweepName,
    },
};

/// So many are listed at once.
const PAGE: u16 = 100;
/// So many are reaped at a time: they share a connection, and Redis runs one after the other.
const AT_ONCE: usize = 32;

/// The sweep of orphans: of records whose access was withdrawn, and not given back.
///
/// Each is judged again where it is deleted: one that was given back meanwhile stays.
#[derive(Debug, Clone, Copy)]
pub struct Orphans {
    /// For so long an orphan is kept. Zero switches this sweep off. Default 30 days.
    pub retention: Duration,
    /// What one pass may do.
    pub budget: Budget,
}

impl Default for Orphans {
    fn default() -> Self {
        Self { retention: Duration::from_secs(30 * 24 * 3600), budget: Budget::default() }
    }
}

impl Orphans {
    /// One pass.
    pub async fn pass(&self, vestibule: &Vestibule, stop: &CancellationToken) -> Swept {
        if self.retention.is_zero() {
            return Swept::default();
        }
        let store = &*vestibule.foundation().store;
        let duty = Reaping { store, retention: self.retention };
        turns::pass(vestibule, &duty, &self.budget, stop).await
    }
}

struct Reaping<'a> {
    store: &'a dyn Store,
    retention: Duration,
}

#[async_trait]
impl Duty for Reaping<'_> {
    const NAME: SweepName = SweepName::Orphans;

    /// The cursor is how many in front cannot be reaped.
    async fn shard(
        &self,
        shard: Shard,
        cursor: &str,
        room: &mut Room<'_>,
    ) -> Result<Option<String>, StoreError> {
        let retention = self.retention;
        if room.dry_run {
            room.swept.found += self.store.count_orphans(shard, retention).await?;
            return Ok(None);
        }
        let mut skip = turns::skipped(cursor);
        loop {
            if room.is_over() {
                return Ok(Some(skip.to_string()));
            }
            let limit = u16::try_from(room.left()).map_or(PAGE, |left| left.min(PAGE));
            let page = OrphanPage { shard, retention, skip, limit };
            let listed = self.store.list_orphans(page).await?;
            let is_last = listed.len() < usize::from(limit);
            let mut reaped = stream::iter(listed)
                .map(async |orphan| self.reap(&orphan).await)
                .buffer_unordered(AT_ONCE);
            while let Some(outcome) = reaped.next().await {
                room.swept.found += 1;
                match outcome {
                    Some(Ok(Reaped::Reaped)) => room.swept.done += 1,
                    Some(Ok(_)) => room.swept.changed += 1,
                    Some(Err(error)) => {
                        skip += 1;
                        match error.class() {
                            Class::Corrupt => room.swept.left += 1,
                            _ => room.swept.errors += 1,
                        }
                        tracing::warn!(%shard, %error, "an orphan is not reaped");
                    }
                    None => {
                        skip += 1;
                        room.swept.left += 1;
                    }
                }
            }
            if is_last {
                return Ok(None);
            }
        }
    }
}

impl Reaping<'_> {
    /// `None` if nobody here knows what it is.
    async fn reap(&self, orphan: &Orphan) -> Option<Result<Reaped, StoreError>> {
        let (request, retention) = (RequestId::random().digest(), self.retention);
        match orphan {
            Orphan::Connection { id, owner } => {
                // Of one that is gone only its entry is left, and goes too.
                let owner = owner.unwrap_or_else(|| in_shard(id.shard()));
                let reap = ReapConnection { id, request, owner, retention };
                Some(self.store.reap_connection(reap).await)
            }
            Orphan::Headers { id } => Some(self.store.reap_headers(*id, retention, request).await),
            Orphan::Unknown => None,
        }
    }
}

/// Nobody's digest, in this shard.
fn in_shard(shard: Shard) -> Digest {
    let mut bytes = [0; 16];
    bytes[0] = shard.number();
    Digest::from_bytes(&bytes).unwrap_or(Digest::NONE)
}
