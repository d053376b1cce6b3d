//! One attempt to refresh: begin, renew, then commit or fail.
//!
//! What judges what: the *lease* only saves provider calls. A commit is judged by the `grant` and
//! by lineage (which refresh token was presented), a failure by its `fence`.

use std::{fmt, time::Duration};

use super::{By, ConnectionId, Status};
use crate::digest::Digest;

/// An exchange that wants to start.
#[derive(Debug, Clone)]
pub struct Attempt<'a> {
    /// The connection.
    pub id: &'a ConnectionId,
    /// The digest of the request id: it becomes the lease's holder.
    pub holder: Digest,
    /// Only if this owner's; `None` for the worker, which serves them all.
    pub owner: Option<Digest>,
    /// How long the lease lasts unless renewed.
    pub lease: Duration,
    /// Which replica asks, for people: `[a-z0-9-]`, at most 32 characters.
    pub instance: &'a str,
    /// For so long after its first presentation an undecided refresh token may be presented again
    /// at once: the provider's grace. Zero if there is none.
    pub forgiven: Duration,
    /// So long after it no journal can decide the first presentation any more: past this, one more
    /// try is all that is left. Not longer than `forgiven`, and nobody waits for a journal.
    pub settled: Duration,
    /// For so long after its sign-in the provider refreshes a grant; `None` for no end.
    pub lifetime: Option<Duration>,
    /// Who wants it.
    pub by: By<'a>,
}

/// What became of a begin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Begin {
    /// The lease is yours: exchange, then commit or fail.
    Begun(Begun),
    /// Another holder's lease is live for so much longer.
    Held {
        /// How long.
        remaining: Duration,
    },
    /// An earlier attempt with this refresh token is undecided, its grace is over, and a journal
    /// may still decide it for so much longer.
    Undecided {
        /// How long.
        remaining: Duration,
    },
    /// It is not due: somebody refreshed it, or it backs off after a failure.
    NotDue {
        /// When it is.
        due_in: Duration,
        /// Failed attempts in a row; zero means that it is fresh.
        attempts: u32,
    },
    /// It has no refresh token.
    NotRefreshable,
    /// It is not active; perhaps only since this call found that its access token is dead, and that it
    /// has no refresh token, or one that is past its end. Then it needs its owner.
    Inactive(Status),
    /// There is no such connection, or it is another owner's.
    Absent,
}

impl Begin {
    /// The outcome's word, for metrics and logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Begun(_) => "begun",
            Self::Held { .. } => "held",
            Self::Undecided { .. } => "undecided",
            Self::NotDue { .. } => "not_due",
            Self::NotRefreshable => "not_refreshable",
            Self::Inactive(_) => "inactive",
            Self::Absent => "absent",
        }
    }
}

/// An exchange that may run, with what it needs.
#[derive(Clone, PartialEq, Eq)]
pub struct Begun {
    /// Tells this attempt from all others of this connection.
    pub fence: u64,
    /// The grant that the commit must find again.
    pub grant: u64,
    /// The digest of the owner.
    pub owner: Digest,
    /// The slug of the connector.
    pub connector: String,
    /// The sealed secret with the refresh token to present.
    pub secret: Vec<u8>,
    /// The digest of that refresh token.
    pub refresh_token: Digest,
    /// Failed attempts in a row, before this one.
    pub attempts: u32,
    /// Since when an earlier attempt with the same refresh token is undecided: its holder died,
    /// or lost the answer. The replay policy says what may be done.
    pub undecided_since: Option<Duration>,
    /// How long the refresh token still lives; `None` if undisclosed.
    pub refresh_expires_in: Option<Duration>,
    /// How long ago the grant was signed in to; `None` if that is not on record.
    pub signed_in_for: Option<Duration>,
}

impl fmt::Debug for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Begun")
            .field("fence", &self.fence)
            .field("grant", &self.grant)
            .field("connector", &self.connector)
            .field("undecided_since", &self.undecided_since)
            .finish_non_exhaustive()
    }
}

/// What became of a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// The lease lasts on.
    Renewed,
    /// The lease is another holder's, or nobody's: stop if you can.
    Lost,
    /// The connection is gone.
    Absent,
}

/// What the provider answered, to be stored.
#[derive(Clone)]
pub struct Commit<'a> {
    /// The connection.
    pub id: &'a ConnectionId,
    /// The digest of the commit's request id.
    pub request: Digest,
    /// The fence of the attempt: only its own lease and attempt are cleared.
    pub fence: u64,
    /// The grant that the attempt began under.
    pub grant: u64,
    /// The digest of the refresh token that was presented.
    pub presented: Digest,
    /// The new sealed secret.
    pub secret: &'a [u8],
    /// The number of the key that sealed it.
    pub sealed_by: u32,
    /// The digest of the refresh token in it.
    pub refresh_token: Option<Digest>,
    /// How long the access token still lives; `None` if undisclosed.
    pub expires_in: Option<Duration>,
    /// How long the refresh token still lives; `None` if undisclosed.
    pub refresh_expires_in: Option<Duration>,
    /// When it is to be refreshed next; `None` for never.
    pub next_in: Option<Duration>,
    /// How long ago the exchange began that brought the answer: of two answers to one refresh
    /// token that of the later exchange is current. Its beginning, because a holder that was
    /// paused cannot tell when the answer came.
    pub answered_ago: Duration,
    /// Who refreshed it.
    pub by: By<'a>,
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitOutcome {
    /// Stored. Accepted even under a stale fence: the token that was presented was the current
    /// one, and dropping its successor would brick the account.
    Committed {
        /// The secret's number.
        ver: u64,
        /// Whether this brought a connection back that needed re-authorisation.
        recovered: bool,
    },
    /// Stored, as the only refresh token that lives; but access to the connection was withdrawn
    /// meanwhile, and nobody may have the answer.
    Withdrawn {
        /// The secret's number.
        ver: u64,
    },
    /// This very commit was stored before.
    AlreadyCommitted {
        /// The number of the secret that is current now.
        ver: u64,
    },
    /// A sibling is current, another answer to the same refresh token: this one is kept beside it,
    /// until the next refresh shows which of them lives.
    Alt,
    /// Another answer to the same refresh token, or a later one, is current. Dropped.
    Superseded,
    /// The grant changed: this may be another account's secret. Dropped for good.
    Refused,
    /// The connection is gone. Nothing was written.
    Gone,
}

impl CommitOutcome {
    /// The outcome's word, for metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Committed { .. } => "committed",
            Self::Withdrawn { .. } => "withdrawn",
            Self::AlreadyCommitted { .. } => "already_committed",
            Self::Alt => "alt",
            Self::Superseded => "superseded",
            Self::Refused => "refused",
            Self::Gone => "gone",
        }
    }
}

/// What became of a retry by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It is due now; also on a retry with the same request id.
    Retried,
    /// It does not fail: there is nothing to mend.
    NotFailing,
    /// It needs its owner, or was withdrawn.
    Inactive(Status),
    /// There is no such connection.
    Absent,
}
