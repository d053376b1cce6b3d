//! Delivery: who has been told which events.
//!
//! An outbox is a stream for each shard, read by *groups*: one for each receiver, whatever the
//! number of replicas. What a *consumer* of a group, a replica, is handed is held by it until it is
//! acknowledged; meanwhile nobody else of the group is handed anything of that shard. So what
//! happens to one record is told in its order, and each event by one replica. What a consumer holds
//! for longer than the caller allows is taken over: then an event may be told twice, and never not
//! at all.
//!
//! Without any group an outbox does not exist, and keeps nothing. What all groups have
//! acknowledged is [trimmed](super::TrimStore); what exceeds [`OUTBOX_CAP`] is dropped, and counted
//! as lost.

use std::{fmt, time::Duration};

use async_trait::async_trait;

use super::{
    Shard, StoreError,
    event::{Event, EventId, NewEvent},
};
use crate::digest::Digest;

/// The most events that the outbox of a shard keeps, about: at 260 bytes for that of a refresh, 2.6 MB.
pub const OUTBOX_CAP: u64 = 10_000;
/// The most events that the history of a shard keeps, about: as large as a full outbox.
pub const HISTORY_CAP: u64 = 10_000;

/// The part of the port that events need. The rules and errors are [`Store`](super::Store)'s.
#[async_trait]
pub trait EventStore {
    /// Tells an event that comes with no change of a record: to the history, and to the outbox if
    /// there is any group.
    async fn append_event(
        &self,
        shard: Shard,
        event: NewEvent<'_>,
        request: Digest,
    ) -> Result<(), StoreError>;

    /// Reads the history of a shard, the newest first.
    async fn read_history(&self, page: ReadHistory) -> Result<HistoryPage, StoreError>;

    /// Registers a group in all shards: from now on events are kept for it, and it begins with what
    /// is kept for others. Again changes nothing, but in shards that lost it. A bounded fan-out, not
    /// atomic.
    async fn open_outbox(&self, group: &OutboxGroup) -> Result<(), StoreError>;

    /// Removes a group from all shards, and what was kept for it alone. A bounded fan-out.
    async fn close_outbox(&self, group: &OutboxGroup) -> Result<(), StoreError>;

    /// The shards whose outboxes hold something, and how much. A bounded fan-out.
    async fn outbox_backlog(&self) -> Result<Vec<(Shard, u64)>, StoreError>;

    /// Hands a page of a shard to a consumer of a group: first what it, or one who is gone, was
    /// handed before, then what is new. A retry is handed the same. What it is handed is its own for
    /// `idle`, from now on: again, if it was before.
    async fn read_outbox(&self, read: ReadOutbox<'_>) -> Result<OutboxRead, StoreError>;

    /// Acknowledges events of a shard: the group is not handed them again. Returns how many of them
    /// it held.
    async fn ack_outbox(
        &self,
        shard: Shard,
        group: &OutboxGroup,
        ids: &[EventId],
    ) -> Result<u64, StoreError>;
}

/// A receiver's name: `[a-z0-9-]{1,32}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OutboxGroup(String);

impl OutboxGroup {
    /// Checks the name.
    ///
    /// # Errors
    ///
    /// [`StoreError::Config`] if it is empty, longer than 32 characters, or has others than `a-z`,
    /// `0-9` and `-`.
    pub fn new(name: impl Into<String>) -> Result<Self, StoreError> {
        let name = name.into();
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if (1..=32).contains(&name.len()) && name.bytes().all(fits) {
            return Ok(Self(name));
        }
        let told = "the name of a receiver is 1 to 32 of the characters a-z, 0-9 and -";
        Err(StoreError::Config(told.to_owned()))
    }

    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OutboxGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A page of a shard's history.
#[derive(Debug, Clone, Copy)]
pub struct ReadHistory {
    /// Whose.
    pub shard: Shard,
    /// What is older than this event; `None` for the newest.
    pub before: Option<EventId>,
    /// What is not older than this (ms since 1970, by the store's clock); 0 for all.
    pub since_ms: u64,
    /// At most so many, 1 to 1000.
    pub limit: u16,
}

impl ReadHistory {
    pub(crate) fn most(&self) -> u16 {
        self.limit.clamp(1, 1000)
    }
}

/// Events of a shard, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HistoryPage {
    /// The events.
    pub events: Vec<Event>,
    /// Entries that are no events: they are left as they are, and hide no others.
    pub damaged: Vec<EventId>,
    /// What the next page is before; `None` if this was the last.
    pub next: Option<EventId>,
}

/// A page that a consumer asks for.
#[derive(Debug, Clone, Copy)]
pub struct ReadOutbox<'a> {
    /// Of which shard.
    pub shard: Shard,
    /// For which receiver.
    pub group: &'a OutboxGroup,
    /// Who delivers: unique to the process.
    pub consumer: &'a str,
    /// The digest of the request id.
    pub request: Digest,
    /// The last event of the page before; `None` for the first page.
    pub after: Option<EventId>,
    /// At most so many, 1 to 100.
    pub count: u16,
    /// After how long what another consumer holds is taken over.
    pub idle: Duration,
}

impl ReadOutbox<'_> {
    pub(crate) fn most(&self) -> u16 {
        self.count.clamp(1, 100)
    }
}

/// What there is to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutboxRead {
    /// This, which the consumer now holds.
    Page(OutboxPage),
    /// Another consumer delivers this shard.
    Held {
        /// It is taken over after so long, if nothing is heard of that one.
        remaining: Duration,
    },
    /// The group is not, or not any more, registered in this shard.
    Closed,
}

/// Events of a shard that a consumer holds, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OutboxPage {
    /// The events.
    pub events: Vec<Event>,
    /// Entries that are no events: whoever holds them acknowledges them, so that they block nothing.
    pub damaged: Vec<EventId>,
    /// How many events the cap dropped before this group was told of them, since the last page.
    pub lost: u64,
    /// What the next page is after; `None` if there is none now.
    pub next: Option<EventId>,
}
