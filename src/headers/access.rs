//! Access that is lost and given back, and credentials that their owners withdraw: with the flows
//! that are under way.

use super::{Binding, HeaderCredentials, HeadersError, Inner, Mode, Status, list::word};
use crate::{
    digest::RequestId,
    pending::Completion,
    store::{RemovedHeaders, RestoredHeaders, WithdrawnHeaders},
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
        if binding.identity().mode() == Mode::Session {
            return Ok(WithdrawnAccess { credential: WithdrawnHeaders::Session, flows: 0 });
        }
        let (inner, binding, reason) = (self.inner.clone(), binding.clone(), word(reason));
        self.outlive("withdraw_access", async move { inner.withdraw(&binding, &reason).await })
            .await
    }

    /// Gives access back: an orphan is what it was before.
    ///
    /// # Errors
    ///
    /// [`HeadersError::NotAvailable`].
    pub async fn restore_access(&self, binding: &Binding) -> Result<RestoredHeaders, HeadersError> {
        let (name, request) = (self.inner.name(binding), RequestId::random().digest());
        let restored = self.inner.foundation.store.restore_headers(name, request).await?;
        if let RestoredHeaders::Restored(status) = restored {
            tracing::info!(status = status.as_str(), "access to a header credential is back");
        }
        Ok(restored)
    }
}

impl Inner {
    async fn revoke(&self, binding: &Binding) -> Result<RevokedHeaders, HeadersError> {
        let flows = self.end_flows(binding).await?;
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
        binding: &Binding,
        reason: &str,
    ) -> Result<WithdrawnAccess, HeadersError> {
        let flows = self.end_flows(binding).await?;
        let (name, request) = (self.name(binding), RequestId::random().digest());
        let credential = self.foundation.store.withdraw_headers(name, request, reason).await?;
        if credential == WithdrawnHeaders::Withdrawn {
            let status = Status::Orphaned.as_str();
            tracing::info!(status, reason, flows, "access to a header credential was withdrawn");
        }
        Ok(WithdrawnAccess { credential, flows })
    }

    /// Cancels a binding's flows, and revokes their tokens.
    async fn end_flows(&self, binding: &Binding) -> Result<u64, HeadersError> {
        const PAGE: u16 = 100;
        let (mut ended, mut cursor) = (0, None);
        loop {
            let page = self.flows(binding.identity(), cursor, PAGE).await?;
            for flow in page.flows.iter().filter(|flow| flow.binding == *binding) {
                let completion = self.pendings.cancel(flow.id, None).await?;
                ended += u64::from(matches!(completion, Completion::Won(_)));
                self.revoke_tokens(binding, flow.id).await;
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok(ended);
            }
        }
    }
}
