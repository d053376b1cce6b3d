//! Shows records as `redis-cli` prints them, so that a reader sees what can be read and what not.

use redis::cmd;
use vestibule::store::{ConnectionId, PendingId};

use super::inspect::Inspector;

/// How much is shown of what cannot be read: enough to see that there is nothing to see.
const SHOWN: usize = 4;

/// The one-shot records of this kind that are in Redis now.
pub(super) async fn one_shots(redis: &mut Inspector, kind: &str) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    for key in redis.find(&format!("*:{kind}:*")).await? {
        let left: i64 = redis.ask(cmd("PTTL").arg(&key)).await?;
        let value: Vec<u8> = redis.ask(cmd("GET").arg(&key)).await?;
        lines.push(format!("> PTTL {key}"));
        lines.push(format!("(integer) {left}"));
        lines.push(format!("> GET {key}"));
        let mut ends = value.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        // The head and the line for people; then come digests and the sealed body.
        let readable = ends.nth(1).map_or(0, |(at, _)| at + 1);
        lines.push(shortened(&value, readable + SHOWN, "digests, sealed body"));
    }
    Ok(lines)
}

/// Who waits for a pending.
pub(super) async fn waiters(redis: &mut Inspector, id: PendingId) -> anyhow::Result<Vec<String>> {
    let key = redis.keys().waiters(id);
    let who: Vec<Vec<u8>> = redis.ask(cmd("ZRANGE").arg(&key).arg(0).arg(-1)).await?;
    let members = who.iter().enumerate();
    let members = members.map(|(number, who)| format!("{}) {}", number + 1, quoted(who)));
    Ok(std::iter::once(format!("> ZRANGE {key} 0 -1")).chain(members).collect())
}

/// A connection, and when it is due.
pub(super) async fn connection(
    redis: &mut Inspector,
    id: &ConnectionId,
) -> anyhow::Result<Vec<String>> {
    let key = redis.keys().connection(id);
    let due = redis.keys().due(id.shard());
    let fields: Vec<(String, Vec<u8>)> = redis.ask(cmd("HGETALL").arg(&key)).await?;
    let score: Option<String> = redis.ask(cmd("ZSCORE").arg(&due).arg(id.as_str())).await?;

    let mut lines = vec![format!("> HGETALL {key}")];
    for (number, (name, value)) in fields.iter().enumerate() {
        let shown =
            if name == "secret" { shortened(value, SHOWN, "sealed") } else { quoted(value) };
        // As redis-cli prints a hash over RESP3: one field a line.
        lines.push(format!("{:2}# \"{name}\" => {shown}", number + 1));
    }
    lines.push(format!("> ZSCORE {due} {id}"));
    lines.push(score.map_or("(nil)".to_owned(), |score| format!("\"{score}\"")));
    Ok(lines)
}

fn shortened(value: &[u8], shown: usize, rest_is: &str) -> String {
    match value.split_at_checked(shown) {
        Some((start, rest)) if !rest.is_empty() => {
            let start = quoted(start);
            let open = start.strip_suffix('"').unwrap_or(&start);
            format!("{open}…\" ({} bytes more: {rest_is})", rest.len())
        }
        _ => quoted(value),
    }
}

/// In quotes and escaped, as redis-cli does.
fn quoted(value: &[u8]) -> String {
    let mut text = String::from("\"");
    for &byte in value {
        match byte {
            b'\\' => text.push_str("\\\\"),
            b'"' => text.push_str("\\\""),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            0x07 => text.push_str("\\a"),
            0x08 => text.push_str("\\b"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => text.extend(['\\', 'x', digit(byte >> 4), digit(byte & 15)]),
        }
    }
    text.push('"');
    text
}

fn digit(nibble: u8) -> char {
    char::from_digit(nibble.into(), 16).unwrap_or('?')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_look_as_in_redis_cli() {
        assert_eq!(quoted(b"a\"b\\c\n\x00\xff\x07"), r#""a\"b\\c\n\x00\xff\a""#);
        assert_eq!(shortened(b"a\"cdef", 2, "sealed"), r#""a\"…" (4 bytes more: sealed)"#);
        assert_eq!(shortened(b"ab", 2, "sealed"), r#""ab""#);
    }
}
