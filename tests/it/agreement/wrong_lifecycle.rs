//! The wrong store's owners, with one mistake each as well.

use std::sync::Weak;

use vestibule::{
    Digest,
    store::{
        By, ConnectionCursor, ConnectionId, ConnectionPage, ConnectionRow, CreatedConnection,
        DeletedConnection, Keeper, LifecycleStore, NewConnection, Revoke, RevokedConnection,
        Status, Store, StoreError,
    },
};

use super::wrong::{Wrong, WrongStore};

/// The mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WrongLifecycle {
    CreateTakesAnyOwner,
    GetServesAnyOwner,
    GetForgetsTheReason,
    ListEndsAfterAPage,
    ListHidesTheRevoked,
    RevokeForgetsItsRetry,
    RevokeServesAnyOwner,
    RevokeIsADeletion,
    DeleteForgetsItsRetry,
    DeleteServesAnyOwner,
    DeleteIsARevocation,
}

impl WrongLifecycle {
    pub(super) const ALL: [Self; 11] = [
        Self::CreateTakesAnyOwner,
        Self::GetServesAnyOwner,
        Self::GetForgetsTheReason,
        Self::ListEndsAfterAPage,
        Self::ListHidesTheRevoked,
        Self::RevokeForgetsItsRetry,
        Self::RevokeServesAnyOwner,
        Self::RevokeIsADeletion,
        Self::DeleteForgetsItsRetry,
        Self::DeleteServesAnyOwner,
        Self::DeleteIsARevocation,
    ];
}

impl WrongStore {
    fn lives_with(&self, wrong: WrongLifecycle) -> bool {
        self.how == Wrong::Lifecycle(wrong)
    }

    /// Whoever asks, if this is the mistake.
    async fn owner_if(&self, wrong: WrongLifecycle, owner: Digest, id: &ConnectionId) -> Digest {
        self.whoever_if(self.lives_with(wrong), owner, id).await
    }

    /// The owner, whoever asks.
    pub(super) async fn whoever_if(&self, wrong: bool, owner: Digest, id: &ConnectionId) -> Digest {
        if !wrong {
            return owner;
        }
        let row = self.inner.read_credential(id).await.unwrap();
        row.map_or(owner, |row| row.owner)
    }
}

#[async_trait::async_trait]
impl LifecycleStore for WrongStore {
    async fn create_connection(
        &self,
        mut new: NewConnection<'_>,
    ) -> Result<CreatedConnection, StoreError> {
        new.owner = self.owner_if(WrongLifecycle::CreateTakesAnyOwner, new.owner, new.id).await;
        self.inner.create_connection(new).await
    }

    async fn read_connection(
        &self,
        owner: Digest,
        id: &ConnectionId,
    ) -> Result<Option<ConnectionRow>, StoreError> {
        let owner = self.owner_if(WrongLifecycle::GetServesAnyOwner, owner, id).await;
        let mut row = self.inner.read_connection(owner, id).await?;
        if let (true, Some(row)) = (self.lives_with(WrongLifecycle::GetForgetsTheReason), &mut row)
        {
            row.reason = None;
        }
        Ok(row)
    }

    async fn list_connections(
        &self,
        owner: Digest,
        cursor: Option<ConnectionCursor>,
        limit: u16,
    ) -> Result<ConnectionPage, StoreError> {
        let mut page = self.inner.list_connections(owner, cursor, limit).await?;
        if self.lives_with(WrongLifecycle::ListEndsAfterAPage) {
            page.next = None;
        }
        if self.lives_with(WrongLifecycle::ListHidesTheRevoked) {
            page.connections.retain(|row| row.status != Status::Revoked);
        }
        Ok(page)
    }

    async fn revoke_connection(
        &self,
        mut revoke: Revoke<'_>,
    ) -> Result<RevokedConnection, StoreError> {
        let forgets = Wrong::Lifecycle(WrongLifecycle::RevokeForgetsItsRetry);
        revoke.request = self.fresh_if(forgets, revoke.request);
        let any = WrongLifecycle::RevokeServesAnyOwner;
        revoke.owner = self.owner_if(any, revoke.owner, revoke.id).await;
        if self.lives_with(WrongLifecycle::RevokeIsADeletion) {
            let (owner, id, request, by) = (revoke.owner, revoke.id, revoke.request, revoke.by);
            let outcome = self.inner.revoke_connection(revoke).await?;
            self.inner.delete_connection(owner, id, request, by).await?;
            return Ok(outcome);
        }
        self.inner.revoke_connection(revoke).await
    }

    async fn delete_connection(
        &self,
        owner: Digest,
        id: &ConnectionId,
        request: Digest,
        by: By<'_>,
    ) -> Result<DeletedConnection, StoreError> {
        let owner = self.owner_if(WrongLifecycle::DeleteServesAnyOwner, owner, id).await;
        let forgets = Wrong::Lifecycle(WrongLifecycle::DeleteForgetsItsRetry);
        let request = self.fresh_if(forgets, request);
        if self.lives_with(WrongLifecycle::DeleteIsARevocation) {
            let revoke = Revoke { id, request, owner, reason: "deleted", by };
            return Ok(match self.inner.revoke_connection(revoke).await? {
                RevokedConnection::Absent => DeletedConnection::Absent,
                _ => DeletedConnection::Deleted,
            });
        }
        self.inner.delete_connection(owner, id, request, by).await
    }

    fn tell_changes(&self, keeper: Weak<dyn Keeper>) {
        self.inner.tell_changes(keeper);
    }
}
