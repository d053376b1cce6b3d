//! What all sweeps but the refresh-due one have in common: a round over the shards, in turns.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, field::Empty};

use crate::{
    Vestibule,
    digest::{RequestId, random_bytes},
    store::{
        BeginTurn, EndTurn, Failing, Shard, Store, StoreError, SweepName, TRIMMED_AT_ONCE, Turn,
        TurnEnd,
    },
};

/// The budget of one pass, and what it leaves to others.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// At most so many are seen to. Default 10,000.
    pub limit: u64,
    /// A shard is left alone that was swept so long ago: by whom, does not matter. Zero for none.
    /// Default zero; a loop takes three quarters of its interval.
    pub not_within: Duration,
    /// A shard's turn, which nobody else has. Past half of it the turn ends, and somebody goes on
    /// from there. Default 60 s; 1 s to an hour.
    pub lease: Duration,
    /// Counts what there is to do, and changes nothing: not even whose turn it is. Default off.
    pub dry_run: bool,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            limit: 10_000,
            not_within: Duration::ZERO,
            lease: Duration::from_secs(60),
            dry_run: false,
        }
    }
}

/// What one pass did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Swept {
    /// How many there were to see to.
    pub found: u64,
    /// With how many of them something was done; none in a dry run.
    pub done: u64,
    /// Those that had changed since they were found, and are none of the sweep's any more.
    pub changed: u64,
    /// Those that were left, because they are damaged or of a kind that is not known here.
    pub left: u64,
    /// Calls that the store failed for.
    pub errors: u64,
    /// Shards that were swept to their end.
    pub shards: u64,
    /// Shards that were left alone: swept a moment ago.
    pub recent: u64,
    /// Shards that somebody else sweeps.
    pub held: u64,
    /// Whether there is more to do than this pass could, or others are at it: look again soon.
    pub unfinished: bool,
}

/// How many in front are passed over, where a cursor says so; more than Redis could count are none.
pub(super) fn skipped(cursor: &str) -> usize {
    cursor.parse::<u32>().map_or(0, |skip| skip as usize)
}

/// What a turn has done so far, and how much of it may still be done.
pub(super) struct Room<'a> {
    pub(super) swept: &'a mut Swept,
    pub(super) dry_run: bool,
    limit: u64,
    until: Instant,
    stop: &'a CancellationToken,
}

impl Room<'_> {
    /// Whether the turn must end here.
    pub(super) fn is_over(&self) -> bool {
        self.stop.is_cancelled() || self.left() == 0 || Instant::now() >= self.until
    }

    /// How many may still be seen to.
    pub(super) fn left(&self) -> u64 {
        self.limit.saturating_sub(self.swept.found)
    }

    /// Removes events a few at a time while there is room, by a verb that is given how many at the
    /// most and tells how many: fewer were all there were.
    pub(super) async fn remove<F>(
        &mut self,
        verb: impl Fn(u16) -> F,
    ) -> Result<Option<String>, StoreError>
    where
        F: Future<Output = Result<u64, StoreError>>,
    {
        while !self.is_over() {
            let left = u16::try_from(self.left()).unwrap_or(u16::MAX);
            let most = left.min(TRIMMED_AT_ONCE);
            let removed = verb(most).await?;
            self.swept.found += removed;
            self.swept.done += removed;
            if removed < u64::from(most) {
                return Ok(None);
            }
        }
        Ok(Some(String::new()))
    }
}

/// One sweep's part in it.
#[async_trait]
pub(super) trait Duty: Sync {
    const NAME: SweepName;

    /// Where there may be something to do, if that is cheaper told of all than asked of each.
    async fn shards(&self) -> Result<Vec<Shard>, StoreError> {
        Ok(Shard::all().collect())
    }

    /// Sweeps a shard from where the turn before ended, and says where the next one goes on; `None`
    /// if the shard is done.
    async fn shard(
        &self,
        shard: Shard,
        cursor: &str,
        room: &mut Room<'_>,
    ) -> Result<Option<String>, StoreError>;
}

