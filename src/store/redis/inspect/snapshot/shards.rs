//! The pass over the shards: one trip for each.

use std::collections::{BTreeSet, HashMap};

use futures_util::{StreamExt, TryStreamExt, stream};
use redis::{FromRedisValue, Pipeline, Value, cmd, from_redis_value};

use super::{
    super::{
        AT_ONCE, EventView, Inspector,
        connection::{Fields, whole},
        events::{events, newest},
        printable::printable,
        reader::Answer,
    },
    Capped, OrphanLine, SweepLine,
    view::ROWS,
};
use crate::store::{EventId, Shard, StoreError, SweepName};

/// How many events are shown.
const EVENTS: u16 = 12;
/// So long ahead of now a lease may end.
const LONGEST_LEASE_MS: u64 = 60_000;
/// How many leases of a shard are looked for.
const LEASES: usize = 50;

const TURN: [&str; 5] = ["holder", "lease_ends_at", "last_at", "found", "done"];

/// What the pass found.
#[derive(Debug, Default)]
pub(super) struct Shards {
    pub(super) scheduled: u64,
    pub(super) overdue: u64,
    /// The first on the index.
    pub(super) due: Vec<(String, u64)>,
    /// Whose place on the index may be the end of a lease.
    pub(super) leased: Vec<(String, u64)>,
    pub(super) orphans: Capped<OrphanLine>,
    pub(super) sweeps: Vec<SweepLine>,
    pub(super) events: Vec<EventView>,
    pub(super) undelivered: u64,
    pub(super) refused: BTreeSet<&'static str>,
}

impl Inspector {
    /// 256 trips, some of them at once; not atomic.
    pub(super) async fn shards(&self, now_ms: u64) -> Result<Shards, StoreError> {
        let asked = stream::iter(Shard::all()).map(|shard| self.answers(shard, now_ms));
        let all: Vec<_> = asked.buffered(AT_ONCE).try_collect().await?;
        let mut found = Shards { sweeps: SweepName::ALL.map(no_turn).into(), ..Shards::default() };
        let mut newest: Vec<(EventId, EventView)> = Vec::new();
        for (shard, answers) in all {
            let mut answers = Answers { all: answers.into_iter(), refused: &mut found.refused };
            found.scheduled += answers.next::<u64>("due");
            found.overdue += answers.next::<u64>("due");
            found.due.extend(scored(answers.next("due")));
            found.leased.extend(scored(answers.next("leases")));
            found.orphans.count += answers.next::<u64>("orphans");
            let orphans = scored(answers.next("orphans")).map(|(id, at)| orphan(&id, at));
            found.orphans.rows.extend(orphans);
            found.undelivered += answers.next::<u64>("undelivered");
            for sweep in &mut found.sweeps {
                add_turn(sweep, answers.next("sweeps"), now_ms);
            }
            newest.extend(events(shard, answers.next::<Raw>("events").0));
        }
        found.due.sort_by_key(|(_, at)| *at);
        found.due.truncate(ROWS);
        found.leased.sort_by_key(|(_, at)| *at);
        found.orphans.rows.sort_by_key(|row| row.since_ms);
        found.orphans.rows.truncate(ROWS);
        newest.sort_by_key(|(id, _)| std::cmp::Reverse(*id));
        newest.truncate(EVENTS.into());
        found.events = newest.into_iter().map(|(_, event)| event).collect();
        Ok(found)
    }

    /// What nobody has access to, the oldest first: up to `limit` (1 to 1000), over all shards; and
    /// how many there are. Not atomic.
    pub async fn orphans(&self, limit: u16) -> Result<Capped<OrphanLine>, StoreError> {
        let limit = limit.clamp(1, 1000);
        let asked = stream::iter(Shard::all()).map(|shard| self.orphans_in(shard, limit));
        let all: Vec<(u64, Vec<OrphanLine>)> = asked.buffered(AT_ONCE).try_collect().await?;
        let count = all.iter().map(|(count, _)| count).sum();
        let mut rows: Vec<_> = all.into_iter().flat_map(|(_, rows)| rows).collect();
        rows.sort_by_key(|row| row.since_ms);
        rows.truncate(limit.into());
        Ok(Capped { rows, count })
    }

    async fn orphans_in(
        &self,
        shard: Shard,
        limit: u16,
    ) -> Result<(u64, Vec<OrphanLine>), StoreError> {
        let key = self.keys.orphans(shard);
        let mut first = cmd("ZRANGE");
        first.arg(&key).arg(0).arg(limit - 1).arg("WITHSCORES");
        let first = self.unless_damaged("orphans", &first).await?.unwrap_or(Value::Nil);
        let first: Vec<(Vec<u8>, f64)> = from_redis_value(first).unwrap_or_default();
        if first.is_empty() {
            return Ok((0, Vec::new()));
        }
        let all = self.unless_damaged("orphans", cmd("ZCARD").arg(&key)).await?;
        let count = from_redis_value(all.unwrap_or(Value::Nil)).unwrap_or(0);
        Ok((count, scored(first).map(|(id, at)| orphan(&id, at)).collect()))
    }

