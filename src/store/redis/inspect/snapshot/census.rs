//! All credentials, counted along the index of what is sealed: a bounded part at a time.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use futures_util::future::join_all;
use redis::{Pipeline, Value, cmd, from_redis_value};

use super::{
    super::{
        Inspector,
        connection::{Fields, whole},
        printable::printable,
        reader::Answer,
    },
    Census, Trouble,
};
use crate::store::{ConnectionId, HeadersId, HeadersStatus, Shard, Status, StoreError};

/// So many credentials are read in one trip: about a millisecond of Redis's time.
const PAGE: usize = 250;
/// So many shards are read at once.
const GROUP: u8 = 16;
/// So many credentials in one look, or a few thousand more.
const BUDGET: usize = 20_000;
/// So many different troubles are told apart, and so many are told of.
const KINDS: usize = 500;
const TOLD: usize = 20;

const CONNECTION: [&str; 8] =
    ["status", "reason", "status_at", "connector", "attempts", "last_error", "failing_at", "owner"];
const HEADERS: [&str; 5] = ["status", "reason", "status_at", "name", "mode"];

/// A count that is under way.
#[derive(Debug, Default)]
pub(super) struct Counting {
    /// The first shard of the group, and how far those of the group were read.
    first: u8,
    at: usize,
    so_far: Tally,
    last: Option<Census>,
}

#[derive(Debug, Default)]
struct Tally {
    census: Census,
    /// By kind, status, name and reason.
    troubles: HashMap<(&'static str, String, String, String), Found>,
}

#[derive(Debug)]
struct Found {
    count: u64,
    id: String,
    since_ms: Option<u64>,
}

impl Counting {
    /// Goes on for a while. What is told is the last count that ended, or what there is of the first.
    pub(super) async fn go_on(
        &mut self,
        inspector: &Inspector,
        now_ms: u64,
    ) -> Result<Census, StoreError> {
        let mut budget = BUDGET;
        while budget > 0 {
            let group = (0..GROUP).map(|n| Shard::new(self.first + n));
            let pages = join_all(group.map(|shard| inspector.credentials(shard, self.at))).await;
            let mut is_over = true;
            for page in pages {
                let Page { members, read } = page?;
                is_over &= members.len() < PAGE;
                budget = budget.saturating_sub(members.len());
                self.so_far.count(&members, &read);
            }
            self.at += PAGE;
            if !is_over {
                continue;
            }
            (self.first, self.at) = (self.first.wrapping_add(GROUP), 0);
            if self.first == 0 {
                let tally = std::mem::take(&mut self.so_far);
                let census = Census { ended_at_ms: Some(now_ms), ..tally.told() };
                self.last = Some(census.clone());
                return Ok(census);
            }
        }
        Ok(self.last.clone().unwrap_or_else(|| self.so_far.told()))
    }
}

/// Some members of an index, by the number of the key that sealed them; and what was read of those
/// that are records.
struct Page {
    members: Vec<(String, u64)>,
    read: Vec<(&'static str, String, Fields)>,
}

impl Inspector {
    async fn credentials(&self, shard: Shard, from: usize) -> Result<Page, StoreError> {
        let mut page = cmd("ZRANGE");
        page.arg(self.keys.sealed(shard)).arg(from).arg(from + PAGE - 1).arg("WITHSCORES");
        let page = self.unless_damaged("census", &page).await?.unwrap_or(Value::Nil);
        let page: Vec<(Vec<u8>, f64)> = from_redis_value(page).unwrap_or_default();
        let members: Vec<_> =
            page.into_iter().map(|(member, key)| (printable(&member), whole(key))).collect();
        let mut reads = Pipeline::new();
        let mut asked = Vec::new();
        for (member, _) in &members {
            let Some((kind, id, key, names)) = self.record_of(shard, member) else { continue };
            reads.add_command(cmd("HMGET")).arg(key).arg(names);
            asked.push((kind, id, names));
        }
        if asked.is_empty() {
            return Ok(Page { members, read: Vec::new() });
        }
        let answers = self.reader.ask_all("census", &reads).await?;
        let read = asked.into_iter().zip(answers).map(|((kind, id, names), answer)| {
            let values: Option<Vec<Option<Vec<u8>>>> = match answer {
                Answer::Said(value) => from_redis_value(value).ok(),
                Answer::Refused | Answer::Damaged => None,
            };
            let named = names.iter().copied().zip(values.unwrap_or_default());
            let fields = named.filter_map(|(name, value)| Some((name, value?))).collect();
            (kind, id, Fields(fields))
        });
        Ok(Page { members, read: read.collect() })
    }

