//! Events on Redis: two streams in each shard.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::future::join_all;
use redis::{Cmd, Value, cmd, from_redis_value, from_redis_value_ref};

use super::{
    RedisStore,
    link::Sent,
    reply, scripts,
    scripts::{Arg, Verb},
    session::Effect,
};
use crate::{
    RequestId,
    digest::Digest,
    store::{
        Actor, Class, Event, EventId, EventKind, EventStore, GRACE, HistoryPage, NewEvent,
        OutboxGroup, OutboxPage, OutboxRead, ReadHistory, ReadOutbox, Shard, StoreError, Subject,
        event::{DETAIL, line},
        millis,
    },
};

/// How many shards are asked at once: they share one connection, so this is one trip for each.
const AT_ONCE: usize = 64;

#[async_trait]
impl EventStore for RedisStore {
    async fn append_event(
        &self,
        shard: Shard,
        event: NewEvent<'_>,
        request: Digest,
    ) -> Result<(), StoreError> {
        let keys =
            [self.keys.outbox(shard), self.keys.history(shard), self.keys.receipt(shard, request)];
        let owner = event.owner.map(Digest::to_hex).unwrap_or_default();
        let detail = line(event.detail, DETAIL);
        let argv = [
            Arg::Bytes(request.as_bytes()),
            text(event.kind.as_str()),
            text(event.subject.as_str()),
            text(event.subject_id),
            text(event.name),
            text(&owner),
            text(event.actor.as_str()),
            text(event.idp_host),
            text(&detail),
            Arg::Number(millis(GRACE)),
        ];
        let keys = [&*keys[0], &*keys[1], &*keys[2]];
        let verb = &scripts::EVENT_APPEND;
        let reply = self.run_script(verb, keys, argv, request.as_bytes()).await?;
        if reply.word() == "told" { Ok(()) } else { Err(reply.unknown_word()) }
    }

    async fn read_history(&self, page: ReadHistory) -> Result<HistoryPage, StoreError> {
        let from = page.before.map_or("+".to_owned(), |before| format!("({}", stream_id(before)));
        let mut command = cmd("XREVRANGE");
        command.arg(self.keys.history(page.shard)).arg(from).arg(page.since_ms);
        command.arg("COUNT").arg(page.most());
        let found = self.read("read_history", &command).await?;
        let entries =
            entries(page.shard, found).ok_or_else(|| reply::unreadable("read_history"))?;
        let full = entries.len() == usize::from(page.most());
        let next = entries.last().map(|(id, _)| *id).filter(|_| full);
        let (events, damaged) = apart(entries);
        Ok(HistoryPage { events, damaged, next })
    }

    async fn open_outbox(&self, group: &OutboxGroup) -> Result<(), StoreError> {
        in_turns(Shard::all().map(|shard| self.run_on(&scripts::EVENT_OPEN, shard, group)))
            .await
            .map(drop)
    }

    async fn close_outbox(&self, group: &OutboxGroup) -> Result<(), StoreError> {
        in_turns(Shard::all().map(|shard| self.run_on(&scripts::EVENT_CLOSE, shard, group)))
            .await
            .map(drop)
    }

    async fn outbox_backlog(&self) -> Result<Vec<(Shard, u64)>, StoreError> {
        let mut lengths = in_turns(Shard::all().map(|shard| self.outbox_length(shard))).await?;
        lengths.retain(|(_, length)| *length > 0);
        Ok(lengths)
    }

    async fn read_outbox(&self, read: ReadOutbox<'_>) -> Result<OutboxRead, StoreError> {
        let key = self.keys.outbox(read.shard);
        let after = read.after.map(stream_id).unwrap_or_default();
        let argv = [
            Arg::Bytes(read.request.as_bytes()),
            text(read.group.as_str()),
            text(read.consumer),
            text(&after),
            Arg::Number(read.most().into()),
            Arg::Number(millis(read.idle)),
        ];
        let verb = &scripts::EVENT_READ;
        let reply = self.run_script(verb, [&key], argv, read.request.as_bytes()).await?;
        match reply.word() {
            "page" => {
                let entries = entries(read.shard, reply.part(1)?);
                let entries = entries.ok_or_else(|| reply.unknown_word())?;
                let full = entries.len() == usize::from(read.most());
                let next = entries.last().map(|(id, _)| *id).filter(|_| full);
                let (events, damaged) = apart(entries);
                Ok(OutboxRead::Page(OutboxPage { events, damaged, lost: reply.part(0)?, next }))
            }
            "held" => Ok(OutboxRead::Held { remaining: Duration::from_millis(reply.part(0)?) }),
            "closed" => Ok(OutboxRead::Closed),
            _ => Err(reply.unknown_word()),
        }
    }