    async fn answers(&self, shard: Shard, now_ms: u64) -> Result<(Shard, Vec<Answer>), StoreError> {
        let answers = self.reader.ask_all("snapshot", &self.questions(shard, now_ms)).await?;
        Ok((shard, answers))
    }

    /// In the order in which they are read.
    fn questions(&self, shard: Shard, now_ms: u64) -> Pipeline {
        let mut all = Pipeline::new();
        let (due, orphans) = (self.keys.due(shard), self.keys.orphans(shard));
        // A worker's user has no ZCARD.
        all.add_command(cmd("ZCOUNT")).arg(&due).arg("-inf").arg("+inf");
        all.add_command(cmd("ZCOUNT")).arg(&due).arg("-inf").arg(now_ms);
        all.add_command(cmd("ZRANGE")).arg(&due).arg(0).arg(ROWS - 1).arg("WITHSCORES");
        let soon = now_ms + LONGEST_LEASE_MS;
        all.add_command(cmd("ZRANGEBYSCORE")).arg(&due).arg(now_ms + 1).arg(soon);
        all.arg("WITHSCORES").arg("LIMIT").arg(0).arg(LEASES);
        all.add_command(cmd("ZCOUNT")).arg(&orphans).arg("-inf").arg("+inf");
        all.add_command(cmd("ZRANGE")).arg(&orphans).arg(0).arg(ROWS - 1).arg("WITHSCORES");
        all.add_command(cmd("XLEN")).arg(self.keys.outbox(shard));
        for sweep in SweepName::ALL {
            all.add_command(cmd("HMGET")).arg(self.keys.sweep(shard, sweep)).arg(&TURN);
        }
        all.add_command(newest(&self.keys.history(shard), 0, EVENTS));
        all
    }
}

/// The answers of a shard, one after the other.
struct Answers<'a> {
    all: std::vec::IntoIter<Answer>,
    refused: &'a mut BTreeSet<&'static str>,
}

impl Answers<'_> {
    /// What is damaged is shown as nothing: it is somebody else's duty to tell of it.
    fn next<T: FromRedisValue + Default>(&mut self, what: &'static str) -> T {
        match self.all.next() {
            Some(Answer::Said(value)) => from_redis_value(value).unwrap_or_default(),
            Some(Answer::Refused) => {
                self.refused.insert(what);
                T::default()
            }
            Some(Answer::Damaged) | None => T::default(),
        }
    }
}

/// As it came.
struct Raw(Value);

impl Default for Raw {
    fn default() -> Self {
        Self(Value::Nil)
    }
}

impl FromRedisValue for Raw {
    fn from_redis_value(value: Value) -> Result<Self, redis::ParsingError> {
        Ok(Self(value))
    }
}

/// What is no text is shown as far as it is.
fn scored(members: Vec<(Vec<u8>, f64)>) -> impl Iterator<Item = (String, u64)> {
    members.into_iter().map(|(member, score)| (printable(&member), whole(score)))
}

fn orphan(member: &str, since_ms: u64) -> OrphanLine {
    let (kind, id) = match member.split_once(':') {
        Some(("conn", id)) => ("connection", id),
        Some(("headers", id)) => ("headers", id),
        _ => ("unknown", member),
    };
    OrphanLine { kind, id: id.to_owned(), since_ms }
}

fn no_turn(sweep: SweepName) -> SweepLine {
    SweepLine {
        name: sweep.as_str(),
        shards: 0,
        running: 0,
        last_at_ms: None,
        oldest_at_ms: None,
        found: 0,
        done: 0,
    }
}

fn add_turn(sweep: &mut SweepLine, fields: Vec<Option<Vec<u8>>>, now_ms: u64) {
    let fields: HashMap<_, _> =
        TURN.into_iter().zip(fields).filter_map(|(name, value)| Some((name, value?))).collect();
    let fields = Fields(fields);
    let is_running = fields.number("lease_ends_at").is_some_and(|ends| ends > now_ms);
    sweep.running += u64::from(is_running && fields.has("holder"));
    sweep.found = sweep.found.saturating_add(fields.number("found").unwrap_or(0));
    sweep.done = sweep.done.saturating_add(fields.number("done").unwrap_or(0));
    if let Some(at) = fields.number("last_at") {
        sweep.shards += 1;
        sweep.last_at_ms = sweep.last_at_ms.max(Some(at));
        sweep.oldest_at_ms = Some(sweep.oldest_at_ms.map_or(at, |oldest| oldest.min(at)));
    }
}
