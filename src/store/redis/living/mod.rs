//! Connections on Redis: a hash each, with one script per verb. An attempt's verbs are in
//! [`attempt`].

mod access;
mod attempt;
mod lifecycle;

use std::time::Duration;

use redis::{Value, cmd, from_redis_value_ref};

pub(super) use self::attempt::{begin, commit, fail, renew, retry};
use super::{RedisStore, reply, scripts, scripts::Arg};
use crate::{
    digest::Digest,
    store::{
        Backlog, Claim, ConnectionId, CredentialRow, GRACE, NewCredential, Shard, Status,
        StoreError, Stored, millis,
    },
};

/// The fields of a read, in the order of [`row`].
const READ: [&str; 14] = [
    "owner",
    "connector",
    "status",
    "reason",
    "grant",
    "ver",
    "secret",
    "expires_at",
    "next_at",
    "lease_ends_at",
    "attempts",
    "last_error",
    "alt_token",
    "alt2_token",
];

pub(super) async fn store(
    store: &RedisStore,
    new: NewCredential<'_>,
) -> Result<Stored, StoreError> {
    let shard = new.id.shard();
    let [conn, due, sealed, outbox, history] = all(store, new.id);
    let list = store.keys.owner(shard, new.owner);
    let orphans = store.keys.orphans(shard);
    let (request, owner) = (new.request.to_hex(), new.owner.to_hex());
    let key = key(new.sealed_by);
    let token = hex(new.refresh_token);
    let argv = [
        text(&request),
        text(new.id.as_str()),
        text(&owner),
        text(new.connector),
        Arg::Bytes(new.secret),
        text(&key),
        text(&token),
        Arg::Optional(new.expires_in.map(millis)),
        Arg::Optional(new.refresh_expires_in.map(millis)),
        Arg::Optional(new.next_in.map(millis)),
        text(new.by.actor.as_str()),
        text(new.by.idp_host),
        Arg::Optional(new.known_end),
    ];
    let keys = [&*conn, &*list, &*due, &*orphans, &*sealed, &*outbox, &*history];
    let reply =
        store.run_script(&scripts::CONNECTION_STORE, keys, argv, request.as_bytes()).await?;
    match reply.word() {
        "stored" => {
            store.changes.tell(new.id);
            Ok(Stored::Stored { grant: reply.part(0)? })
        }
        "foreign" => Ok(Stored::Foreign),
        "ended" => Ok(Stored::Ended { status: Status::from_word(&reply.part::<String>(0)?) }),
        _ => Err(reply.unknown_word()),
    }
}

pub(super) async fn read(
    store: &RedisStore,
    id: &ConnectionId,
) -> Result<Option<CredentialRow>, StoreError> {
    store.keep_time().await?;
    let key = store.keys.connection(id);
    let mut command = cmd("HMGET");
    command.arg(&key).arg(&READ);
    let Value::Array(fields) = store.read("read_credential", &command).await? else {
        return Err(reply::unreadable("read_credential"));
    };
    row(fields).map_err(|what| StoreError::Corrupt { verb: "read_credential", key, what })
}

/// `None` if there is no such connection; an error names what is damaged.
fn row(mut fields: Vec<Value>) -> Result<Option<CredentialRow>, &'static str> {
    if fields.len() != READ.len() {
        return Err("it has other fields");
    }
    if fields.iter().all(|field| *field == Value::Nil) {
        return Ok(None);
    }
    let secret = std::mem::replace(&mut fields[6], Value::Nil);
    let string = |at: usize| from_redis_value_ref::<Option<String>>(&fields[at]).ok().flatten();
    let number = |at: usize| match &fields[at] {
        Value::Nil => Ok(None),
        value => from_redis_value_ref::<u64>(value).map(Some).map_err(|_| "a number is not one"),
    };
    let status =
        string(2).and_then(|word| Status::from_word(&word)).ok_or("its status is unknown")?;
    let secret = match secret {
        Value::BulkString(secret) => secret,
        _ if status != Status::Active => Vec::new(),
        _ => return Err("it has no secret"),
    };
    Ok(Some(CredentialRow {
        owner: string(0).and_then(|hex| Digest::from_hex(&hex)).ok_or("it has no owner")?,
        connector: string(1).ok_or("it has no connector")?,
        status,
        reason: string(3),
        grant: number(4)?.ok_or("it has no grant")?,
        ver: number(5)?.ok_or("it has no ver")?,
        secret,
        expires_at_ms: number(7)?,
        next_at_ms: number(8)?,
        lease_ends_at_ms: number(9)?,
        attempts: number(10)?.and_then(|n| n.try_into().ok()).unwrap_or(0),
        last_error: string(11),
        alts: [12, 13].into_iter().filter(|at| fields[*at] != Value::Nil).count(),
    }))
}

