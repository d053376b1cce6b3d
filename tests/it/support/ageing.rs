//! Time that has passed: records are made older, nobody sleeps.

use std::{collections::BTreeSet, time::Duration};

use redis::{FromRedisValue, aio::MultiplexedConnection};

/// Makes every record under `prefix` older, as if nothing had happened for so long.
///
/// It knows where absolute times are kept: in the head of a one-shot record, in hash fields whose
/// names end in `_at`, in scores, and in the keys' own lives. Nothing else must hold one.
pub async fn age(connection: &mut MultiplexedConnection, prefix: &str, by: Duration) {
    let by = i64::try_from(by.as_millis()).unwrap();
    for key in keys(connection, prefix).await {
        let mut redis = Redis { connection, key: &key };
        match redis.run::<String>("TYPE", &[]).await.as_str() {
            "string" => redis.age_head(by).await,
            "hash" => redis.age_fields(by).await,
            "zset" => redis.age_scores(by).await,
            "none" => continue,
            other => panic!("{key}: nobody said how a {other} ages"),
        }
        redis.age_life(by).await;
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
    /// Created, ceiling, taken: 13 digits each; zero is never.
    async fn age_head(&mut self, by: i64) {
        let head: Vec<u8> = self.run("GETRANGE", &["0", "59"]).await;
        let Ok(head) = String::from_utf8(head) else { return };
        if !head.starts_with("v1 live  ") && !head.starts_with("v1 taken  ") || head.len() != 60 {
            return;
        }
        for at in [13, 27, 41] {
            let time: i64 = head[at..at + 13].parse().unwrap();
            if time != 0 {
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
