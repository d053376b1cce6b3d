//! What is told of a change: an event.
//!
//! Each is written in the script that makes the change, once for each transition, to two streams of
//! the record's shard: the *outbox*, from which it is delivered, and the *history*, in which people
//! look. It has the same id in both, unless one of them was tampered with.
//!
//! No secret and no user's own text is in an event: an owner is a digest, the detail is sanitised.

use std::{fmt, str::FromStr};

use super::Shard;
use crate::digest::Digest;

/// What happened. The set is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventKind {
    /// A sign-in began.
    ConnectStarted,
    /// A sign-in ended with a stored credential, or headers were stored.
    ConnectCompleted,
    /// A credential was refreshed.
    RefreshSucceeded,
    /// A refresh failed, and will be tried again.
    RefreshFailedTransient,
    /// A refresh failed because the provider withdrew the grant.
    RefreshFailedRevoked,
    /// A credential ended that has nothing to be refreshed with.
    RefreshSkippedNoToken,
    /// A credential's refresh token ended before it was used.
    RefreshSkippedExpired,
    /// A provider rotated a refresh token, and the store could not take it.
    RefreshRotationPersistenceFailed,
    /// A credential was withdrawn, and its secrets were removed.
    TokenDeletedRevoked,
    /// A connection was deleted.
    TokenDeletedAdmin,
    /// A connection needs its owner: only a new sign-in helps; or it was given up after failing for
    /// too long, and its detail says `reason=exhausted`: then a retry by hand helps as well. Or
    /// headers that are to be updated.
    NeedsReauth,
    /// A credential that needed its owner, or was given up, works again, or is tried again by hand.
    Recovered,
    /// A provider does not accept the host: nobody asks it for a while.
    ConnectorPaused,
    /// A pause of a provider ended.
    ConnectorResumed,
    /// A state or a token was presented again by somebody else.
    ReplayRefused,
    /// Access to a credential was withdrawn: it is kept for the retention.
    Orphaned,
    /// Access to an orphan was given back.
    Reactivated,
    /// An orphan was deleted at the end of its retention.
    Reaped,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::ConnectStarted,
        Self::ConnectCompleted,
        Self::RefreshSucceeded,
        Self::RefreshFailedTransient,
        Self::RefreshFailedRevoked,
        Self::RefreshSkippedNoToken,
        Self::RefreshSkippedExpired,
        Self::RefreshRotationPersistenceFailed,
        Self::TokenDeletedRevoked,
        Self::TokenDeletedAdmin,
        Self::NeedsReauth,
        Self::Recovered,
        Self::ConnectorPaused,
        Self::ConnectorResumed,
        Self::ReplayRefused,
        Self::Orphaned,
        Self::Reactivated,
        Self::Reaped,
    ];

    /// The word that stands for it in Redis, logs, metrics and notifications.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConnectStarted => "connect_started",
            Self::ConnectCompleted => "connect_completed",
            Self::RefreshSucceeded => "refresh_succeeded",
            Self::RefreshFailedTransient => "refresh_failed_transient",
            Self::RefreshFailedRevoked => "refresh_failed_revoked",
            Self::RefreshSkippedNoToken => "refresh_skipped_no_token",
            Self::RefreshSkippedExpired => "refresh_skipped_expired",
            Self::RefreshRotationPersistenceFailed => "refresh_rotation_persistence_failed",
            Self::TokenDeletedRevoked => "token_deleted_revoked",
            Self::TokenDeletedAdmin => "token_deleted_admin",
            Self::NeedsReauth => "needs_reauth",
            Self::Recovered => "recovered",
            Self::ConnectorPaused => "connector_paused",
            Self::ConnectorResumed => "connector_resumed",
            Self::ReplayRefused => "replay_refused",
            Self::Orphaned => "orphaned",
            Self::Reactivated => "reactivated",
            Self::Reaped => "reaped",
        }
    }

    /// Reads the word; `None` for one that this version does not know.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A connection, by its id.
    Connection,
    /// A header credential, by its id.
    Headers,
    /// A connector, by its slug.
    Connector,
    /// A state or a token, by the digest that names it.
    State,
}

impl Subject {
    const ALL: [Self; 4] = [Self::Connection, Self::Headers, Self::Connector, Self::State];

