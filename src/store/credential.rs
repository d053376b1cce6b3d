//! Living records: connections and the credentials that they hold.

use std::{fmt, time::Duration};

use super::{By, ConnectionId, Shard, Status};
use crate::digest::Digest;

/// A credential to be stored, after a sign-in or a re-authorisation.
#[derive(Clone)]
pub struct NewCredential<'a> {
    /// The connection; an existing one keeps its id.
    pub id: &'a ConnectionId,
    /// The digest of the request id.
    pub request: Digest,
    /// The digest of the owner.
    pub owner: Digest,
    /// The slug of the connector.
    pub connector: &'a str,
    /// The sealed secret.
    pub secret: &'a [u8],
    /// The number of the key that sealed it: what an older key sealed is found by it.
    pub sealed_by: u32,
    /// The digest of the refresh token in it; `None` if there is none.
    pub refresh_token: Option<Digest>,
    /// How long the access token lives; `None` if undisclosed.
    pub expires_in: Option<Duration>,
    /// How long the refresh token lives; `None` if undisclosed, which is not never.
    pub refresh_expires_in: Option<Duration>,
    /// When it is to be refreshed; `None` for never.
    pub next_in: Option<Duration>,
    /// Of a connection that is re-authorised: when it had been revoked or withdrawn, as its owner
    /// knew when setting out (ms since 1970); 0 if it had not. If it was revoked, withdrawn or
    /// deleted since then, it is left so.
    pub known_end: Option<u64>,
    /// Who stores it.
    pub by: By<'a>,
}

/// What became of storing a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// Stored, under this grant; also on a retry with the same request id.
    Stored {
        /// The connection's grant from now on.
        grant: u64,
    },
    /// The id belongs to another owner or another connector. Nothing was written.
    Foreign,
    /// It was ended since its owner set out to re-authorise it. Nothing was written.
    Ended {
        /// How it stands: revoked or orphaned; `None` if it was deleted.
        status: Option<Status>,
    },
}

/// A connection as it is read.
#[derive(Clone, PartialEq, Eq)]
pub struct CredentialRow {
    /// The digest of the owner.
    pub owner: Digest,
    /// The slug of the connector.
    pub connector: String,
    /// Where it stands.
    pub status: Status,
    /// Why, if it is not active.
    pub reason: Option<String>,
    /// Bumps on store, re-authorisation, revocation and deletion.
    pub grant: u64,
    /// Counts the secrets.
    pub ver: u64,
    /// The sealed secret; empty if it was revoked, or never had one.
    pub secret: Vec<u8>,
    /// When the access token runs out (ms since 1970); `None` if undisclosed.
    pub expires_at_ms: Option<u64>,
    /// When it is to be refreshed, or tried again (ms since 1970); `None` for never.
    pub next_at_ms: Option<u64>,
    /// When the running attempt's lease ends (ms since 1970), if there is one.
    pub lease_ends_at_ms: Option<u64>,
    /// Failed attempts in a row.
    pub attempts: u32,
    /// What the last failed attempt failed with.
    pub last_error: Option<String>,
    /// How many siblings of the secret are kept, in case it proves dead.
    pub alts: usize,
}

impl fmt::Debug for CredentialRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialRow")
            .field("connector", &self.connector)
            .field("status", &self.status)
            .field("grant", &self.grant)
            .field("ver", &self.ver)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

/// What is due and claimed by nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Backlog {
    /// How many.
    pub due: u64,
    /// Since when the first of them could be claimed; `None` if there is none. One that was claimed and
    /// left, by a replica that died or cannot refresh it, begins anew each time.
    pub oldest: Option<Duration>,
}

/// A due pass over one shard.
#[derive(Debug, Clone, Copy)]
pub struct Claim {
    /// Which shard.
    pub shard: Shard,
    /// The digest of the request id.
    pub request: Digest,
    /// At most so many (1 to 100).
    pub limit: u16,
    /// The visibility timeout: so long the claimed are hidden from other replicas.
    pub hide: Duration,
}
