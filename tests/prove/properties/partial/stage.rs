//! A server on which a recorded call is run again from the same state, as a user with fewer rights.

use std::{collections::BTreeMap, fmt::Write as _};

use redis::{FromRedisValue, RedisResult, Value, aio::MultiplexedConnection};

use super::recording::Call;
use crate::support::server::TestServer;

const PASSWORD: &str = "narrow";
/// How far two times may differ: by how long it takes to run a call twice.
const TOLERANCE: f64 = 5_000.0;

/// What Redis refuses in the middle of a script.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The user may not run this command.
    Command(String),
    /// The user may not touch this key, or may only read it.
    Key { key: Vec<u8>, may_read: bool },
    /// The user may not publish.
    Channel,
    /// This key has another type.
    Type(Vec<u8>),
}

impl Fault {
    /// All that can be refused of a call.
    pub fn all(call: &Call) -> Vec<Self> {
        let mut commands: Vec<String> = call.inner.iter().map(Call::word).collect();
        commands.sort();
        commands.dedup();
        let publishes = commands.contains(&"publish".to_owned());
        let mut faults: Vec<_> = commands.into_iter().map(Self::Command).collect();
        faults.extend(publishes.then_some(Self::Channel));
        for key in call.touched() {
            for may_read in [false, true] {
                faults.push(Self::Key { key: key.clone(), may_read });
            }
            faults.push(Self::Type(key));
        }
        faults
    }

    /// The same for the keys of all records.
    pub fn kind(&self, call: &Call) -> String {
        let key = |key: &Vec<u8>| match call.declared().iter().position(|other| other == key) {
            Some(at) => format!("KEYS[{}]", at + 1),
            None => {
                let name = String::from_utf8_lossy(key).into_owned();
                name.split(':').nth(2).unwrap_or_default().to_owned()
            }
        };
        match self {
            Self::Command(command) => format!("no right to {command}"),
            Self::Key { key: of, may_read: false } => format!("no right to {}", key(of)),
            Self::Key { key: of, may_read: true } => format!("no right to write {}", key(of)),
            Self::Channel => "no right to the channel".to_owned(),
            Self::Type(of) => format!("another type of {}", key(of)),
        }
    }

    fn rule(&self, call: &Call) -> Vec<String> {
        match self {
            Self::Command(command) => vec!["~*".into(), "&*".into(), format!("-{command}")],
            Self::Channel => vec!["~*".into(), "resetchannels".into()],
            Self::Type(_) => vec!["~*".into(), "&*".into()],
            Self::Key { key, may_read } => {
                let mut rule = vec!["&*".to_owned()];
                let others = call.declared().iter().cloned().chain(call.touched());
                for other in others.filter(|other| other != key) {
                    rule.push(format!("~{}", String::from_utf8_lossy(&other)));
                }
                if *may_read {
                    rule.push(format!("%R~{}", String::from_utf8_lossy(key)));
                }
                rule
            }
        }
    }
}

pub struct Stage {
    server: TestServer,
    raw: MultiplexedConnection,
    narrow: MultiplexedConnection,
    /// By the hash of the script as it was recorded.
    scripts: BTreeMap<String, String>,
    change: Box<dyn Fn(&str) -> String + Send + Sync>,
}

impl Stage {
    pub async fn set(change: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let server = TestServer::builder().start().await;
        let mut raw = server.raw().await;
        rights(&mut raw, &["~*".into(), "&*".into()]).await;
        let client = redis::Client::open(server.url_as("narrow", PASSWORD)).unwrap();
        let config = redis::AsyncConnectionConfig::new()
            .set_response_timeout(Some(std::time::Duration::from_secs(30)));
        let narrow = client.get_multiplexed_async_connection_with_config(&config).await.unwrap();
        Self { server, raw, narrow, scripts: BTreeMap::new(), change: Box::new(change) }
    }

    /// Loads a script in which time is what it was when it was recorded. Returns the hash that it
    /// was recorded under.
    pub async fn load(&mut self, source: &str) -> String {
        let mut load = async |source: &str| -> String {
            let mut script = redis::cmd("SCRIPT");
            script.arg("LOAD").arg(source).query_async(&mut self.raw).await.unwrap()
        };
        let recorded = load(source).await;
        let (first, rest) = (self.change)(source)
            .split_once('\n')
            .map(|(first, rest)| (first.to_owned(), rest.to_owned()))
            .unwrap();
        let timeless = load(&format!("{first}\n{TIMELESS}\n{rest}")).await;
        self.scripts.insert(recorded.clone(), timeless);
        recorded
    }

