//! One attempt to refresh that failed, and what that means.

use std::time::Duration;

use super::{By, ConnectionId};
use crate::digest::Digest;

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
    /// The host itself was refused, whatever it presented: nothing is counted against the
    /// credential, which is looked at again after the backoff, or by whoever begins before.
    Host,
}

impl FailureKind {
    /// The word that stands for it in scripts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Undecided => "undecided",
            Self::NeedsReauth => "needs_reauth",
            Self::Host => "host",
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
    /// It is given up when it has failed for so long; `None` for never.
    pub horizon: Option<Duration>,
    /// Who tried.
    pub by: By<'a>,
}

/// What became of a fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailOutcome {
    /// Recorded; also on a retry with the same request id.
    Recorded {
        /// Failed attempts in a row, this one included.
        attempts: u32,
    },
    /// The refresh token is dead, but a sibling of its secret was kept: that is current now, and
    /// due at once.
    Switched {
        /// Failed attempts in a row, this one included.
        attempts: u32,
    },
    /// It has failed for as long as the horizon, and is given up until somebody retries it.
    Exhausted {
        /// Failed attempts in a row, this one included.
        attempts: u32,
    },
    /// A newer attempt, grant or secret judges. Nothing was written.
    Stale,
    /// The connection is gone. Nothing was written.
    Gone,
}

impl FailOutcome {
    /// Whether a failure of this kind has left another credential than before, or none.
    pub(super) fn is_a_change(self, kind: FailureKind) -> bool {
        match self {
            Self::Recorded { .. } => kind == FailureKind::NeedsReauth,
            Self::Switched { .. } | Self::Exhausted { .. } => true,
            Self::Stale | Self::Gone => false,
        }
    }
}
