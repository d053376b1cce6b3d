//! What is sealed by which key, on Redis: an index for each shard.

use async_trait::async_trait;
use redis::{Cmd, Pipeline, Value, cmd, from_redis_value, from_redis_value_ref};

use super::{Keyspace, RedisStore, reply, scripts, scripts::Arg};
use crate::{
    digest::Digest,
    store::{
        ConnectionId, HeadersId, HeadersMode, Reseal, Resealed, SealedName, SealedOf, SealedPage,
        SealedRecord, SealedSecret, SealedStore, Shard, StoreError,
    },
};

#[async_trait]
impl SealedStore for RedisStore {
    async fn list_sealed(&self, page: SealedPage) -> Result<Vec<SealedRecord>, StoreError> {
        let SealedPage { shard, not_by, skip, limit } = page;
        let limit = u64::from(limit.clamp(1, 100));
        let (key, beside) = (self.keys.sealed(shard), format!("({not_by}"));
        let mut below = redis::pipe();
        below.cmd("ZCOUNT").arg(&key).arg("-inf").arg(&beside);
        range(below.cmd("ZRANGEBYSCORE").arg(&key).arg("-inf").arg(&beside), skip, limit);
        let found = self.read_all(LIST, &below).await?;
        let (before, mut found): (u64, Vec<Scored>) = read(LIST, found)?;
        let left = limit.saturating_sub(found.len() as u64);
        if left > 0 {
            let mut above = redis::pipe();
            let skip = skip.saturating_sub(before);
            range(above.cmd("ZRANGEBYSCORE").arg(&key).arg(&beside).arg("+inf"), skip, left);
            let (more,): (Vec<Scored>,) = read(LIST, self.read_all(LIST, &above).await?)?;
            found.extend(more);
        }
        // What stands for a record of another shard is nobody's here.
        let name = |member: &[u8]| match str::from_utf8(member).map(SealedName::from_member) {
            Ok(name) if home(&name) == Some(shard) => name,
            _ => SealedName::Unknown,
        };
        let records = found
            .iter()
            .map(|(member, score)| SealedRecord { name: name(member), by: number(*score) });
        Ok(records.collect())
    }

    async fn count_sealed(&self, shard: Shard) -> Result<Vec<(u32, u64)>, StoreError> {
        let mut count = Count::of(&self.keys, shard);
        while let Some(command) = count.next() {
            count.answer(self.read(COUNT, &command).await?)?;
        }
        Ok(count.counts())
    }

    async fn read_sealed(&self, name: &SealedName) -> Result<Option<SealedSecret>, StoreError> {
        let fields: &[&str] = match name {
            SealedName::Connection(_) => &["owner", "connector", "secret"],
            SealedName::Sibling(_) => &["owner", "connector", "alt_secret"],
            SealedName::OlderSibling(_) => &["owner", "connector", "alt2_secret"],
            SealedName::Headers(_) => &["mode", "identity", "client", "secret"],
            SealedName::Unknown => return Ok(None),
        };
        let key = self.record_of(name).unwrap_or_default();
        let mut command = cmd("HMGET");
        command.arg(&key).arg(fields);
        let Value::Array(mut fields) = self.read(READ, &command).await? else {
            return Err(reply::unreadable(READ));
        };
        let Some(Value::BulkString(sealed)) = fields.pop().filter(|it| *it != Value::Nil) else {
            return Ok(None);
        };
        match of(&fields) {
            Some(of) => Ok(Some(SealedSecret { of, sealed })),
            None => Err(StoreError::Corrupt { verb: READ, key, what: "whose it is, is not there" }),
        }
    }

    async fn reseal(&self, reseal: Reseal<'_>) -> Result<Resealed, StoreError> {
        let Reseal { name, request, old, new, sealed_by } = reseal;
        let (Some(record), Some(shard)) = (self.record_of(name), home(name)) else {
            return Ok(Resealed::Absent);
        };
        let (verb, id) = match name {
            SealedName::Headers(id) => (&scripts::HEADERS_RESEAL, id.to_string()),
            SealedName::Connection(id) | SealedName::Sibling(id) | SealedName::OlderSibling(id) => {
                (&scripts::CONNECTION_RESEAL, id.to_string())
            }
            SealedName::Unknown => return Ok(Resealed::Absent),
        };
        let (request, key) = (request.to_hex(), format!("{sealed_by:08x}"));
        let argv = [text(&request), text(&id), Arg::Bytes(old), Arg::Bytes(new), text(&key)];
        let keys = [record.as_str(), &self.keys.sealed(shard)];
        let reply = self.run_script(verb, keys, argv, request.as_bytes()).await?;
        match reply.word() {
            "resealed" => Ok(Resealed::Resealed),
            "changed" => Ok(Resealed::Changed),
            "absent" => Ok(Resealed::Absent),
            _ => Err(reply.unknown_word()),
        }
    }
}

