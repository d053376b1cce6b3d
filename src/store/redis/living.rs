//! Connections on Redis: a hash each, with one script per verb.

use std::time::Duration;

use redis::{Value, cmd, from_redis_value_ref};

use super::{RedisStore, reply, reply::Reply, scripts, scripts::Arg};
use crate::{
    digest::Digest,
    store::{
        Attempt, Begin, Begun, Claim, Commit, CommitOutcome, ConnectionId, CredentialRow, Fail,
        FailOutcome, GRACE, NewCredential, Renewal, Shard, Status, StoreError, Stored, millis,
    },
};

/// The fields of a read, in the order of [`row`].
const READ: [&str; 12] = [
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
];

pub(super) async fn store(
    store: &RedisStore,
    new: NewCredential<'_>,
) -> Result<Stored, StoreError> {
    let shard = new.id.shard();
    let keys =
        [store.keys.connection(new.id), store.keys.owner(shard, new.owner), store.keys.due(shard)];
    let (request, owner) = (new.request.to_hex(), new.owner.to_hex());
    let token = hex(new.refresh_token);
    let argv = [
        text(&request),
        text(new.id.as_str()),
        text(&owner),
        text(new.connector),
        Arg::Bytes(new.secret),
        text(&token),
        Arg::Optional(new.expires_in.map(millis)),
        Arg::Optional(new.next_in.map(millis)),
    ];
    let keys = [keys[0].as_str(), &keys[1], &keys[2]];
    let reply =
        store.run_script(&scripts::CONNECTION_STORE, keys, argv, request.as_bytes()).await?;
    match reply.word() {
        "stored" => Ok(Stored::Stored { grant: reply.part(0)? }),
        "foreign" => Ok(Stored::Foreign),
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
    let Value::BulkString(secret) = std::mem::replace(&mut fields[6], Value::Nil) else {
        return Err("it has no secret");
    };
    let string = |at: usize| from_redis_value_ref::<Option<String>>(&fields[at]).ok().flatten();
    let number = |at: usize| match &fields[at] {
        Value::Nil => Ok(None),
        value => from_redis_value_ref::<u64>(value).map(Some).map_err(|_| "a number is not one"),
    };
    Ok(Some(CredentialRow {
        owner: string(0).and_then(|hex| Digest::from_hex(&hex)).ok_or("it has no owner")?,
        connector: string(1).ok_or("it has no connector")?,
        status: string(2)
            .and_then(|word| Status::from_word(&word))
            .ok_or("its status is unknown")?,
        reason: string(3),
        grant: number(4)?.ok_or("it has no grant")?,
        ver: number(5)?.ok_or("it has no ver")?,
        secret,
        expires_at_ms: number(7)?,
        next_at_ms: number(8)?,
        lease_ends_at_ms: number(9)?,
        attempts: number(10)?.and_then(|n| n.try_into().ok()).unwrap_or(0),
        last_error: string(11),
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
) -> Result<(), StoreError> {
    let request = request.to_hex();
    let [conn, due] = both(store, id);
    let argv = [text(&request), text(id.as_str())];
    let verb = &scripts::CONNECTION_GIVE_BACK;
    store.run_script(verb, [&conn, &due], argv, request.as_bytes()).await.map(drop)
}

pub(super) async fn begin(store: &RedisStore, attempt: Attempt<'_>) -> Result<Begin, StoreError> {
    let request = attempt.holder.to_hex();
    let owner = hex(attempt.owner);
    let [conn, due] = both(store, attempt.id);
    let argv = [
        text(&request),
        text(attempt.id.as_str()),
        text(&owner),
        Arg::Number(millis(attempt.lease)),
        text(attempt.instance),
    ];
    let verb = &scripts::CONNECTION_BEGIN;
    let mut reply = store.run_script(verb, [&conn, &due], argv, request.as_bytes()).await?;
    Ok(match reply.word() {
        "begun" => Begin::Begun(begun(&mut reply, conn)?),
        "held" => Begin::Held { remaining: Duration::from_millis(reply.part(0)?) },
        "not_due" => Begin::NotDue {
            due_in: Duration::from_millis(reply.part(0)?),
            attempts: reply.part(1)?,
        },
        "not_refreshable" => Begin::NotRefreshable,
        "inactive" => {
            let status = reply.part::<String>(0).ok().and_then(|word| Status::from_word(&word));
            Begin::Inactive(status.ok_or_else(|| corrupt(conn, "its status is unknown"))?)
        }
        "absent" => Begin::Absent,
        "corrupt" => return Err(corrupt(conn, "a field is missing, or of another form")),
        _ => return Err(reply.unknown_word()),
    })
}

fn begun(reply: &mut Reply, key: String) -> Result<Begun, StoreError> {
    let undecided: i64 = reply.part(6)?;
    let Some(refresh_token) = Digest::from_hex(&reply.part::<String>(4)?) else {
        return Err(corrupt(key, "its refresh token's digest is not one"));
    };
    let Some(owner) = Digest::from_hex(&reply.part::<String>(7)?) else {
        return Err(corrupt(key, "its owner's digest is not one"));
    };
    Ok(Begun {
        fence: reply.part(0)?,
        grant: reply.part(1)?,
        owner,
        connector: reply.part(2)?,
        secret: reply.take_bytes(3)?,
        refresh_token,
        attempts: reply.part(5)?,
        undecided_since: u64::try_from(undecided).ok().map(Duration::from_millis),
    })
}

pub(super) async fn renew(
    store: &RedisStore,
    id: &ConnectionId,
    holder: Digest,
    lease: Duration,
) -> Result<Renewal, StoreError> {
    let request = holder.to_hex();
    let [conn, due] = both(store, id);
    let argv = [text(&request), text(id.as_str()), Arg::Number(millis(lease))];
    let verb = &scripts::CONNECTION_RENEW;
    let reply = store.run_script(verb, [&conn, &due], argv, request.as_bytes()).await?;
    match reply.word() {
        "renewed" => Ok(Renewal::Renewed),
        "lost" => Ok(Renewal::Lost),
        "absent" => Ok(Renewal::Absent),
        _ => Err(reply.unknown_word()),
    }
}

pub(super) async fn commit(
    store: &RedisStore,
    commit: Commit<'_>,
) -> Result<CommitOutcome, StoreError> {
    let (request, presented) = (commit.request.to_hex(), commit.presented.to_hex());
    let token = hex(commit.refresh_token);
    let [conn, due] = both(store, commit.id);
    let argv = [
        text(&request),
        text(commit.id.as_str()),
        Arg::Number(commit.fence),
        Arg::Number(commit.grant),
        text(&presented),
        Arg::Bytes(commit.secret),
        text(&token),
        Arg::Optional(commit.expires_in.map(millis)),
        Arg::Optional(commit.next_in.map(millis)),
        Arg::Number(millis(commit.answered_ago)),
    ];
    let verb = &scripts::CONNECTION_COMMIT;
    let reply = store.run_script(verb, [&conn, &due], argv, request.as_bytes()).await?;
    Ok(match reply.word() {
        "committed" => {
            CommitOutcome::Committed { ver: reply.part(0)?, recovered: reply.part::<u8>(1)? == 1 }
        }
        "already" => CommitOutcome::AlreadyCommitted { ver: reply.part(0)? },
        "superseded" => CommitOutcome::Superseded,
        "refused" => CommitOutcome::Refused,
        "gone" => CommitOutcome::Gone,
        _ => return Err(reply.unknown_word()),
    })
}

pub(super) async fn fail(store: &RedisStore, fail: Fail<'_>) -> Result<FailOutcome, StoreError> {
    let (request, presented) = (fail.request.to_hex(), fail.presented.to_hex());
    let [conn, due] = both(store, fail.id);
    let argv = [
        text(&request),
        text(fail.id.as_str()),
        Arg::Number(fail.fence),
        Arg::Number(fail.grant),
        text(&presented),
        text(fail.kind.as_str()),
        text(fail.reason),
        Arg::Number(millis(fail.backoff)),
    ];
    let verb = &scripts::CONNECTION_FAIL;
    let reply = store.run_script(verb, [&conn, &due], argv, request.as_bytes()).await?;
    Ok(match reply.word() {
        "recorded" => FailOutcome::Recorded { attempts: reply.part(0)? },
        "stale" => FailOutcome::Stale,
        "gone" => FailOutcome::Gone,
        _ => return Err(reply.unknown_word()),
    })
}

pub(super) async fn due_backlog(store: &RedisStore) -> Result<u64, StoreError> {
    store.keep_time().await?;
    let now = store.clock.now_ms();
    let mut sum = 0;
    for shard in Shard::all() {
        let mut command = cmd("ZCOUNT");
        command.arg(store.keys.due(shard)).arg("-inf").arg(now);
        let count = store.read("due_backlog", &command).await?;
        sum += from_redis_value_ref::<u64>(&count).map_err(|_| reply::unreadable("due_backlog"))?;
    }
    Ok(sum)
}

fn corrupt(key: String, what: &'static str) -> StoreError {
    StoreError::Corrupt { verb: "connection/begin", key, what }
}

/// The two keys of most verbs.
fn both(store: &RedisStore, id: &ConnectionId) -> [String; 2] {
    [store.keys.connection(id), store.keys.due(id.shard())]
}

fn text(text: &str) -> Arg<'_> {
    Arg::Bytes(text.as_bytes())
}

/// Hexadecimal, or empty for none.
fn hex(digest: Option<Digest>) -> String {
    digest.map(Digest::to_hex).unwrap_or_default()
}
