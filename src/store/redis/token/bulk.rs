//! What is done to all tokens of a resource or of a scope: through their indexes.

use std::time::Duration;

use redis::{Value, cmd, from_redis_value, from_redis_value_ref};

use super::{
    super::{RedisStore, reply, scripts, scripts::Arg},
    text,
};
use crate::{
    digest::Digest,
    store::{
        DroppedScope, GRACE, ListedToken, ScopePage, Shard, StoreError, TokenCursor, TokenId,
        TokenPage, TrimmedScope, millis,
    },
};

pub(super) async fn drop_resource(
    store: &RedisStore,
    index: Digest,
    scope: Digest,
    request: Digest,
) -> Result<u64, StoreError> {
    let (shard, name) = (Shard::new(index.as_bytes()[0]), index.to_hex());
    let argv = [Arg::Bytes(request.as_bytes()), text(&name), Arg::Number(millis(GRACE))];
    let (index, scope) = (store.keys.tokens(shard, index), store.keys.scope(shard, scope));
    let keys = [index.as_str(), &scope, &store.keys.receipt(shard, request)];
    let reply = store.run_script(&scripts::TOKEN_DROP, keys, argv, request.as_bytes()).await?;
    match reply.word() {
        "dropped" => reply.part(0),
        _ => Err(reply.unknown_word()),
    }
}

pub(super) async fn drop_scope(
    store: &RedisStore,
    page: ScopePage,
) -> Result<DroppedScope, StoreError> {
    let ScopePage { shard, request, limit, .. } = page;
    let argv = [
        Arg::Bytes(request.as_bytes()),
        Arg::Number(limit.clamp(1, 50).into()),
        Arg::Number(millis(GRACE)),
    ];
    let keys = [&*store.keys.scope(shard, page.scope), &store.keys.receipt(shard, request)];
    let verb = &scripts::TOKEN_DROP_SCOPE;
    let reply = store.run_script(verb, keys, argv, request.as_bytes()).await?;
    match reply.word() {
        "dropped" => Ok(DroppedScope {
            resources: reply.part(0)?,
            tokens: reply.part(1)?,
            more: reply.part::<u8>(2)? == 1,
        }),
        _ => Err(reply.unknown_word()),
    }
}

pub(super) async fn list(
    store: &RedisStore,
    index: Digest,
    cursor: Option<TokenCursor>,
    limit: u16,
) -> Result<TokenPage, StoreError> {
    let key = store.keys.tokens(Shard::new(index.as_bytes()[0]), index);
    let limit = limit.clamp(1, 100);
    let (from, after) = place(cursor);
    // Nothing to be told apart by: it writes nothing, so any echo will do.
    let request = index.as_bytes();
    let argv = [Arg::Bytes(request), Arg::Number(limit.into()), Arg::Number(from), text(&after)];
    let reply = store.run_script(&scripts::TOKEN_LIST, [&key], argv, request).await?;
    if reply.word() != "page" {
        return Err(reply.unknown_word());
    }
    let now: u64 = reply.part(0)?;
    let mut page = TokenPage::default();
    let mut last = None;
    for pair in reply.parts()[1..].chunks_exact(2) {
        // A member that is no digest is nobody's token.
        if let (Some(digest), Some(end)) = (digest(&pair[0]), end(&pair[1])) {
            last = Some(TokenCursor { after: Some(digest), from_ms: end });
            let left = Duration::from_millis(end.saturating_sub(now));
            page.tokens.push(ListedToken::new(TokenId::new(index, digest), left));
        }
    }
    if reply.parts().len() == usize::from(limit) * 2 + 1 {
        page.next = last;
    }
    Ok(page)
}

pub(super) async fn trim(
    store: &RedisStore,
    page: ScopePage,
    age: Duration,
    cursor: Option<TokenCursor>,
) -> Result<TrimmedScope, StoreError> {
    let ScopePage { shard, request, limit, .. } = page;
    let (from, after) = place(cursor);
    let argv = [
        Arg::Bytes(request.as_bytes()),
        Arg::Number(millis(age)),
        Arg::Number(limit.clamp(1, 50).into()),
        Arg::Number(from),
        text(&after),
        Arg::Number(millis(GRACE)),
    ];
    let keys = [&*store.keys.scope(shard, page.scope), &store.keys.receipt(shard, request)];
    let reply = store.run_script(&scripts::TOKEN_TRIM, keys, argv, request.as_bytes()).await?;
    match (reply.word(), reply.parts()) {
        ("trimmed", [_, next, after]) => Ok(TrimmedScope {
            tokens: reply.part(0)?,
            next: end(next).map(|from_ms| TokenCursor { after: digest(after), from_ms }),
        }),
        _ => Err(reply.unknown_word()),
    }
}

pub(super) async fn count_ended(
    store: &RedisStore,
    scope: Digest,
    shard: Shard,
    age: Duration,
) -> Result<u64, StoreError> {
    const VERB: &str = "count_ended";
    const PAGE: usize = 100;
    store.keep_time().await?;
    let ended = store.clock.now_ms().saturating_sub(millis(age));
    let (scope, mut from, mut sum) = (store.keys.scope(shard, scope), 0, 0);
    loop {
        let mut names = cmd("ZRANGE");
        names.arg(&scope).arg(from).arg(from + PAGE - 1);
        let Value::Array(names) = store.read(VERB, &names).await? else {
            return Err(reply::unreadable(VERB));
        };
        let mut counts = redis::pipe();
        for index in names.iter().filter_map(digest) {
            counts.cmd("ZCOUNT").arg(store.keys.tokens(shard, index)).arg("-inf").arg(ended);
        }
        if !counts.is_empty() {
            let counts = store.read_all(VERB, &counts).await?;
            let counts: Vec<u64> = from_redis_value(counts).map_err(|_| reply::unreadable(VERB))?;
            sum += counts.iter().sum::<u64>();
        }
        if names.len() < PAGE {
            return Ok(sum);
        }
        from += PAGE;
    }
}

/// Where a page begins, as a script takes it.
fn place(cursor: Option<TokenCursor>) -> (u64, String) {
    let Some(TokenCursor { after, from_ms }) = cursor else { return (0, String::new()) };
    (from_ms, after.map(Digest::to_hex).unwrap_or_default())
}

fn digest(value: &Value) -> Option<Digest> {
    Digest::from_hex(&from_redis_value_ref::<String>(value).ok()?)
}

/// A score: a time in ms, which Redis writes as a whole number.
fn end(value: &Value) -> Option<u64> {
    from_redis_value_ref(value).ok()
}