    pub fn knows(&self, call: &Call) -> bool {
        self.scripts.contains_key(&call.sha())
    }

    /// Runs what is no script; what only concerns the connection, or is refused, is left out.
    pub async fn play(&mut self, call: &Call) {
        let quiet = [
            "set",
            "setrange",
            "hincrby",
            "zincrby",
            "pexpire",
            "unlink",
            "del",
            "zadd",
            "hset",
            "hdel",
            "xack",
            "xadd",
            "xclaim",
            "xgroup",
            "xreadgroup",
            "xsetid",
            "xtrim",
            "zrem",
        ];
        if quiet.contains(&call.word().as_str()) {
            let mut command = redis::Cmd::new();
            command.arg(&call.args);
            let _: RedisResult<Value> = command.query_async(&mut self.raw).await;
        }
    }

    /// Runs a script with all rights.
    pub async fn run(&mut self, call: &Call) -> Result<Value, String> {
        let command = self.command(call);
        answer(&command, &mut self.raw).await
    }

    /// Runs it with the rights that the fault leaves.
    pub async fn run_without(&mut self, fault: &Fault, call: &Call) -> Result<Value, String> {
        rights(&mut self.raw, &fault.rule(call)).await;
        let command = self.command(call);
        answer(&command, &mut self.narrow).await
    }

    fn command(&self, call: &Call) -> redis::Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.scripts[&call.sha()]).arg(&call.args[2..]);
        command.arg(&call.at.0).arg(&call.at.1);
        command
    }

    /// Gives a key another type, if the fault is that. False if it is not.
    pub async fn spoil(&mut self, fault: &Fault) -> bool {
        let Fault::Type(key) = fault else { return false };
        let mut pipe = redis::pipe();
        pipe.del(key).ignore().rpush(key, "another type").ignore();
        pipe.query_async::<()>(&mut self.raw).await.unwrap();
        true
    }

    pub async fn state(&mut self) -> State {
        let mut eval = redis::cmd("EVAL");
        let found: Vec<Value> = eval.arg(STATE).arg(0).query_async(&mut self.raw).await.unwrap();
        State(found.into_iter().map(Key::read).collect())
    }

    pub async fn restore(&mut self, state: &State) {
        let mut pipe = redis::pipe();
        pipe.cmd("FLUSHALL").ignore();
        for key in &state.0 {
            pipe.cmd("RESTORE").arg(&key.name).arg(key.life.max(0)).arg(&key.dump).ignore();
        }
        pipe.query_async::<()>(&mut self.raw)
            .await
            .unwrap_or_else(|error| panic!("{error}\n{}", self.server.log()));
    }
}

async fn rights(raw: &mut MultiplexedConnection, rule: &[String]) {
    let mut set = redis::cmd("ACL");
    set.arg("SETUSER").arg("narrow").arg(&["reset", "on", "+@all"]).arg(format!(">{PASSWORD}"));
    set.arg(rule).query_async::<()>(raw).await.unwrap();
}

async fn answer(
    command: &redis::Cmd,
    connection: &mut MultiplexedConnection,
) -> Result<Value, String> {
    let said: RedisResult<Value> = command.query_async(connection).await;
    said.and_then(Value::extract_error).map_err(|error| error.to_string())
}

/// Right below the first line of a script.
const TIMELESS: &str = "local ARGV = {unpack(ARGV)}
local micros, seconds = table.remove(ARGV), table.remove(ARGV)
local function timeless(truly)
  return function(command, ...)
    local args = {...}
    -- An event is of that time too.
    for at = 1, command == 'XADD' and #args or 0 do
      if args[at] == '*' then
        args[at] = string.format('%d-*', seconds * 1000 + math.floor(micros / 1000))
        break
      end
    end
    local answer = truly(command, unpack(args))
    return command == 'TIME' and {seconds, micros} or answer
  end
end
local redis = setmetatable({call = timeless(redis.call), pcall = timeless(redis.pcall)},
  {__index = redis})";

