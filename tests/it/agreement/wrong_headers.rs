//! The wrong store's header credentials, with one mistake each as well.

use std::time::Duration;

use vestibule::{
    Digest,
    store::{
        BindingName, ClaimedFlow, HeadersBinding, HeadersId, HeadersPage, HeadersPlace,
        HeadersStatus, HeadersStore, MarkHeaders, MarkedHeaders, NewHeaders, NewPending, PendingId,
        Reaped, RemovedHeaders, RestoredHeaders, SealedHeaders, Shard, StoreError, UpsertedHeaders,
        WithdrawnHeaders,
    },
};

use super::wrong::{Wrong, WrongStore};

/// The mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WrongHeaders {
    UpsertForgetsItsRetry,
    UpsertForgetsTheFlow,
    GetHidesTheOrphan,
    GetForgetsWhatItWas,
    RemoveForgetsItsRetry,
    ReapIgnoresTheRetention,
    ReapIsADeletion,
    MarkForgetsItsRetry,
    ListEndsAfterAPage,
    WithdrawForgetsItsRetry,
    WithdrawIsADeletion,
    WithdrawIsOfAny,
    RestoreForgetsItsRetry,
    RestoreDoesNothing,
    RestoreIsOfAny,
    ClaimIsForAnybody,
    ClaimForgetsTheLease,
    ReleaseDoesNothing,
    JoinForgetsToExtend,
}

impl WrongHeaders {
    pub(super) const ALL: [Self; 19] = [
        Self::UpsertForgetsItsRetry,
        Self::UpsertForgetsTheFlow,
        Self::GetHidesTheOrphan,
        Self::GetForgetsWhatItWas,
        Self::RemoveForgetsItsRetry,
        Self::ReapIgnoresTheRetention,
        Self::ReapIsADeletion,
        Self::MarkForgetsItsRetry,
        Self::ListEndsAfterAPage,
        Self::WithdrawForgetsItsRetry,
        Self::WithdrawIsADeletion,
        Self::WithdrawIsOfAny,
        Self::RestoreForgetsItsRetry,
        Self::RestoreDoesNothing,
        Self::RestoreIsOfAny,
        Self::ClaimIsForAnybody,
        Self::ClaimForgetsTheLease,
        Self::ReleaseDoesNothing,
        Self::JoinForgetsToExtend,
    ];
}

impl WrongStore {
    fn keeps(&self, wrong: WrongHeaders) -> bool {
        self.how == Wrong::Headers(wrong)
    }

    fn fresh_headers_if(&self, wrong: WrongHeaders, request: Digest) -> Digest {
        self.fresh_if(Wrong::Headers(wrong), request)
    }

    pub(super) fn put_for_headers(&self, pending: &mut NewPending<'_>) {
        if self.keeps(WrongHeaders::JoinForgetsToExtend) {
            pending.extends = false;
        }
    }
}

#[async_trait::async_trait]
impl HeadersStore for WrongStore {
    async fn upsert_headers(&self, mut new: NewHeaders<'_>) -> Result<UpsertedHeaders, StoreError> {
        new.request = self.fresh_headers_if(WrongHeaders::UpsertForgetsItsRetry, new.request);
        if self.keeps(WrongHeaders::UpsertForgetsTheFlow) {
            new.flow = None;
        }
        self.inner.upsert_headers(new).await
    }

    async fn read_headers(
        &self,
        binding: BindingName,
    ) -> Result<Option<SealedHeaders>, StoreError> {
        let mut found = self.inner.read_headers(binding).await?;
        if self.keeps(WrongHeaders::GetHidesTheOrphan) {
            found = found.filter(|found| found.row.status != HeadersStatus::Orphaned);
        }
        if let (true, Some(found)) = (self.keeps(WrongHeaders::GetForgetsWhatItWas), &mut found) {
            found.row.was = None;
        }
        Ok(found)
    }