pub(super) async fn claim(
    store: &RedisStore,
    claim: Claim,
) -> Result<Vec<ConnectionId>, StoreError> {
    let keys = [store.keys.due(claim.shard), store.keys.receipt(claim.shard, claim.request)];
    let request = claim.request.to_hex();
    let argv = [
        text(&request),
        Arg::Number(claim.limit.clamp(1, 100).into()),
        Arg::Number(millis(claim.hide)),
        Arg::Number(millis(GRACE)),
    ];
    let keys = [keys[0].as_str(), &keys[1]];
    let reply =
        store.run_script(&scripts::CONNECTION_CLAIM, keys, argv, request.as_bytes()).await?;
    if reply.word() != "claimed" {
        return Err(reply.unknown_word());
    }
    // A member that is no id of ours cannot be begun: left hidden, it harms nobody.
    let ids = reply.parts().iter();
    Ok(ids.filter_map(|id| from_redis_value_ref::<String>(id).ok()?.parse().ok()).collect())
}

pub(super) async fn give_back(
    store: &RedisStore,
    id: &ConnectionId,
    request: Digest,
    wait: Duration,
) -> Result<(), StoreError> {
    let request = request.to_hex();
    let [conn, due] = both(store, id);
    let argv = [text(&request), text(id.as_str()), Arg::Number(millis(wait))];
    let verb = &scripts::CONNECTION_GIVE_BACK;
    store.run_script(verb, [&conn, &due], argv, request.as_bytes()).await.map(drop)
}

pub(super) async fn due_backlog(store: &RedisStore) -> Result<Backlog, StoreError> {
    const VERB: &str = "due_backlog";
    store.keep_time().await?;
    let now = store.clock.now_ms();
    let mut backlog = Backlog::default();
    for shard in Shard::all() {
        let key = store.keys.due(shard);
        let mut command = cmd("ZCOUNT");
        command.arg(&key).arg("-inf").arg(now);
        let count = store.read(VERB, &command).await?;
        let count: u64 = from_redis_value_ref(&count).map_err(|_| reply::unreadable(VERB))?;
        if count == 0 {
            continue;
        }
        backlog.due += count;
        let mut command = cmd("ZRANGEBYSCORE");
        command.arg(&key).arg("-inf").arg(now).arg("WITHSCORES").arg("LIMIT").arg(0).arg(1);
        let first = store.read(VERB, &command).await?;
        // Somebody else may have claimed it meanwhile.
        let first: Vec<(Vec<u8>, f64)> =
            from_redis_value_ref(&first).map_err(|_| reply::unreadable(VERB))?;
        let ages = first.into_iter().map(|(_, score)| age(now, score));
        backlog.oldest = backlog.oldest.into_iter().chain(ages).max();
    }
    Ok(backlog)
}

/// Since when something is due whose score says so; whoever writes to Redis decides what that is.
fn age(now_ms: u64, score: f64) -> Duration {
    let now = Duration::from_millis(now_ms);
    now.saturating_sub(Duration::try_from_secs_f64(score.max(0.0) / 1000.0).unwrap_or(now))
}

/// The two keys of most verbs.
fn both(store: &RedisStore, id: &ConnectionId) -> [String; 2] {
    [store.keys.connection(id), store.keys.due(id.shard())]
}

/// The keys of those that tell of a change: with the index of keys, and both streams.
fn all(store: &RedisStore, id: &ConnectionId) -> [String; 5] {
    let [conn, due] = both(store, id);
    let [outbox, history] = store.keys.events(id.shard());
    [conn, due, store.keys.sealed(id.shard()), outbox, history]
}

/// The number of a key, as it is kept.
fn key(number: u32) -> String {
    format!("{number:08x}")
}

fn text(text: &str) -> Arg<'_> {
    Arg::Bytes(text.as_bytes())
}

/// Hexadecimal, or empty for none.
fn hex(digest: Option<Digest>) -> String {
    digest.map(Digest::to_hex).unwrap_or_default()
}