    async fn ack_outbox(
        &self,
        shard: Shard,
        group: &OutboxGroup,
        ids: &[EventId],
    ) -> Result<u64, StoreError> {
        if ids.is_empty() {
            return Ok(0);
        }
        let mut command = cmd("XACK");
        command.arg(self.keys.outbox(shard)).arg(group.as_str());
        for id in ids {
            command.arg(stream_id(*id));
        }
        number("ack_outbox", self.write_light("ack_outbox", &command).await?)
    }
}

impl RedisStore {
    /// What no replica has to confirm: undone by a failover, it is done again.
    async fn write_light(&self, verb: &'static str, command: &Cmd) -> Result<Value, StoreError> {
        self.session.run(verb, Sent::One(command), Effect::Writes, None).await
    }

    async fn run_on(
        &self,
        verb: &'static Verb<1, 2>,
        shard: Shard,
        group: &OutboxGroup,
    ) -> Result<(), StoreError> {
        let (key, request) = (self.keys.outbox(shard), RequestId::random().digest());
        let argv = [Arg::Bytes(request.as_bytes()), text(group.as_str())];
        self.run_script(verb, [&key], argv, request.as_bytes()).await.map(drop)
    }

    async fn outbox_length(&self, shard: Shard) -> Result<(Shard, u64), StoreError> {
        let mut command = cmd("XLEN");
        command.arg(self.keys.outbox(shard));
        match self.read("outbox_backlog", &command).await {
            Ok(length) => Ok((shard, number("outbox_backlog", length)?)),
            // Not empty, so that whoever reads this shard is told, and the others' readers are not.
            Err(error) if error.class() == Class::Corrupt => Ok((shard, 1)),
            Err(error) => Err(error),
        }
    }
}

/// Asks all, some of them at once. One that is damaged stops nothing, and is told in the end.
async fn in_turns<T, F>(asked: impl Iterator<Item = F>) -> Result<Vec<T>, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut asked: VecDeque<F> = asked.collect();
    let mut answers = Vec::with_capacity(asked.len());
    let mut damaged = None;
    while !asked.is_empty() {
        let some = asked.drain(..AT_ONCE.min(asked.len()));
        for answer in join_all(some).await {
            match answer {
                Ok(answer) => answers.push(answer),
                Err(error) if error.class() == Class::Corrupt => damaged = Some(error),
                Err(error) => return Err(error),
            }
        }
    }
    damaged.map_or(Ok(answers), Err)
}

fn stream_id(id: EventId) -> String {
    format!("{}-{}", id.ms, id.seq)
}

/// The entries of a stream, each with what it says if it is an event; `None` if it is no such reply.
fn entries(shard: Shard, value: Value) -> Option<Vec<(EventId, Option<Event>)>> {
    let found: Vec<(String, Vec<Value>)> = from_redis_value(value).ok()?;
    let entry = |(id, fields): (String, Vec<Value>)| {
        let (ms, seq) = id.split_once('-')?;
        let id = EventId { ms: ms.parse().ok()?, seq: seq.parse().ok()?, shard };
        Some((id, event(id, &fields)))
    };
    found.into_iter().map(entry).collect()
}

/// `None` if it is not what this library writes.
fn event(id: EventId, fields: &[Value]) -> Option<Event> {
    let mut named = HashMap::new();
    for pair in fields.chunks_exact(2) {
        let name: String = from_redis_value_ref(&pair[0]).ok()?;
        named.insert(name, from_redis_value_ref::<String>(&pair[1]).ok()?);
    }
    let field = |name: &str| named.get(name).map(String::as_str);
    let short = |name: &str| line(field(name).unwrap_or_default(), 255);
    let owner = match field("owner").unwrap_or_default() {
        "" => None,
        hex => Some(Digest::from_hex(hex)?),
    };
    Some(Event {
        id,
        at_ms: field("at")?.parse().ok()?,
        kind: EventKind::from_word(field("type")?)?,
        subject: Subject::from_word(field("kind")?)?,
        subject_id: short("id"),
        name: short("name"),
        owner,
        actor: Actor::from_word(field("actor")?)?,
        idp_host: short("host"),
        detail: line(field("detail").unwrap_or_default(), DETAIL),
    })
}

fn apart(entries: Vec<(EventId, Option<Event>)>) -> (Vec<Event>, Vec<EventId>) {
    let damaged = entries.iter().filter(|(_, event)| event.is_none()).map(|(id, _)| *id).collect();
    (entries.into_iter().filter_map(|(_, event)| event).collect(), damaged)
}

fn number(verb: &'static str, value: Value) -> Result<u64, StoreError> {
    from_redis_value(value).map_err(|_| reply::unreadable(verb))
}

fn text(text: &str) -> Arg<'_> {
    Arg::Bytes(text.as_bytes())
}
