//! What the scripts in `lua/connection` must do. An attempt's verbs are in [`begin`]
//! and [`attempt`].

mod access;
mod attempt;
mod begin;
mod lifecycle;
mod lineage;
mod sealed;

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use super::{
    after,
    due::Due,
    fading::Fading,
    recent::Recent,
    telling::{About, Telling, told},
};
use crate::{
    digest::Digest,
    store::{
        Claim, ConnectionId, CredentialRow, EventKind, GRACE, NewCredential, Shard, Status, Stored,
        Subject,
    },
};

#[derive(Default)]
pub(super) struct Connections {
    by_id: HashMap<ConnectionId, Connection>,
    /// By creation.
    by_owner: HashMap<Digest, BTreeSet<(u64, ConnectionId)>>,
    /// What is left of those that were deleted.
    deleted: Fading<(Shard, Digest), Remains>,
    pub(super) due: Due,
    /// By when they became orphans.
    orphans: Due,
    /// What a claim got, for its retries.
    claims: Fading<(Shard, Digest), Vec<ConnectionId>>,
}

struct Connection {
    owner: Digest,
    connector: String,
    status: Status,
    reason: Option<String>,
    status_at: u64,
    /// What it was before it became an orphan, while it is one.
    was: Option<Was>,
    grant: u64,
    ver: u64,
    current: Answer,
    /// Its siblings, the latest first: at most two.
    alts: Vec<Answer>,
    /// The refresh token that these were exchanged from.
    base: Option<Digest>,
    /// The refresh tokens that were refused since the last good refresh: at most three.
    refused: Vec<Digest>,
    next_at: Option<u64>,
    /// Of the latest attempt; it only grows, over grants too.
    fence: u64,
    lease: Option<Lease>,
    undecided: Option<Undecided>,
    attempts: u32,
    /// When the first of these failed.
    failing_since: Option<u64>,
    last_error: Option<String>,
    authenticated_at: Option<u64>,
    created_at: u64,
    updated_at: u64,
    receipts: Receipts,
    committed: Recent,
    failed: Option<Digest>,
    retried: Option<Digest>,
}

/// What is given back with the access.
struct Was {
    status: Status,
    reason: Option<String>,
}

/// Those that must outlive a connection.
#[derive(Clone, Copy, Default)]
struct Receipts {
    stored: Recent,
    revoked: Recent,
    withdrawn: Recent,
    restored: Recent,
    deleted: Option<Digest>,
}

/// What goes on with the next grant, also after a deletion.
#[derive(Clone, Copy, Default)]
struct Remains {
    grant: u64,
    fence: u64,
    receipts: Receipts,
}

/// What a provider gave.
#[derive(Clone)]
struct Answer {
    secret: Vec<u8>,
    sealed_by: u32,
    refresh_token: Option<Digest>,
    expires_at: Option<u64>,
    refresh_expires_at: Option<u64>,
    /// When the exchange began that brought it; zero if it was not a refresh.
    answered_at: u64,
}

#[derive(Clone, Copy)]
struct Lease {
    holder: Digest,
    ends_at: u64,
}

/// The write-ahead of an attempt.
#[derive(Clone, Copy)]
struct Undecided {
    fence: u64,
    refresh_token: Digest,
    /// The first presentation of this refresh token counts: a provider's grace begins there.
    since: u64,
    /// The fence of that first presentation.
    first: u64,
}

