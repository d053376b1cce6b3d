//! The wrong store's caps and pauses, with one mistake each as well.

use std::num::NonZero;

use vestibule::{
    Digest,
    store::{
        By, ConnectorName, LimitStore, Pause, PauseRow, Paused, Release, Reserve, Reserved,
        Resumed, StoreError,
    },
};

use super::wrong::{Wrong, WrongStore};

/// The mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WrongLimit {
    ReserveForgetsItsRetry,
    ReserveIgnoresTheRate,
    ReserveIgnoresThePlaces,
    ReserveForgetsTheBurst,
    ReserveForgetsTheLine,
    ReserveIgnoresThePause,
    ReserveLetsNobodyProbe,
    ReleaseDoesNothing,
    ReleaseCountsWhatWasNotMade,
    PauseForgetsItsRetry,
    PauseNeverGrows,
    ResumeForgetsItsRetry,
    ResumeDoesNothing,
}

impl WrongLimit {
    pub(super) const ALL: [Self; 13] = [
        Self::ReserveForgetsItsRetry,
        Self::ReserveIgnoresTheRate,
        Self::ReserveIgnoresThePlaces,
        Self::ReserveForgetsTheBurst,
        Self::ReserveForgetsTheLine,
        Self::ReserveIgnoresThePause,
        Self::ReserveLetsNobodyProbe,
        Self::ReleaseDoesNothing,
        Self::ReleaseCountsWhatWasNotMade,
        Self::PauseForgetsItsRetry,
        Self::PauseNeverGrows,
        Self::ResumeForgetsItsRetry,
        Self::ResumeDoesNothing,
    ];
}

impl WrongStore {
    fn limits_with(&self, wrong: WrongLimit) -> bool {
        self.how == Wrong::Limit(wrong)
    }
}

#[async_trait::async_trait]
impl LimitStore for WrongStore {
    async fn reserve(&self, mut reserve: Reserve<'_>) -> Result<Reserved, StoreError> {
        let forgets = Wrong::Limit(WrongLimit::ReserveForgetsItsRetry);
        reserve.holder = self.fresh_if(forgets, reserve.holder);
        if self.limits_with(WrongLimit::ReserveIgnoresTheRate) {
            reserve.caps.rate = None;
        }
        if self.limits_with(WrongLimit::ReserveIgnoresThePlaces) {
            reserve.caps.at_once = None;
        }
        if self.limits_with(WrongLimit::ReserveForgetsTheBurst)
            && let Some((calls, per)) = &mut reserve.caps.rate
        {
            (*calls, *per) = (NonZero::<u32>::MIN, *per / calls.get());
        }
        if self.limits_with(WrongLimit::ReserveForgetsTheLine) {
            reserve.in_line = false;
        }
        Ok(match self.inner.reserve(reserve).await? {
            Reserved::Paused { .. } if self.limits_with(WrongLimit::ReserveIgnoresThePause) => {
                Reserved::Go { probe: false }
            }
            Reserved::Go { .. } if self.limits_with(WrongLimit::ReserveLetsNobodyProbe) => {
                Reserved::Go { probe: false }
            }
            reserved => reserved,
        })
    }

    async fn release(&self, mut release: Release<'_>) -> Result<(), StoreError> {
        if self.limits_with(WrongLimit::ReleaseDoesNothing) {
            return Ok(());
        }
        release.made |= self.limits_with(WrongLimit::ReleaseCountsWhatWasNotMade);
        self.inner.release(release).await
    }

    async fn pause_connector(&self, mut pause: Pause<'_>) -> Result<Paused, StoreError> {
        let forgets = Wrong::Limit(WrongLimit::PauseForgetsItsRetry);
        pause.request = self.fresh_if(forgets, pause.request);
        if self.limits_with(WrongLimit::PauseNeverGrows) {
            pause.longest = pause.first;
        }
        self.inner.pause_connector(pause).await
    }

    async fn resume_connector(
        &self,
        connector: ConnectorName<'_>,
        request: Digest,
        by: By<'_>,
    ) -> Result<Resumed, StoreError> {
        if self.limits_with(WrongLimit::ResumeDoesNothing) {
            return Ok(Resumed::Resumed);
        }
        let forgets = Wrong::Limit(WrongLimit::ResumeForgetsItsRetry);
        self.inner.resume_connector(connector, self.fresh_if(forgets, request), by).await
    }

    async fn read_pause(
        &self,
        connector: ConnectorName<'_>,
    ) -> Result<Option<PauseRow>, StoreError> {
        self.inner.read_pause(connector).await
    }
}
