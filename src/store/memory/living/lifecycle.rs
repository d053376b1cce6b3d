//! A connection's life, as its owner leads it.

use std::{ops::Bound, sync::Weak};

use async_trait::async_trait;

use super::{
    super::{MemoryStore, after, recent::Recent},
    Answer, Connection, Connections, Receipts, Telling, place, told,
};
use crate::{
    digest::Digest,
    store::{
        By, ConnectionCursor, ConnectionId, ConnectionPage, ConnectionRow, CreatedConnection,
        DeletedConnection, EventKind, GRACE, Keeper, LifecycleStore, NewConnection, Revoke,
        RevokedConnection, Status, StoreError,
    },
};

#[async_trait]
impl LifecycleStore for MemoryStore {
    async fn create_connection(
        &self,
        new: NewConnection<'_>,
    ) -> Result<CreatedConnection, StoreError> {
        let (mut state, now) = self.enter();
        Ok(state.connections.create(&new, now))
    }

    async fn read_connection(
        &self,
        owner: Digest,
        id: &ConnectionId,
    ) -> Result<Option<ConnectionRow>, StoreError> {
        Ok(self.enter().0.connections.show(owner, id))
    }

    async fn list_connections(
        &self,
        owner: Digest,
        cursor: Option<ConnectionCursor>,
        limit: u16,
    ) -> Result<ConnectionPage, StoreError> {
        Ok(self.enter().0.connections.list(owner, cursor.as_ref(), limit))
    }

    async fn revoke_connection(&self, revoke: Revoke<'_>) -> Result<RevokedConnection, StoreError> {
        let (mut state, now) = self.enter();
        let outcome = {
            let (connections, telling) = state.telling(revoke.by, now);
            connections.revoke(&revoke, telling)
        };
        drop(state);
        if matches!(outcome, RevokedConnection::Revoked { .. }) {
            self.changes.tell(revoke.id);
        }
        Ok(outcome)
    }

    async fn delete_connection(
        &self,
        owner: Digest,
        id: &ConnectionId,
        request: Digest,
        by: By<'_>,
    ) -> Result<DeletedConnection, StoreError> {
        let (mut state, now) = self.enter();
        let outcome = {
            let (connections, telling) = state.telling(by, now);
            connections.delete(owner, id, request, telling)
        };
        drop(state);
        if outcome == DeletedConnection::Deleted {
            self.changes.tell(id);
        }
        Ok(outcome)
    }

    fn tell_changes(&self, keeper: Weak<dyn Keeper>) {
        self.changes.register(keeper);
    }
}

impl Connections {
    fn create(&mut self, new: &NewConnection<'_>, now: u64) -> CreatedConnection {
        if let Some(was) = self.by_id.get(new.id) {
            let mine = was.owner == new.owner && was.connector == new.connector;
            return if mine { CreatedConnection::Created } else { CreatedConnection::Foreign };
        }
        if self.deleted.get(place(new.id), now).is_none() {
            let connection = Connection {
                owner: new.owner,
                connector: new.connector.to_owned(),
                status: Status::NeedsReauth,
                reason: Some(new.reason.to_owned()),
                status_at: now,
                was: None,
                grant: 0,
                ver: 0,
                current: Answer::none(),
                alts: Vec::new(),
                base: None,
                refused: Vec::new(),
                next_at: None,
                fence: 0,
                lease: None,
                undecided: None,
                attempts: 0,
                failing_since: None,
                last_error: None,
                authenticated_at: None,
                created_at: now,
                updated_at: now,
                receipts: Receipts::default(),
                committed: Recent::default(),
                failed: None,
                retried: None,
            };
            self.insert(new.id, connection);
        }
        CreatedConnection::Created
    }

    fn show(&self, owner: Digest, id: &ConnectionId) -> Option<ConnectionRow> {
        let connection = self.by_id.get(id).filter(|connection| connection.owner == owner)?;
        Some(ConnectionRow {
            id: id.clone(),
            connector: connection.connector.clone(),
            status: connection.status,
            reason: connection.reason.clone(),
            status_at_ms: Some(connection.status_at),
            grant: connection.grant,
            ver: connection.ver,
            expires_at_ms: connection.current.expires_at,
            refresh_expires_at_ms: connection.current.refresh_expires_at,
            authenticated_at_ms: connection.authenticated_at,
            next_at_ms: connection.next_at,
            attempts: connection.attempts,
            last_error: connection.last_error.clone(),
            created_at_ms: Some(connection.created_at),
            updated_at_ms: Some(connection.updated_at),
        })
    }

