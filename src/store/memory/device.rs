//! What the scripts in `lua/device` must do.

use std::time::Duration;

use async_trait::async_trait;

use super::{MemoryStore, after, fading::Fading};
use crate::{
    digest::Digest,
    store::{
        AcquirePoll, ConnectionId, DeviceStore, GRACE, PendingId, PendingRow, PollRelease,
        PollTurn, ReleasePoll, StoreError, millis,
    },
};

#[async_trait]
impl DeviceStore for MemoryStore {
    async fn acquire_poll(&self, turn: AcquirePoll<'_>) -> Result<PollTurn, StoreError> {
        let (mut state, now) = self.enter();
        let PendingRow::Live { left, .. } = state.pendings.read(turn.id, now) else {
            return Ok(PollTurn::Ended);
        };
        let ends_at = after(after(now, left), GRACE);
        Ok(state.polls.acquire(&turn, ends_at, now))
    }

    async fn release_poll(&self, turn: ReleasePoll) -> Result<PollRelease, StoreError> {
        let (mut state, now) = self.enter();
        Ok(state.polls.release(&turn, now))
    }

    async fn has_stored(&self, id: &ConnectionId, request: Digest) -> Result<bool, StoreError> {
        let (mut state, now) = self.enter();
        Ok(state.connections.has_stored(id, request, now))
    }
}

#[derive(Default)]
pub(super) struct Polls(Fading<PendingId, Polling>);

/// What is known of the polls for a pending.
struct Polling {
    /// No poll is further off than the record lives.
    ends_at: u64,
    holder: Option<Digest>,
    /// While there is a holder: until when it may poll.
    lease_ends_at: u64,
    inherited: bool,
    next_at: u64,
    interval: u64,
    failures: u32,
    /// The receipt.
    released: Option<Digest>,
}

impl Polling {
    fn yours(&self, interval: u64) -> PollTurn {
        PollTurn::Yours {
            interval: Duration::from_millis(interval),
            failures: self.failures,
            inherited: self.inherited,
        }
    }
}

impl Polls {
    fn acquire(&mut self, turn: &AcquirePoll<'_>, ends_at: u64, now: u64) -> PollTurn {
        let apart = millis(turn.interval);
        let Some(polling) = self.0.get(turn.id, now) else {
            // Nothing is known: somebody may have polled just now.
            let polling = Polling {
                ends_at,
                holder: None,
                lease_ends_at: 0,
                inherited: false,
                next_at: ends_at.min(now + apart),
                interval: apart,
                failures: 0,
                released: None,
            };
            self.0.insert(turn.id, polling, ends_at, now);
            return PollTurn::Later(Duration::from_millis(apart.min(ends_at - now)));
        };
        let interval = polling.interval.max(apart);
        let held = polling.holder.filter(|_| polling.lease_ends_at > now);
        if held == Some(turn.holder) {
            return polling.yours(interval);
        }
        if polling.next_at > now {
            let wait = polling.next_at - now;
            // Who has the turn will most likely say, before it ends, when the next is due.
            let wait = if held.is_some() { wait.min(interval) } else { wait };
            return PollTurn::Later(Duration::from_millis(wait));
        }
        // As if the poll came at the very end of its lease.
        polling.inherited = polling.holder.is_some();
        polling.holder = Some(turn.holder);
        polling.lease_ends_at = now + millis(turn.lease);
        polling.next_at = ends_at.min(polling.lease_ends_at + interval);
        polling.ends_at = ends_at;
        polling.interval = interval;
        let yours = polling.yours(interval);
        self.0.end_at(turn.id, ends_at);
        yours
    }

    fn release(&mut self, turn: &ReleasePoll, now: u64) -> PollRelease {
        let Some(polling) = self.0.get(turn.id, now) else { return PollRelease::Lost };
        if polling.released == Some(turn.holder) {
            let next_in = Duration::from_millis(polling.next_at.saturating_sub(now));
            return PollRelease::Released { next_in };
        }
        polling.interval = polling.interval.max(millis(turn.interval));
        if polling.holder != Some(turn.holder) {
            return PollRelease::Lost;
        }
        polling.holder = None;
        polling.next_at = polling.ends_at.min(now + millis(turn.next_in));
        polling.failures = turn.failures;
        polling.released = Some(turn.holder);
        PollRelease::Released { next_in: Duration::from_millis(polling.next_at - now) }
    }
}