impl RedisStore {
    fn record_of(&self, name: &SealedName) -> Option<String> {
        Some(match name {
            SealedName::Headers(id) => self.keys.headers(*id),
            SealedName::Connection(id) | SealedName::Sibling(id) | SealedName::OlderSibling(id) => {
                self.keys.connection(id)
            }
            SealedName::Unknown => return None,
        })
    }
}

fn home(name: &SealedName) -> Option<Shard> {
    match name {
        SealedName::Headers(id) => Some(HeadersId::shard(id)),
        SealedName::Connection(id) | SealedName::Sibling(id) | SealedName::OlderSibling(id) => {
            Some(ConnectionId::shard(id))
        }
        SealedName::Unknown => None,
    }
}

/// Whose a secret is, by the fields in front of it.
fn of(fields: &[Value]) -> Option<SealedOf> {
    let word = |value: &Value| from_redis_value_ref::<String>(value).ok();
    let digest = |value: &Value| Digest::from_hex(&word(value)?);
    match fields {
        [owner, connector] => {
            Some(SealedOf::Connection { owner: digest(owner)?, connector: word(connector)? })
        }
        [mode, identity, client] => Some(SealedOf::Headers {
            mode: HeadersMode::from_word(&word(mode)?)?,
            identity: digest(identity)?,
            client: digest(client)?,
        }),
        _ => None,
    }
}

/// Counts how much each key has sealed in a shard, command by command: where the next key is, and how
/// often it is there.
#[derive(Debug)]
pub(super) struct Count {
    index: String,
    counts: Vec<(u32, u64)>,
    /// The key that is counted next, as the index has it.
    at: Option<f64>,
    /// Whether there is no other.
    is_over: bool,
    asked: usize,
}

impl Count {
    pub(super) fn of(keys: &Keyspace, shard: Shard) -> Self {
        let index = keys.sealed(shard);
        Self { index, counts: Vec::new(), at: None, is_over: false, asked: 0 }
    }

    /// What to ask next; `None` if all is counted.
    pub(super) fn next(&mut self) -> Option<Cmd> {
        if self.is_over || self.asked >= 2 * MOST_KEYS {
            return None;
        }
        self.asked += 1;
        let count = |score: f64| {
            let mut command = cmd("ZCOUNT");
            command.arg(&self.index).arg(score).arg(score);
            command
        };
        Some(match self.at {
            Some(score) if self.asked.is_multiple_of(2) => count(score),
            at => {
                let from = at.map_or_else(|| "-inf".to_owned(), |score| format!("({score}"));
                let mut command = cmd("ZRANGEBYSCORE");
                command.arg(&self.index).arg(from).arg("+inf").arg("WITHSCORES");
                command.arg("LIMIT").arg(0).arg(1);
                command
            }
        })
    }

    pub(super) fn answer(&mut self, value: Value) -> Result<(), StoreError> {
        if !self.asked.is_multiple_of(2) {
            let found: Vec<Scored> = read(COUNT, value)?;
            self.is_over = found.is_empty();
            self.at = found.first().map(|(_, score)| *score);
            return Ok(());
        }
        let (count, by) = (read::<u64>(COUNT, value)?, number(self.at.unwrap_or_default()));
        // Two that are no numbers of keys may be the same one here.
        match self.counts.last_mut() {
            Some((last, sum)) if *last == by => *sum += count,
            _ => self.counts.push((by, count)),
        }
        Ok(())
    }

    pub(super) fn counts(self) -> Vec<(u32, u64)> {
        self.counts
    }
}

/// A member with its score.
type Scored = (Vec<u8>, f64);

fn range(command: &mut Pipeline, skip: u64, limit: u64) {
    command.arg("WITHSCORES").arg("LIMIT").arg(skip).arg(limit);
}

fn read<T: redis::FromRedisValue>(verb: &'static str, value: Value) -> Result<T, StoreError> {
    from_redis_value(value).map_err(|_| reply::unreadable(verb))
}

/// The key that a score stands for. What is none of ours ends at one of the two ends.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast from a float stops at the ends"
)]
fn number(score: f64) -> u32 {
    score as u32
}

const LIST: &str = "list_sealed";
const COUNT: &str = "count_sealed";
const READ: &str = "read_sealed";
/// No ring has so many: a bound for an index that somebody else has written.
const MOST_KEYS: usize = 64;

fn text(text: &str) -> Arg<'_> {
    Arg::Bytes(text.as_bytes())
}
