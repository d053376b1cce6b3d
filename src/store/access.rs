//! Access that is withdrawn, and given back; and what becomes of what nobody gives back.
//!
//! A record whose access was withdrawn is an *orphan*: kept whole, and of no use to anybody. Given
//! back, it is what it was. An orphan that is older than the retention is *reaped*, which is decided
//! where it is deleted: what a list said before proves nothing.
//!
//! Each shard has one index of its orphans, whatever they are, by when they became that.

use std::time::Duration;

use async_trait::async_trait;

use super::{ConnectionId, HeadersId, Shard, StoreError};
use crate::digest::Digest;

/// The part of the port that orphans need. The rules and errors are [`Store`](super::Store)'s.
#[async_trait]
pub trait AccessStore {
    /// Makes a connection an orphan, and remembers what it was. An exchange in flight may still
    /// store its answer, for a rotated refresh token is the only one there is; it stays an orphan.
    async fn withdraw_connection(
        &self,
        withdraw: WithdrawConnection<'_>,
    ) -> Result<WithdrawnConnection, StoreError>;

    /// Makes an orphan what it was before, due when it was.
    async fn restore_connection(
        &self,
        owner: Digest,
        id: &ConnectionId,
        request: Digest,
    ) -> Result<RestoredConnection, StoreError>;

    /// Deletes a connection if it is an orphan, and has been for the retention. What is left is what
    /// is left of a deleted one.
    async fn reap_connection(&self, reap: ReapConnection<'_>) -> Result<Reaped, StoreError>;

    /// Lists orphans that are older than the retention, the oldest first, up to `limit` (1 to 100)
    /// behind the first `skip`. What it says may be over by the time that it is read.
    async fn list_orphans(&self, page: OrphanPage) -> Result<Vec<Orphan>, StoreError>;

    /// How many orphans of a shard are older than the retention.
    async fn count_orphans(&self, shard: Shard, retention: Duration) -> Result<u64, StoreError>;
}

/// A connection whose access is to be withdrawn.
#[derive(Debug, Clone)]
pub struct WithdrawConnection<'a> {
    /// Which.
    pub id: &'a ConnectionId,
    /// The digest of the request id.
    pub request: Digest,
    /// The digest of the owner.
    pub owner: Digest,
    /// Why, in a word.
    pub reason: &'a str,
}

/// What became of withdrawing the access to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithdrawnConnection {
    /// It is an orphan; also on a retry with the same request id, which leaves alone what came since.
    Withdrawn,
    /// Another request had made it one; since when is kept.
    Already,
    /// It was revoked: there is nothing that could be given back.
    Revoked,
    /// There is no such connection, or it is another owner's.
    Absent,
}

/// What became of giving the access to a connection back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestoredConnection {
    /// It is what it was; also on a retry with the same request id, which leaves alone what came
    /// since.
    Restored,
    /// It is no orphan.
    NotOrphaned,
    /// There is no such connection, not any more, or it is another owner's.
    Absent,
}

/// A connection to be reaped.
#[derive(Debug, Clone)]
pub struct ReapConnection<'a> {
    /// Which.
    pub id: &'a ConnectionId,
    /// The digest of the request id.
    pub request: Digest,
    /// The digest of its owner, as it was listed.
    pub owner: Digest,
    /// For so long an orphan is kept.
    pub retention: Duration,
}

/// What became of reaping an orphan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaped {
    /// Deleted; also on a retry with the same request id.
    Reaped,
    /// It was given back, or is another one now.
    NotOrphaned,
    /// It is to be kept for so much longer.
    TooYoung {
        /// How long.
        remaining: Duration,
    },
    /// It is not there any more.
    Absent,
}

impl Reaped {
    /// The outcome's word, for metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reaped => "reaped",
            Self::NotOrphaned => "not_orphaned",
            Self::TooYoung { .. } => "too_young",
            Self::Absent => "absent",
        }
    }
}

/// Which orphans are listed.
#[derive(Debug, Clone, Copy)]
pub struct OrphanPage {
    /// Where.
    pub shard: Shard,
    /// Only those that have been orphans for so long.
    pub retention: Duration,
    /// So many in front are left out: those that cannot be reaped.
    pub skip: usize,
    /// At most so many, 1 to 100.
    pub limit: u16,
}

/// An orphan, as the index knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Orphan {
    /// A connection.
    Connection {
        /// Which.
        id: ConnectionId,
        /// The digest of its owner; `None` if there is none any more, or it cannot be read.
        owner: Option<Digest>,
    },
    /// A header credential.
    Headers {
        /// Which.
        id: HeadersId,
    },
    /// What this version does not know, and leaves alone.
    Unknown,
}

/// What a store makes of a retention: all of it, where [`millis`](super::millis) caps at ten years.
/// What is to be kept for ever must not be taken for what is to be kept for ten.
pub(crate) fn retention_ms(retention: Duration) -> u64 {
    // What a double holds exactly, and more than any clock will show.
    const MOST: u128 = 1 << 53;
    u64::try_from(retention.as_millis().min(MOST)).unwrap_or(u64::MAX)
}
