//! Submitting: claimed, checked by the host, stored. The flow's end and the credential are one step.

use std::time::Duration;

use tracing::Instrument;

use super::{
    Binding, HeaderCredentials, Headers, HeadersError, Inner, StoredHeaders,
    flow::{Flow, has_links},
};
use crate::{
    digest::{Digest, RequestId},
    store::{ClaimedFlow, Handed, PendingId, SubmittedFlow},
    token::MCP_HEADERS_AUTH,
    trace::{self, TraceContext},
};

/// A flow that is this submitter's alone, until the lease ends.
#[derive(Debug, Clone)]
pub struct FlowClaim {
    flow: PendingId,
    binding: Binding,
    request: Digest,
    expires_in: Duration,
    /// Where the flow was asked for.
    trace: TraceContext,
}

impl FlowClaim {
    /// Which flow.
    #[must_use]
    pub fn flow(&self) -> PendingId {
        self.flow
    }

    /// Whose headers, and for what.
    #[must_use]
    pub fn binding(&self) -> &Binding {
        &self.binding
    }

    /// What was left of the flow's life when it was claimed: it does not end any later.
    #[must_use]
    pub fn expires_in(&self) -> Duration {
        self.expires_in
    }
}

impl HeaderCredentials {
    /// Claims a flow, before what was submitted is tried at its client: of several submissions one is
    /// checked. Then [submit](Self::submit) it or [release](Self::release) it. A claim that is
    /// neither, because its process died, lapses after [`claim_lease`](super::HeadersConfig::claim_lease).
    ///
    /// # Errors
    ///
    /// [`HeadersError::FlowBusy`], [`HeadersError::FlowEnded`], [`HeadersError::FlowGone`];
    /// [`HeadersError::Pending`] if it cannot be read, [`HeadersError::NotAvailable`].
    pub async fn claim(&self, flow: PendingId) -> Result<FlowClaim, HeadersError> {
        self.claim_as(&RequestId::random(), flow).await
    }

    /// [`claim`](Self::claim) with a request id of the caller's, who may then retry it while the
    /// lease runs.
    ///
    /// # Errors
    ///
    /// As [`claim`](Self::claim).
    pub async fn claim_as(
        &self,
        request: &RequestId,
        flow: PendingId,
    ) -> Result<FlowClaim, HeadersError> {
        let (inner, request) = (&self.inner, request.digest());
        let lease = inner.config.claim_lease;
        let (body, left) = match inner.foundation.store.claim_flow(flow, request, lease).await? {
            ClaimedFlow::Claimed { body, left } => (body, left),
            ClaimedFlow::Busy { left } => return Err(HeadersError::FlowBusy { left }),
            ClaimedFlow::Ended(how) => return Err(HeadersError::FlowEnded(how)),
            ClaimedFlow::Expired | ClaimedFlow::Absent => return Err(HeadersError::FlowGone),
        };
        let opened = inner.pendings.open(flow, &Handed::now(body), left)?;
        let pending = opened.ok_or(HeadersError::FlowGone)?;
        let trace = pending.trace;
        let Flow { binding, .. } = Flow::of(pending)?;
        Ok(FlowClaim { flow, binding, request, expires_in: left, trace })
    }

    /// Gives a claim back: the client did not accept what was submitted, and the person may correct
    /// it. One that has lapsed is another's, or nobody's, and is left alone.
    ///
    /// # Errors
    ///
    /// [`HeadersError::NotAvailable`]: the claim lapses by itself.
    pub async fn release(&self, claim: &FlowClaim) -> Result<(), HeadersError> {
        Ok(self.inner.foundation.store.release_flow(claim.flow, claim.request).await?)
    }

    /// Stores what was submitted, and ends the flow, in one step; then revokes the flow's tokens. This
    /// runs to its end, also if the caller is dropped. If the process dies in between, the tokens
    /// that are left lead to a flow that has ended, and expire with it.
    ///
    /// Submitting the same claim again within a minute gets the same answer.
    ///
    /// # Errors
    ///
    /// [`HeadersError::NotClaimed`] if the claim has lapsed, [`HeadersError::FlowEnded`] if the flow
    /// was withdrawn meanwhile, [`HeadersError::FlowGone`]: nothing was stored.
    /// [`HeadersError::Seal`] or [`HeadersError::NotAvailable`]: submit again.
    pub async fn submit(
        &self,
        claim: &FlowClaim,
        headers: &Headers,
    ) -> Result<StoredHeaders, HeadersError> {
        let (inner, claim, headers) = (self.inner.clone(), claim.clone(), headers.clone());
        let span = tracing::info_span!("vestibule.headers.submit", flow = %claim.flow);
        claim.trace.join(&span);
        let submitting = async move {
            let stored = inner.submit(&claim, &headers).instrument(span.clone()).await;
            trace::judge(&span, &stored);
            stored
        };
        self.outlive("submit", trace::follow(submitting)).await
    }
}

impl Inner {
    async fn submit(
        &self,
        claim: &FlowClaim,
        headers: &Headers,
    ) -> Result<StoredHeaders, HeadersError> {
        // Of the claim, so that submitting it again is a retry.
        let request = self.foundation.naming.digest("headers-submit", &[claim.request.as_bytes()]);
        let answer = self.pendings.seal_answer(claim.flow, &())?;
        let flow = SubmittedFlow {
            id: claim.flow,
            claim: claim.request,
            by: self.pendings.instance(),
            answer: &answer,
            longest: self.config.pendings.outcome_longest,
        };
        let stored = self.upsert(request, &claim.binding, headers, Some(flow)).await?;
        self.revoke_tokens(&claim.binding, claim.flow).await;
        Ok(stored)
    }

    /// Of a flow that has ended: what is left of them leads nowhere.
    pub(super) async fn revoke_tokens(&self, binding: &Binding, flow: PendingId) {
        if !has_links(binding.identity().mode()) {
            return;
        }
        let resource = flow.to_string();
        if let Err(error) = self.config.tokens.revoke_resource(MCP_HEADERS_AUTH, &resource).await {
            tracing::warn!(%flow, %error, "the tokens of a flow that has ended are left to expire");
        }
    }
}
