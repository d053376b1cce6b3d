//! The wrong store's pendings: so far none of its wrongs is about them.

use std::time::Duration;

use vestibule::{
    Digest,
    store::{
        Cleared, Finish, Finished, NewPending, Outcome, PageCursor, PendingId, PendingPage,
        PendingRow, PendingStore, PutPending, StoreError, WakeHub,
    },
};

use super::wrong::WrongStore;

#[async_trait::async_trait]
impl PendingStore for WrongStore {
    async fn put_pending(&self, pending: NewPending<'_>) -> Result<PutPending, StoreError> {
        self.inner.put_pending(pending).await
    }

    async fn read_pending(&self, id: PendingId) -> Result<PendingRow, StoreError> {
        self.inner.read_pending(id).await
    }

    async fn finish_pending(&self, finish: Finish<'_>) -> Result<Finished, StoreError> {
        self.inner.finish_pending(finish).await
    }

    async fn list_pendings(
        &self,
        namespace: Digest,
        cursor: Option<PageCursor>,
        limit: u16,
    ) -> Result<PendingPage, StoreError> {
        self.inner.list_pendings(namespace, cursor, limit).await
    }

    async fn clear_pendings(
        &self,
        namespace: Digest,
        request: Digest,
        by: &str,
        limit: u16,
    ) -> Result<Cleared, StoreError> {
        self.inner.clear_pendings(namespace, request, by, limit).await
    }

    async fn read_outcome(&self, id: PendingId) -> Result<Option<Outcome>, StoreError> {
        self.inner.read_outcome(id).await
    }

    async fn note_waiter(
        &self,
        id: PendingId,
        waiter: &str,
        life: Duration,
    ) -> Result<(), StoreError> {
        self.inner.note_waiter(id, waiter, life).await
    }

    async fn waiters(&self, id: PendingId) -> Result<Vec<String>, StoreError> {
        self.inner.waiters(id).await
    }

    fn wake_hub(&self) -> WakeHub {
        self.inner.wake_hub()
    }
}
