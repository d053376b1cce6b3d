//! Caps and pauses of a provider, counted over all replicas.
//!
//! A call to a provider needs a *place*. There are so many at once, and so many calls in a while;
//! both are counted by Redis, for all replicas together. A place has a lease: that of a holder who
//! died is free again when it ends.
//!
//! Who finds no place is told when to come again. Those with patience *stand in line*: each is
//! given a time of its own, half a call further off than the last, so that what waits is spread and
//! does not stampede, and yet no place stays empty. It is a time to ask, not a promise: a caller in
//! a hurry may come before.
//!
//! A provider that does not accept the host is *paused*: nobody is given a place for a while. Then
//! one is, the *probe*, and what comes of it decides.

use std::{
    num::{NonZeroU16, NonZeroU32},
    time::Duration,
};

use async_trait::async_trait;

use super::{By, Shard, StoreError, millis};
use crate::digest::Digest;

/// The part of the port that caps and pauses of providers need. The rules and errors are
/// [`Store`](super::Store)'s.
#[async_trait]
pub trait LimitStore {
    /// Asks for a place to call a provider from.
    async fn reserve(&self, reserve: Reserve<'_>) -> Result<Reserved, StoreError>;

    /// Gives a place up before its lease ends. Once is enough: one that is not held, or not any
    /// more, is left alone.
    async fn release(&self, release: Release<'_>) -> Result<(), StoreError>;

    /// Pauses a provider: nobody is given a place, and then one is.
    async fn pause_connector(&self, pause: Pause<'_>) -> Result<Paused, StoreError>;

    /// Ends a pause, if there is one.
    async fn resume_connector(
        &self,
        connector: ConnectorName<'_>,
        request: Digest,
        by: By<'_>,
    ) -> Result<Resumed, StoreError>;

    /// Reads a pause, for people; `None` if the provider is not paused.
    async fn read_pause(
        &self,
        connector: ConnectorName<'_>,
    ) -> Result<Option<PauseRow>, StoreError>;
}

/// How a place is held as a rule: those who wait for one are told times so far apart. Rather too
/// short: who comes too soon is told another time. In microseconds.
const USUAL_US: u64 = 100_000;
/// The line is that long at the most. What is told a time beyond it asks again: that costs less
/// than a place that stays empty.
const HORIZON: Duration = Duration::from_secs(60);
/// A lease is that long at the most, so that a later end is known to be damaged.
const LONGEST_LEASE: Duration = Duration::from_secs(300);

/// Names what is kept of a connector: readable, for its slug is the host's own text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectorName<'a> {
    /// Where it is kept: by the digest of the slug.
    pub shard: Shard,
    /// The slug: `[a-z0-9-]{1,32}`.
    pub slug: &'a str,
}

/// What a provider takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Caps {
    /// So many calls, in so long; `None` for any number.
    pub rate: Option<(NonZeroU32, Duration)>,
    /// So many at once; `None` for any number.
    pub at_once: Option<NonZeroU16>,
}

impl Caps {
    /// Whether there are none.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.rate.is_none() && self.at_once.is_none()
    }

    /// How many calls may come at once after a silence, and how many microseconds apart they are
    /// then: a tenth of them, and the others evenly. So in any span of the rate's length there are
    /// no more than it says, however the spans are laid; and nine tenths of it can be used for good.
    pub(crate) fn pace(&self) -> Option<(u32, u64)> {
        let (calls, per) = self.rate?;
        let burst = calls.get().div_ceil(10);
        let apart = per.as_micros().div_ceil(u128::from(calls.get() - burst + 1));
        Some((burst, u64::try_from(apart).unwrap_or(u64::MAX).max(1)))
    }
}

/// A place that is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Reserve<'a> {
    /// Whose provider.
    pub connector: ConnectorName<'a>,
    /// The digest of the request id; it becomes the place's holder.
    pub holder: Digest,
    /// How long it is held if nobody releases it; at most 5 min.
    pub lease: Duration,
    /// What the provider takes. Without any cap nothing is counted.
    pub caps: Caps,
    /// Whether to stand in line, for a turn within a minute; else the soonest moment is told.
    pub in_line: bool,
}

