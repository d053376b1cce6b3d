//! What the scripts in `lua/connection` must do.

use std::{collections::HashMap, time::Duration};

use super::{after, due::Due, fading::Fading, recent::Recent};
use crate::{
    digest::Digest,
    store::{
        Attempt, Begin, Begun, Claim, Commit, CommitOutcome, ConnectionId, CredentialRow, Fail,
        FailOutcome, FailureKind, GRACE, NewCredential, Renewal, Shard, Status, Stored, millis,
    },
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
    secret: Vec<u8>,
    refresh_token: Option<Digest>,
    /// The refresh token that the secret was exchanged from, and when the provider answered.
    base: Option<Digest>,
    answered_at: u64,
    expires_at: Option<u64>,
    next_at: Option<u64>,
    /// Of the latest attempt; it only grows, over grants too.
    fence: u64,
    lease: Option<Lease>,
    undecided: Option<Undecided>,
    attempts: u32,
    last_error: Option<String>,
    /// The receipts.
    stored: Recent,
    committed: Recent,
    failed: Option<Digest>,
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
            secret: new.secret.to_vec(),
            refresh_token: new.refresh_token,
            base: None,
            answered_at: 0,
            expires_at: new.expires_in.map(|life| after(now, life)),
            next_at,
            fence: was.map_or(0, |was| was.fence),
            lease: None,
            undecided: None,
            attempts: 0,
            last_error: None,
            stored: was.map(|was| was.stored).unwrap_or_default().with(new.request),
            committed: was.map(|was| was.committed).unwrap_or_default(),
            failed: was.and_then(|was| was.failed),
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
            secret: connection.secret.clone(),
            expires_at_ms: connection.expires_at,
            next_at_ms: connection.next_at,
            lease_ends_at_ms: connection.lease.map(|lease| lease.ends_at),
            attempts: connection.attempts,
            last_error: connection.last_error.clone(),
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

    pub(super) fn begin(&mut self, attempt: &Attempt<'_>, now: u64) -> Begin {
        let Some(connection) = self.by_id.get_mut(attempt.id) else { return Begin::Absent };
        if attempt.owner.is_some_and(|owner| owner != connection.owner) {
            return Begin::Absent;
        }
        if connection.status != Status::Active {
            self.due.place(attempt.id, None);
            return Begin::Inactive(connection.status);
        }
        let (Some(refresh_token), Some(next_at)) = (connection.refresh_token, connection.next_at)
        else {
            self.due.place(attempt.id, None);
            return Begin::NotRefreshable;
        };

        let live = connection.lease.filter(|lease| lease.ends_at > now);
        let undecided_since;
        match live {
            // A retry: it has all of this already, and is told what the first call was.
            Some(lease) if lease.holder == attempt.holder => {
                undecided_since = connection
                    .undecided
                    .filter(|undecided| undecided.refresh_token == refresh_token)
                    .filter(|undecided| undecided.first != connection.fence)
                    .map(|undecided| Duration::from_millis(now - undecided.since));
            }
            Some(lease) => {
                return Begin::Held { remaining: Duration::from_millis(lease.ends_at - now) };
            }
            None if next_at > now => {
                self.due.place(attempt.id, Some(next_at));
                let due_in = Duration::from_millis(next_at - now);
                return Begin::NotDue { due_in, attempts: connection.attempts };
            }
            None => {
                let earlier = connection
                    .undecided
                    .filter(|undecided| undecided.refresh_token == refresh_token)
                    .map(|undecided| (undecided.since, undecided.first));
                undecided_since = earlier.map(|(since, _)| Duration::from_millis(now - since));
                let ends_at = after(now, attempt.lease);
                connection.fence += 1;
                connection.lease = Some(Lease { holder: attempt.holder, ends_at });
                let (since, first) = earlier.unwrap_or((now, connection.fence));
                connection.undecided =
                    Some(Undecided { fence: connection.fence, refresh_token, since, first });
                self.due.place(attempt.id, Some(ends_at));
            }
        }
        Begin::Begun(Begun {
            fence: connection.fence,
            grant: connection.grant,
            owner: connection.owner,
            connector: connection.connector.clone(),
            secret: connection.secret.clone(),
            refresh_token,
            attempts: connection.attempts,
            undecided_since,
        })
    }

    pub(super) fn renew(
        &mut self,
        id: &ConnectionId,
        holder: Digest,
        lease: Duration,
        now: u64,
    ) -> Renewal {
        let Some(connection) = self.by_id.get_mut(id) else { return Renewal::Absent };
        match &mut connection.lease {
            // Even if it ran out: nobody else began meanwhile.
            Some(held) if held.holder == holder => {
                held.ends_at = after(now, lease);
                if self.due.contains(id) {
                    self.due.place(id, Some(held.ends_at));
                }
                Renewal::Renewed
            }
            _ => Renewal::Lost,
        }
    }

    pub(super) fn commit(&mut self, commit: &Commit<'_>, now: u64) -> CommitOutcome {
        let Some(connection) = self.by_id.get_mut(commit.id) else { return CommitOutcome::Gone };
        if connection.committed.has(commit.request) {
            return CommitOutcome::AlreadyCommitted { ver: connection.ver };
        }
        if connection.grant != commit.grant {
            return CommitOutcome::Refused;
        }
        // The presented token is the current one: accepted whatever the fence says, because
        // throwing a freshly rotated token away bricks the account. Of two answers to one token
        // the later is current, also where the provider does not rotate.
        let answered_at = now.saturating_sub(millis(commit.answered_ago));
        let answers_the_same = connection.base == Some(commit.presented);
        let stale = answers_the_same && answered_at <= connection.answered_at;
        let foreign = connection.refresh_token != Some(commit.presented) && !answers_the_same;
        if stale || foreign {
            return CommitOutcome::Superseded;
        }

        if connection.undecided.is_some_and(|undecided| undecided.fence == commit.fence) {
            connection.undecided = None;
            connection.lease = None;
        }
        let recovered = connection.status != Status::Active;
        connection.status = Status::Active;
        connection.reason = None;
        connection.ver += 1;
        connection.secret = commit.secret.to_vec();
        connection.refresh_token = commit.refresh_token;
        connection.base = Some(commit.presented);
        connection.answered_at = answered_at;
        connection.expires_at = commit.expires_in.map(|life| after(now, life));
        connection.next_at = commit.next_in.map(|wait| after(now, wait));
        connection.attempts = 0;
        connection.last_error = None;
        connection.committed = connection.committed.with(commit.request);
        self.due.place(commit.id, connection.next_at);
        CommitOutcome::Committed { ver: connection.ver, recovered }
    }

    pub(super) fn fail(&mut self, fail: &Fail<'_>, now: u64) -> FailOutcome {
        let Some(connection) = self.by_id.get_mut(fail.id) else { return FailOutcome::Gone };
        if connection.failed == Some(fail.request) {
            return FailOutcome::Recorded { attempts: connection.attempts };
        }
        let current = connection.grant == fail.grant
            && connection.undecided.is_some_and(|undecided| undecided.fence == fail.fence)
            && connection.refresh_token == Some(fail.presented);
        // An attempt without a lease has been decided before: by its own commit, or by another
        // fail.
        if connection.status != Status::Active || !current || connection.lease.is_none() {
            return FailOutcome::Stale;
        }

        // A lost answer leaves the attempt on record: whoever begins next must know.
        if fail.kind != FailureKind::Undecided {
            connection.undecided = None;
        }
        connection.lease = None;
        connection.attempts += 1;
        connection.failed = Some(fail.request);
        connection.last_error = Some(fail.reason.to_owned());
        if fail.kind == FailureKind::NeedsReauth {
            connection.status = Status::NeedsReauth;
            connection.reason = Some(fail.reason.to_owned());
            connection.next_at = None;
        } else {
            connection.next_at = Some(after(now, fail.backoff));
        }
        self.due.place(fail.id, connection.next_at);
        FailOutcome::Recorded { attempts: connection.attempts }
    }
}
