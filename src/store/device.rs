//! Turns at polling: which replica asks a provider about a device code, and when.
//!
//! What is known of a pending's polls is a small record beside it: who has the turn, when the next
//! poll is due, how far apart polls are, and how many in a row brought no answer. It is written
//! *before* a poll as if that took its whole lease, so a poller that dies leaves nothing to repair:
//! the next turn begins an interval after the end of its lease. No poll is due later than the record
//! ends; any span up to there is kept as the provider asked for it.

use std::time::Duration;

use async_trait::async_trait;

use super::{ConnectionId, PendingId, StoreError};
use crate::digest::Digest;

/// The part of the port that sign-ins by device code need. The rules and errors are
/// [`Store`](super::Store)'s.
#[async_trait]
pub trait DeviceStore {
    /// Asks for the turn to poll a provider for a pending: one caller gets it when a poll is due.
    async fn acquire_poll(&self, turn: AcquirePoll<'_>) -> Result<PollTurn, StoreError>;

    /// Ends a turn, and says when the next poll is due.
    async fn release_poll(&self, turn: ReleasePoll) -> Result<PollRelease, StoreError>;

    /// Whether this request stored a credential of this connection, and is among the last four
    /// that did: also of one that was revoked since, or deleted within [`GRACE`](super::GRACE).
    async fn has_stored(&self, id: &ConnectionId, request: Digest) -> Result<bool, StoreError>;
}

/// A turn that is asked for.
#[derive(Debug, Clone)]
pub struct AcquirePoll<'a> {
    /// The pending that waits for the poll's answer.
    pub id: PendingId,
    /// The digest of the request id; whoever gets the turn is its holder.
    pub holder: Digest,
    /// How long the poll may take.
    pub lease: Duration,
    /// How far apart polls are at the least, as the provider said first.
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
    /// When the next poll is due, from now.
    pub next_in: Duration,
    /// How far apart polls are from now on; it only grows.
    pub interval: Duration,
    /// How many polls in a row brought no answer.
    pub failures: u32,
}

/// What became of releasing a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PollRelease {
    /// The turn is over; also on a retry.
    Released {
        /// When the next poll is due: as told, or at the end of the pending's record.
        next_in: Duration,
    },
    /// Another replica has, or had, the turn since. A longer interval counts all the same.
    Lost,
}