/// Everything there is. Without `#!lua` it may look into all slots.
const STATE: &str = "local state, keys = {}, redis.call('KEYS', '*')
table.sort(keys)
for at, key in ipairs(keys) do
  local type, parts = redis.call('TYPE', key).ok, {}
  if type == 'string' then parts[1] = redis.call('GET', key) end
  if type == 'list' then parts = redis.call('LRANGE', key, 0, -1) end
  if type == 'zset' then parts = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES') end
  if type == 'set' then parts = redis.call('SMEMBERS', key) table.sort(parts) end
  if type == 'hash' then
    local fields = redis.call('HKEYS', key)
    table.sort(fields)
    for _, field in ipairs(fields) do
      parts[#parts + 1] = field
      parts[#parts + 1] = redis.call('HGET', key, field)
    end
  end
  if type == 'stream' then
    for _, entry in ipairs(redis.call('XRANGE', key, '-', '+')) do
      for _, part in ipairs(entry[2]) do parts[#parts + 1] = part end
    end
  end
  state[at] = {key, type, redis.call('PTTL', key), parts, redis.call('DUMP', key)}
end
return state";

/// All keys, in order.
#[derive(Debug, Clone)]
pub struct State(Vec<Key>);

#[derive(Debug, Clone)]
struct Key {
    name: Vec<u8>,
    kind: String,
    life: i64,
    parts: Vec<Vec<u8>>,
    dump: Vec<u8>,
}

impl Key {
    fn read(found: Value) -> Self {
        let (name, kind, life, parts, dump) = FromRedisValue::from_redis_value(found).unwrap();
        Self { name, kind, life, parts, dump }
    }

    fn near(&self, other: &Self) -> bool {
        self.life.abs_diff(other.life) <= TOLERANCE as u64 && self.near_but_for_lives(other)
    }

    fn near_but_for_lives(&self, other: &Self) -> bool {
        self.name == other.name
            && self.kind == other.kind
            && (self.life < 0) == (other.life < 0)
            && self.parts.len() == other.parts.len()
            && self.parts.iter().zip(&other.parts).all(|(a, b)| same(a, b))
    }
}

impl State {
    /// What is not the same in all of them.
    pub fn differences(states: &[(&str, &Self)]) -> String {
        let mut text = String::new();
        let names: std::collections::BTreeSet<_> =
            states.iter().flat_map(|(_, state)| &state.0).map(|key| &key.name).collect();
        for name in names {
            let keys: Vec<_> = states.iter().map(|(_, state)| state.key(name)).collect();
            let alike = |pair: &[Option<&Key>]| match (pair[0], pair[1]) {
                (Some(a), Some(b)) => a.near(b),
                (a, b) => a.is_none() && b.is_none(),
            };
            if keys.windows(2).all(alike) {
                continue;
            }
            for ((which, _), key) in states.iter().zip(keys) {
                let parts = key.map(|key| {
                    let parts = key.parts.iter().map(|part| part.escape_ascii().to_string());
                    format!("{} ms, {}", key.life, parts.collect::<Vec<_>>().join(" "))
                });
                let _ = writeln!(text, "  {which:7} {}: {parts:?}", name.escape_ascii());
            }
        }
        text
    }

    fn key(&self, name: &[u8]) -> Option<&Key> {
        self.0.iter().find(|key| key.name == name)
    }
}

/// Whether two states are the same, but for how long it took to get there.
pub fn near(one: &State, other: &State) -> bool {
    one.0.len() == other.0.len() && one.0.iter().zip(&other.0).all(|(a, b)| a.near(b))
}

/// Whether they are, but for how long a key lives that has an end in both.
pub fn near_but_for_lives(one: &State, other: &State) -> bool {
    one.0.len() == other.0.len() && one.0.iter().zip(&other.0).all(|(a, b)| a.near_but_for_lives(b))
}

/// Whether two answers are the same. A record that is handed out again says that it was handed out.
pub fn alike(one: &Result<Value, String>, other: &Result<Value, String>) -> bool {
    fn values(one: &Value, other: &Value) -> bool {
        match (one, other) {
            (Value::Array(one), Value::Array(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(|(a, b)| values(a, b))
            }
            (Value::BulkString(one), Value::BulkString(other)) => {
                let record = |text: &[u8]| text.starts_with(b"v1 ").then_some(text.len());
                same(one, other) || record(one).is_some() && record(one) == record(other)
            }
            (Value::Int(one), Value::Int(other)) => {
                same(one.to_string().as_bytes(), other.to_string().as_bytes())
            }
            _ => one == other,
        }
    }
    match (one, other) {
        (Ok(one), Ok(other)) => values(one, other),
        _ => false,
    }
}

/// Lives go on while a call is run again, and so does what is reckoned from them: large numbers may
/// differ a little, counters may not.
fn same(one: &[u8], other: &[u8]) -> bool {
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<f64>().ok();
    let large = |text| number(text).filter(|number| *number >= 2.0 * TOLERANCE);
    one == other
        || matches!((large(one), large(other)), (Some(a), Some(b)) if (a - b).abs() <= TOLERANCE)
}
