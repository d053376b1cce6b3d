//! Refreshes what is due, from all shards, wherever they are claimed first.

use std::{collections::VecDeque, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, field::Empty};

use crate::{
    connection::{ConnectionError, Connections, Refreshed},
    digest::{RequestId, random_bytes},
    store::{Claim, ConnectionId, Failing, Shard, StoreError},
};

/// So many can be claimed at once.
const MOST: usize = 100;
/// So long a slot waits for one connection: for its turn at the provider, and for a quick answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// The budget of one pass.
#[derive(Debug, Clone, Copy)]
pub struct RefreshDue {
    /// At most so many are claimed; those whose providers take no more now are not counted.
    /// Default 256.
    pub limit: usize,
    /// So many exchanges run at a time; one that takes its time stops counting. Default 16.
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
    /// Put off, because their connectors are paused or at their caps, or slow here.
    pub put_off: usize,
    /// Still under way: what comes of them is on record, and in `vestibule_refresh_total`.
    pub running: usize,
    /// Given back unbegun, because the pass was stopped.
    pub given_back: usize,
    /// Shards or connections that the store failed for.
    pub errors: usize,
}

impl RefreshDue {
    /// One pass. When `stop` is cancelled nothing new is begun: what was claimed is given back,
    /// and the exchanges under way end. A shard that fails is skipped; after a few in a row Redis
    /// is away, and the next pass will see.
    pub async fn pass(
        &self,
        connections: &Connections,
        stop: &CancellationToken,
    ) -> RefreshDuePass {
        let mut pass = RefreshDuePass::default();
        let (mut claiming, mut running) = (FuturesUnordered::new(), FuturesUnordered::new());
        let mut claimed = VecDeque::new();
        // Each replica begins elsewhere, so that they do not meet at every shard.
        let [first] = random_bytes::<1>();
        let mut shards: VecDeque<_> =
            (0..=u8::MAX).map(|step| Shard::new(first.wrapping_add(step))).collect();
        let mut failing = Failing::default();
        // Of a pass that finds nothing, as most do, there is nothing to tell.
        let mut span = Span::none();
        loop {
            // As slots become free: one slow provider holds up its own, and nobody else's.
            while running.len() < self.slots()
                && let Some(id) = claimed.pop_front()
            {
                running.push(one(connections, id, stop).instrument(span.clone()));
            }
            // The next are claimed while these run, and not before there is a slot for the first:
            // the last of them begins well within the time that it is hidden from others.
            let room = self.limit.saturating_sub(pass.claimed - pass.put_off);
            if claiming.is_empty()
                && running.len() < self.slots()
                && room > 0
                && !stop.is_cancelled()
                && let Some(shard) = shards.pop_front()
            {
                claiming.push(self.claim(connections, shard, room));
            }
            tokio::select! {
                Some((shard, asked, ids)) = claiming.next() => match ids {
                    Ok(ids) => {
                        failing.answered();
                        if span.is_none() && !ids.is_empty() {
                            span = pass_span();
                        }
                        pass.claimed += ids.len();
                        // It may have more: after the others.
                        if ids.len() == asked {
                            shards.push_back(shard);
                        }
                        claimed.extend(ids);
                    }
                    Err(error) => {
                        pass.errors += 1;
                        tracing::warn!(%shard, %error, "a shard was not swept");
                        if failing.ends_with(&error) {
                            shards.clear();
                        }
                    }
                },
                Some(result) = running.next() => pass.count(result),
                else => {
                    span.record("found", pass.claimed).record("done", pass.refreshed);
                    span.record("errors", pass.errors);
                    return pass;
                }
            }
        }
    }

    fn slots(&self) -> usize {
        self.parallel.max(1)
    }

    /// The shard, how many were asked for, and what was claimed.
    async fn claim(
        &self,
        connections: &Connections,
        shard: Shard,
        room: usize,
    ) -> (Shard, usize, Result<Vec<ConnectionId>, StoreError>) {
        let asked = room.min(self.slots()).min(MOST);
        let limit = u16::try_from(asked).unwrap_or(1);
        let request = RequestId::random().digest();
        let claim = Claim { shard, request, limit, hide: self.hide };
        (shard, asked, connections.foundation().store.claim_due(claim).await)
    }
}

impl RefreshDuePass {
    /// Whether its limit ended it: then there may be more, and the next is to follow at once.
    #[must_use]
    pub fn is_full(&self, sweep: &RefreshDue) -> bool {
        self.claimed - self.put_off >= sweep.limit
    }

    fn count(&mut self, result: Result<Swept, ConnectionError>) {
        match result {
            Ok(Swept::GivenBack) => self.given_back += 1,
            Ok(Swept::Running) => self.running += 1,
            Ok(Swept::With(Refreshed::Fresh { .. })) => self.refreshed += 1,
            Ok(Swept::With(Refreshed::Failed(_))) => self.failed += 1,
            Ok(Swept::With(Refreshed::AtCap { .. } | Refreshed::Paused { .. })) => {
                self.put_off += 1;
            }
            Ok(Swept::With(_)) => self.skipped += 1,
            Err(error) => {
                self.errors += 1;
                tracing::warn!(%error, "a due connection was not begun");
            }
        }
    }
}

fn pass_span() -> Span {
    tracing::info_span!(
        "vestibule.sweep",
        sweep = "refresh_due",
        found = Empty,
        done = Empty,
        errors = Empty
    )
}

/// What became of one that was claimed.
enum Swept {
    With(Refreshed),
    /// Not yet known: an exchange outlives its caller.
    Running,
    GivenBack,
}

async fn one(
    connections: &Connections,
    id: ConnectionId,
    stop: &CancellationToken,
) -> Result<Swept, ConnectionError> {
    if stop.is_cancelled() {
        let request = RequestId::random().digest();
        connections.foundation().store.give_back(&id, request, Duration::ZERO).await?;
        return Ok(Swept::GivenBack);
    }
    // A provider that hangs must not hold all the slots.
    match timeout(PATIENCE, connections.refresh(&id)).await {
        Ok(refreshed) => refreshed.map(Swept::With),
        Err(_) => Ok(Swept::Running),
    }
}
