//! Whose turn it is to sweep a shard.
//!
//! A *round* of a sweep is one look at all shards; a shard's *turn* is one replica's part of it. So
//! any number of replicas share a round without doing anything twice: whoever begins a turn has it
//! for a lease, and for a while after its end nobody begins another. A turn that ends early leaves a
//! cursor, and one whose holder died is begun anew when its lease is over: what it did is done.
//!
//! None of this is needed for a sweep to be right, only to be cheap.

use std::time::Duration;

use async_trait::async_trait;

use super::{Shard, StoreError};
use crate::digest::Digest;

/// The part of the port that sweeps need. The rules and errors are [`Store`](super::Store)'s.
#[async_trait]
pub trait SweepStore {
    /// Asks for a shard's turn.
    async fn begin_turn(&self, begin: BeginTurn) -> Result<Turn, StoreError>;

    /// Gives a turn back.
    async fn end_turn(&self, end: EndTurn<'_>) -> Result<TurnEnd, StoreError>;
}

/// The sweeps that are coordinated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum SweepName {
    /// Of what nobody has access to any more.
    Orphans,
    /// Of what has expired, and is still in an index.
    Expired,
    /// Of what another key than the newest has sealed.
    Reseal,
    /// Of what all receivers have been told.
    Events,
    /// Of what happened too long ago.
    History,
}

impl SweepName {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Orphans, Self::Expired, Self::Reseal, Self::Events, Self::History];

    /// Its word, in keys, metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Orphans => "orphans",
            Self::Expired => "expired",
            Self::Reseal => "reseal",
            Self::Events => "events",
            Self::History => "history",
        }
    }
}

/// A turn that is asked for.
#[derive(Debug, Clone, Copy)]
pub struct BeginTurn {
    /// At what.
    pub sweep: SweepName,
    /// Where.
    pub shard: Shard,
    /// The digest of the request id; it becomes the holder.
    pub request: Digest,
    /// For so long nobody else begins; an hour at the most.
    pub lease: Duration,
    /// Not so soon after the end of the round before; zero for at once.
    pub not_within: Duration,
}

impl BeginTurn {
    /// How long it is known when a shard was swept: a week, or twice what is asked for.
    pub(crate) fn keep(&self) -> Duration {
        const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
        WEEK.max(self.not_within.saturating_mul(2)).max(self.lease)
    }
}

/// Whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// The caller's; also on a retry with the same request id while the lease runs.
    Begun {
        /// Where the turn before ended; empty for the beginning.
        cursor: String,
    },
    /// Another holder's, for so much longer.
    Held {
        /// How long.
        remaining: Duration,
    },
    /// Nobody's: it was swept a moment ago.
    Recent {
        /// The next round may begin in so long.
        remaining: Duration,
    },
}

/// A turn that ends.
#[derive(Debug, Clone, Copy)]
pub struct EndTurn<'a> {
    /// At what.
    pub sweep: SweepName,
    /// Where.
    pub shard: Shard,
    /// The holder.
    pub request: Digest,
    /// Where the next turn goes on, printable and short; `None` if the shard is done.
    pub cursor: Option<&'a str>,
    /// How many there were to see to.
    pub found: u64,
    /// With how many something was done.
    pub done: u64,
}

/// What became of ending a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnEnd {
    /// Ended; also on a retry.
    Ended,
    /// It took longer than its lease, and somebody else has it, or had it.
    Lost,
}
