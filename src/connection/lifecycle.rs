//! Connections as their owners know them: created, read, listed, revoked, deleted.
//!
//! None of these opens a secret, and none talks to a provider: a look at a connection never
//! refreshes it, and a revocation here is not one there (RFC 7009 is the host's to call, before it
//! revokes here).

use super::{ConnectionError, Connections, Inner, exchange::sanitised};
use crate::{
    digest::{Digest, RequestId},
    store::{
        Actor, By, ConnectionCursor, ConnectionId, ConnectionPage, ConnectionRow,
        CreatedConnection, DeletedConnection, NewConnection, Revoke, RevokedConnection, Status,
    },
};

/// The reason of a connection that was created and never had a credential.
const NOT_SIGNED_IN: &str = "not_signed_in";

impl Connections {
    /// Creates a connection without a credential: it needs its owner, until a sign-in that
    /// re-authorises it ends, or something is [stored](Self::store) under its id. Not needed for
    /// either: both create what they need.
    ///
    /// # Errors
    ///
    /// [`ConnectionError::UnknownConnector`], [`ConnectionError::InvalidOwner`], or a failure of the
    /// store.
    pub async fn create(
        &self,
        owner: &str,
        connector: &str,
    ) -> Result<ConnectionId, ConnectionError> {
        self.create_as(&RequestId::random(), owner, connector).await
    }

    /// [`create`](Self::create) with a request id of the caller's: the same one gets the same
    /// connection, and brings it back no more within a minute of its deletion.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub async fn create_as(
        &self,
        request: &RequestId,
        owner: &str,
        connector: &str,
    ) -> Result<ConnectionId, ConnectionError> {
        let owner = self.inner.owner(owner)?;
        let connector = &self.connector(connector)?.slug;
        let request = request.digest();
        let id = self.inner.created_id(request, owner, connector);
        let reason = NOT_SIGNED_IN;
        let new = NewConnection { id: &id, request, owner, connector, reason };
        match self.foundation().store.create_connection(new).await? {
            CreatedConnection::Created => {
                tracing::info!(connection = %id, connector, "connection created");
                Ok(id)
            }
            CreatedConnection::Foreign => Err(ConnectionError::NotFound),
        }
    }

    /// Where a connection stands, since when and why: one read.
    ///
    /// # Errors
    ///
    /// [`ConnectionError::NotFound`] for another owner's connection, as for none; or a failure of
    /// the store.
    pub async fn get(
        &self,
        owner: &str,
        id: &ConnectionId,
    ) -> Result<ConnectionRow, ConnectionError> {
        let owner = self.inner.owner(owner)?;
        let found = self.foundation().store.read_connection(owner, id).await?;
        found.ok_or(ConnectionError::NotFound)
    }

    /// Lists an owner's connections by creation, up to 100 at a time: every one that stays at least
    /// once, until a page has no `next`.
    ///
    /// # Errors
    ///
    /// [`ConnectionError::InvalidOwner`], or a failure of the store.
    pub async fn list(
        &self,
        owner: &str,
        cursor: Option<ConnectionCursor>,
        limit: u16,
    ) -> Result<ConnectionPage, ConnectionError> {
        let owner = self.inner.owner(owner)?;
        Ok(self.foundation().store.list_connections(owner, cursor, limit).await?)
    }

    /// [`list`](Self::list), only with those that stand there. A page may have fewer than `limit`,
    /// or none, and others behind it: it is the page that is read that is limited.
    ///
    /// # Errors
    ///
    /// As [`list`](Self::list).
    pub async fn list_with_status(
        &self,
        owner: &str,
        status: Status,
        cursor: Option<ConnectionCursor>,
        limit: u16,
    ) -> Result<ConnectionPage, ConnectionError> {
        let mut page = self.list(owner, cursor, limit).await?;
        page.connections.retain(|connection| connection.status == status);
        Ok(page)
    }

    /// Withdraws a connection: from now on nothing is vended, its secrets are gone, and an exchange
    /// in flight is refused. What was vended before lives on at the provider until it runs out.
    /// Signing in again, to the same connection, makes it active under a new grant.
    ///
    /// The reason is kept for people: at most 200 characters, without what looks like a URL.
    ///
    /// # Errors
    ///
    /// [`ConnectionError::NotFound`] for another owner's connection, as for none; or a failure of
    /// the store. A lost reply is asked for again inside; for a retry beyond that, use
    /// [`revoke_as`](Self::revoke_as).
    pub async fn revoke(
        &self,
        owner: &str,
        id: &ConnectionId,
        reason: &str,
    ) -> Result<RevokedConnection, ConnectionError> {
        self.revoke_as(&RequestId::random(), owner, id, reason).await
    }

    /// [`revoke`](Self::revoke) with a request id of the caller's, who may then retry it: what was
    /// stored since is left alone.
    ///
    /// # Errors
    ///
    /// As [`revoke`](Self::revoke).
    pub async fn revoke_as(
        &self,
        request: &RequestId,
        owner: &str,
        id: &ConnectionId,
        reason: &str,
    ) -> Result<RevokedConnection, ConnectionError> {
        let (owner, request) = (self.inner.owner(owner)?, request.digest());
        let reason = &sanitised(reason);
        let by = By { actor: Actor::Owner, idp_host: "" };
        let revoke = Revoke { id, request, owner, reason, by };
        match self.foundation().store.revoke_connection(revoke).await? {
            RevokedConnection::Absent => Err(ConnectionError::NotFound),
            outcome => {
                tracing::info!(connection = %id, ?outcome, "connection revoked");
                Ok(outcome)
            }
        }
    }

    /// Removes a connection with all that is known of it; an exchange in flight finds it gone. One
    /// that is not there, or is another owner's, is [absent](DeletedConnection::Absent), which is no
    /// error.
    ///
    /// # Errors
    ///
    /// [`ConnectionError::InvalidOwner`], or a failure of the store. A lost reply is asked for again
    /// inside; for a retry beyond that, use [`delete_as`](Self::delete_as).
    pub async fn delete(
        &self,
        owner: &str,
        id: &ConnectionId,
    ) -> Result<DeletedConnection, ConnectionError> {
        self.delete_as(&RequestId::random(), owner, id).await
    }

    /// [`delete`](Self::delete) with a request id of the caller's, who may then retry it for a
    /// minute: what was stored since under the same id is left alone.
    ///
    /// # Errors
    ///
    /// As [`delete`](Self::delete).
    pub async fn delete_as(
        &self,
        request: &RequestId,
        owner: &str,
        id: &ConnectionId,
    ) -> Result<DeletedConnection, ConnectionError> {
        let owner = self.inner.owner(owner)?;
        let store = &self.foundation().store;
        let by = By { actor: Actor::Owner, idp_host: "" };
        let outcome = store.delete_connection(owner, id, request.digest(), by).await?;
        if outcome == DeletedConnection::Deleted {
            tracing::info!(connection = %id, "connection deleted");
        }
        Ok(outcome)
    }
}

impl Inner {
    /// The id is the receipt: a retry makes the same one.
    fn created_id(&self, request: Digest, owner: Digest, connector: &str) -> ConnectionId {
        let parts: [&[u8]; 3] = [request.as_bytes(), owner.as_bytes(), connector.as_bytes()];
        ConnectionId::derived(owner, self.foundation.naming.digest("connection", &parts))
    }
}
