//! Time that has passed: records are made older, nobody sleeps.

mod stream;

use std::{collections::BTreeSet, time::Duration};

use redis::{FromRedisValue, aio::MultiplexedConnection};

/// Makes every record under `prefix` older, as if nothing had happened for so long.
///
/// It knows where absolute times are kept: in the heads of one-shot records and outcomes, in hash
/// fields whose names end in `_at`, in scores, in the ids of streams and in `at` in their entries,
/// and in the keys' own lives. Nothing else must hold one; the scores of `sealed` are key ids.
pub async fn age(connection: &mut MultiplexedConnection, prefix: &str, by: Duration) {
    let by = i64::try_from(by.as_millis()).unwrap();
    let keys: Vec<String> = keys(connection, prefix).await.into_iter().collect();
    let mut types = redis::pipe();
    for key in &keys {
        types.key_type(key);
    }
    let types: Vec<String> = types.query_async(connection).await.unwrap();
    for (key, kind) in keys.iter().zip(types) {
        let mut redis = Redis { connection, key };
        match kind.as_str() {
            "string" => redis.age_head(by).await,
            "hash" => redis.age_fields(by).await,
            "zset" if redis.kind() == Some("sealed") => {} // by key id
            "zset" => redis.age_scores(by).await,
            "stream" => {
                stream::age(redis.connection, key, by).await;
                continue;
            }
            "none" => continue,
            other => panic!("{key}: nobody said how a {other} ages"),
        }
        redis.age_life(by).await;
    }
}

/// Shortens the lives of all keys under `prefix`, and nothing else, many at a time; what would be
/// past its end is given one more millisecond, so that it is Redis that ends it. Returns how many
/// keys have no end.
pub async fn age_lives(connection: &mut MultiplexedConnection, prefix: &str, by: Duration) -> u64 {
    let by = i64::try_from(by.as_millis()).unwrap();
    let keys: Vec<String> = keys(connection, prefix).await.into_iter().collect();
    let mut endless = 0;
    for keys in keys.chunks(1000) {
        let mut lives = redis::pipe();
        for key in keys {
            lives.pttl(key);
        }
        let lives: Vec<i64> = lives.query_async(connection).await.unwrap();
        let mut shorter = redis::pipe();
        for (key, life) in keys.iter().zip(lives) {
            endless += u64::from(life == -1);
            if life > 0 {
                shorter.pexpire(key, (life - by).max(1)).ignore();
            }
        }
        shorter.query_async::<()>(connection).await.unwrap();
    }
    endless
}

/// Makes the members of all indexes older whose scores are times, each index in one step: others may
/// use them meanwhile.
pub async fn age_indexes(connection: &mut MultiplexedConnection, prefix: &str, by: Duration) {
    let script = redis::Script::new(
        "for _, key in ipairs(KEYS) do
           if redis.call('TYPE', key).ok == 'zset' then
             local all = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
             for at = 1, #all, 2 do
               redis.call('ZADD', key, 'XX', all[at + 1] - ARGV[1], all[at])
             end
           end
         end",
    );
    let is_by_time = |key: &String| key.split(':').nth(2) != Some("sealed");
    let keys: Vec<String> = keys(connection, prefix).await.into_iter().filter(is_by_time).collect();
    for keys in keys.chunks(500) {
        let mut aged = script.prepare_invoke();
        for key in keys {
            aged.key(key);
        }
        aged.arg(u64::try_from(by.as_millis()).unwrap());
        aged.invoke_async::<()>(connection).await.unwrap();
    }
}

/// Removes every key under `prefix`.
pub async fn wipe(connection: &mut MultiplexedConnection, prefix: &str) {
    for key in keys(connection, prefix).await {
        Redis { connection, key: &key }.run::<()>("UNLINK", &[]).await;
    }
}

/// All of them, before any is touched: a scan may name a key twice.
async fn keys(connection: &mut MultiplexedConnection, prefix: &str) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    let mut cursor = 0_u64;
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(format!("{prefix}:*")).arg("COUNT").arg(1000);
        let page: (u64, Vec<String>) = scan.query_async(connection).await.unwrap();
        keys.extend(page.1);
        cursor = page.0;
        if cursor == 0 {
            return keys;
        }
    }
}

struct Redis<'a> {
    connection: &'a mut MultiplexedConnection,
    key: &'a str,
}

impl Redis<'_> {
    fn kind(&self) -> Option<&str> {
        self.key.split(':').nth(2)
    }

    /// Created, ceiling, taken, or when it ended: 13 digits each; zero is never. Other strings hold
    /// no time, and what is damaged stays as it is.
    async fn age_head(&mut self, by: i64) {
        let times: &[usize] = match self.kind() {
            Some("pkce" | "pending" | "token") => &[13, 27, 41],
            Some("outcome") => &[13],
            _ => return,
        };
        let head: Vec<u8> = self.run("GETRANGE", &["0", "59"]).await;
        if !head.starts_with(b"v1 ") {
            return;
        }
        for at in times {
            let time = head.get(*at..at + 13).and_then(|time| str::from_utf8(time).ok());
            if let Some(time @ 1..) = time.and_then(|time| time.parse::<i64>().ok()) {
                let (at, older) = (at.to_string(), format!("{:013}", time - by));
                self.run::<()>("SETRANGE", &[&at, &older]).await;
            }
        }
    }

    async fn age_fields(&mut self, by: i64) {
        let fields: Vec<String> = self.run("HKEYS", &[]).await;
        for field in fields.iter().filter(|field| field.ends_with("_at")) {
            self.run::<()>("HINCRBY", &[field, &(-by).to_string()]).await;
        }
    }

    async fn age_scores(&mut self, by: i64) {
        let members: Vec<String> = self.run("ZRANGE", &["0", "-1"]).await;
        for member in &members {
            self.run::<()>("ZINCRBY", &[&(-by).to_string(), member]).await;
        }
    }

    async fn age_life(&mut self, by: i64) {
        match self.run::<i64>("PTTL", &[]).await {
            -1 | -2 => {}
            left if left > by => self.run("PEXPIRE", &[&(left - by).to_string()]).await,
            _ => self.run("UNLINK", &[]).await,
        }
    }

    async fn run<T: FromRedisValue>(&mut self, command: &str, args: &[&str]) -> T {
        let mut command = redis::cmd(command);
        command.arg(self.key).arg(args);
        let answer = command.query_async(self.connection).await;
        answer.unwrap_or_else(|error| panic!("{}: {error}", self.key))
    }
}
