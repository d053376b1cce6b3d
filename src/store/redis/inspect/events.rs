//! What happened, as the histories tell it.

use std::collections::HashMap;

use futures_util::{StreamExt, TryStreamExt, stream};
use redis::{Cmd, Value, cmd, from_redis_value};

use super::{AT_ONCE, EventView, Inspector, connection::Fields, printable::printable};
use crate::store::{EventId, EventKind, HISTORY_CAP, Shard, StoreError, Subject};

/// The fields of an entry.
const FIELDS: [&str; 8] = ["type", "kind", "id", "name", "actor", "host", "at", "detail"];
/// How many entries are read at once, and how many pages for the events of one thing.
const PAGE: u16 = 1000;
const PAGES: u64 = 2 * HISTORY_CAP / PAGE as u64;
/// Of an owner's digest: enough to see who is the same, and not enough to look him up by.
const OWNER: usize = 8;

/// How far the histories were read: what comes after is news.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    since_ms: u64,
    last: HashMap<Shard, (u64, u64)>,
}

/// Which events are looked for: those that fit all that is given.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Sought {
    /// What happened to this thing. A connector is named by its slug, all else by its id.
    pub subject: Option<(Subject, String)>,
    /// Of these kinds; empty for all.
    pub kinds: Vec<EventKind>,
    /// Of this connector, or client.
    pub name: Option<String>,
}

impl Sought {
    /// What happened to one thing.
    #[must_use]
    pub fn of(subject: Subject, id: impl Into<String>) -> Self {
        Self { subject: Some((subject, id.into())), ..Self::default() }
    }

    /// Whether this is one of them.
    #[must_use]
    pub fn has(&self, event: &EventView) -> bool {
        let its = |(subject, id): &(Subject, String)| {
            event.subject == subject.as_str() && event.subject_id == *id
        };
        self.subject.as_ref().is_none_or(its)
            && (self.kinds.is_empty() || self.kinds.iter().any(|kind| event.kind == kind.as_str()))
            && self.name.as_ref().is_none_or(|name| event.name == *name)
    }

    fn is_all(&self) -> bool {
        self.subject.is_none() && self.kinds.is_empty() && self.name.is_none()
    }
}

impl Seen {
    fn note(&mut self, id: EventId) {
        let last = self.last.entry(id.shard).or_default();
        *last = (*last).max((id.ms, id.seq));
    }

    /// What comes behind this is news, and so is what a shard without any events gets.
    fn mark(&self, shard: Shard) -> String {
        let before = (self.since_ms.saturating_sub(1), u64::MAX);
        let (ms, seq) = self.last.get(&shard).copied().unwrap_or(before);
        format!("({ms}-{seq}")
    }
}

impl Inspector {
    /// The newest events, the oldest of them first: up to `limit` (1 to 1000) that are not older
    /// than `since_ms`, of one shard or of all; with how far that was read, for [`news`](Self::news).
    ///
    /// One short read a shard, not atomic. An entry that is no event is shown as far as it goes.
    pub async fn events(
        &self,
        shard: Option<Shard>,
        since_ms: u64,
        limit: u16,
    ) -> Result<(Vec<EventView>, Seen), StoreError> {
        self.events_of(shard, &Sought::default(), since_ms, limit).await
    }

    /// [`events`](Self::events), of those that are sought. Others stand between them, so this reads as
    /// many pages of a shard as it takes, up to twice what a history holds.
    pub async fn events_of(
        &self,
        shard: Option<Shard>,
        sought: &Sought,
        since_ms: u64,
        limit: u16,
    ) -> Result<(Vec<EventView>, Seen), StoreError> {
        let limit = limit.clamp(1, 1000);
        let mut seen = Seen { since_ms, ..Seen::default() };
        let read = |shard| self.newest_of(shard, sought, since_ms, limit);
        let shards: Vec<Shard> = shard.map_or_else(|| Shard::all().collect(), |one| vec![one]);
        let mut events = Vec::new();
        let mut pages = stream::iter(shards).map(read).buffered(AT_ONCE);
        while let Some((newest, page)) = pages.try_next().await? {
            if let Some(id) = newest {
                seen.note(id);
            }
            events.extend(page);
        }
        events.sort_by_key(|(id, _)| *id);
        let over = events.len().saturating_sub(limit.into());
        Ok((events.into_iter().skip(over).map(|(_, event)| event).collect(), seen))
    }

