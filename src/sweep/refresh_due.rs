//! Refreshes what is due, from all shards, wherever they are claimed first.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

use crate::{
    connection::{ConnectionError, Connections, Refreshed},
    digest::{RequestId, random_bytes},
    store::{Claim, ConnectionId, Shard},
};

/// The budget of one pass.
#[derive(Debug, Clone, Copy)]
pub struct RefreshDue {
    /// At most so many are claimed. Default 256.
    pub limit: usize,
    /// So many exchanges run at a time. Default 16.
    pub parallel: usize,
    /// The visibility timeout: so long the claimed are hidden from other replicas. Default 12 s,
    /// as the lease that follows.
    pub hide: Duration,
}

impl Default for RefreshDue {
    fn default() -> Self {
        Self { limit: 256, parallel: 16, hide: Duration::from_secs(12) }
    }
}

/// What one pass did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RefreshDuePass {
    /// Taken off the index.
    pub claimed: usize,
    /// Refreshed and stored.
    pub refreshed: usize,
    /// Failed, on record.
    pub failed: usize,
    /// Not needed any more, or another replica's.
    pub skipped: usize,
    /// Given back unbegun, because the pass was stopped.
    pub given_back: usize,
    /// Shards or connections that the store failed for.
    pub errors: usize,
}

impl RefreshDue {
    /// One pass. When `stop` is cancelled nothing new is begun: what was claimed is given back,
    /// and the exchanges under way end.
    pub async fn pass(
        &self,
        connections: &Connections,
        stop: &CancellationToken,
    ) -> RefreshDuePass {
        let mut pass = RefreshDuePass::default();
        // Each replica begins elsewhere, so that they do not meet at every shard.
        let [first] = random_bytes::<1>();
        let shards = (0..=u8::MAX).map(|step| Shard::new(first.wrapping_add(step)));
        let mut shards = shards.peekable();
        let mut redis_is_away = false;
        while shards.peek().is_some()
            && pass.claimed < self.limit
            && !redis_is_away
            && !stop.is_cancelled()
        {
            let mut ids = Vec::new();
            // One round of exchanges at a time: more would outwait their visibility timeout.
            while ids.len() < self.parallel
                && let Some(shard) = shards.next()
            {
                match self.claim(connections, shard, self.parallel - ids.len()).await {
                    Ok(claimed) => ids.extend(claimed),
                    Err(error) => {
                        // This verb has waited for it: the next pass will see.
                        redis_is_away = true;
                        pass.errors += 1;
                        tracing::warn!(%error, "a shard was not swept");
                        break;
                    }
                }
            }
            pass.claimed += ids.len();
            self.refresh(connections, ids, stop, &mut pass).await;
        }
        pass
    }

    async fn claim(
        &self,
        connections: &Connections,
        shard: Shard,
        room: usize,
    ) -> Result<Vec<ConnectionId>, ConnectionError> {
        let limit = u16::try_from(room.clamp(1, 100)).unwrap_or(1);
        let request = RequestId::random().digest();
        let claim = Claim { shard, request, limit, hide: self.hide };
        Ok(connections.foundation().store.claim_due(claim).await?)
    }

    async fn refresh(
        &self,
        connections: &Connections,
        ids: Vec<ConnectionId>,
        stop: &CancellationToken,
        pass: &mut RefreshDuePass,
    ) {
        let results = stream::iter(ids)
            .map(|id| async move {
                if stop.is_cancelled() {
                    let request = RequestId::random().digest();
                    let given = connections.foundation().store.give_back(&id, request).await;
                    return given.map(|()| None).map_err(ConnectionError::from);
                }
                connections.refresh(&id).await.map(Some)
            })
            .buffer_unordered(self.parallel.max(1));
        tokio::pin!(results);
        while let Some(result) = results.next().await {
            match result {
                Ok(None) => pass.given_back += 1,
                Ok(Some(Refreshed::Fresh { .. })) => pass.refreshed += 1,
                Ok(Some(Refreshed::Failed(_))) => pass.failed += 1,
                Ok(Some(_)) => pass.skipped += 1,
                Err(error) => {
                    pass.errors += 1;
                    tracing::warn!(%error, "a due connection was not begun");
                }
            }
        }
    }
}