/// One pass: a turn at each shard that nobody else sees to. A shard that fails is skipped; after a
/// few in a row Redis is away, and the next pass will see.
pub(super) async fn pass<D: Duty>(
    vestibule: &Vestibule,
    duty: &D,
    budget: &Budget,
    stop: &CancellationToken,
) -> Swept {
    let shards = match duty.shards().await {
        Ok(shards) => shards,
        Err(error) => {
            tracing::warn!(sweep = %D::NAME, %error, "nothing was swept");
            return Swept { errors: 1, unfinished: true, ..Swept::default() };
        }
    };
    // Of a pass that has nowhere to go there is nothing to tell.
    if shards.is_empty() {
        return Swept::default();
    }
    let span = tracing::info_span!("vestibule.sweep", sweep = %D::NAME,
        found = Empty, done = Empty, errors = Empty);
    let swept = round(vestibule, duty, shards, budget, stop).instrument(span.clone()).await;
    span.record("found", swept.found).record("done", swept.done).record("errors", swept.errors);
    swept
}

async fn round<D: Duty>(
    vestibule: &Vestibule,
    duty: &D,
    mut shards: Vec<Shard>,
    budget: &Budget,
    stop: &CancellationToken,
) -> Swept {
    let store = &*vestibule.foundation().store;
    let mut swept = Swept::default();
    // Each replica begins elsewhere, so that they do not meet at every shard.
    let [first] = random_bytes::<1>();
    let first = usize::from(first) % shards.len().max(1);
    shards.rotate_left(first);
    let mut failing = Failing::default();
    for shard in shards {
        if stop.is_cancelled() || swept.found >= budget.limit {
            swept.unfinished = true;
            break;
        }
        match turn(store, duty, shard, budget, &mut swept, stop).await {
            Ok(()) => failing.answered(),
            Err(error) => {
                swept.errors += 1;
                swept.unfinished = true;
                tracing::warn!(sweep = %D::NAME, %shard, %error, "a shard was not swept");
                if failing.ends_with(&error) {
                    break;
                }
            }
        }
    }
    swept
}

async fn turn<D: Duty>(
    store: &dyn Store,
    duty: &D,
    shard: Shard,
    budget: &Budget,
    swept: &mut Swept,
    stop: &CancellationToken,
) -> Result<(), StoreError> {
    let lease = budget.lease.clamp(Duration::from_secs(1), Duration::from_secs(3600));
    let until = Instant::now() + lease / 2;
    let Budget { limit, dry_run, not_within, .. } = *budget;
    let (sweep, request) = (D::NAME, RequestId::random().digest());
    let mut cursor = String::new();
    if !dry_run {
        match store.begin_turn(BeginTurn { sweep, shard, request, lease, not_within }).await? {
            Turn::Begun { cursor: from } => cursor = from,
            Turn::Recent { .. } => {
                swept.recent += 1;
                return Ok(());
            }
            Turn::Held { .. } => {
                swept.held += 1;
                swept.unfinished = true;
                return Ok(());
            }
        }
    }
    let before = *swept;
    let ended = duty.shard(shard, &cursor, &mut Room { swept, dry_run, limit, until, stop }).await;
    // A shard that failed is to be gone on with from where it was begun.
    let next = ended.as_ref().map_or(Some(&cursor), Option::as_ref);
    if !dry_run {
        let (found, done) = (swept.found - before.found, swept.done - before.done);
        let next = next.map(String::as_str);
        let end = EndTurn { sweep, shard, request, cursor: next, found, done };
        if store.end_turn(end).await? == TurnEnd::Lost {
            tracing::debug!(%sweep, %shard, "a turn took longer than its lease");
        }
    }
    match next {
        Some(_) => swept.unfinished = true,
        None => swept.shards += 1,
    }
    ended.map(drop)
}

impl fmt::Display for SweepName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
