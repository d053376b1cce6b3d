//! One-shot records on Redis: a put is one plain command, a take is one script.

use redis::{Cmd, Value};

use super::{RedisStore, record, reply, scripts, scripts::Arg};
use crate::{
    digest::Digest,
    store::{GRACE, Handed, NewRecord, Put, RecordName, StoreError, Take, millis},
};

/// `SET … NX GET`: writes, or returns what is there, whose put digest tells a retry from a
/// collision. No script for what one command does.
pub(super) async fn put(store: &RedisStore, record: NewRecord<'_>) -> Result<Put, StoreError> {
    store.keep_time().await?;
    let key = store.keys.one_shot(&record.name);
    let ttl_ms = millis(record.ttl);
    let value = record::write(&record, store.clock.now_ms(), ttl_ms);
    let mut command = Cmd::with_capacity(7, key.len() + value.len() + 32);
    command.arg("SET").arg(&key).arg(value).arg("NX").arg("GET").arg("PX");
    command.arg(ttl_ms.saturating_add(millis(GRACE)));
    match store.write("put", &key, &command).await? {
        Value::Nil => Ok(Put::Stored),
        Value::BulkString(found) => match record::read(&found) {
            Some((put_by, _)) if put_by == record.request => Ok(Put::Stored),
            // Damaged or not, the name is taken.
            _ => Ok(Put::Collision),
        },
        _ => Err(reply::unreadable("put")),
    }
}

pub(super) async fn take(
    store: &RedisStore,
    name: &RecordName,
    request: Digest,
) -> Result<Take, StoreError> {
    let key = store.keys.one_shot(name);
    let argv = [Arg::Bytes(request.as_bytes()), Arg::Number(millis(GRACE))];
    let mut reply = store.run_script(&scripts::PKCE_TAKE, [&key], argv, request.as_bytes()).await?;
    match reply.word() {
        "taken" => {
            let mut bytes = reply.take_bytes(0)?;
            let Some((_, body)) = record::read(&bytes) else { return Err(corrupt(key)) };
            bytes.drain(..body);
            Ok(Take::Taken(Handed::ago(bytes, reply.part(1)?)))
        }
        "already" => Ok(Take::AlreadyTaken { at_ms: reply.part(0)? }),
        "expired" => Ok(Take::Expired),
        "absent" => Ok(Take::Absent),
        "corrupt" => Err(corrupt(key)),
        _ => Err(reply.unknown_word()),
    }
}

fn corrupt(key: String) -> StoreError {
    StoreError::Corrupt { verb: "pkce/take", key, what: "its head cannot be read" }
}
