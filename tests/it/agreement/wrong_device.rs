//! The wrong store's turns at polling, with one mistake each as well.

use std::{collections::HashMap, time::Duration};

use vestibule::{
    Digest,
    store::{AcquirePoll, DeviceStore, PendingId, PollRelease, PollTurn, ReleasePoll, StoreError},
};

use super::wrong::{Wrong, WrongStore};

/// The mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WrongDevice {
    FindsNothing,
    AcquireForgetsItsRetry,
    AcquireLetsEverybodyPoll,
    AcquireForgetsWhoDied,
    AcquirePollsForTheDead,
    ReleaseForgetsItsRetry,
    ReleaseIsForAnybody,
    ReleaseForgetsTheInterval,
    ReleaseForgetsTheFailures,
    ReleaseLetsPollAtOnce,
}

impl WrongDevice {
    pub(super) const ALL: [Self; 10] = [
        Self::FindsNothing,
        Self::AcquireForgetsItsRetry,
        Self::AcquireLetsEverybodyPoll,
        Self::AcquireForgetsWhoDied,
        Self::AcquirePollsForTheDead,
        Self::ReleaseForgetsItsRetry,
        Self::ReleaseIsForAnybody,
        Self::ReleaseForgetsTheInterval,
        Self::ReleaseForgetsTheFailures,
        Self::ReleaseLetsPollAtOnce,
    ];
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
    async fn find_pending(
        &self,
        namespace: Digest,
        dedup: Digest,
    ) -> Result<Option<PendingId>, StoreError> {
        let found = self.inner.find_pending(namespace, dedup).await?;
        Ok(found.filter(|_| !self.polls_with(WrongDevice::FindsNothing)))
    }

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
        let released = self.inner.release_poll(turn).await?;
        if self.polls_with(WrongDevice::ReleaseForgetsItsRetry) {
            let before = self.polls.lock().unwrap().remove(&turn.id);
            if before != Some(turn.holder) {
                return Ok(PollRelease::Lost);
            }
        }
        Ok(released)
    }
}