impl Reserve<'_> {
    pub(crate) fn lease_ms(&self) -> u64 {
        millis(self.lease.min(LONGEST_LEASE))
    }

    pub(crate) fn horizon_ms(&self) -> u64 {
        if self.in_line { millis(HORIZON) } else { 0 }
    }

    pub(crate) const USUAL_US: u64 = USUAL_US;
}

/// Whether there is a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reserved {
    /// It is the caller's; also on a retry with the same request id while it is held.
    Go {
        /// Whether the provider was paused, and this call shows whether it still must be.
        probe: bool,
    },
    /// The provider is at one of its caps: ask again after so long.
    Later(Duration),
    /// The provider is paused.
    Paused {
        /// For so much longer, at least.
        remaining: Duration,
        /// Why.
        reason: String,
    },
}

impl Reserved {
    /// The outcome's word, for metrics and logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Go { .. } => "go",
            Self::Later(_) => "later",
            Self::Paused { .. } => "paused",
        }
    }
}

/// A place that is given up.
#[derive(Debug, Clone, Copy)]
pub struct Release<'a> {
    /// Whose provider.
    pub connector: ConnectorName<'a>,
    /// Who held it.
    pub holder: Digest,
    /// The caps that it was reserved under.
    pub caps: Caps,
    /// Whether the call was made. One that was not is not counted.
    pub made: bool,
}

/// A provider that is to be left alone.
#[derive(Debug, Clone, Copy)]
pub struct Pause<'a> {
    /// Whose.
    pub connector: ConnectorName<'a>,
    /// The digest of the request id.
    pub request: Digest,
    /// Why, sanitised: at most 200 printable characters.
    pub reason: &'a str,
    /// For how long at first. Each pause that follows without a success between is twice as long.
    pub first: Duration,
    /// For how long at the most, within a day.
    pub longest: Duration,
    /// Whose call it was that failed.
    pub by: By<'a>,
}

impl Pause<'_> {
    pub(crate) fn spans_ms(&self) -> (u64, u64) {
        let longest = millis(self.longest.min(Self::KEPT));
        (millis(self.first).min(longest), longest)
    }

    /// A pause that nobody asked after for so long is forgotten.
    pub(crate) const KEPT: Duration = Duration::from_secs(24 * 3600);
}

/// What became of pausing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paused {
    /// It ran until now; also on a retry with the same request id.
    Paused {
        /// For so long.
        remaining: Duration,
    },
    /// It was paused, and the probe failed too; also on a retry with the same request id.
    Again {
        /// For so long.
        remaining: Duration,
    },
    /// It is paused already: this came of a call from before.
    Still {
        /// For so much longer.
        remaining: Duration,
    },
}

/// What became of resuming.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resumed {
    /// It was paused until now; also on a retry with the same request id.
    Resumed,
    /// It was not paused.
    Running,
}

/// A pause, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PauseRow {
    /// Why.
    pub reason: String,
    /// Since when (ms since 1970).
    pub since_ms: u64,
    /// Until when nobody asks the provider (ms since 1970); then one does.
    pub until_ms: u64,
    /// How many pauses in a row it is.
    pub times: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whenever a span begins, it has room for a burst and for what comes evenly after it.
    #[test]
    fn no_span_has_more_calls_than_the_rate_says() {
        for calls in [1, 2, 9, 10, 11, 60, 100, 601, 10_000, 1_000_000] {
            for per in [1, 1000, 60_000, 3_600_000].map(Duration::from_millis) {
                let rate = Some((NonZeroU32::new(calls).unwrap(), per));
                let (burst, apart) = Caps { rate, at_once: None }.pace().unwrap();
                let evenly = per.as_micros().div_ceil(apart.into());
                assert!(evenly + u128::from(burst) - 1 <= calls.into(), "{calls} in {per:?}");
                if apart > 100 {
                    assert!(evenly * 100 >= u128::from(calls) * 89, "{calls} in {per:?}: {evenly}");
                }
            }
        }
    }
}