    /// What a member leads to: its kind, its id, its key, and what is read there; `None` for an older
    /// sibling's entry, whose connection has one of its own, and for what is none of ours.
    fn record_of(
        &self,
        shard: Shard,
        member: &str,
    ) -> Option<(&'static str, String, String, &'static [&'static str])> {
        let (kind, id) = member.split_once(':')?;
        let (kind, of, key, names) = match kind {
            "conn" => {
                let id: ConnectionId = id.parse().ok()?;
                ("connection", id.shard(), self.keys.connection(&id), &CONNECTION[..])
            }
            "headers" => {
                let id: HeadersId = id.parse().ok()?;
                ("headers", id.shard(), self.keys.headers(id), &HEADERS[..])
            }
            _ => return None,
        };
        (of == shard).then(|| (kind, id.to_owned(), key, names))
    }
}

impl Tally {
    fn count(&mut self, members: &[(String, u64)], read: &[(&'static str, String, Fields)]) {
        for (_, key) in members {
            let id = if *key == 0 { "none".to_owned() } else { format!("{key:08x}") };
            count(&mut self.census.keys, id);
        }
        for (kind, id, fields) in read {
            match *kind {
                "connection" => self.connection(id, fields),
                _ => self.headers(id, fields),
            }
        }
    }

    fn connection(&mut self, id: &str, fields: &Fields) {
        let known = fields.text("status").filter(|word| Status::from_word(word).is_some());
        let status = known.filter(|_| fields.has("owner")).unwrap_or("damaged".to_owned());
        count(&mut self.census.connections, status.clone());
        let is_failing = status == "active" && fields.number("attempts").unwrap_or(0) > 0;
        self.census.failing += u64::from(is_failing);
        let (status, reason, since) = match status.as_str() {
            "active" if is_failing => ("failing".to_owned(), "last_error", "failing_at"),
            "needs_reauth" | "exhausted" | "damaged" => (status, "reason", "status_at"),
            _ => return,
        };
        self.trouble("connection", id, status, fields, ("connector", reason, since));
    }

    fn headers(&mut self, id: &str, fields: &Fields) {
        let known = fields.text("status").filter(|word| HeadersStatus::from_word(word).is_some());
        let status = known.filter(|_| fields.has("mode")).unwrap_or("damaged".to_owned());
        count(&mut self.census.headers, status.clone());
        if ["needs_update", "damaged"].contains(&status.as_str()) {
            self.trouble("headers", id, status, fields, ("name", "reason", "status_at"));
        }
    }

    fn trouble(
        &mut self,
        kind: &'static str,
        id: &str,
        status: String,
        fields: &Fields,
        (name, reason, since): (&str, &str, &str),
    ) {
        let text = |field| fields.text(field).unwrap_or_default();
        let which = (kind, status, text(name), text(reason));
        let since_ms = fields.number(since);
        if self.troubles.len() >= KINDS && !self.troubles.contains_key(&which) {
            self.census.others += 1;
            return;
        }
        let found = self.troubles.entry(which);
        let found = found.or_insert_with(|| Found { count: 0, id: id.to_owned(), since_ms });
        found.count += 1;
        if since_ms > found.since_ms {
            (found.id, found.since_ms) = (id.to_owned(), since_ms);
        }
    }

    /// What somebody must do something about comes first; then what there is most of, then the newest.
    fn told(&self) -> Census {
        let mut troubles: Vec<Trouble> = self
            .troubles
            .iter()
            .map(|((kind, status, name, reason), found)| Trouble {
                kind,
                status: status.clone(),
                name: name.clone(),
                reason: reason.clone(),
                count: found.count,
                id: found.id.clone(),
                since_ms: found.since_ms,
            })
            .collect();
        troubles.sort_by_key(|it| {
            (it.status == "failing", Reverse(it.count), Reverse(it.since_ms), it.id.clone())
        });
        let rest = troubles.iter().skip(TOLD).map(|trouble| trouble.count).sum::<u64>();
        troubles.truncate(TOLD);
        Census { troubles, others: self.census.others + rest, ..self.census.clone() }
    }
}

fn count(counts: &mut BTreeMap<String, u64>, what: String) {
    *counts.entry(what).or_default() += 1;
}
