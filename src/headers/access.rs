//! Access that is lost and given back, and credentials that their owners withdraw: with the flows
//! that are under way.

use super::{Binding, HeaderCredentials, HeadersError, Inner, Mode, Status, list::word};
use crate::{
    digest::RequestId,
    pending::Completion,
    store::{HeadersBinding, HeadersId, RemovedHeaders, RestoredHeaders, WithdrawnHeaders},
};

/// What revoking a binding ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RevokedHeaders {
    /// Whether there was a credential.
    pub credential: bool,
    /// How many flows were under way.
    pub flows: u64,
}

/// What withdrawing access ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct WithdrawnAccess {
    /// What became of the credential.
    pub credential: WithdrawnHeaders,
    /// How many flows were under way.
    pub flows: u64,
}

impl HeaderCredentials {
    /// Removes the credential of a binding, its flows and their tokens. It runs to its end, also if
    /// the caller is dropped.
    ///
    /// The flows go first: a submission that is being checked finds its flow ended, and stores
    /// nothing. Whoever asks for a new one meanwhile gets it.
    ///
    /// # Errors
    ///
    /// [`HeadersError::NotAvailable`]: revoke again for the rest.
    pub async fn revoke(&self, binding: &Binding) -> Result<RevokedHeaders, HeadersError> {
        let (inner, binding) = (self.inner.clone(), binding.clone());
        self.outlive("revoke", async move { inner.revoke(&binding).await }).await
    }

    /// Withdraws access: its flows and their tokens are gone, the credential is an orphan, which is
    /// hidden until [access is back](Self::restore_access) or the sweep removes it. What a session
    /// has is never touched. It runs to its end, also if the caller is dropped.
    ///
    /// Whether somebody has access is the host's to know, before it asks for a flow: a credential
    /// that is stored after this is active.
    ///
    /// `reason` is a word for people; other characters than `a-z`, `0-9`, `_` and `-` are dropped.
    ///
    /// # Errors
    ///
    /// [`HeadersError::NotAvailable`]: withdraw again for the rest.
    pub async fn withdraw_access(
        &self,
        binding: &Binding,
        reason: &str,
    ) -> Result<WithdrawnAccess, HeadersError> {
        self.withdraw(self.inner.of(binding), None, reason).await
    }

    /// [`withdraw_access`](Self::withdraw_access) by the id of a credential, for people who mend things by
    /// hand: the submissions of its binding end, and it is an orphan. Another one that has taken its
    /// place meanwhile is left alone.
    ///
    /// # Errors
    ///
    /// As [`withdraw_access`](Self::withdraw_access).
    pub async fn withdraw_access_by_id(
        &self,
        id: HeadersId,
        reason: &str,
    ) -> Result<WithdrawnAccess, HeadersError> {
        match self.inner.foundation.store.find_headers(id).await? {
            Some(of) => self.withdraw(of, Some(id), reason).await,
            None => Ok(WithdrawnAccess { credential: WithdrawnHeaders::Absent, flows: 0 }),
        }
    }

    async fn withdraw(
        &self,
        of: HeadersBinding,
        only: Option<HeadersId>,
        reason: &str,
    ) -> Result<WithdrawnAccess, HeadersError> {
        if of.mode == Mode::Session {
            return Ok(WithdrawnAccess { credential: WithdrawnHeaders::Session, flows: 0 });
        }
        let (inner, reason) = (self.inner.clone(), word(reason));
        self.outlive("withdraw_access", async move { inner.withdraw(of, only, &reason).await })
            .await
    }

    /// Gives access back: an orphan is what it was before.
    ///
    /// # Errors
    ///
    /// [`HeadersError::NotAvailable`].
    pub async fn restore_access(&self, binding: &Binding) -> Result<RestoredHeaders, HeadersError> {
        self.restore(self.inner.of(binding), None).await
    }

    /// [`restore_access`](Self::restore_access) by the id of a credential.
    ///
    /// # Errors
    ///
    /// [`HeadersError::NotAvailable`].
    pub async fn restore_access_by_id(
        &self,
        id: HeadersId,
    ) -> Result<RestoredHeaders, HeadersError> {
        match self.inner.foundation.store.find_headers(id).await? {
            Some(of) => self.restore(of, Some(id)).await,
            None => Ok(RestoredHeaders::Absent),
        }
    }

    async fn restore(
        &self,
        of: HeadersBinding,
        only: Option<HeadersId>,
    ) -> Result<RestoredHeaders, HeadersError> {
        let (store, request) = (&self.inner.foundation.store, RequestId::random().digest());
        let restored = store.restore_headers(of.name, only, request).await?;
        if let RestoredHeaders::Restored(status) = restored {
            tracing::info!(status = status.as_str(), "access to a header credential is back");
        }
        Ok(restored)
    }
}

impl Inner {
    fn of(&self, binding: &Binding) -> HeadersBinding {
        let (name, mode) = (self.name(binding), binding.identity().mode());
        HeadersBinding { name, mode, identity: self.identity(binding.identity()) }
    }

    async fn revoke(&self, binding: &Binding) -> Result<RevokedHeaders, HeadersError> {
        let flows = self.end_flows(self.of(binding)).await?;
        let store = &self.foundation.store;
        let Some(found) = store.read_headers(self.name(binding)).await? else {
            return Ok(RevokedHeaders { credential: false, flows });
        };
        let id = found.row.id;
        let removed = store.delete_headers(id, RequestId::random().digest()).await?;
        tracing::info!(headers = %id, flows, "header credential revoked");
        Ok(RevokedHeaders { credential: removed == RemovedHeaders::Removed, flows })
    }

    async fn withdraw(
        &self,
        of: HeadersBinding,
        only: Option<HeadersId>,
        reason: &str,
    ) -> Result<WithdrawnAccess, HeadersError> {
        let flows = self.end_flows(of).await?;
        let (store, request) = (&self.foundation.store, RequestId::random().digest());
        let credential = store.withdraw_headers(of.name, only, request, reason).await?;
        if credential == WithdrawnHeaders::Withdrawn {
            let status = Status::Orphaned.as_str();
            tracing::info!(status, reason, flows, "access to a header credential was withdrawn");
        }
        Ok(WithdrawnAccess { credential, flows })
    }

    /// Cancels a binding's flows, and revokes their tokens.
    async fn end_flows(&self, of: HeadersBinding) -> Result<u64, HeadersError> {
        const PAGE: u16 = 100;
        let (mut ended, mut cursor) = (0, None);
        loop {
            let page = self.flows(of.identity, cursor, PAGE).await?;
            for flow in page.flows.iter().filter(|flow| self.name(&flow.binding) == of.name) {
                let completion = self.pendings.cancel(flow.id, None).await?;
                ended += u64::from(matches!(completion, Completion::Won(_)));
                self.revoke_tokens(&flow.binding, flow.id).await;
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok(ended);
            }
        }
    }
}
