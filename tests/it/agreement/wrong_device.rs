//! The wrong store's turns at polling, with one mistake each as well.

use std::{collections::HashMap, sync::Arc, time::Duration};

use vestibule::{
    Digest,
    store::{
        AcquirePoll, ConnectionId, DeviceStore, PendingId, PollRelease, PollTurn, ReleasePoll,
        Store, StoreError, memory::MemoryStore,
    },
};

use super::wrong::{Wrong, WrongStore};

/// The mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WrongDevice {
    AcquireForgetsItsRetry,
    AcquireLetsEverybodyPoll,
    AcquireForgetsWhoDied,
    AcquirePollsForTheDead,
    ReleaseForgetsItsRetry,
    ReleaseIsForAnybody,
    ReleaseForgetsTheInterval,
    ReleaseForgetsTheFailures,
    ReleaseLetsPollAtOnce,
    ReleaseWaitsFiveMinutesAtMost,
    HasStoredGoesByTheGrant,
}

impl WrongDevice {
    pub(super) const ALL: [Self; 11] = [
        Self::AcquireForgetsItsRetry,
        Self::AcquireLetsEverybodyPoll,
        Self::AcquireForgetsWhoDied,
        Self::AcquirePollsForTheDead,
        Self::ReleaseForgetsItsRetry,
        Self::ReleaseIsForAnybody,
        Self::ReleaseForgetsTheInterval,
        Self::ReleaseForgetsTheFailures,
        Self::ReleaseLetsPollAtOnce,
        Self::ReleaseWaitsFiveMinutesAtMost,
        Self::HasStoredGoesByTheGrant,
    ];
}

/// A store where everybody has every turn.
pub(crate) fn without_turns(inner: Arc<MemoryStore>) -> Arc<dyn Store> {
    Arc::new(WrongStore::new(inner, Wrong::Device(WrongDevice::AcquireLetsEverybodyPoll)))
}

/// What it must know to get them wrong: who has the turn.
pub(super) type DeviceNotes = HashMap<PendingId, Digest>;

impl WrongStore {
    fn polls_with(&self, wrong: WrongDevice) -> bool {
        self.how == Wrong::Device(wrong)
    }
}

#[async_trait::async_trait]
impl DeviceStore for WrongStore {
    async fn acquire_poll(&self, mut turn: AcquirePoll<'_>) -> Result<PollTurn, StoreError> {
        let forgets = Wrong::Device(WrongDevice::AcquireForgetsItsRetry);
        turn.holder = self.fresh_if(forgets, turn.holder);
        let (id, holder, interval) = (turn.id, turn.holder, turn.interval);
        let mut outcome = self.inner.acquire_poll(turn).await?;
        match &mut outcome {
            PollTurn::Yours { inherited, .. } => {
                self.polls.lock().unwrap().insert(id, holder);
                *inherited &= !self.polls_with(WrongDevice::AcquireForgetsWhoDied);
            }
            PollTurn::Later(_) if self.polls_with(WrongDevice::AcquireLetsEverybodyPoll) => {
                return Ok(PollTurn::Yours { interval, failures: 0, inherited: false });
            }
            PollTurn::Ended if self.polls_with(WrongDevice::AcquirePollsForTheDead) => {
                return Ok(PollTurn::Later(interval));
            }
            _ => {}
        }
        Ok(outcome)
    }

    async fn release_poll(&self, mut turn: ReleasePoll) -> Result<PollRelease, StoreError> {
        let has = self.polls.lock().unwrap().get(&turn.id).copied();
        if let (true, Some(has)) = (self.polls_with(WrongDevice::ReleaseIsForAnybody), has) {
            turn.holder = has;
        }
        if self.polls_with(WrongDevice::ReleaseForgetsTheInterval) {
            turn.interval = Duration::ZERO;
        }
        if self.polls_with(WrongDevice::ReleaseForgetsTheFailures) {
            turn.failures = 0;
        }
        if self.polls_with(WrongDevice::ReleaseLetsPollAtOnce) {
            turn.next_in = Duration::ZERO;
        }
        if self.polls_with(WrongDevice::ReleaseWaitsFiveMinutesAtMost) {
            turn.next_in = turn.next_in.min(Duration::from_secs(300));
        }
        let released = self.inner.release_poll(turn).await?;
        if self.polls_with(WrongDevice::ReleaseForgetsItsRetry) {
            let before = self.polls.lock().unwrap().remove(&turn.id);
            if before != Some(turn.holder) {
                return Ok(PollRelease::Lost);
            }
        }
        Ok(released)
    }

    async fn has_stored(&self, id: &ConnectionId, request: Digest) -> Result<bool, StoreError> {
        if self.polls_with(WrongDevice::HasStoredGoesByTheGrant) {
            return Ok(self.inner.read_credential(id).await?.is_some_and(|row| row.grant > 0));
        }
        self.inner.has_stored(id, request).await
    }
}
