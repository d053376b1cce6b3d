//! Looking into what happened.

use std::{
    collections::{BTreeMap, BinaryHeap, VecDeque},
    sync::Arc,
};

use futures_util::future::{join_all, try_join_all};

use crate::{
    digest::Digest,
    foundation::Foundation,
    store::{
        Class, ConnectionId, Event, EventId, EventKind, HeadersId, OutboxGroup, ReadHistory, Shard,
        StoreError, Subject,
    },
};

/// The most events that one list may have.
const MOST: usize = 10_000;
/// The most entries that are looked at for one list.
const MOST_SEEN: usize = 200_000;
/// So many shards are asked at once.
const AT_ONCE: usize = 64;

/// The history of events. Clones are handles to the same.
#[derive(Debug, Clone)]
pub struct Events {
    foundation: Arc<Foundation>,
}

/// Which events are wanted: those that fit all that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// At most so many, the newest: 1 to 10,000. There is no default.
    pub limit: usize,
    /// Of these kinds; empty for all.
    pub kinds: Vec<EventKind>,
    /// Of this connection: then one shard is asked instead of all.
    pub connection: Option<ConnectionId>,
    /// Of this header credential: likewise.
    pub headers: Option<HeadersId>,
    /// Of this connector, or client.
    pub connector: Option<String>,
    /// Of the connections that belong to this owner.
    pub owner: Option<String>,
    /// Not older than this (ms since 1970, by the store's clock).
    pub since_ms: Option<u64>,
}

