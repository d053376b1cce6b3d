//! What is kept of a sign-in by device code, and how it ends.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Authorization, DeviceCode, DeviceSignIn, Prompt};
use crate::{
    connection::{Obtained, Place},
    pending::Waited,
    secret::in_sealed,
    store::ConnectionId,
};

/// What is sealed of a sign-in under way: the payload of its pending.
#[derive(Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeviceFlow {
    /// What the person is shown.
    pub prompt: Prompt,
    pub(super) owner: String,
    pub(super) connector: String,
    #[serde(with = "in_sealed")]
    pub(super) device_code: DeviceCode,
    pub(super) interval_ms: u64,
    connection: String,
    #[serde(default)]
    known_end_ms: Option<u64>,
}

impl DeviceFlow {
    /// Whose it is: a page that shows the prompt must show it to nobody else.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.owner
    }

    pub(super) fn new(sign_in: &DeviceSignIn<'_>, place: &Place, given: Authorization) -> Self {
        Self {
            prompt: given.prompt,
            owner: sign_in.owner.to_owned(),
            connector: sign_in.connector.to_owned(),
            device_code: given.device_code,
            interval_ms: u64::try_from(given.interval.as_millis()).unwrap_or(u64::MAX),
            connection: place.id.to_string(),
            known_end_ms: place.known_end_ms,
        }
    }

    /// Where its connection will be: chosen at the start, so that all who store it store the same.
    pub(super) fn place(&self) -> Option<Place> {
        let id = self.connection.parse().ok()?;
        Some(Place { id, known_end_ms: self.known_end_ms })
    }
}

/// The device code and the person are nobody's to read in a log.
impl fmt::Debug for DeviceFlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceFlow").field("connector", &self.connector).finish_non_exhaustive()
    }
}

/// How a wait for a sign-in by device code ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceOutcome {
    /// The credential is stored: vend from this connection.
    Connected(ConnectionId),
    /// The person said no.
    Denied,
    /// The code ran out before the person decided.
    Expired,
    /// The provider had given the tokens to a poll whose answer was lost: with its connection, or
    /// with the replica that polled; or nobody could store them. The person must sign in again.
    Lost,
    /// The provider refused for another reason.
    Refused {
        /// Its error code, sanitised.
        code: String,
    },
    /// Somebody withdrew it.
    Cancelled,
    /// Its namespace was cleared.
    Cleared,
    /// There is none of this id, or it is another owner's: the two look the same. So does one that
    /// was cancelled, cleared or ran out before this wait began: whose it was is not known then.
    Unknown,
    /// It still waits; so may the caller, again.
    TimedOut,
}

/// How a sign-in ended, sealed, for whoever waits. Every end that the provider brings is one, so that
/// a denial can be told from a host that cancels.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) owner: String,
    pub(super) end: End,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum End {
    /// With the tokens: any who learns of it may store them.
    Granted(Box<Obtained>),
    Denied,
    Expired,
    Lost,
    Refused {
        code: String,
    },
}

impl End {
    /// Its word, for metrics and logs.
    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::Granted(_) => "granted",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Lost => "lost",
            Self::Refused { .. } => "refused",
        }
    }
}

/// What a pending's end means to whoever waited.
pub(super) enum Learnt {
    /// It is told as it is.
    Outcome(DeviceOutcome),
    /// Tokens, to be stored before it is told.
    Granted {
        obtained: Box<Obtained>,
        /// When it ended (ms since 1970, by the store's clock).
        at_ms: u64,
    },
}

/// What the pending's end means to this owner. An end that names no owner is told only to who was
/// `seen` to be the owner while it lived.
pub(super) fn learnt(waited: Waited<Told>, owner: &str, seen: bool) -> Learnt {
    let (end, at_ms) = match waited {
        Waited::Completed { answer, at_ms, .. } if answer.owner == owner => (answer.end, at_ms),
        Waited::Cancelled if seen => return Learnt::Outcome(DeviceOutcome::Cancelled),
        Waited::Cleared if seen => return Learnt::Outcome(DeviceOutcome::Cleared),
        Waited::Expired if seen => return Learnt::Outcome(DeviceOutcome::Expired),
        Waited::TimedOut => return Learnt::Outcome(DeviceOutcome::TimedOut),
        _ => return Learnt::Outcome(DeviceOutcome::Unknown),
    };
    Learnt::Outcome(match end {
        End::Granted(obtained) => return Learnt::Granted { obtained, at_ms },
        End::Denied => DeviceOutcome::Denied,
        End::Expired => DeviceOutcome::Expired,
        End::Lost => DeviceOutcome::Lost,
        End::Refused { code } => DeviceOutcome::Refused { code },
    })
}
