//! What came of a refresh, for those who wanted one.

use std::time::Duration;

use super::{AccessToken, ExchangeError};

/// What came of wanting to refresh.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Refreshed {
    /// A new access token, stored.
    Fresh {
        /// The token.
        access_token: AccessToken,
        /// How long it lived when it was stored; `None` if undisclosed.
        expires_in: Option<Duration>,
    },
    /// Another replica has the lease for so much longer.
    Held {
        /// How long.
        remaining: Duration,
    },
    /// An exchange was cut off, and a journal may still bring its answer for so much longer.
    Undecided {
        /// How long.
        remaining: Duration,
    },
    /// It is not due: refreshed meanwhile, or backing off after so many failures.
    NotDue {
        /// When it is.
        due_in: Duration,
        /// Failed attempts in a row.
        attempts: u32,
    },
    /// It cannot be refreshed: no refresh token, not active, or gone.
    Not(&'static str),
    /// Its provider is at one of its caps.
    AtCap {
        /// When to come again.
        wait: Duration,
    },
    /// Its connector is paused: the provider was not asked.
    Paused {
        /// For so much longer.
        remaining: Duration,
        /// Why.
        reason: String,
    },
    /// The exchange failed, and that is on record.
    Failed(ExchangeError),
}

impl Refreshed {
    /// The outcome's word, for metrics and logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Fresh { .. } => "fresh",
            Self::Held { .. } => "held",
            Self::Undecided { .. } => "undecided",
            Self::NotDue { .. } => "not_due",
            Self::Not(_) => "not",
            Self::AtCap { .. } => "at_cap",
            Self::Paused { .. } => "paused",
            Self::Failed(_) => "failed",
        }
    }
}
