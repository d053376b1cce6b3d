//! One attempt to refresh, once it has begun.

use std::time::Duration;

use super::{Answer, Connection, Connections, Telling, Was, after, lineage::Lineage, told};
use crate::{
    digest::Digest,
    store::{
        Commit, CommitOutcome, ConnectionId, EventKind, Fail, FailOutcome, FailureKind, Renewal,
        Retry, Status, millis,
    },
};

impl Connections {
    pub(in crate::store::memory) fn renew(
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

    pub(in crate::store::memory) fn commit(
        &mut self,
        commit: &Commit<'_>,
        mut telling: Telling<'_>,
    ) -> CommitOutcome {
        let now = telling.now;
        let Some(connection) = self.by_id.get_mut(commit.id) else { return CommitOutcome::Gone };
        if connection.committed.has(commit.request) {
            return CommitOutcome::AlreadyCommitted { ver: connection.ver };
        }
        if connection.grant != commit.grant {
            return CommitOutcome::Refused;
        }
        let answer = Answer {
            secret: commit.secret.to_vec(),
            sealed_by: commit.sealed_by,
            refresh_token: commit.refresh_token,
            expires_at: commit.expires_in.map(|life| after(now, life)),
            refresh_expires_at: commit.refresh_expires_in.map(|life| after(now, life)),
            answered_at: now.saturating_sub(millis(commit.answered_ago)),
        };
        let orphan = connection.status == Status::Orphaned;
        let active = connection.standing() == Status::Active;
        let (from, lost) = (connection.status, connection.reason.clone());
        let before = connection.current.expires_at;
        let lineage = connection.judge(commit.presented, &answer);
        let place = match lineage {
            Lineage::Proven | Lineage::SiblingOfTheDead => {
                connection.alts.clear();
                connection.current = answer;
                0
            }
            Lineage::Sibling => match connection.keep(answer) {
                Some(place) => place,
                None => return CommitOutcome::Superseded,
            },
            Lineage::Foreign => return CommitOutcome::Superseded,
        };

        let decided = connection.undecided.is_some_and(|undecided| undecided.fence == commit.fence);
        if decided {
            connection.undecided = None;
            connection.lease = None;
        }
        connection.committed = connection.committed.with(commit.request);
        connection.updated_at = now;
        if place > 0 {
            if decided && connection.next_at.is_some() && !orphan {
                self.due.place(commit.id, connection.next_at);
            }
            return CommitOutcome::Alt;
        }
        // An orphan stays one; what it will be when it is given back is as good as its credential.
        if orphan {
            connection.was = Some(Was { status: Status::Active, reason: None });
        } else {
            if !active {
                connection.status_at = now;
            }
            connection.status = Status::Active;
            connection.reason = None;
        }
        connection.ver += 1;
        connection.base = Some(commit.presented);
        connection.next_at = match lineage {
            // Proven by using it, at once.
            Lineage::SiblingOfTheDead => Some(now),
            _ => commit.next_in.map(|wait| after(now, wait)),
        };
        if matches!(lineage, Lineage::Proven) {
            connection.refused.clear();
        }
        connection.attempts = 0;
        connection.failing_since = None;
        connection.last_error = None;
        let rotated = commit.refresh_token.is_some_and(|token| token != commit.presented);
        let said = [
            ("ver", told(connection.ver)),
            ("rotated", told(if rotated { "yes" } else { "no" })),
            ("before", before.map(|at| at.to_string())),
            ("after", connection.current.expires_at.map(|at| at.to_string())),
            ("duration_ms", told(millis(commit.answered_ago))),
        ];
        telling.tell(EventKind::RefreshSucceeded, commit.id, connection, &said);
        if orphan {
            return CommitOutcome::Withdrawn { ver: connection.ver };
        }
        self.due.place(commit.id, connection.next_at);
        if !active {
            let said = [("from", told(from.as_str())), ("reason", lost)];
            telling.tell(EventKind::Recovered, commit.id, connection, &said);
        }
        CommitOutcome::Committed { ver: connection.ver, recovered: !active }
    }

    pub(in crate::store::memory) fn fail(
        &mut self,
        fail: &Fail<'_>,
        mut telling: Telling<'_>,
    ) -> FailOutcome {
        let now = telling.now;
        let Some(connection) = self.by_id.get_mut(fail.id) else { return FailOutcome::Gone };
        let active = connection.status == Status::Active;
        let dead = fail.kind == FailureKind::NeedsReauth;
        if connection.failed == Some(fail.request) {
            let attempts = connection.attempts;
            return match connection.status {
                Status::Active if dead => FailOutcome::Switched { attempts },
                Status::Exhausted => FailOutcome::Exhausted { attempts },
                _ => FailOutcome::Recorded { attempts },
            };
        }
        let current = connection.grant == fail.grant
            && connection.undecided.is_some_and(|undecided| undecided.fence == fail.fence)
            && connection.current.refresh_token == Some(fail.presented);
        // An attempt without a lease has been decided before: by its own commit, or by another
        // fail.
        if !active || !current || connection.lease.is_none() {
            return FailOutcome::Stale;
        }

        // A lost answer leaves the attempt on record: whoever begins next must know.
        let host = fail.kind == FailureKind::Host;
        if fail.kind != FailureKind::Undecided {
            // What was undecided before the host was refused still is.
            connection.undecided =
                connection.undecided.filter(|undecided| host && undecided.first != fail.fence);
        }
        connection.lease = None;
        connection.failed = Some(fail.request);
        connection.updated_at = now;
        if host {
            self.due.place(fail.id, Some(after(now, fail.backoff)));
            return FailOutcome::Recorded { attempts: connection.attempts };
        }
        connection.attempts += 1;
        connection.last_error = Some(fail.reason.to_owned());
        let failing_since = *connection.failing_since.get_or_insert(now);
        let attempts = connection.attempts;
        let outcome = if dead {
            connection.refused.insert(0, fail.presented);
            connection.refused.truncate(3);
            if connection.alts.is_empty() {
                connection.end(Status::NeedsReauth, fail.reason, now);
                FailOutcome::Recorded { attempts }
            } else {
                connection.current = connection.alts.remove(0);
                connection.ver += 1;
                connection.next_at = Some(now);
                FailOutcome::Switched { attempts }
            }
        } else if fail.horizon.is_some_and(|most| now - failing_since >= millis(most)) {
            connection.end(Status::Exhausted, fail.reason, now);
            FailOutcome::Exhausted { attempts }
        } else {
            connection.next_at = Some(after(now, fail.backoff));
            FailOutcome::Recorded { attempts }
        };
        self.due.place(fail.id, connection.next_at);
        let switched = matches!(outcome, FailOutcome::Switched { .. });
        let why = told(fail.reason);
        let (kind, ended) = if dead {
            (EventKind::RefreshFailedRevoked, [("reason", why), ("last_error", None)])
        } else {
            let given_up = [("reason", told("exhausted")), ("last_error", why)];
            (EventKind::RefreshFailedTransient, given_up)
        };
        let said = [
            ("attempts", told(attempts)),
            ("class", told(fail.kind.as_str())),
            ("sibling", switched.then(|| "yes".to_owned())),
            ("reason", told(fail.reason)),
        ];
        telling.tell(kind, fail.id, connection, &said);
        if connection.status != Status::Active {
            telling.tell(EventKind::NeedsReauth, fail.id, connection, &ended);
        }
        outcome
    }

    pub(in crate::store::memory) fn retry(
        &mut self,
        id: &ConnectionId,
        request: Digest,
        mut telling: Telling<'_>,
    ) -> Retry {
        let now = telling.now;
        let Some(connection) = self.by_id.get_mut(id) else { return Retry::Absent };
        if connection.retried == Some(request) {
            return Retry::Retried;
        }
        match connection.status {
            Status::Active if connection.attempts == 0 => return Retry::NotFailing,
            Status::Active | Status::Exhausted => {}
            status => return Retry::Inactive(status),
        }
        if connection.lease.is_none_or(|lease| lease.ends_at <= now) {
            self.due.place(id, Some(now));
        }
        if connection.status == Status::Exhausted {
            let said = [("from", told("exhausted")), ("reason", told("retried"))];
            telling.tell(EventKind::Recovered, id, connection, &said);
        }
        connection.status = Status::Active;
        connection.status_at = now;
        connection.updated_at = now;
        connection.reason = None;
        connection.attempts = 0;
        connection.failing_since = None;
        connection.next_at = Some(now);
        connection.retried = Some(request);
        Retry::Retried
    }
}

impl Connection {
    /// It is not refreshed any more.
    pub(super) fn end(&mut self, status: Status, reason: &str, now: u64) {
        self.status = status;
        self.status_at = now;
        self.reason = Some(reason.to_owned());
        self.next_at = None;
    }
}
