//! Pendings: out-of-band interactions that any replica can complete, list, clear and await.
//!
//! A pending is a one-shot record with an index entry in its namespace. Finishing it hands it to
//! exactly one caller and leaves an *outcome*, which is what those who wait read: a notification is
//! only a hint.

use std::{fmt, str::FromStr, time::Duration};

use super::Shard;
use crate::digest::{Digest, random_bytes};

/// Names a pending: the digest of its namespace in 32 hexadecimal digits, whose first two are its
/// shard, then 128 random bits in 32 more. So an id is enough to name everything of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PendingId {
    namespace: Digest,
    unique: Digest,
}

impl PendingId {
    /// A new id in a namespace.
    #[must_use]
    pub fn random(namespace: Digest) -> Self {
        let unique = Digest::from_bytes(&random_bytes::<16>()).unwrap_or(Digest::NONE);
        Self { namespace, unique }
    }

    /// The id with this part that is unique in its namespace.
    #[must_use]
    pub fn of(namespace: Digest, unique: Digest) -> Self {
        Self { namespace, unique }
    }

    /// The digest of the namespace that it belongs to.
    #[must_use]
    pub fn namespace(&self) -> Digest {
        self.namespace
    }

    /// The shard that it lives in.
    #[must_use]
    pub fn shard(&self) -> Shard {
        Shard::new(self.namespace.as_bytes()[0])
    }
}

impl FromStr for PendingId {
    type Err = InvalidPendingId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_at_checked(32);
        let parts = parts
            .map(|(namespace, unique)| Digest::from_hex(namespace).zip(Digest::from_hex(unique)));
        match parts.flatten() {
            Some((namespace, unique)) => Ok(Self { namespace, unique }),
            None => Err(InvalidPendingId { length: text.len() }),
        }
    }
}

impl fmt::Display for PendingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.namespace, self.unique)
    }
}

impl fmt::Debug for PendingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PendingId({self})")
    }
}

/// Not a pending's id. The text is not repeated: it came from outside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a pending's id is 64 lower-case hexadecimal digits; this has {length} bytes or other characters"
)]
pub struct InvalidPendingId {
    length: usize,
}

/// A pending to be put.
#[derive(Clone)]
pub struct NewPending<'a> {
    /// Its id.
    pub id: PendingId,
    /// The digest of the put's request id.
    pub request: Digest,
    /// Its life.
    pub ttl: Duration,
    /// Who alone may finish it; `None` for anybody.
    pub subject: Option<Digest>,
    /// What makes a second one of it the same; `None` for nothing. The namespace must be part of
    /// it: namespaces share shards.
    pub dedup: Option<Digest>,
    /// As in [`NewRecord`](super::NewRecord).
    pub display: &'a [(&'static str, &'a str)],
    /// The sealed body.
    pub body: &'a [u8],
}

/// What became of putting a pending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutPending {
    /// Stored; also on a retry with the same request id.
    Stored,
    /// A live one with the same dedup key: wait for that.
    Joined {
        /// Which.
        id: PendingId,
        /// What is left of its life.
        left: Duration,
    },
    /// The id is in use. Nothing was written.
    Collision,
}

/// How a pending ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ending {
    /// Somebody did what it waited for.
    Completed,
    /// Somebody withdrew it.
    Cancelled,
    /// Its namespace was cleared.
    Cleared,
}

impl Ending {
    /// The word that stands for it in Redis, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Cleared => "cleared",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Completed, Self::Cancelled, Self::Cleared].into_iter().find(|e| e.as_str() == word)
    }
}

/// Who wants to end a pending, and how.
#[derive(Clone)]
pub struct Finish<'a> {
    /// Which.
    pub id: PendingId,
    /// The digest of the request id.
    pub request: Digest,
    /// How: completed or cancelled.
    pub how: Ending,
    /// Who does it; must be the one that the pending is bound to, if it is bound.
    pub subject: Option<Digest>,
    /// Who does it, for people: `[a-z0-9-]`, at most 32 characters.
    pub by: &'a str,
    /// What those who wait are told, sealed; may be empty.
    pub body: &'a [u8],
    /// How long the outcome lives at the most.
    pub longest: Duration,
}

/// What became of finishing a pending.
#[derive(Clone, PartialEq, Eq)]
pub enum Finished {
    /// Yours, with the sealed body; also on a retry with the same request id.
    Finished(Vec<u8>),
    /// Somebody else ended it.
    Already {
        /// How.
        how: Ending,
        /// When (ms since 1970, by the store's clock).
        at_ms: u64,
        /// Who, for people; empty if the outcome is gone.
        by: String,
    },
    /// It is bound to another subject. It was not consumed.
    OtherSubject,
    /// Past its life, still within its grace.
    Expired,
    /// It never existed, or is long gone.
    Absent,
}

impl Finished {
    /// The outcome's word, for metrics and logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Finished(_) => "finished",
            Self::Already { .. } => "already",
            Self::OtherSubject => "other_subject",
            Self::Expired => "expired",
            Self::Absent => "absent",
        }
    }
}

impl fmt::Debug for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Already { how, by, .. } => write!(f, "Already({how:?}, {by:?})"),
            other => f.write_str(other.as_str()),
        }
    }
}

/// A pending as it is read, live or not.
#[derive(Clone, PartialEq, Eq)]
pub enum PendingRow {
    /// It waits.
    Live {
        /// The sealed body.
        body: Vec<u8>,
        /// What is left of its life.
        left: Duration,
    },
    /// It ended, and is still within its grace.
    Ended(Ending),
    /// Past its life, still within its grace.
    Expired,
    /// It never existed, or is long gone.
    Absent,
}

impl fmt::Debug for PendingRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Live { .. } => "Live",
            Self::Ended(how) => how.as_str(),
            Self::Expired => "Expired",
            Self::Absent => "Absent",
        })
    }
}

/// What is left of a pending for those who wait.
#[derive(Clone, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub how: Ending,
    /// When (ms since 1970, by the store's clock).
    pub at_ms: u64,
    /// Who ended it, for people.
    pub by: String,
    /// What those who wait are told, sealed; may be empty.
    pub body: Vec<u8>,
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outcome({:?}, by {:?})", self.how, self.by)
    }
}

/// A page of a namespace's pendings, by the time of their end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PendingPage {
    /// Their ids.
    pub ids: Vec<PendingId>,
    /// Where the next page begins; `None` if this is the last.
    pub next: Option<PageCursor>,
}

/// Where a page begins: behind this id, or behind its end if it is gone meanwhile. So every entry
/// is seen at least once, unless its life was shortened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageCursor {
    pub(crate) after: PendingId,
    pub(crate) from_ms: u64,
}

/// What became of clearing a page of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cleared {
    /// Which were live, and are cleared now.
    pub ids: Vec<PendingId>,
    /// Whether others of the namespace live: clear again, with another request id.
    pub more: bool,
}