impl Filter {
    /// The newest so many of all events.
    #[must_use]
    pub fn newest(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The events, the newest first.
    pub events: Vec<Event>,
    /// Whether all of the history was looked at that had to be: false if so few fit that the budget
    /// of 200,000 entries ran out. Ask for more kinds, or for a connection.
    pub whole: bool,
    /// Entries that are no events: skipped.
    pub damaged: u64,
}

/// Why there is no list.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum EventsError {
    /// The filter's limit is not one.
    #[error("a list of events has a limit of 1 to 10000, not {limit}")]
    Limit {
        /// What was given.
        limit: usize,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Events {
    pub(crate) fn new(foundation: Arc<Foundation>) -> Self {
        Self { foundation }
    }

    /// Lists events, the newest first. Over all shards it is not atomic: what happens meanwhile may
    /// be in it or not.
    ///
    /// # Errors
    ///
    /// [`EventsError::Limit`], before anything is asked; [`EventsError::Store`] if a shard fails:
    /// half a list is none.
    pub async fn list(&self, filter: &Filter) -> Result<Listed, EventsError> {
        if filter.limit == 0 || filter.limit > MOST {
            return Err(EventsError::Limit { limit: filter.limit });
        }
        let owner = filter
            .owner
            .as_ref()
            .map(|it| self.foundation.naming.digest("owner", &[it.as_bytes()]));
        let wanted = Wanted { filter, owner };
        let mut listed = Listed { events: Vec::new(), whole: true, damaged: 0 };
        let mut tails = Vec::new();
        let connection = filter.connection.as_ref().map(ConnectionId::shard);
        let shards: Vec<_> = match connection.or(filter.headers.map(|id| id.shard())) {
            Some(shard) => vec![shard],
            None => Shard::all().collect(),
        };
        let page = u16::try_from(filter.limit.min(1000)).unwrap_or(1000);
        // Of one shard all; of many each a little, and more of those that turn out to be newest.
        let page = if shards.len() == 1 { page.max(100) } else { page.min(64) };
        for some in shards.chunks(AT_ONCE) {
            let started = some.iter().map(|shard| self.tail(*shard, page, &wanted));
            tails.extend(try_join_all(started).await?);
        }
        let mut seen: usize = tails.iter().map(|tail| tail.seen).sum();
        let mut newest: BinaryHeap<(EventId, usize)> =
            tails.iter().enumerate().filter_map(|(at, tail)| tail.head(at)).collect();
        while let Some((id, at)) = newest.pop() {
            let tail = &mut tails[at];
            match tail.events.front() {
                Some(event) if event.id == id => {
                    listed.events.extend(tail.events.pop_front());
                    if listed.events.len() == filter.limit {
                        break;
                    }
                }
                // The page is used up: what comes next is older than its end.
                _ if seen < MOST_SEEN => seen += self.more(tail, page, &wanted).await?,
                _ => {
                    listed.whole = false;
                    break;
                }
            }
            newest.extend(tails[at].head(at));
        }
        listed.damaged = tails.iter().map(|tail| tail.damaged).sum();
        Ok(listed)
    }

    /// Keeps nothing any more for a receiver that is no more: what it has not acknowledged holds up
    /// the trimming of the outbox otherwise, up to its cap.
    ///
    /// # Errors
    ///
    /// As the store; it may be removed from some shards then.
    pub async fn remove_receiver(&self, group: &OutboxGroup) -> Result<(), StoreError> {
        self.foundation.store.close_outbox(group).await
    }

    /// How many events each receiver has yet to acknowledge, by its name; one that is not there has
    /// acknowledged all. Over all shards it is not atomic. An outbox that is damaged is not counted:
    /// whoever delivers it says so.
    ///
    /// # Errors
    ///
    /// As the store, if a shard does not answer: half a count is none.
    pub async fn lags(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        let store = &self.foundation.store;
        let mut lags = BTreeMap::new();
        for some in store.outbox_backlog().await?.chunks(AT_ONCE) {
            let asked = some.iter().map(|(shard, _)| store.outbox_lags(*shard));
            for told in join_all(asked).await {
                match told {
                    Err(error) if error.class() == Class::Corrupt => {}
                    told => told?
                        .into_iter()
                        .for_each(|(group, lag)| *lags.entry(group).or_default() += lag),
                }
            }
        }
        Ok(lags)
    }

    pub(crate) fn foundation(&self) -> &Arc<Foundation> {
        &self.foundation
    }

    async fn tail(&self, shard: Shard, page: u16, wanted: &Wanted<'_>) -> Result<Tail, StoreError> {
        let mut tail = Tail::new(shard);
        self.more(&mut tail, page, wanted).await?;
        Ok(tail)
    }

    /// Reads the next page of a shard; returns how many entries it had.
    async fn more(
        &self,
        tail: &mut Tail,
        limit: u16,
        wanted: &Wanted<'_>,
    ) -> Result<usize, StoreError> {
        let since_ms = wanted.filter.since_ms.unwrap_or(0);
        let page = ReadHistory { shard: tail.shard, before: tail.next, since_ms, limit };
        let page = self.foundation.store.read_history(page).await?;
        let seen = page.events.len() + page.damaged.len();
        tail.seen += seen;
        tail.damaged += page.damaged.len() as u64;
        tail.next = page.next;
        tail.events.extend(page.events.into_iter().filter(|event| wanted.has(event)));
        Ok(seen)
    }
}

/// What is left to be listed of a shard.
struct Tail {
    shard: Shard,
    events: VecDeque<Event>,
    /// What the next page is before, if there is one.
    next: Option<EventId>,
    seen: usize,
    damaged: u64,
}

impl Tail {
    fn new(shard: Shard) -> Self {
        Self { shard, events: VecDeque::new(), next: None, seen: 0, damaged: 0 }
    }

    /// The newest that it may have.
    fn head(&self, at: usize) -> Option<(EventId, usize)> {
        self.events.front().map(|event| event.id).or(self.next).map(|id| (id, at))
    }
}

struct Wanted<'a> {
    filter: &'a Filter,
    owner: Option<Digest>,
}

impl Wanted<'_> {
    fn has(&self, event: &Event) -> bool {
        let Filter { kinds, connection, headers, connector, .. } = self.filter;
        (kinds.is_empty() || kinds.contains(&event.kind))
            && connection.as_ref().is_none_or(|id| {
                event.subject == Subject::Connection && event.subject_id == id.as_str()
            })
            && headers.is_none_or(|id| {
                event.subject == Subject::Headers && event.subject_id == id.to_string()
            })
            && connector.as_ref().is_none_or(|name| event.name == *name)
            && (self.owner.is_none() || event.owner == self.owner)
    }
}
