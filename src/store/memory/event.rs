//! What the scripts in `lua/event` must do.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

use async_trait::async_trait;

use super::{MemoryStore, after, fading::Fading};
use crate::{
    digest::Digest,
    store::{
        Event, EventId, EventStore, GRACE, HISTORY_CAP, HistoryPage, NewEvent, OUTBOX_CAP,
        OutboxGroup, OutboxPage, OutboxRead, ReadHistory, ReadOutbox, Shard, StoreError,
        event::{DETAIL, line},
        millis,
    },
};

#[async_trait]
impl EventStore for MemoryStore {
    async fn append_event(
        &self,
        shard: Shard,
        event: NewEvent<'_>,
        request: Digest,
    ) -> Result<(), StoreError> {
        let (mut state, now) = self.enter();
        state.events.append(shard, &event, request, now);
        Ok(())
    }

    async fn read_history(&self, page: ReadHistory) -> Result<HistoryPage, StoreError> {
        Ok(self.enter().0.events.of(page.shard).read_history(&page))
    }

    async fn open_outbox(&self, group: &OutboxGroup) -> Result<(), StoreError> {
        let mut state = self.enter().0;
        Shard::all().for_each(|shard| state.events.of(shard).open(group));
        Ok(())
    }

    async fn close_outbox(&self, group: &OutboxGroup) -> Result<(), StoreError> {
        let mut state = self.enter().0;
        Shard::all().for_each(|shard| state.events.of(shard).close(group));
        Ok(())
    }

    async fn outbox_backlog(&self) -> Result<Vec<(Shard, u64)>, StoreError> {
        let mut state = self.enter().0;
        let mut length = |shard| state.events.of(shard).outbox.as_ref().map_or(0, Outbox::len);
        let lengths = Shard::all().map(|shard| (shard, length(shard)));
        Ok(lengths.filter(|(_, length)| *length > 0).collect())
    }

    async fn read_outbox(&self, read: ReadOutbox<'_>) -> Result<OutboxRead, StoreError> {
        let (mut state, now) = self.enter();
        let outbox = state.events.of(read.shard).outbox.as_mut();
        Ok(outbox.map_or(OutboxRead::Closed, |outbox| outbox.read(&read, now)))
    }

    async fn ack_outbox(
        &self,
        shard: Shard,
        group: &OutboxGroup,
        ids: &[EventId],
    ) -> Result<u64, StoreError> {
        let mut state = self.enter().0;
        let outbox = state.events.of(shard).outbox.as_mut();
        let group = outbox.and_then(|outbox| outbox.groups.get_mut(group));
        Ok(group.map_or(0, |group| {
            ids.iter().filter(|id| group.held.remove(id).is_some()).count() as u64
        }))
    }
}

#[derive(Default)]
pub(super) struct Events {
    shards: HashMap<Shard, Streams>,
    receipts: Fading<Digest, ()>,
}

/// What a shard keeps of events.
#[derive(Default)]
pub(super) struct Streams {
    /// The millisecond and number of the last one: ids only grow.
    last: (u64, u64),
    pub(super) history: VecDeque<Event>,
    /// There while there is a group.
    pub(super) outbox: Option<Outbox>,
}

#[derive(Default)]
pub(super) struct Outbox {
    entries: VecDeque<Event>,
    /// How many have gone already.
    gone: u64,
    groups: BTreeMap<OutboxGroup, Group>,
}

#[derive(Default)]
struct Group {
    /// What it was handed last, and how many there were up to that.
    last: Option<EventId>,
    read: u64,
    held: BTreeMap<EventId, Held>,
}

struct Held {
    by: String,
    since: u64,
}

impl Events {
    fn append(&mut self, shard: Shard, event: &NewEvent<'_>, request: Digest, now: u64) {
        if self.receipts.get(request, now).is_none() {
            self.receipts.insert(request, (), after(now, GRACE), now);
            self.note(shard, event, now);
        }
    }

