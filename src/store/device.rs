//! Turns at polling: which replica asks a provider about a device code, and when.
//!
//! What is known of a pending's polls is a small record beside it: who has the turn, when the next
//! poll is due, how far apart polls are, and how many in a row brought no answer. It is written
//! *before* a poll as if that took its whole lease, so a poller that dies leaves nothing to repair:
//! the next turn begins an interval after the end of its lease.

use std::time::Duration;

use super::{PendingId, millis};
use crate::digest::Digest;

/// A turn that is asked for.
#[derive(Debug, Clone)]
pub struct AcquirePoll<'a> {
    /// The pending that waits for the poll's answer.
    pub id: PendingId,
    /// The digest of the request id; whoever gets the turn is its holder.
    pub holder: Digest,
    /// How long the poll may take; at most 5 min.
    pub lease: Duration,
    /// How far apart polls are at the least, as the provider said first; at most 5 min.
    pub interval: Duration,
    /// Which replica this is, for people.
    pub instance: &'a str,
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PollTurn {
    /// The caller's, once; also on a retry with the same request id while the lease runs.
    Yours {
        /// How far apart polls are now, for all replicas.
        interval: Duration,
        /// How many polls in a row brought no answer.
        failures: u32,
        /// Whether the turn before was never released: its poll may have been answered.
        inherited: bool,
    },
    /// Not yet, or somebody else's: ask again after so long.
    Later(Duration),
    /// The pending is not live: there is nothing to poll for.
    Ended,
}

impl PollTurn {
    /// The outcome's word, for metrics and logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Yours { .. } => "yours",
            Self::Later(_) => "later",
            Self::Ended => "ended",
        }
    }
}

/// A turn that is over.
#[derive(Debug, Clone, Copy)]
pub struct ReleasePoll {
    /// The pending.
    pub id: PendingId,
    /// Who had the turn; also what makes a retry the same.
    pub holder: Digest,
    /// When the next poll is due, from now; at most 5 min.
    pub next_in: Duration,
    /// How far apart polls are from now on; it only grows, to 5 min at the most.
    pub interval: Duration,
    /// How many polls in a row brought no answer.
    pub failures: u32,
}

/// What became of releasing a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PollRelease {
    /// The next poll is due as told; also on a retry.
    Released,
    /// Another replica has, or had, the turn since. A longer interval counts all the same.
    Lost,
}

/// The milliseconds of a span between polls. Bounded, so that a record whose next poll is further
/// off than two of them is known to be damaged, or of a clock that has jumped back.
pub(crate) fn poll_millis(span: Duration) -> u64 {
    millis(span.min(Duration::from_secs(300)))
}
