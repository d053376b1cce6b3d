//! What is kept of a sign-in by device code, and how it ends.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Authorization, DeviceCode, DeviceSignIn, Prompt};
use crate::{connection::Place, pending::Waited, store::ConnectionId};

/// What is sealed of a sign-in under way: the payload of its pending.
#[derive(Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeviceFlow {
    /// What the person is shown.
    pub prompt: Prompt,
    pub(super) owner: String,
    pub(super) connector: String,
    pub(super) device_code: DeviceCode,
    pub(super) interval_ms: u64,
    connection: String,
    grant: u64,
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
            grant: place.grant,
        }
    }

    /// Where its connection will be: chosen at the start, so that whoever polls next can tell
    /// whether a poller that died had stored it.
    pub(super) fn place(&self) -> Option<Place> {
        Some(Place { id: self.connection.parse().ok()?, grant: self.grant })
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
    /// with the replica that polled. The person must sign in again.
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
    /// There is none of this id, or it is another owner's: the two look the same.
    Unknown,
    /// It still waits; so may the caller, again.
    TimedOut,
}

/// What whoever waits is told, sealed. Every end that the provider brings is one, so that a denial
/// can be told from a host that cancels.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) owner: String,
    pub(super) end: End,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum End {
    Connected { connection: String },
    Denied,
    Expired,
    Lost,
    Refused { code: String },
}

impl End {
    /// Its word, for metrics and logs.
    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::Connected { .. } => "connected",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Lost => "lost",
            Self::Refused { .. } => "refused",
        }
    }
}

/// What the pending's end means to this owner.
pub(super) fn outcome(waited: Waited<Told>, owner: &str) -> DeviceOutcome {
    let end = match waited {
        Waited::Completed { answer, .. } if answer.owner == owner => answer.end,
        Waited::Cancelled => return DeviceOutcome::Cancelled,
        Waited::Cleared => return DeviceOutcome::Cleared,
        Waited::Expired => return DeviceOutcome::Expired,
        Waited::TimedOut => return DeviceOutcome::TimedOut,
        Waited::Completed { .. } | Waited::Unknown => return DeviceOutcome::Unknown,
    };
    match end {
        End::Connected { connection } => match connection.parse() {
            Ok(id) => DeviceOutcome::Connected(id),
            Err(_) => DeviceOutcome::Lost,
        },
        End::Denied => DeviceOutcome::Denied,
        End::Expired => DeviceOutcome::Expired,
        End::Lost => DeviceOutcome::Lost,
        End::Refused { code } => DeviceOutcome::Refused { code },
    }
}
