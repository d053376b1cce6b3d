//! What a second presentation of a refresh token costs, and what follows for leases and waits.

use std::time::Duration;

/// What a provider does about a refresh token that is presented twice, which a crash between its
/// answer and our commit makes unavoidable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayPolicy {
    /// It accepts it for so long after the first time. With 30 s or more a successor of a crashed
    /// replica arrives in time.
    Grace(Duration),
    /// It revokes everything (RFC 9700 section 4.14.2).
    Strict,
}

impl ReplayPolicy {
    /// Whether a lease is short, and renewed as long as the provider takes: where a successor that
    /// comes soon is forgiven. Elsewhere an overlap costs the account: the lease is long, nobody
    /// renews it, and the exchange ends before it does.
    pub(super) fn renews(self) -> bool {
        matches!(self, Self::Grace(grace) if grace >= Duration::from_secs(30))
    }

    /// How long a lease lasts. A renewed one is three times [its pause](Self::renews), so that two
    /// renewals may fail. The other is the longest answer that is waited for, and 5 s to begin in.
    pub(super) fn lease(self) -> Duration {
        if self.renews() { Duration::from_secs(12) } else { Duration::from_secs(30) }
    }

    /// How long an answer is waited for: a lost one must be asked for again inside the grace, and
    /// a lease that is not renewed must not end before it.
    pub(super) fn patience(self) -> Duration {
        match self {
            Self::Grace(grace) => {
                (grace / 2).clamp(Duration::from_secs(5), Duration::from_secs(25))
            }
            Self::Strict => Duration::from_secs(25),
        }
    }

    /// How long after the first time a token may be presented again without harm.
    pub(super) fn forgiven(self) -> Duration {
        match self {
            Self::Grace(grace) => grace,
            Self::Strict => Duration::ZERO,
        }
    }
}