    /// The newest entry of a shard, and the newest events that are sought.
    async fn newest_of(
        &self,
        shard: Shard,
        sought: &Sought,
        since_ms: u64,
        limit: u16,
    ) -> Result<(Option<EventId>, Vec<(EventId, EventView)>), StoreError> {
        let count = if sought.is_all() { limit } else { PAGE };
        let (mut newest, mut events, mut before) = (None, Vec::new(), "+".to_owned());
        for _ in 0..PAGES {
            let mut command = cmd("XREVRANGE");
            command.arg(self.keys.history(shard)).arg(&before).arg(since_ms);
            command.arg("COUNT").arg(count);
            let page = self.read_events(shard, &command).await?;
            newest = newest.or(page.first().map(|(id, _)| *id));
            let last = page.last().filter(|_| page.len() == usize::from(count)).map(|(id, _)| *id);
            events.extend(page.into_iter().filter(|(_, event)| sought.has(event)));
            match last {
                Some(last) if events.len() < limit.into() => {
                    before = format!("({}-{}", last.ms, last.seq);
                }
                _ => break,
            }
        }
        events.truncate(limit.into());
        Ok((newest, events))
    }

    /// What came since, the oldest first, and moves `seen` on: a thousand of a shard at the most,
    /// the others come with the next call. A history that went, with a Redis that lost it, is begun
    /// anew.
    pub async fn news(
        &self,
        shard: Option<Shard>,
        seen: &mut Seen,
    ) -> Result<Vec<EventView>, StoreError> {
        let mark = &*seen;
        let read = async |shard: Shard| {
            let mut command = cmd("XRANGE");
            command.arg(self.keys.history(shard)).arg(mark.mark(shard)).arg("+");
            command.arg("COUNT").arg(1000);
            self.read_events(shard, &command).await
        };
        let shards: Vec<Shard> = shard.map_or_else(|| Shard::all().collect(), |one| vec![one]);
        let pages: Vec<_> = stream::iter(shards).map(read).buffered(AT_ONCE).try_collect().await?;
        let mut events: Vec<_> = pages.into_iter().flatten().collect();
        events.sort_by_key(|(id, _)| *id);
        for (id, _) in &events {
            seen.note(*id);
        }
        Ok(events.into_iter().map(|(_, event)| event).collect())
    }

    async fn read_events(
        &self,
        shard: Shard,
        command: &Cmd,
    ) -> Result<Vec<(EventId, EventView)>, StoreError> {
        let found = self.unless_damaged("events", command).await?.unwrap_or(Value::Nil);
        Ok(events(shard, found))
    }
}

/// Asks for the newest entries of a history.
pub(super) fn newest(history: &str, since_ms: u64, limit: u16) -> Cmd {
    let mut command = cmd("XREVRANGE");
    command.arg(history).arg("+").arg(since_ms).arg("COUNT").arg(limit);
    command
}

/// The entries of such an answer.
pub(super) fn events(shard: Shard, answer: Value) -> Vec<(EventId, EventView)> {
    let found: Vec<(String, Vec<Vec<u8>>)> = from_redis_value(answer).unwrap_or_default();
    let entry = |(at, fields): (String, Vec<Vec<u8>>)| {
        let (ms, seq) = at.split_once('-')?;
        let id = EventId { ms: ms.parse().ok()?, seq: seq.parse().ok()?, shard };
        Some((id, view(id, &fields)))
    };
    found.into_iter().filter_map(entry).collect()
}

fn view(id: EventId, fields: &[Vec<u8>]) -> EventView {
    let mut named = HashMap::new();
    let mut owner = String::new();
    for pair in fields.chunks_exact(2) {
        if let Some(name) = FIELDS.into_iter().find(|name| name.as_bytes() == pair[0]) {
            named.insert(name, pair[1].clone());
        } else if pair[0] == b"owner" {
            owner = printable(&pair[1]);
        }
    }
    let fields = Fields(named);
    let text = |name| fields.text(name).unwrap_or_default();
    EventView {
        id: id.to_string(),
        at_ms: fields.number("at").unwrap_or(id.ms),
        kind: fields.text("type").unwrap_or_else(|| "damaged".to_owned()),
        subject: text("kind"),
        subject_id: text("id"),
        name: text("name"),
        owner: owner.chars().take(OWNER).collect(),
        actor: text("actor"),
        host: text("host"),
        detail: text("detail"),
    }
}
