//! What the scripts in `lua/connection` must do. An attempt's verbs are in [`attempt`].

mod attempt;
mod lineage;

use std::collections::HashMap;

use super::{after, due::Due, fading::Fading, recent::Recent};
use crate::{
    digest::Digest,
    store::{Claim, ConnectionId, CredentialRow, GRACE, NewCredential, Shard, Status, Stored},
};

#[derive(Default)]
pub(super) struct Connections {
    by_id: HashMap<ConnectionId, Connection>,
    pub(super) due: Due,
    /// What a claim got, for its retries.
    claims: Fading<(Shard, Digest), Vec<ConnectionId>>,
}

struct Connection {
    owner: Digest,
    connector: String,
    status: Status,
    reason: Option<String>,
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
    /// The receipts.
    stored: Recent,
    committed: Recent,
    failed: Option<Digest>,
    retried: Option<Digest>,
}

/// What a provider gave.
#[derive(Clone)]
struct Answer {
    secret: Vec<u8>,
    refresh_token: Option<Digest>,
    expires_at: Option<u64>,
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
    pub(super) fn store(&mut self, new: &NewCredential<'_>, now: u64) -> Stored {
        let was = self.by_id.get(new.id);
        if let Some(was) = was {
            if was.owner != new.owner || was.connector != new.connector {
                return Stored::Foreign;
            }
            if was.stored.has(new.request) {
                return Stored::Stored { grant: was.grant };
            }
        }
        let grant = was.map_or(0, |was| was.grant) + 1;
        let next_at = new.next_in.map(|wait| after(now, wait));
        let connection = Connection {
            owner: new.owner,
            connector: new.connector.to_owned(),
            status: Status::Active,
            reason: None,
            grant,
            ver: was.map_or(0, |was| was.ver) + 1,
            current: Answer {
                secret: new.secret.to_vec(),
                refresh_token: new.refresh_token,
                expires_at: new.expires_in.map(|life| after(now, life)),
                answered_at: 0,
            },
            alts: Vec::new(),
            base: None,
            refused: Vec::new(),
            next_at,
            fence: was.map_or(0, |was| was.fence),
            lease: None,
            undecided: None,
            attempts: 0,
            failing_since: None,
            last_error: None,
            stored: was.map(|was| was.stored).unwrap_or_default().with(new.request),
            committed: was.map(|was| was.committed).unwrap_or_default(),
            failed: was.and_then(|was| was.failed),
            retried: was.and_then(|was| was.retried),
        };
        self.by_id.insert(new.id.clone(), connection);
        self.due.place(new.id, next_at);
        Stored::Stored { grant }
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

    pub(super) fn give_back(&mut self, id: &ConnectionId, now: u64) {
        let Some(connection) = self.by_id.get(id) else { return };
        let leased = connection.lease.is_some_and(|lease| lease.ends_at > now);
        if connection.next_at.is_some() && self.due.contains(id) && !leased {
            self.due.place(id, connection.next_at);
        }
    }
}
