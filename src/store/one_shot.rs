//! One-shot records: put once, taken by exactly one caller, gone by themselves.

use std::{fmt, time::Duration};

use super::{GRACE, Shard};
use crate::digest::Digest;

/// What a one-shot record is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kind {
    /// A sign-in under way: the PKCE verifier and what must come back with it.
    Pkce,
}

impl Kind {
    /// The word that stands for it in keys, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pkce => "pkce",
        }
    }
}

/// Where a one-shot record lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordName {
    /// What it is for.
    pub kind: Kind,
    /// The shard that it shares with its indexes.
    pub shard: Shard,
    /// The digest that names it.
    pub digest: Digest,
}

impl RecordName {
    /// A record that has no siblings: its digest also chooses its shard.
    #[must_use]
    pub fn alone(kind: Kind, digest: Digest) -> Self {
        Self { kind, shard: Shard::new(digest.as_bytes()[0]), digest }
    }
}

/// A one-shot record to be put.
#[derive(Clone)]
pub struct NewRecord<'a> {
    /// Where.
    pub name: RecordName,
    /// The digest of the put's request id.
    pub request: Digest,
    /// Its life. The store keeps it for [`GRACE`](super::GRACE) more, as a tombstone.
    pub ttl: Duration,
    /// `key=value` words for people with redis-cli: percent-encoded here, capped, never parsed,
    /// never trusted, and never a user's value.
    pub display: &'a [(&'static str, &'a str)],
    /// The sealed body.
    pub body: &'a [u8],
}

impl fmt::Debug for NewRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewRecord").field("name", &self.name).field("ttl", &self.ttl).finish()
    }
}

/// What became of a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// Stored; also on a retry with the same request id.
    Stored,
    /// Another put owns the name, live or as a tombstone. Nothing was written.
    Collision,
}

/// A sealed body that was handed to exactly one caller.
#[derive(Clone, Eq)]
pub struct Handed {
    /// The body.
    pub body: Vec<u8>,
    /// How long ago that was: above zero on a retry, and at most the grace. Its life is judged by
    /// when it was handed out.
    pub ago: Duration,
}

impl Handed {
    /// Handed out just now.
    #[must_use]
    pub fn now(body: Vec<u8>) -> Self {
        Self { body, ago: Duration::ZERO }
    }

    /// Handed out so many milliseconds ago. A receipt lives no longer than the grace, whatever
    /// somebody wrote into the record.
    #[must_use]
    pub fn ago(body: Vec<u8>, ms: u64) -> Self {
        Self { body, ago: Duration::from_millis(ms).min(GRACE) }
    }
}

/// A retry gets the same, later.
impl PartialEq for Handed {
    fn eq(&self, other: &Self) -> bool {
        self.body == other.body
    }
}

/// What became of a take.
#[derive(Clone, PartialEq, Eq)]
pub enum Take {
    /// Yours, with the sealed body; also on a retry with the same request id.
    Taken(Handed),
    /// Somebody else took it, at this time of the store (ms since 1970).
    AlreadyTaken {
        /// When.
        at_ms: u64,
    },
    /// Past its life, still within its grace.
    Expired,
    /// It never existed, or is long gone.
    Absent,
}

impl Take {
    /// The outcome's word, for metrics and logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Taken(_) => "taken",
            Self::AlreadyTaken { .. } => "already_taken",
            Self::Expired => "expired",
            Self::Absent => "absent",
        }
    }
}

impl fmt::Debug for Take {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyTaken { at_ms } => write!(f, "AlreadyTaken {{ at_ms: {at_ms} }}"),
            other => f.write_str(other.as_str()),
        }
    }
}