    fn list(&self, owner: Digest, cursor: Option<&ConnectionCursor>, limit: u16) -> ConnectionPage {
        let limit = usize::from(limit.clamp(1, 100));
        let Some(index) = self.by_owner.get(&owner) else { return ConnectionPage::default() };
        let entry = cursor.map(|cursor| (cursor.from_ms, cursor.after.clone()));
        let page: Vec<_> = match entry {
            None => index.iter().take(limit).collect(),
            Some(last) if index.contains(&last) => {
                let behind = (Bound::Excluded(last), Bound::Unbounded);
                index.range(behind).take(limit).collect()
            }
            Some((from, _)) => index.iter().skip_while(|(at, _)| *at < from).take(limit).collect(),
        };
        let full = page.last().filter(|_| page.len() == limit);
        let next = full.map(|(at, id)| ConnectionCursor { after: id.clone(), from_ms: *at });
        let connections = page.iter().filter_map(|(_, id)| self.show(owner, id)).collect();
        ConnectionPage { connections, damaged: Vec::new(), next }
    }

    fn revoke(&mut self, revoke: &Revoke<'_>, mut telling: Telling<'_>) -> RevokedConnection {
        let now = telling.now;
        let found = self.by_id.get_mut(revoke.id);
        let Some(connection) = found.filter(|found| found.owner == revoke.owner) else {
            return RevokedConnection::Absent;
        };
        // A new grant since is none of this request's.
        if connection.receipts.revoked.has(revoke.request) {
            return RevokedConnection::Revoked { grant: connection.grant };
        }
        if connection.status == Status::Revoked {
            return RevokedConnection::Already;
        }
        let said = [("from", told(connection.status.as_str())), ("reason", told(revoke.reason))];
        telling.tell(EventKind::TokenDeletedRevoked, revoke.id, connection, &said);
        connection.status = Status::Revoked;
        connection.reason = Some(revoke.reason.to_owned());
        connection.status_at = now;
        connection.updated_at = now;
        connection.grant += 1;
        connection.receipts.revoked = connection.receipts.revoked.with(revoke.request);
        connection.current = Answer::none();
        connection.alts.clear();
        connection.base = None;
        connection.refused.clear();
        connection.next_at = None;
        connection.lease = None;
        connection.undecided = None;
        connection.was = None;
        self.due.place(revoke.id, None);
        self.orphans.place(revoke.id, None);
        RevokedConnection::Revoked { grant: connection.grant }
    }

    fn delete(
        &mut self,
        owner: Digest,
        id: &ConnectionId,
        request: Digest,
        mut telling: Telling<'_>,
    ) -> DeletedConnection {
        let now = telling.now;
        let Some(connection) = self.by_id.get(id) else {
            let mine = self.has_deleted(id, request, now);
            return if mine { DeletedConnection::Deleted } else { DeletedConnection::Absent };
        };
        // What was stored since is none of this request's.
        if connection.receipts.deleted == Some(request) {
            return DeletedConnection::Deleted;
        }
        if connection.owner != owner {
            return DeletedConnection::Absent;
        }
        let said = [("from", told(connection.status.as_str()))];
        telling.tell(EventKind::TokenDeletedAdmin, id, connection, &said);
        self.remove(id, request, now);
        DeletedConnection::Deleted
    }

    /// Whether this request deleted what was under this id, within the grace.
    pub(super) fn has_deleted(&mut self, id: &ConnectionId, request: Digest, now: u64) -> bool {
        let remains = self.deleted.get(place(id), now);
        remains.is_some_and(|remains| remains.receipts.deleted == Some(request))
    }

    /// Removes it from everywhere; what is left are receipts.
    pub(super) fn remove(&mut self, id: &ConnectionId, request: Digest, now: u64) {
        let Some(connection) = self.by_id.remove(id) else { return };
        let mut remains = connection.remains();
        remains.grant += 1;
        remains.receipts.deleted = Some(request);
        self.deleted.insert(place(id), remains, after(now, GRACE), now);
        if let Some(owned) = self.by_owner.get_mut(&connection.owner) {
            owned.remove(&(connection.created_at, id.clone()));
            if owned.is_empty() {
                self.by_owner.remove(&connection.owner);
            }
        }
        self.due.place(id, None);
        self.orphans.place(id, None);
    }
}

impl Answer {
    /// Nothing is held, or not any more.
    fn none() -> Self {
        Self {
            secret: Vec::new(),
            sealed_by: 0,
            refresh_token: None,
            expires_at: None,
            refresh_expires_at: None,
            answered_at: 0,
        }
    }
}
