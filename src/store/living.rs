//! Living records: connections and the credentials that they hold.
//!
//! What judges what: the *lease* only saves provider calls. A commit is judged by the `grant` and
//! by lineage (which refresh token was presented), a failure by its `fence`.

use std::{fmt, str::FromStr, time::Duration};

use super::Shard;
use crate::digest::Digest;

/// Names a connection: its shard in two hexadecimal digits, then 128 random bits in 32 more.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(String);

impl ConnectionId {
    /// A new id in the shard of its owner, so that the owner's index is in reach of its scripts.
    #[must_use]
    pub fn random(owner: Digest) -> Self {
        let shard = Shard::new(owner.as_bytes()[0]);
        let unique =
            Digest::from_bytes(&crate::digest::random_bytes::<16>()).unwrap_or(Digest::NONE);
        Self(format!("{shard}{unique}"))
    }

    /// The shard that it lives in.
    #[must_use]
    pub fn shard(&self) -> Shard {
        Shard::from_hex(&self.0[..2]).unwrap_or(Shard::new(0))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ConnectionId {
    type Err = InvalidConnectionId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() == 34 && text.bytes().all(hex) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidConnectionId { length: text.len() })
        }
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionId({})", self.0)
    }
}

/// Not a connection id. The text is not repeated: it came from outside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a connection id is 34 lower-case hexadecimal digits; this has {length} bytes or other characters"
)]
pub struct InvalidConnectionId {
    length: usize,
}

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// Its credential is used and kept fresh.
    Active,
    /// The provider will not refresh it any more: its owner must sign in again.
    NeedsReauth,
    /// It was withdrawn.
    Revoked,
}

impl Status {
    /// The word that stands for it in Redis, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::NeedsReauth => "needs_reauth",
            Self::Revoked => "revoked",
        }
    }

    /// Reads the word; `None` for one that this version does not know.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Active, Self::NeedsReauth, Self::Revoked].into_iter().find(|s| s.as_str() == word)
    }
}

/// A credential to be stored, after a sign-in or a re-authorisation.
#[derive(Clone)]
pub struct NewCredential<'a> {
    /// The connection; an existing one keeps its id.
    pub id: &'a ConnectionId,
    /// The digest of the request id.
    pub request: Digest,
    /// The digest of the owner.
    pub owner: Digest,
    /// The slug of the connector.
    pub connector: &'a str,
    /// The sealed secret.
    pub secret: &'a [u8],
    /// The digest of the refresh token in it; `None` if there is none.
    pub refresh_token: Option<Digest>,
    /// How long the access token lives; `None` if undisclosed.
    pub expires_in: Option<Duration>,
    /// When it is to be refreshed; `None` for never.
    pub next_in: Option<Duration>,
}

/// What became of storing a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// Stored, under this grant; also on a retry with the same request id.
    Stored {
        /// The connection's grant from now on.
        grant: u64,
    },
    /// The id belongs to another owner or another connector. Nothing was written.
    Foreign,
}

/// A connection as it is read.
#[derive(Clone, PartialEq, Eq)]
pub struct CredentialRow {
    /// The digest of the owner.
    pub owner: Digest,
    /// The slug of the connector.
    pub connector: String,
    /// Where it stands.
    pub status: Status,
    /// Why, if it is not active.
    pub reason: Option<String>,
    /// Bumps on store, re-authorisation, revocation and deletion.
    pub grant: u64,
    /// Counts the secrets.
    pub ver: u64,
    /// The sealed secret.
    pub secret: Vec<u8>,
    /// When the access token runs out (ms since 1970); `None` if undisclosed.
    pub expires_at_ms: Option<u64>,
    /// When it is to be refreshed, or tried again (ms since 1970); `None` for never.
    pub next_at_ms: Option<u64>,
    /// When the running attempt's lease ends (ms since 1970), if there is one.
    pub lease_ends_at_ms: Option<u64>,
    /// Failed attempts in a row.
    pub attempts: u32,
    /// What the last failed attempt failed with.
    pub last_error: Option<String>,
}

impl fmt::Debug for CredentialRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialRow")
            .field("connector", &self.connector)
            .field("status", &self.status)
            .field("grant", &self.grant)
            .field("ver", &self.ver)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

/// A due pass over one shard.
#[derive(Debug, Clone, Copy)]
pub struct Claim {
    /// Which shard.
    pub shard: Shard,
    /// The digest of the request id.
    pub request: Digest,
    /// At most so many (1 to 100).
    pub limit: u16,
    /// The visibility timeout: so long the claimed are hidden from other replicas.
    pub hide: Duration,
}

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
    /// It is not due: somebody refreshed it, or it backs off after a failure.
    NotDue {
        /// When it is.
        due_in: Duration,
        /// Failed attempts in a row; zero means that it is fresh.
        attempts: u32,
    },
    /// It has no refresh token.
    NotRefreshable,
    /// It is not active.
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
    /// The digest of the refresh token in it.
    pub refresh_token: Option<Digest>,
    /// How long the access token still lives; `None` if undisclosed.
    pub expires_in: Option<Duration>,
    /// When it is to be refreshed next; `None` for never.
    pub next_in: Option<Duration>,
    /// How long ago the provider answered: of two siblings the later answer is current.
    pub answered_ago: Duration,
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
    /// This very commit was stored before.
    AlreadyCommitted {
        /// The secret's number.
        ver: u64,
    },
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
            Self::AlreadyCommitted { .. } => "already_committed",
            Self::Superseded => "superseded",
            Self::Refused => "refused",
            Self::Gone => "gone",
        }
    }
}

/// What a failed exchange means for the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// The provider decided, and may decide otherwise later: back off.
    Transient,
    /// The answer was lost after the request was sent: the attempt stays on record.
    Undecided,
    /// The refresh token is dead.
    NeedsReauth,
}

impl FailureKind {
    /// The word that stands for it in scripts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Undecided => "undecided",
            Self::NeedsReauth => "needs_reauth",
        }
    }
}

/// A failed exchange, to be recorded.
#[derive(Debug, Clone)]
pub struct Fail<'a> {
    /// The connection.
    pub id: &'a ConnectionId,
    /// The digest of the request id.
    pub request: Digest,
    /// The fence of the attempt.
    pub fence: u64,
    /// The grant that the attempt began under.
    pub grant: u64,
    /// The digest of the refresh token that was presented.
    pub presented: Digest,
    /// What it means.
    pub kind: FailureKind,
    /// Why, sanitised: at most 200 printable characters, no URL, no secret.
    pub reason: &'a str,
    /// When to try again, unless it needs re-authorisation.
    pub backoff: Duration,
}

/// What became of a fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailOutcome {
    /// Recorded; also on a retry with the same request id.
    Recorded {
        /// Failed attempts in a row, this one included.
        attempts: u32,
    },
    /// A newer attempt, grant or secret judges. Nothing was written.
    Stale,
    /// The connection is gone. Nothing was written.
    Gone,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_carries_its_owners_shard() {
        let owner = Digest::from_bytes(&[0xc3; 16]).unwrap();
        let id = ConnectionId::random(owner);
        assert_eq!(id.shard(), Shard::new(0xc3));
        assert_eq!(id.as_str().parse(), Ok(id.clone()));
    }

    #[test]
    fn bad_ids_are_refused_without_being_repeated() {
        for bad in ["", "zz", "{00}", &"a".repeat(35), &"A".repeat(34), &"é".repeat(17), "a\0b"] {
            let error = bad.parse::<ConnectionId>().unwrap_err().to_string();
            assert!(bad.is_empty() || !error.contains(bad), "{error}");
        }
    }
}