    /// The word that stands for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Headers => "headers",
            Self::Connector => "connector",
            Self::State => "state",
        }
    }

    /// Reads the word; `None` for one that this version does not know.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|subject| subject.as_str() == word)
    }
}

/// Who made the change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Actor {
    /// The pass over refresh-due credentials.
    BackgroundRefresh,
    /// A vend that refreshed what it was asked for.
    ToolCall,
    /// A provider's answer that was kept until the store had it.
    Journal,
    /// Another sweep.
    Sweep,
    /// The owner of what was changed.
    Owner,
    /// Whoever runs the host.
    Operator,
}

impl Actor {
    const ALL: [Self; 6] = [
        Self::BackgroundRefresh,
        Self::ToolCall,
        Self::Journal,
        Self::Sweep,
        Self::Owner,
        Self::Operator,
    ];

    /// The word that stands for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BackgroundRefresh => "system:background-refresh",
            Self::ToolCall => "system:tool-call",
            Self::Journal => "system:journal",
            Self::Sweep => "system:sweep",
            Self::Owner => "owner",
            Self::Operator => "operator",
        }
    }

    /// Reads the word; `None` for one that this version does not know.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|actor| actor.as_str() == word)
    }
}

/// Names an event: when it was written, which of that millisecond it is, and in which shard. So it
/// sorts by time. Its text is `c3-1763697824123-0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId {
    pub(crate) ms: u64,
    pub(crate) seq: u64,
    pub(crate) shard: Shard,
}

impl EventId {
    /// The shard whose streams it is in.
    #[must_use]
    pub const fn shard(&self) -> Shard {
        self.shard
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.shard, self.ms, self.seq)
    }
}

impl FromStr for EventId {
    type Err = InvalidEventId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |digits: &str| {
            let plain = digits.bytes().all(|b| b.is_ascii_digit());
            plain.then(|| digits.parse().ok()).flatten()
        };
        let mut parts = text.split('-');
        let mut next = || parts.next().ok_or(InvalidEventId);
        let shard = Shard::from_hex(next()?).ok_or(InvalidEventId)?;
        let ms = number(next()?).ok_or(InvalidEventId)?;
        let seq = number(next()?).ok_or(InvalidEventId)?;
        if parts.next().is_some() { Err(InvalidEventId) } else { Ok(Self { ms, seq, shard }) }
    }
}

/// Not an event's id. The text is not repeated: it came from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event's id is its shard, a time and a number, as in c3-1763697824123-0")]
pub struct InvalidEventId;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its name, the same however often it is delivered.
    pub id: EventId,
    /// When (ms since 1970, by the store's clock).
    pub at_ms: u64,
    /// What.
    pub kind: EventKind,
    /// To what kind of thing.
    pub subject: Subject,
    /// To which of them.
    pub subject_id: String,
    /// The slug of the connector, or the name of the client.
    pub name: String,
    /// The digest of the owner, if there is one.
    pub owner: Option<Digest>,
    /// By whom.
    pub actor: Actor,
    /// The host of the provider, if there is one; else empty.
    pub idp_host: String,
    /// More, as `word=value` pairs with spaces between: sanitised, at most 400 characters.
    pub detail: String,
}

/// Something that happened, before it is written.
#[derive(Debug, Clone, Copy)]
pub struct NewEvent<'a> {
    /// What.
    pub kind: EventKind,
    /// To what kind of thing.
    pub subject: Subject,
    /// To which of them.
    pub subject_id: &'a str,
    /// The slug of the connector, or the name of the client.
    pub name: &'a str,
    /// The digest of the owner, if there is one.
    pub owner: Option<Digest>,
    /// By whom.
    pub actor: Actor,
    /// The host of the provider, if there is one; else empty.
    pub idp_host: &'a str,
    /// More, as `word=value` pairs with spaces between. It is sanitised when it is written.
    pub detail: &'a str,
}

/// What a detail has room for, in characters.
pub(crate) const DETAIL: usize = 400;

/// What is kept of a text in an event: one line of at most `most` printable characters.
pub(crate) fn line(text: &str, most: usize) -> String {
    let breaks = |c: &char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    text.chars().filter(|c| !breaks(c)).take(most).collect()
}
