//! A namespace of pendings: searched, listed and cleared.

use redis::{cmd, from_redis_value, from_redis_value_ref};

use super::{
    super::{RedisStore, reply, scripts, scripts::Arg},
    text,
};
use crate::{
    digest::Digest,
    store::{Cleared, GRACE, PageCursor, PendingId, PendingPage, Shard, StoreError, millis},
};

pub(super) async fn find(
    store: &RedisStore,
    namespace: Digest,
    dedup: Digest,
) -> Result<Option<PendingId>, StoreError> {
    let key = store.keys.dedup(Shard::new(namespace.as_bytes()[0]), dedup);
    let found = store.read("find_pending", cmd("GET").arg(&key)).await?;
    let id: Option<String> =
        from_redis_value(found).map_err(|_| reply::unreadable("find_pending"))?;
    Ok(id.and_then(|id| id.parse().ok()))
}

pub(super) async fn list(
    store: &RedisStore,
    namespace: Digest,
    cursor: Option<PageCursor>,
    limit: u16,
) -> Result<PendingPage, StoreError> {
    let shard = Shard::new(namespace.as_bytes()[0]);
    let index = store.keys.pendings(shard, namespace);
    let limit = limit.clamp(1, 100);
    let (from, after) = match &cursor {
        Some(cursor) => (cursor.from_ms, cursor.after.to_string()),
        None => (0, String::new()),
    };
    // Nothing to be told apart by: it writes nothing, so any echo will do.
    let request = namespace.as_bytes();
    let argv = [Arg::Bytes(request), Arg::Number(limit.into()), Arg::Number(from), text(&after)];
    let reply = store.run_script(&scripts::PENDING_LIST, [&index], argv, request).await?;
    if reply.word() != "page" {
        return Err(reply.unknown_word());
    }
    let listed: Vec<Vec<u8>> = reply.part(0)?;
    let full = listed.len() == usize::from(limit);
    // A member that is no id of ours is nobody's pending.
    let id = |text: &Vec<u8>| str::from_utf8(text).ok()?.parse().ok();
    let ids: Vec<PendingId> = listed.iter().filter_map(id).collect();
    let next = match ids.last().filter(|_| full) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time in ms")]
        Some(&after) => Some(PageCursor { after, from_ms: reply.part::<f64>(1)? as u64 }),
        None => None,
    };
    Ok(PendingPage { ids, next })
}

pub(super) async fn clear(
    store: &RedisStore,
    namespace: Digest,
    request: Digest,
    by: &str,
    limit: u16,
) -> Result<Cleared, StoreError> {
    let shard = Shard::new(namespace.as_bytes()[0]);
    let index = store.keys.pendings(shard, namespace);
    let receipt = store.keys.receipt(shard, request);
    let channel = store.keys.wake();
    let argv = [
        Arg::Bytes(request.as_bytes()),
        Arg::Number(limit.clamp(1, 50).into()),
        Arg::Number(millis(GRACE)),
        text(by),
        text(&channel),
    ];
    let verb = &scripts::PENDING_CLEAR;
    let reply = store.run_script(verb, [&index, &receipt], argv, request.as_bytes()).await?;
    if reply.word() != "cleared" {
        return Err(reply.unknown_word());
    }
    let ids = reply.parts().iter().skip(1);
    let ids = ids.filter_map(|id| from_redis_value_ref::<String>(id).ok()?.parse().ok());
    Ok(Cleared { ids: ids.collect(), more: reply.part::<u8>(0)? == 1 })
}
