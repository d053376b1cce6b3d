//! What one look at everything tells. Lists are capped, and say how many there are.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::super::{ConnectorView, EventView, Facts};

/// How many rows a list has at the most.
pub(super) const ROWS: usize = 20;

/// How the whole of it stands: for a page, a screen, or a program. Times are in ms since 1970, by the
/// clock of Redis; texts are printable. Nobody's name is in it, and no digest of one.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// Redis's time when the look began.
    pub now_ms: u64,
    /// How long it took, in ms.
    pub took_ms: u64,
    /// How long Redis takes to answer, there and back, in µs.
    pub ping_us: u64,
    /// What the servers say of themselves.
    pub facts: Facts,
    /// What is to be refreshed, the longest overdue first.
    pub due: Capped<DueLine>,
    /// How many of them are due now.
    pub overdue: u64,
    /// Since when the first of them is.
    pub oldest_due_ms: Option<u64>,
    /// The exchanges that run, those whose lease ends first in front. Of those that were claimed a
    /// moment ago some may be left out, if there are thousands.
    pub leases: Capped<LeaseLine>,
    /// The credentials, and what is wrong with them.
    pub census: Census,
    /// The connectors that are paused, of those that are known.
    pub paused: Vec<ConnectorView>,
    /// What nobody has access to, the oldest first.
    pub orphans: Capped<OrphanLine>,
    /// Who waits, and what else is found by a walk over all keys only; `None` if this user may not
    /// walk.
    pub walk: Option<Walk>,
    /// The sweeps that take turns at the shards.
    pub sweeps: Vec<SweepLine>,
    /// The last events, the newest first.
    pub events: Vec<EventView>,
    /// How many events wait for delivery.
    pub undelivered: u64,
    /// What this user of Redis may not see: names of fields above.
    pub refused: BTreeSet<&'static str>,
}

/// The first rows of a list.
#[derive(Debug, Clone, Serialize)]
pub struct Capped<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// How many there are in all.
    pub count: u64,
}

impl<T> Default for Capped<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), count: 0 }
    }
}

impl<T> Capped<T> {
    /// Adds one, as long as there is room.
    pub(super) fn push(&mut self, row: T) {
        self.count += 1;
        if self.rows.len() < ROWS {
            self.rows.push(row);
        }
    }
}

/// One entry of the index that sweeps go by.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct DueLine {
    /// The connection.
    pub id: String,
    /// Its connector.
    pub connector: String,
    /// Where it stands; `absent` if there is no record.
    pub status: String,
    /// When it is due.
    pub due_at_ms: u64,
    /// Failures in a row.
    pub attempts: u64,
    /// What the last one failed with.
    pub last_error: Option<String>,
}

/// An exchange that runs.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct LeaseLine {
    /// The connection.
    pub id: String,
    /// Its connector.
    pub connector: String,
    /// Which replica has the lease.
    pub by: String,
    /// Until when.
    pub ends_at_ms: u64,
}

/// All credentials, counted: in one look where there are few, else a part with each look.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct Census {
    /// How many connections stand where: `active`, `needs_reauth`, … Those that nobody has signed in
    /// to yet, and those that were revoked, have no credential, and are not here.
    pub connections: BTreeMap<String, u64>,
    /// The same of header credentials.
    pub headers: BTreeMap<String, u64>,
    /// How many active connections failed at their last refresh.
    pub failing: u64,
    /// What is wrong, by status, connector and reason; the most frequent first.
    pub troubles: Vec<Trouble>,
    /// How many credentials have a trouble that is not among these.
    pub others: u64,
    /// How many credentials each key of the ring has sealed, by its id.
    pub keys: BTreeMap<String, u64>,
    /// When the count ended; `None` while the first one goes on.
    pub ended_at_ms: Option<u64>,
}

/// The same thing wrong with some credentials.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Trouble {
    /// `connection` or `headers`.
    pub kind: &'static str,
    /// `needs_reauth`, `exhausted`, `needs_update`; `failing` for what is tried again; `damaged`.
    pub status: String,
    /// The connector, or the client.
    pub name: String,
    /// Why.
    pub reason: String,
    /// With how many.
    pub count: u64,
    /// The last one.
    pub id: String,
    /// Since when that.
    pub since_ms: Option<u64>,
}

/// An orphan.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct OrphanLine {
    /// `connection`, `headers` or `unknown`.
    pub kind: &'static str,
    /// Its id, or what stands there instead.
    pub id: String,
    /// When it became one.
    pub since_ms: u64,
}

/// What a walk over all keys finds: in one look where there are few, else a part with each look.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct Walk {
    /// How many keys there are of each kind, as `pending` or `token`.
    pub kinds: BTreeMap<String, u64>,
    /// Who waits for which pending.
    pub waiters: Capped<WaitLine>,
    /// The turns at polling a provider.
    pub polls: Capped<LeaseLine>,
    /// When the walk ended; `None` while the first one goes on.
    pub ended_at_ms: Option<u64>,
}

/// Somebody who waits.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct WaitLine {
    /// For which pending.
    pub pending: String,
    /// Which replica.
    pub by: String,
    /// Until when that is known.
    pub until_ms: u64,
}

/// A sweep, over all shards.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct SweepLine {
    /// Its name.
    pub name: &'static str,
    /// How many shards were ever swept, of 256.
    pub shards: u64,
    /// How many are being swept now.
    pub running: u64,
    /// When a shard was last done.
    pub last_at_ms: Option<u64>,
    /// When the shard was done that has waited longest.
    pub oldest_at_ms: Option<u64>,
    /// What the last rounds found in the shards, summed.
    pub found: u64,
    /// With how many of it something was done.
    pub done: u64,
}
