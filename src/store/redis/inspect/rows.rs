//! What the inspector tells. Times are in ms since 1970, by the clock of Redis; texts are printable.

use serde::Serialize;

use super::Cursor;

/// A page of a list.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Page<T> {
    /// What was found: up to a few hundred more than were asked for, or fewer, or none.
    pub rows: Vec<T>,
    /// Where the next page begins; `None` if this was the last.
    pub next: Option<Cursor>,
    /// Redis's time when the page was begun.
    pub now_ms: u64,
}

/// A one-shot record: a pending, a temp token, a PKCE state.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct OneShotView {
    /// What verbs name it by; of a PKCE state the digest.
    pub id: String,
    /// Its key in Redis.
    pub key: String,
    /// `live`, `expired`, or how it ended; a temp token may be `dropped`, with its resource or its
    /// scope; what is no record of this layout is `damaged`.
    pub state: String,
    /// When it was made.
    pub created_at_ms: Option<u64>,
    /// When it ended by somebody's doing.
    pub ended_at_ms: Option<u64>,
    /// How much of its life is left; 0 for what is not live.
    pub left_ms: u64,
    /// When Redis forgets it.
    pub gone_at_ms: Option<u64>,
    /// Whether one subject alone may end it.
    pub bound: bool,
    /// What the writer said of it, percent-encoded. Nothing vouches for it.
    pub display: String,
    /// The digest of whom it is bound to, for [`Operator::cancel`](crate::Operator::cancel).
    #[serde(skip)]
    pub subject: Option<crate::Digest>,
}

/// How a pending ended, as those who wait are told.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct OutcomeView {
    /// `completed`, `cancelled` or `cleared`.
    pub how: String,
    /// When.
    pub at_ms: u64,
    /// By which replica.
    pub by: String,
}

/// A connection, without its secrets.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct ConnectionView {
    /// Its id.
    pub id: String,
    /// Its key in Redis.
    pub key: String,
    /// `active`, `needs_reauth`, `exhausted`, `revoked`, `orphaned`; `deleted` while receipts are kept;
    /// `damaged` if a field is missing that all have.
    pub status: String,
    /// Why, if it is not active.
    pub reason: Option<String>,
    /// Since when.
    pub status_at_ms: Option<u64>,
    /// The digest of its owner.
    pub owner: Option<String>,
    /// The slug of its connector.
    pub connector: Option<String>,
    /// Bumps whenever somebody signs in, revokes or deletes.
    pub grant: Option<u64>,
    /// Counts the secrets.
    pub ver: Option<u64>,
    /// Whether a secret is stored.
    pub has_secret: bool,
    /// Whether it can be refreshed.
    pub has_refresh_token: bool,
    /// When the access token runs out.
    pub expires_at_ms: Option<u64>,
    /// When it is to be refreshed, or tried again.
    pub next_at_ms: Option<u64>,
    /// Where it stands on the index that sweeps go by; later than `next_at_ms` while it is claimed.
    pub due_at_ms: Option<u64>,
    /// The exchange that runs.
    pub lease: Option<Lease>,
    /// An exchange whose answer nobody knows; also the one that runs.
    pub undecided: Option<Undecided>,
    /// How many other answers of its provider are kept beside the current one.
    pub siblings: u8,
    /// Failures in a row.
    pub attempts: u64,
    /// What the last one failed with.
    pub last_error: Option<String>,
    /// When that was.
    pub error_at_ms: Option<u64>,
    /// When the first of them was.
    pub failing_at_ms: Option<u64>,
    /// When the exchange began that brought the current secret; `None` for that of a sign-in.
    pub answered_at_ms: Option<u64>,
    /// When it was created.
    pub created_at_ms: Option<u64>,
    /// When something of it changed last.
    pub updated_at_ms: Option<u64>,
    /// When it was deleted.
    pub deleted_at_ms: Option<u64>,
}

/// Who runs an exchange, and until when it is his.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Lease {
    /// Which replica.
    pub by: String,
    /// Until when.
    pub ends_at_ms: u64,
    /// The number of the attempt.
    pub fence: Option<u64>,
}

/// A refresh token that was presented, and no answer is known.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Undecided {
    /// When it was first presented.
    pub since_ms: Option<u64>,
    /// The number of the last attempt with it.
    pub fence: Option<u64>,
}