    /// Writes an event to both streams of a shard.
    pub(super) fn note(&mut self, shard: Shard, event: &NewEvent<'_>, now: u64) {
        let streams = self.of(shard);
        let (ms, seq) = streams.last;
        streams.last = if now > ms { (now, 0) } else { (ms, seq + 1) };
        let id = EventId { ms: streams.last.0, seq: streams.last.1, shard };
        let event = Event {
            id,
            at_ms: now,
            kind: event.kind,
            subject: event.subject,
            subject_id: event.subject_id.to_owned(),
            name: event.name.to_owned(),
            owner: event.owner,
            actor: event.actor,
            idp_host: event.idp_host.to_owned(),
            detail: line(event.detail, DETAIL),
        };
        if let Some(outbox) = &mut streams.outbox {
            outbox.entries.push_back(event.clone());
            if outbox.len() > OUTBOX_CAP {
                outbox.entries.pop_front();
                outbox.gone += 1;
            }
        }
        streams.history.push_back(event);
        if streams.history.len() as u64 > HISTORY_CAP {
            streams.history.pop_front();
        }
    }

    pub(super) fn of(&mut self, shard: Shard) -> &mut Streams {
        self.shards.entry(shard).or_default()
    }
}

impl Streams {
    fn read_history(&self, page: &ReadHistory) -> HistoryPage {
        let before = |event: &&Event| page.before.is_none_or(|before| event.id < before);
        let since = |event: &&Event| event.id.ms >= page.since_ms;
        let most = usize::from(page.most());
        let wanted = self.history.iter().rev().filter(before).take_while(since);
        let events: Vec<_> = wanted.take(most).cloned().collect();
        let next = events.last().map(|event| event.id).filter(|_| events.len() == most);
        HistoryPage { events, damaged: Vec::new(), next }
    }

    fn open(&mut self, group: &OutboxGroup) {
        let outbox = self.outbox.get_or_insert_default();
        let read = outbox.gone;
        outbox.groups.entry(group.clone()).or_insert_with(|| Group { read, ..Group::default() });
    }

    fn close(&mut self, group: &OutboxGroup) {
        self.outbox.take_if(|outbox| {
            outbox.groups.remove(group);
            outbox.groups.is_empty()
        });
    }
}

impl Outbox {
    fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    fn read(&mut self, read: &ReadOutbox<'_>, now: u64) -> OutboxRead {
        let Some(group) = self.groups.get_mut(read.group) else { return OutboxRead::Closed };
        let idle = millis(read.idle);
        // By name, since when each holds the first of what it holds.
        let mut others = BTreeMap::new();
        for held in group.held.values().filter(|held| held.by != read.consumer) {
            others.entry(&held.by).or_insert(held.since);
        }
        if let Some(since) = others.into_values().find(|since| now < since + idle) {
            return OutboxRead::Held { remaining: Duration::from_millis(since + idle - now) };
        }

        let mut lost = self.gone.saturating_sub(group.read);
        group.read = group.read.max(self.gone);
        let most = usize::from(read.most());
        let again = group.held.keys().filter(|id| read.after.is_none_or(|after| **id > after));
        let again: Vec<_> = again.copied().take(most).collect();
        let find = |id: &EventId| self.entries.binary_search_by_key(id, |event| event.id).ok();
        let mut events = Vec::new();
        for id in &again {
            if let Some(at) = find(id) {
                events.push(self.entries[at].clone());
            } else {
                group.held.remove(id);
                lost += 1;
            }
        }
        let from =
            self.entries.partition_point(|event| group.last.is_some_and(|it| event.id <= it));
        for event in self.entries.range(from..).take(most - again.len()) {
            (group.last, group.read) = (Some(event.id), group.read + 1);
            events.push(event.clone());
        }
        for event in &events {
            group.held.insert(event.id, Held { by: read.consumer.to_owned(), since: now });
        }
        let next = events.last().map(|event| event.id).filter(|_| events.len() == most);
        OutboxRead::Page(OutboxPage { events, damaged: Vec::new(), lost, next })
    }

    /// How many in front all groups have acknowledged.
    pub(super) fn acknowledged(&self) -> usize {
        let acknowledged = |group: &Group| {
            let first = group.held.keys().next();
            self.entries.partition_point(|event| match first {
                Some(first) => event.id < *first,
                None => group.last.is_some_and(|last| event.id <= last),
            })
        };
        self.groups.values().map(acknowledged).min().unwrap_or(self.entries.len())
    }

    /// Removes so many in front.
    pub(super) fn drop_first(&mut self, count: usize) {
        self.entries.drain(..count);
        self.gone += count as u64;
    }

    /// How many each group has yet to acknowledge.
    pub(super) fn lags(&self) -> impl Iterator<Item = (String, u64)> {
        let added = self.gone + self.len();
        self.groups.iter().map(move |(name, group)| {
            (name.to_string(), added - group.read.max(self.gone) + group.held.len() as u64)
        })
    }
}