impl Connections {
    pub(super) fn store(&mut self, new: &NewCredential<'_>, mut telling: Telling<'_>) -> Stored {
        let now = telling.now;
        let was = self.by_id.get(new.id);
        if was.is_some_and(|was| was.owner != new.owner || was.connector != new.connector) {
            return Stored::Foreign;
        }
        let remains = match was {
            Some(was) => was.remains(),
            None => self.deleted.get(place(new.id), now).copied().unwrap_or_default(),
        };
        if remains.receipts.stored.has(new.request) {
            return Stored::Stored { grant: remains.grant };
        }
        if let Some(known_end) = new.known_end {
            let Some(was) = was else { return Stored::Ended { status: None } };
            let is_ended = matches!(was.status, Status::Revoked | Status::Orphaned);
            if is_ended && was.status_at != known_end {
                return Stored::Ended { status: Some(was.status) };
            }
        }
        let mut receipts = remains.receipts;
        receipts.stored = receipts.stored.with(new.request);
        let grant = remains.grant + 1;
        let created_at = was.map_or(now, |was| was.created_at);
        let next_at = new.next_in.map(|wait| after(now, wait));
        // What never had a credential was not lost before.
        let lost = was
            .filter(|was| !matches!(was.status, Status::Active | Status::Revoked))
            .filter(|was| was.grant > 0)
            .map(|was| (was.status, was.reason.clone()));
        let connection = Connection {
            owner: new.owner,
            connector: new.connector.to_owned(),
            status: Status::Active,
            reason: None,
            status_at: now,
            was: None,
            grant,
            ver: was.map_or(0, |was| was.ver) + 1,
            current: Answer {
                secret: new.secret.to_vec(),
                sealed_by: new.sealed_by,
                refresh_token: new.refresh_token,
                expires_at: new.expires_in.map(|life| after(now, life)),
                refresh_expires_at: new.refresh_expires_in.map(|life| after(now, life)),
                answered_at: 0,
            },
            alts: Vec::new(),
            base: None,
            refused: Vec::new(),
            next_at,
            fence: remains.fence,
            lease: None,
            undecided: None,
            attempts: 0,
            failing_since: None,
            last_error: None,
            authenticated_at: Some(now),
            created_at,
            updated_at: now,
            receipts,
            committed: was.map(|was| was.committed).unwrap_or_default(),
            failed: was.and_then(|was| was.failed),
            retried: was.and_then(|was| was.retried),
        };
        let current = &connection.current;
        let said = [
            ("grant", told(grant)),
            ("ver", told(connection.ver)),
            ("after", current.expires_at.map(|at| at.to_string())),
            ("refresh_until", current.refresh_expires_at.map(|at| at.to_string())),
        ];
        telling.tell(EventKind::ConnectCompleted, new.id, &connection, &said);
        if let Some((from, reason)) = lost {
            let said = [("from", told(from.as_str())), ("reason", reason)];
            telling.tell(EventKind::Recovered, new.id, &connection, &said);
        }
        self.deleted.end_at(place(new.id), now);
        self.insert(new.id, connection);
        self.due.place(new.id, next_at);
        self.orphans.place(new.id, None);
        Stored::Stored { grant }
    }

    /// Also of one that was deleted within the grace.
    pub(super) fn has_stored(&mut self, id: &ConnectionId, request: Digest, now: u64) -> bool {
        let remains = match self.by_id.get(id) {
            Some(connection) => Some(connection.remains()),
            None => self.deleted.get(place(id), now).copied(),
        };
        remains.is_some_and(|remains| remains.receipts.stored.has(request))
    }

    pub(super) fn read(&self, id: &ConnectionId) -> Option<CredentialRow> {
        self.by_id.get(id).map(|connection| CredentialRow {
            owner: connection.owner,
            connector: connection.connector.clone(),
            status: connection.status,
            reason: connection.reason.clone(),
            grant: connection.grant,
            ver: connection.ver,
            secret: connection.current.secret.clone(),
            expires_at_ms: connection.current.expires_at,
            next_at_ms: connection.next_at,
            lease_ends_at_ms: connection.lease.map(|lease| lease.ends_at),
            attempts: connection.attempts,
            last_error: connection.last_error.clone(),
            alts: connection.alts.len(),
        })
    }

    pub(super) fn claim(&mut self, claim: &Claim, now: u64) -> Vec<ConnectionId> {
        let receipt = (claim.shard, claim.request);
        if let Some(before) = self.claims.get(receipt, now) {
            return before.clone();
        }
        let limit = claim.limit.clamp(1, 100).into();
        let ids: Vec<_> = self.due.until(claim.shard, now).take(limit).cloned().collect();
        for id in &ids {
            self.due.place(id, Some(after(now, claim.hide)));
        }
        if !ids.is_empty() {
            self.claims.insert(receipt, ids.clone(), after(now, GRACE), now);
        }
        ids
    }

    pub(super) fn give_back(&mut self, id: &ConnectionId, wait: Duration, now: u64) {
        let Some(connection) = self.by_id.get(id) else { return };
        let leased = connection.lease.is_some_and(|lease| lease.ends_at > now);
        if connection.next_at.is_some() && self.due.contains(id) && !leased {
            let soonest = if wait.is_zero() { 0 } else { after(now, wait) };
            self.due.place(id, connection.next_at.map(|next| next.max(soonest)));
        }
    }

    fn insert(&mut self, id: &ConnectionId, connection: Connection) {
        let owned = self.by_owner.entry(connection.owner).or_default();
        owned.insert((connection.created_at, id.clone()));
        self.by_id.insert(id.clone(), connection);
    }
}

impl Connection {
    fn remains(&self) -> Remains {
        Remains { grant: self.grant, fence: self.fence, receipts: self.receipts }
    }
}

/// An id in a form that is cheap to copy.
fn place(id: &ConnectionId) -> (Shard, Digest) {
    (id.shard(), Digest::from_hex(&id.as_str()[2..]).unwrap_or(Digest::NONE))
}

impl Telling<'_> {
    fn tell(
        &mut self,
        kind: EventKind,
        id: &ConnectionId,
        of: &Connection,
        said: &[(&str, Option<String>)],
    ) {
        let (subject, shard, name) = (Subject::Connection, id.shard(), &of.connector);
        self.note(kind, &About { subject, id: id.as_str(), shard, name, owner: of.owner }, said);
    }
}
