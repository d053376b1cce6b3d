//! The beginning of an attempt to refresh; or the end of what can be refreshed no more.

use std::time::Duration;

use super::{Connection, Connections, Lease, Telling, Undecided, after, told};
use crate::store::{Attempt, Begin, Begun, ConnectionId, EventKind, Status};

impl Connections {
    pub(in crate::store::memory) fn begin(
        &mut self,
        attempt: &Attempt<'_>,
        mut telling: Telling<'_>,
    ) -> Begin {
        let now = telling.now;
        let Some(connection) = self.by_id.get_mut(attempt.id) else { return Begin::Absent };
        if attempt.owner.is_some_and(|owner| owner != connection.owner) {
            return Begin::Absent;
        }
        if connection.status != Status::Active {
            self.due.place(attempt.id, None);
            return Begin::Inactive(connection.status);
        }
        let expires_at = connection.current.expires_at;
        let lives = expires_at.is_some_and(|at| at > now);
        if connection.current.refresh_token.is_none() && expires_at.is_some() && !lives {
            let skipped = EventKind::RefreshSkippedNoToken;
            connection.skip("no_refresh_token", skipped, attempt.id, &mut telling);
            self.due.place(attempt.id, None);
            return Begin::Inactive(connection.status);
        }
        let (Some(refresh_token), Some(next_at)) =
            (connection.current.refresh_token, connection.next_at)
        else {
            // Without a refresh token it is looked at when its access token ends.
            self.due.place(attempt.id, connection.next_at);
            return Begin::NotRefreshable;
        };

        let live = connection.lease.filter(|lease| lease.ends_at > now);
        let over = connection.deadline(attempt.lifetime).is_some_and(|deadline| deadline <= now);
        let mut next_at = next_at;
        if live.is_none() && next_at <= now && over {
            let Some(expires_at) = expires_at.filter(|_| lives) else {
                let skipped = EventKind::RefreshSkippedExpired;
                connection.skip("refresh_expired", skipped, attempt.id, &mut telling);
                self.due.place(attempt.id, None);
                return Begin::Inactive(connection.status);
            };
            // What lives is served to its end.
            next_at = expires_at;
            connection.next_at = Some(next_at);
        }
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
                if let Some(ago) = undecided_since
                    && (attempt.forgiven..attempt.settled).contains(&ago)
                {
                    let remaining = attempt.settled.saturating_sub(ago);
                    self.due.place(attempt.id, Some(after(now, remaining)));
                    return Begin::Undecided { remaining };
                }
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
            secret: connection.current.secret.clone(),
            refresh_token,
            attempts: connection.attempts,
            undecided_since,
            refresh_expires_in: connection
                .current
                .refresh_expires_at
                .and_then(|at| at.checked_sub(now))
                .map(Duration::from_millis),
            signed_in_for: connection
                .authenticated_at
                .map(|at| Duration::from_millis(now.saturating_sub(at))),
        })
    }
}

impl Connection {
    /// When its grant is refreshed no more, as far as is known.
    fn deadline(&self, lifetime: Option<Duration>) -> Option<u64> {
        let signed_in = lifetime.zip(self.authenticated_at).map(|(most, at)| after(at, most));
        self.current.refresh_expires_at.into_iter().chain(signed_in).min()
    }

    /// Only its owner can help, without asking the provider.
    fn skip(
        &mut self,
        reason: &str,
        skipped: EventKind,
        id: &ConnectionId,
        telling: &mut Telling<'_>,
    ) {
        self.end(Status::NeedsReauth, reason, telling.now);
        self.updated_at = telling.now;
        let before = self.current.expires_at.map(|at| at.to_string());
        telling.tell(skipped, id, self, &[("before", before)]);
        telling.tell(EventKind::NeedsReauth, id, self, &[("reason", told(reason))]);
    }
}
