//! Access that is withdrawn and given back.

use std::time::Duration;

use async_trait::async_trait;

use super::{
    super::{MemoryStore, State},
    Connection, Connections, Telling, Was, told,
};
use crate::{
    digest::Digest,
    store::{
        AccessStore, Actor, By, ConnectionId, EventKind, Orphan, OrphanPage, ReapConnection,
        Reaped, RestoredConnection, Shard, Status, StoreError, WithdrawConnection,
        WithdrawnConnection, retention_ms,
    },
};

/// Who decides about access.
const OPERATOR: By<'static> = By { actor: Actor::Operator, idp_host: "" };

#[async_trait]
impl AccessStore for MemoryStore {
    async fn withdraw_connection(
        &self,
        withdraw: WithdrawConnection<'_>,
    ) -> Result<WithdrawnConnection, StoreError> {
        let (mut state, now) = self.enter();
        let outcome = {
            let (connections, telling) = state.telling(OPERATOR, now);
            connections.withdraw(&withdraw, telling)
        };
        drop(state);
        if outcome == WithdrawnConnection::Withdrawn {
            self.changes.tell(withdraw.id);
        }
        Ok(outcome)
    }

    async fn restore_connection(
        &self,
        owner: Digest,
        id: &ConnectionId,
        request: Digest,
    ) -> Result<RestoredConnection, StoreError> {
        let (mut state, now) = self.enter();
        let (connections, telling) = state.telling(OPERATOR, now);
        Ok(connections.restore(owner, id, request, telling))
    }

    async fn reap_connection(&self, reap: ReapConnection<'_>) -> Result<Reaped, StoreError> {
        let (mut state, now) = self.enter();
        let (connections, telling) = state.telling(By { actor: Actor::Sweep, idp_host: "" }, now);
        Ok(connections.reap(&reap, telling))
    }

    async fn list_orphans(&self, page: OrphanPage) -> Result<Vec<Orphan>, StoreError> {
        let (state, now) = self.enter();
        let orphans = state.orphans_until(page.shard, page.retention, now);
        let limit = page.limit.clamp(1, 100).into();
        Ok(orphans.into_iter().skip(page.skip).take(limit).collect())
    }

    async fn count_orphans(&self, shard: Shard, retention: Duration) -> Result<u64, StoreError> {
        let (state, now) = self.enter();
        Ok(state.orphans_until(shard, retention, now).len() as u64)
    }
}

impl Connections {
    fn withdraw(
        &mut self,
        withdraw: &WithdrawConnection<'_>,
        mut telling: Telling<'_>,
    ) -> WithdrawnConnection {
        let now = telling.now;
        let found = self.by_id.get_mut(withdraw.id);
        let Some(connection) = found.filter(|found| found.owner == withdraw.owner) else {
            return WithdrawnConnection::Absent;
        };
        // What came since is none of this request's.
        if connection.receipts.withdrawn.has(withdraw.request) {
            return WithdrawnConnection::Withdrawn;
        }
        match connection.status {
            Status::Revoked => return WithdrawnConnection::Revoked,
            Status::Orphaned => return WithdrawnConnection::Already,
            Status::Active | Status::NeedsReauth | Status::Exhausted => {}
        }
        let said = [("from", told(connection.status.as_str())), ("reason", told(withdraw.reason))];
        telling.tell(EventKind::Orphaned, withdraw.id, connection, &said);
        let reason = connection.reason.replace(withdraw.reason.to_owned());
        connection.was = Some(Was { status: connection.status, reason });
        connection.status = Status::Orphaned;
        connection.status_at = now;
        connection.updated_at = now;
        connection.receipts.withdrawn = connection.receipts.withdrawn.with(withdraw.request);
        self.due.place(withdraw.id, None);
        self.orphans.place(withdraw.id, Some(now));
        WithdrawnConnection::Withdrawn
    }

    fn restore(
        &mut self,
        owner: Digest,
        id: &ConnectionId,
        request: Digest,
        mut telling: Telling<'_>,
    ) -> RestoredConnection {
        let now = telling.now;
        let found = self.by_id.get_mut(id);
        let Some(connection) = found.filter(|found| found.owner == owner) else {
            return RestoredConnection::Absent;
        };
        // What came since is none of this request's.
        if connection.receipts.restored.has(request) {
            return RestoredConnection::Restored;
        }
        let Some(was) = connection.was.take() else { return RestoredConnection::NotOrphaned };
        let said = [("to", told(was.status.as_str()))];
        telling.tell(EventKind::Reactivated, id, connection, &said);
        connection.status = was.status;
        connection.reason = was.reason;
        connection.status_at = now;
        connection.updated_at = now;
        connection.receipts.restored = connection.receipts.restored.with(request);
        self.orphans.place(id, None);
        if connection.status == Status::Active {
            self.due.place(id, connection.next_at);
        }
        RestoredConnection::Restored
    }

    fn reap(&mut self, reap: &ReapConnection<'_>, mut telling: Telling<'_>) -> Reaped {
        let now = telling.now;
        let Some(connection) = self.by_id.get(reap.id) else {
            let mine = self.has_deleted(reap.id, reap.request, now);
            return if mine { Reaped::Reaped } else { Reaped::Absent };
        };
        // What was stored since is none of this request's.
        if connection.receipts.deleted == Some(reap.request) {
            return Reaped::Reaped;
        }
        if connection.owner != reap.owner || connection.status != Status::Orphaned {
            return Reaped::NotOrphaned;
        }
        let (age, retention) = (now - connection.status_at, retention_ms(reap.retention));
        if age < retention {
            return Reaped::TooYoung { remaining: Duration::from_millis(retention - age) };
        }
        let said = [("since", told(connection.status_at))];
        telling.tell(EventKind::Reaped, reap.id, connection, &said);
        self.remove(reap.id, reap.request, now);
        Reaped::Reaped
    }

    fn orphans_until(&self, shard: Shard, until: u64) -> impl Iterator<Item = (u64, Orphan)> {
        self.orphans.until(shard, until).map(|id| {
            let found = self.by_id.get(id);
            let owner = found.map(|connection| connection.owner);
            let since = found.map_or(0, |connection| connection.status_at);
            (since, Orphan::Connection { id: id.clone(), owner })
        })
    }
}

impl State {
    /// Whatever they are, the oldest first.
    fn orphans_until(&self, shard: Shard, retention: Duration, now: u64) -> Vec<Orphan> {
        let Some(until) = now.checked_sub(retention_ms(retention)) else { return Vec::new() };
        let mut all: Vec<_> = self.connections.orphans_until(shard, until).collect();
        all.extend(self.headers.orphans_until(shard, until));
        all.sort_by_key(|orphan| orphan.0);
        all.into_iter().map(|orphan| orphan.1).collect()
    }
}

impl Connection {
    /// Where it stands, or would if access to it were not withdrawn: what an answer is judged by.
    pub(super) fn standing(&self) -> Status {
        self.was.as_ref().map_or(self.status, |was| was.status)
    }
}
