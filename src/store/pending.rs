//! Pendings: out-of-band interactions that any replica can complete, list, clear and await.
//!
//! A pending is a one-shot record with an index entry in its namespace. Finishing it hands it to
//! exactly one caller and leaves an *outcome*, which is what those who wait read: a notification is
//! only a hint.

use std::{fmt, time::Duration};

use super::{Handed, PendingId};
use crate::digest::Digest;

/// A pending to be put.
#[derive(Clone)]
pub struct NewPending<'a> {
    /// Its id.
    pub id: PendingId,
    /// The digest of the put's request id.
    pub request: Digest,
    /// Its life.
    pub ttl: Duration,
    /// The longest life that a replacement may give it, from now.
    pub ceiling: Duration,
    /// Who alone may finish it; `None` for anybody.
    pub subject: Option<Digest>,
    /// What makes a second one of it the same; `None` for nothing. The namespace must be part of
    /// it: namespaces share shards.
    pub dedup: Option<Digest>,
    /// If one is joined, it lives for `ttl` from now, or for what it had left if that is more. One
    /// that would pass its ceiling, or that somebody has
    /// [claimed](super::HeadersStore::claim_flow), is not joined then. Of a put only.
    pub extends: bool,
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

/// What became of replacing a pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaced {
    /// Replaced; also on a retry with the same request id.
    Replaced,
    /// It would live past its ceiling. Nothing was written.
    BeyondCeiling {
        /// How much longer it may live.
        left: Duration,
    },
    /// It has ended.
    Ended(Ending),
    /// Past its life, still within its grace.
    Expired,
    /// It never existed, or is long gone.
    Absent,
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
    Finished(Handed),
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

/// What a replica is called in records and outcomes, for people: of what a host calls it the
/// characters `a-z`, `0-9` and `-`, at most 32. A script reads them back, so others would be lost.
pub(crate) fn instance(name: &str) -> String {
    let fits = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-';
    name.chars().map(|c| c.to_ascii_lowercase()).filter(fits).take(32).collect()
}
