//! The wrong store's orphans and turns, with one mistake each as well.

use std::time::Duration;

use vestibule::{
    Digest,
    store::{
        AccessStore, BeginTurn, ConnectionId, EndTurn, LifecycleStore, Orphan, OrphanPage,
        ReapConnection, Reaped, RestoredConnection, Revoke, Shard, StoreError, SweepStore, Turn,
        TurnEnd, WithdrawConnection, WithdrawnConnection,
    },
};

use super::wrong::{Wrong, WrongStore};

/// The mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WrongAccess {
    WithdrawForgetsItsRetry,
    WithdrawIsARevocation,
    RestoreForgetsItsRetry,
    RestoreServesAnyOwner,
    ReapForgetsItsRetry,
    ReapIgnoresTheRetention,
    ReapIgnoresTheStatus,
    OrphansOfAnyAge,
    TurnForgetsItsHolder,
    TurnForgetsTheCursor,
    TurnComesTooSoon,
    EndIsForAnybody,
}

impl WrongAccess {
    pub(super) const ALL: [Self; 12] = [
        Self::WithdrawForgetsItsRetry,
        Self::WithdrawIsARevocation,
        Self::RestoreForgetsItsRetry,
        Self::RestoreServesAnyOwner,
        Self::ReapForgetsItsRetry,
        Self::ReapIgnoresTheRetention,
        Self::ReapIgnoresTheStatus,
        Self::OrphansOfAnyAge,
        Self::TurnForgetsItsHolder,
        Self::TurnForgetsTheCursor,
        Self::TurnComesTooSoon,
        Self::EndIsForAnybody,
    ];
}

impl WrongStore {
    fn errs_with(&self, wrong: WrongAccess) -> bool {
        self.how == Wrong::Access(wrong)
    }
}

#[async_trait::async_trait]
impl AccessStore for WrongStore {
    async fn withdraw_connection(
        &self,
        mut withdraw: WithdrawConnection<'_>,
    ) -> Result<WithdrawnConnection, StoreError> {
        let forgets = Wrong::Access(WrongAccess::WithdrawForgetsItsRetry);
        withdraw.request = self.fresh_if(forgets, withdraw.request);
        if self.errs_with(WrongAccess::WithdrawIsARevocation) {
            let WithdrawConnection { id, request, owner, reason } = withdraw;
            let outcome = self.inner.withdraw_connection(withdraw).await?;
            self.inner
                .revoke_connection(Revoke {
                    id,
                    request,
                    owner,
                    reason,
                    by: crate::support::verbs::BY,
                })
                .await?;
            return Ok(outcome);
        }
        self.inner.withdraw_connection(withdraw).await
    }

    async fn restore_connection(
        &self,
        owner: Digest,
        id: &ConnectionId,
        request: Digest,
    ) -> Result<RestoredConnection, StoreError> {
        let forgets = Wrong::Access(WrongAccess::RestoreForgetsItsRetry);
        let request = self.fresh_if(forgets, request);
        let any = self.errs_with(WrongAccess::RestoreServesAnyOwner);
        let owner = self.whoever_if(any, owner, id).await;
        self.inner.restore_connection(owner, id, request).await
    }

    async fn reap_connection(&self, mut reap: ReapConnection<'_>) -> Result<Reaped, StoreError> {
        let forgets = Wrong::Access(WrongAccess::ReapForgetsItsRetry);
        reap.request = self.fresh_if(forgets, reap.request);
        if self.errs_with(WrongAccess::ReapIgnoresTheRetention) {
            reap.retention = Duration::ZERO;
        }
        if self.errs_with(WrongAccess::ReapIgnoresTheStatus) {
            let ReapConnection { owner, id, request, .. } = reap;
            self.inner.delete_connection(owner, id, request, crate::support::verbs::BY).await?;
        }
        self.inner.reap_connection(reap).await
    }

    async fn list_orphans(&self, mut page: OrphanPage) -> Result<Vec<Orphan>, StoreError> {
        if self.errs_with(WrongAccess::OrphansOfAnyAge) {
            page.retention = Duration::ZERO;
        }
        self.inner.list_orphans(page).await
    }

    async fn count_orphans(
        &self,
        shard: Shard,
        mut retention: Duration,
    ) -> Result<u64, StoreError> {
        if self.errs_with(WrongAccess::OrphansOfAnyAge) {
            retention = Duration::ZERO;
        }
        self.inner.count_orphans(shard, retention).await
    }
}

#[async_trait::async_trait]
impl SweepStore for WrongStore {
    async fn begin_turn(&self, mut begin: BeginTurn) -> Result<Turn, StoreError> {
        let forgets = Wrong::Access(WrongAccess::TurnForgetsItsHolder);
        begin.request = self.fresh_if(forgets, begin.request);
        if self.errs_with(WrongAccess::TurnComesTooSoon) {
            begin.not_within = Duration::ZERO;
        }
        let turn = self.inner.begin_turn(begin).await?;
        if self.errs_with(WrongAccess::TurnForgetsTheCursor) && matches!(turn, Turn::Begun { .. }) {
            return Ok(Turn::Begun { cursor: String::new() });
        }
        Ok(turn)
    }

    async fn end_turn(&self, end: EndTurn<'_>) -> Result<TurnEnd, StoreError> {
        let ended = self.inner.end_turn(end).await?;
        Ok(if self.errs_with(WrongAccess::EndIsForAnybody) { TurnEnd::Ended } else { ended })
    }
}
