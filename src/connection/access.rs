//! Access that a host withdraws, and gives back.
//!
//! A user who loses the right to something, a group or a contract, loses the access to the
//! connections that came with it, and often gets it back a day later. So a connection whose access
//! is withdrawn is kept whole for a while: it vends nothing and is not refreshed, and given back it
//! is what it was, without a new sign-in. What nobody gives back is deleted by a
//! [sweep](crate::sweep::Orphans), after a retention. An exchange in flight still stores its answer:
//! a rotated refresh token is the only one there is.

use super::{ConnectionError, Connections};
use crate::{
    digest::{Digest, RequestId},
    store::{
        ConnectionCursor, ConnectionId, ConnectionRow, RestoredConnection, Status,
        WithdrawConnection, WithdrawnConnection,
    },
};

/// The reason of a connection whose access was withdrawn.
const ACCESS_WITHDRAWN: &str = "access_withdrawn";

/// What became of a page of an owner's connections.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Reconciled {
    /// Those whose access was withdrawn by this.
    pub withdrawn: Vec<ConnectionId>,
    /// Those whose access was given back by this.
    pub restored: Vec<ConnectionId>,
    /// Those that cannot be read: they are left as they are.
    pub damaged: Vec<ConnectionId>,
    /// Where the next page begins; `None` if this is the last.
    pub next: Option<ConnectionCursor>,
}

impl Connections {
    /// Withdraws the access to a connection: from now on it vends nothing, is not refreshed, and
    /// stands as [`Status::Orphaned`], until it is given back, signed in to again, or reaped.
    ///
    /// Of one that was revoked there is nothing to withdraw: it stays
    /// [revoked](WithdrawnConnection::Revoked).
    ///
    /// # Errors
    ///
    /// [`ConnectionError::NotFound`] for another owner's connection, as for none; or a failure of
    /// the store. A lost reply is asked for again inside; for a retry beyond that, use
    /// [`withdraw_access_as`](Self::withdraw_access_as).
    pub async fn withdraw_access(
        &self,
        owner: &str,
        id: &ConnectionId,
    ) -> Result<WithdrawnConnection, ConnectionError> {
        self.withdraw_access_as(&RequestId::random(), owner, id).await
    }

    /// [`withdraw_access`](Self::withdraw_access) with a request id of the caller's, who may then
    /// retry it: what was given back or stored since is left alone.
    ///
    /// # Errors
    ///
    /// As [`withdraw_access`](Self::withdraw_access).
    pub async fn withdraw_access_as(
        &self,
        request: &RequestId,
        owner: &str,
        id: &ConnectionId,
    ) -> Result<WithdrawnConnection, ConnectionError> {
        self.withdraw(request.digest(), self.inner.owner(owner)?, id).await
    }

    /// Gives the access to a connection back: it is what it was, with its credential, and is
    /// refreshed when it was due.
    ///
    /// # Errors
    ///
    /// [`ConnectionError::NotFound`] for another owner's connection, as for none, and for one that
    /// was reaped; or a failure of the store. A lost reply is asked for again inside; for a retry
    /// beyond that, use [`restore_access_as`](Self::restore_access_as).
    pub async fn restore_access(
        &self,
        owner: &str,
        id: &ConnectionId,
    ) -> Result<RestoredConnection, ConnectionError> {
        self.restore_access_as(&RequestId::random(), owner, id).await
    }

    /// [`restore_access`](Self::restore_access) with a request id of the caller's, who may then
    /// retry it: what was withdrawn again since is left alone.
    ///
    /// # Errors
    ///
    /// As [`restore_access`](Self::restore_access).
    pub async fn restore_access_as(
        &self,
        request: &RequestId,
        owner: &str,
        id: &ConnectionId,
    ) -> Result<RestoredConnection, ConnectionError> {
        self.restore(request.digest(), self.inner.owner(owner)?, id).await
    }

    /// Brings a page of an owner's connections in line with what the owner may have now: access is
    /// withdrawn where `has_access` says no, and given back where it says yes. Go on with `next`
    /// until there is none; the same page again changes nothing.
    ///
    /// Not atomic over the connections: each is a step of its own.
    ///
    /// # Errors
    ///
    /// [`ConnectionError::InvalidOwner`], or a failure of the store: what was done before it is done.
    pub async fn reconcile_access(
        &self,
        owner: &str,
        cursor: Option<ConnectionCursor>,
        limit: u16,
        has_access: impl Fn(&ConnectionRow) -> bool + Send,
    ) -> Result<Reconciled, ConnectionError> {
        let page = self.list(owner, cursor, limit).await?;
        let owner = self.inner.owner(owner)?;
        let mut done = Reconciled { damaged: page.damaged, next: page.next, ..Default::default() };
        // Judged before anything waits: the judge need not be shared.
        let judged: Vec<_> =
            page.connections.into_iter().map(|row| (has_access(&row), row)).collect();
        for (has_access, row) in judged {
            let request = RequestId::random().digest();
            match (has_access, row.status) {
                (false, Status::Active | Status::NeedsReauth | Status::Exhausted) => {
                    match self.withdraw(request, owner, &row.id).await {
                        Ok(WithdrawnConnection::Withdrawn) => done.withdrawn.push(row.id),
                        Ok(_) | Err(ConnectionError::NotFound) => {}
                        Err(error) => return Err(error),
                    }
                }
                (true, Status::Orphaned) => match self.restore(request, owner, &row.id).await {
                    Ok(RestoredConnection::Restored) => done.restored.push(row.id),
                    Ok(_) | Err(ConnectionError::NotFound) => {}
                    Err(error) => return Err(error),
                },
                _ => {}
            }
        }
        Ok(done)
    }

    async fn withdraw(
        &self,
        request: Digest,
        owner: Digest,
        id: &ConnectionId,
    ) -> Result<WithdrawnConnection, ConnectionError> {
        let withdraw = WithdrawConnection { id, request, owner, reason: ACCESS_WITHDRAWN };
        match self.foundation().store.withdraw_connection(withdraw).await? {
            WithdrawnConnection::Absent => Err(ConnectionError::NotFound),
            outcome => {
                tracing::info!(connection = %id, ?outcome, "access withdrawn");
                Ok(outcome)
            }
        }
    }

    async fn restore(
        &self,
        request: Digest,
        owner: Digest,
        id: &ConnectionId,
    ) -> Result<RestoredConnection, ConnectionError> {
        match self.foundation().store.restore_connection(owner, id, request).await? {
            RestoredConnection::Absent => Err(ConnectionError::NotFound),
            outcome => {
                tracing::info!(connection = %id, ?outcome, "access given back");
                Ok(outcome)
            }
        }
    }
}
