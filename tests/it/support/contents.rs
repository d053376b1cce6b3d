//! What a key holds, in one order: `DUMP` has that of the hash table, which moves while it grows.

use redis::{Value, aio::MultiplexedConnection};

/// All of it, of whatever type; empty if there is no such key. Its life is not part of it.
pub async fn contents(raw: &mut MultiplexedConnection, key: &str) -> Vec<String> {
    let kind: String = redis::cmd("TYPE").arg(key).query_async(raw).await.unwrap();
    let (command, args): (_, &[&str]) = match kind.as_str() {
        "none" => return Vec::new(),
        "hash" => ("HGETALL", &[]),
        "zset" => ("ZRANGE", &["0", "-1", "WITHSCORES"]),
        "string" => ("GET", &[]),
        "list" => ("LRANGE", &["0", "-1"]),
        "set" => ("SMEMBERS", &[]),
        "stream" => ("XRANGE", &["-", "+"]),
        other => panic!("{key}: nobody said how a {other} is read"),
    };
    let held: Value = redis::cmd(command).arg(key).arg(args).query_async(raw).await.unwrap();
    let mut all = match held {
        Value::Array(parts) if kind == "hash" => {
            parts.chunks(2).map(|pair| format!("{pair:?}")).collect()
        }
        other => vec![format!("{other:?}")],
    };
    all.sort();
    all
}