/// What is due, over all shards.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Due {
    /// The first of them, the longest overdue first.
    pub rows: Vec<DueView>,
    /// How many there are on the index.
    pub scheduled: u64,
    /// How many of them are due now.
    pub overdue: u64,
    /// Redis's time.
    pub now_ms: u64,
}

/// One entry of the index that sweeps go by.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct DueView {
    /// When it is due.
    pub due_at_ms: u64,
    /// The connection.
    pub connection: ConnectionView,
}

/// A turn at polling a provider for a pending.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct PollView {
    /// The pending.
    pub pending: String,
    /// Its key in Redis.
    pub key: String,
    /// Which replica has the turn.
    pub by: Option<String>,
    /// Until when.
    pub ends_at_ms: Option<u64>,
    /// Nobody polls before.
    pub next_at_ms: Option<u64>,
    /// Between polls.
    pub interval_ms: Option<u64>,
    /// Polls in a row that brought no answer.
    pub failures: Option<u64>,
}

/// What is kept of a connector: its pause, and who calls its provider.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct ConnectorView {
    /// The slug.
    pub slug: String,
    /// The shard, as it is in its keys: two hexadecimal digits.
    pub shard: String,
    /// Whether its provider is left alone, or one caller is trying whether it still must be.
    pub paused: bool,
    /// Why.
    pub reason: Option<String>,
    /// Since when.
    pub since_ms: Option<u64>,
    /// Until when nobody asks.
    pub until_ms: Option<u64>,
    /// How many pauses in a row this is.
    pub times: Option<u64>,
    /// Until when one caller is trying it again.
    pub probing_until_ms: Option<u64>,
    /// How many places are taken now.
    pub places: u64,
    /// When the last call at the pace of its rate is forgotten.
    pub busy_until_ms: Option<u64>,
    /// Where the line of those ends who wait for a place.
    pub line_until_ms: Option<u64>,
}

impl ConnectorView {
    /// One that nothing is kept of: its cap is not in use, and it is not paused. Which shard it would
    /// be in is left open.
    #[must_use]
    pub fn idle(slug: String) -> Self {
        Self { slug, ..Self::default() }
    }
}

/// Somebody who waits for a pending.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct WaiterView {
    /// Which replica.
    pub by: String,
    /// Until when that is known; it is told again while somebody waits.
    pub until_ms: u64,
}

/// A header credential, without its headers.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct HeadersView {
    /// Its id.
    pub id: String,
    /// Its key in Redis.
    pub key: String,
    /// `active`, `needs_update`, `orphaned`; `deleted` while receipts are kept; `damaged` if a field is
    /// missing that all have.
    pub status: String,
    /// Why, if it is not active.
    pub reason: Option<String>,
    /// Since when.
    pub status_at_ms: Option<u64>,
    /// Of an orphan: what it is again when access is given back.
    pub was: Option<String>,
    /// In whose name it is sent: `user`, `vk`, `session` or `admin`.
    pub mode: Option<String>,
    /// The digest of whose it is.
    pub identity: Option<String>,
    /// The digest of what it is for.
    pub client: Option<String>,
    /// What that is called, if it may be told.
    pub name: Option<String>,
    /// The id of the key that sealed it, if that is known.
    pub sealed_under: Option<String>,
    /// Counts those that were stored.
    pub ver: Option<u64>,
    /// When the first one of its binding was stored.
    pub created_at_ms: Option<u64>,
    /// When something of it changed last.
    pub updated_at_ms: Option<u64>,
    /// When it was removed.
    pub deleted_at_ms: Option<u64>,
}

/// Something that happened, as its history tells it.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct EventView {
    /// Its name, as `c3-1763697824123-0`.
    pub id: String,
    /// When.
    pub at_ms: u64,
    /// What: `needs_reauth`, say; `damaged` for what is no event.
    pub kind: String,
    /// To what kind of thing: `connection`, `headers`, `connector`, `state`.
    pub subject: String,
    /// To which of them.
    pub subject_id: String,
    /// The slug of the connector, or the name of the client.
    pub name: String,
    /// The beginning of the digest of the owner; empty if there is none.
    pub owner: String,
    /// By whom.
    pub actor: String,
    /// The host of the provider; empty if there is none.
    pub host: String,
    /// More, as `word=value` pairs.
    pub detail: String,
}
