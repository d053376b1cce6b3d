//! Connections as their owners know them: created, read, listed, revoked and deleted. No secret is
//! in any of it.
//!
//! Revoking and deleting raise the grant, so that an exchange in flight is refused or finds nothing.
//! What is left of a deleted connection for the grace is receipts: a retried store brings nothing
//! back, and the id's next grant is another one than before.

use std::sync::Weak;

use async_trait::async_trait;

use super::{By, ConnectionId, Keeper, Status, StoreError};
use crate::digest::Digest;

/// The part of the port that a connection's owner needs. The rules and errors are [`Store`](super::Store)'s;
/// another owner's connection is told as none.
#[async_trait]
pub trait LifecycleStore {
    /// Creates a connection without a credential, unless there is one of this id.
    async fn create_connection(
        &self,
        new: NewConnection<'_>,
    ) -> Result<CreatedConnection, StoreError>;

    /// Reads all of a connection but its secrets; `None` if there is none.
    async fn read_connection(
        &self,
        owner: Digest,
        id: &ConnectionId,
    ) -> Result<Option<ConnectionRow>, StoreError>;

    /// Lists an owner's connections, up to `limit` (1 to 100) at a time.
    async fn list_connections(
        &self,
        owner: Digest,
        cursor: Option<ConnectionCursor>,
        limit: u16,
    ) -> Result<ConnectionPage, StoreError>;

    /// Withdraws a connection, and removes its secrets: what is in flight is refused later.
    async fn revoke_connection(&self, revoke: Revoke<'_>) -> Result<RevokedConnection, StoreError>;

    /// Removes a connection: what is in flight finds it gone.
    async fn delete_connection(
        &self,
        owner: Digest,
        id: &ConnectionId,
        request: Digest,
        by: By<'_>,
    ) -> Result<DeletedConnection, StoreError>;

    /// Tells a keeper of every credential that changes, until it is dropped. The first call starts
    /// to listen, and needs a runtime.
    fn tell_changes(&self, keeper: Weak<dyn Keeper>);
}

/// A connection to be created, before there is a credential.
#[derive(Debug, Clone)]
pub struct NewConnection<'a> {
    /// Its id, in the shard of its owner.
    pub id: &'a ConnectionId,
    /// The digest of the request id.
    pub request: Digest,
    /// The digest of the owner.
    pub owner: Digest,
    /// The slug of the connector.
    pub connector: &'a str,
    /// Why it needs its owner, in a word.
    pub reason: &'a str,
}

/// What became of creating a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreatedConnection {
    /// Created, or created before. A retry brings nothing back that was deleted meanwhile.
    Created,
    /// The id belongs to another owner or another connector. Nothing was written.
    Foreign,
}

/// All that may be known of a connection. Times are in ms since 1970, by the store's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionRow {
    /// Which.
    pub id: ConnectionId,
    /// The slug of the connector.
    pub connector: String,
    /// Where it stands.
    pub status: Status,
    /// Why, if it is not active.
    pub reason: Option<String>,
    /// Since when.
    pub status_at_ms: Option<u64>,
    /// Bumps on store, re-authorisation, revocation and deletion; 0 before the first credential.
    pub grant: u64,
    /// Counts the secrets.
    pub ver: u64,
    /// When the access token runs out; `None` if undisclosed, or there is none.
    pub expires_at_ms: Option<u64>,
    /// When the refresh token runs out; `None` if undisclosed, or there is none.
    pub refresh_expires_at_ms: Option<u64>,
    /// When its owner signed in last, or what was obtained elsewhere was stored.
    pub authenticated_at_ms: Option<u64>,
    /// When it is to be refreshed, tried again, or looked at, since it ends; `None` for never.
    pub next_at_ms: Option<u64>,
    /// Failed attempts in a row.
    pub attempts: u32,
    /// What the last failed attempt failed with.
    pub last_error: Option<String>,
    /// When it was created.
    pub created_at_ms: Option<u64>,
    /// When something of it changed last.
    pub updated_at_ms: Option<u64>,
}

/// A page of an owner's connections, by the time of their creation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConnectionPage {
    /// The connections.
    pub connections: Vec<ConnectionRow>,
    /// Those whose records cannot be read: they are left as they are, and hide no others.
    pub damaged: Vec<ConnectionId>,
    /// Where the next page begins; `None` if this is the last. A page may be short, or even empty,
    /// and not be the last.
    pub next: Option<ConnectionCursor>,
}

/// Where a page begins: behind this connection, or if it is gone meanwhile, with those that were
/// created when it was. So every connection that stays is seen at least once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionCursor {
    pub(crate) after: ConnectionId,
    pub(crate) from_ms: u64,
}

/// A connection to be revoked.
#[derive(Debug, Clone)]
pub struct Revoke<'a> {
    /// Which.
    pub id: &'a ConnectionId,
    /// The digest of the request id.
    pub request: Digest,
    /// The digest of the owner.
    pub owner: Digest,
    /// Why, for people: sanitised, at most 200 characters.
    pub reason: &'a str,
    /// Who revokes it.
    pub by: By<'a>,
}

/// What became of revoking a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevokedConnection {
    /// Revoked, under this grant; also on a retry with the same request id, which leaves alone what
    /// was stored since.
    Revoked {
        /// The connection's current grant.
        grant: u64,
    },
    /// Another request had revoked it, whose reason and time are kept.
    Already,
    /// There is no such connection, or it is another owner's.
    Absent,
}

/// What became of deleting a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeletedConnection {
    /// Deleted; also on a retry with the same request id, which leaves alone what was stored since.
    Deleted,
    /// There is no such connection, not any more, or it is another owner's.
    Absent,
}
