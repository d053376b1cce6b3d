//! A stream that is older: its ids are times, so it is written anew, with its groups and with what
//! their consumers hold.

use std::collections::HashMap;

use redis::{Value, aio::MultiplexedConnection, cmd, from_redis_value};

type Named = HashMap<String, Value>;
/// An entry's id, and its fields.
type Entry = (String, Vec<(String, Vec<u8>)>);

pub(super) async fn age(connection: &mut MultiplexedConnection, key: &str, by: i64) {
    let whole: Named = cmd("XINFO").arg("STREAM").arg(key).query_async(connection).await.unwrap();
    let added: u64 = read(&whole, "entries-added").unwrap();
    if added == 0 {
        return;
    }
    let entries: Vec<Entry> =
        cmd("XRANGE").arg(key).arg("-").arg("+").query_async(connection).await.unwrap();
    let groups: Vec<Named> =
        cmd("XINFO").arg("GROUPS").arg(key).query_async(connection).await.unwrap();
    let mut held = Vec::new();
    for group in &groups {
        let name: String = read(group, "name").unwrap();
        let pending: Vec<(String, String, i64, u64)> = cmd("XPENDING")
            .arg(key)
            .arg(&name)
            .arg(&["-", "+", "100000"])
            .query_async(connection)
            .await
            .unwrap();
        held.push((name, pending));
    }

    let mut anew = redis::pipe();
    anew.atomic().del(key).ignore();
    for (id, fields) in &entries {
        let older = fields.iter().map(|(name, value)| match name.as_str() {
            "at" => (name, (number(value) - by).to_string().into_bytes()),
            _ => (name, value.clone()),
        });
        anew.cmd("XADD").arg(key).arg(before(id, by));
        for (name, value) in older {
            anew.arg(name).arg(value);
        }
        anew.ignore();
    }
    if let Some((name, _)) = held.first() {
        anew.cmd("XGROUP").arg("CREATE").arg(key).arg(name).arg("0").arg("MKSTREAM").ignore();
        anew.cmd("XGROUP").arg("DESTROY").arg(key).arg(name).ignore();
    }
    let last: String = read(&whole, "last-generated-id").unwrap();
    if !(entries.is_empty() && held.is_empty()) {
        anew.cmd("XSETID").arg(key).arg(before(&last, by)).arg("ENTRIESADDED").arg(added);
        anew.arg("MAXDELETEDID").arg("0-0").ignore();
    }
    for (group, (name, pending)) in groups.iter().zip(&held) {
        let last: String = read(group, "last-delivered-id").unwrap();
        anew.cmd("XGROUP").arg("CREATE").arg(key).arg(name).arg(before(&last, by));
        if let Some(read) = read::<u64>(group, "entries-read") {
            anew.arg("ENTRIESREAD").arg(read);
        }
        anew.ignore();
        for (id, consumer, idle, times) in pending {
            anew.cmd("XCLAIM").arg(key).arg(name).arg(consumer).arg(0).arg(before(id, by));
            anew.arg("IDLE").arg(idle + by).arg("RETRYCOUNT").arg(times);
            anew.arg("FORCE").arg("JUSTID").ignore();
        }
    }
    let done: redis::RedisResult<()> = anew.query_async(connection).await;
    done.unwrap_or_else(|error| panic!("{key}: {error}"));
}

fn read<T: redis::FromRedisValue>(named: &Named, field: &str) -> Option<T> {
    named.get(field).cloned().and_then(|value| from_redis_value(value).ok())
}

/// The id that is so much older; what nothing was handed of yet stays at the start.
fn before(id: &str, by: i64) -> String {
    let (ms, seq) = id.split_once('-').unwrap();
    let ms: i64 = ms.parse().unwrap();
    format!("{}-{seq}", (ms - by).max(0))
}

fn number(text: &[u8]) -> i64 {
    str::from_utf8(text).unwrap().parse().unwrap()
}