    async fn delete_headers(
        &self,
        id: HeadersId,
        request: Digest,
    ) -> Result<RemovedHeaders, StoreError> {
        let request = self.fresh_headers_if(WrongHeaders::RemoveForgetsItsRetry, request);
        self.inner.delete_headers(id, request).await
    }

    async fn reap_headers(
        &self,
        id: HeadersId,
        retention: Duration,
        request: Digest,
    ) -> Result<Reaped, StoreError> {
        if self.keeps(WrongHeaders::ReapIgnoresTheRetention) {
            return self.inner.reap_headers(id, Duration::ZERO, request).await;
        }
        if self.keeps(WrongHeaders::ReapIsADeletion) {
            return Ok(match self.inner.delete_headers(id, request).await? {
                RemovedHeaders::Removed => Reaped::Reaped,
                RemovedHeaders::Absent => Reaped::Absent,
            });
        }
        self.inner.reap_headers(id, retention, request).await
    }

    async fn mark_headers(&self, mut mark: MarkHeaders<'_>) -> Result<MarkedHeaders, StoreError> {
        mark.request = self.fresh_headers_if(WrongHeaders::MarkForgetsItsRetry, mark.request);
        self.inner.mark_headers(mark).await
    }

    async fn list_headers(
        &self,
        shard: Shard,
        client: Digest,
        after: Option<HeadersPlace>,
        limit: u16,
    ) -> Result<HeadersPage, StoreError> {
        let mut page = self.inner.list_headers(shard, client, after, limit).await?;
        if self.keeps(WrongHeaders::ListEndsAfterAPage) {
            page.next = None;
        }
        Ok(page)
    }

    async fn find_headers(&self, id: HeadersId) -> Result<Option<HeadersBinding>, StoreError> {
        self.inner.find_headers(id).await
    }

    async fn withdraw_headers(
        &self,
        binding: BindingName,
        only: Option<HeadersId>,
        request: Digest,
        reason: &str,
    ) -> Result<WithdrawnHeaders, StoreError> {
        let only = only.filter(|_| !self.keeps(WrongHeaders::WithdrawIsOfAny));
        let request = self.fresh_headers_if(WrongHeaders::WithdrawForgetsItsRetry, request);
        let withdrawn = self.inner.withdraw_headers(binding, only, request, reason).await?;
        if self.keeps(WrongHeaders::WithdrawIsADeletion)
            && let Some(found) = self.inner.read_headers(binding).await?
            && withdrawn == WithdrawnHeaders::Withdrawn
        {
            self.inner.delete_headers(found.row.id, request).await?;
        }
        Ok(withdrawn)
    }

    async fn restore_headers(
        &self,
        binding: BindingName,
        only: Option<HeadersId>,
        request: Digest,
    ) -> Result<RestoredHeaders, StoreError> {
        let only = only.filter(|_| !self.keeps(WrongHeaders::RestoreIsOfAny));
        if self.keeps(WrongHeaders::RestoreDoesNothing) {
            return Ok(RestoredHeaders::NotOrphaned);
        }
        let request = self.fresh_headers_if(WrongHeaders::RestoreForgetsItsRetry, request);
        self.inner.restore_headers(binding, only, request).await
    }

    async fn claim_flow(
        &self,
        id: PendingId,
        mut request: Digest,
        mut lease: Duration,
    ) -> Result<ClaimedFlow, StoreError> {
        if self.keeps(WrongHeaders::ClaimIsForAnybody) {
            request = Digest::NONE;
        }
        if self.keeps(WrongHeaders::ClaimForgetsTheLease) {
            lease = Duration::from_secs(3600);
        }
        self.inner.claim_flow(id, request, lease).await
    }

    async fn release_flow(&self, id: PendingId, request: Digest) -> Result<(), StoreError> {
        if self.keeps(WrongHeaders::ReleaseDoesNothing) {
            return Ok(());
        }
        self.inner.release_flow(id, request).await
    }
}
