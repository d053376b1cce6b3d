//! One attempt to refresh: its verbs, as scripts.

use std::time::Duration;

use super::{
    super::{RedisStore, reply::Reply, scripts, scripts::Arg},
    all, both, hex, key, text,
};
use crate::{
    digest::Digest,
    store::{
        Actor, Attempt, Begin, Begun, Commit, CommitOutcome, ConnectionId, Fail, FailOutcome,
        Renewal, Retry, Status, StoreError, millis,
    },
};

pub(in crate::store::redis) async fn begin(
    store: &RedisStore,
    attempt: Attempt<'_>,
) -> Result<Begin, StoreError> {
    let request = attempt.holder.to_hex();
    let owner = hex(attempt.owner);
    let [conn, due, _, outbox, history] = all(store, attempt.id);
    let argv = [
        text(&request),
        text(attempt.id.as_str()),
        text(&owner),
        Arg::Number(millis(attempt.lease)),
        text(attempt.instance),
        Arg::Number(millis(attempt.forgiven)),
        Arg::Number(millis(attempt.settled)),
        Arg::Optional(attempt.lifetime.map(millis)),
        text(attempt.by.actor.as_str()),
        text(attempt.by.idp_host),
    ];
    let (verb, keys) = (&scripts::CONNECTION_BEGIN, [&*conn, &*due, &*outbox, &*history]);
    // Undone by a failover, the write-ahead would have the next one present the token at once. That is
    // no loss where it is forgiven for as long as a lease.
    let lasts = attempt.forgiven < attempt.lease;
    let mut reply = store.run_script_as(verb, keys, argv, request.as_bytes(), lasts).await?;
    Ok(match reply.word() {
        "begun" => Begin::Begun(begun(&mut reply, conn)?),
        "held" => Begin::Held { remaining: Duration::from_millis(reply.part(0)?) },
        "undecided" => Begin::Undecided { remaining: Duration::from_millis(reply.part(0)?) },
        "not_due" => Begin::NotDue {
            due_in: Duration::from_millis(reply.part(0)?),
            attempts: reply.part(1)?,
        },
        "not_refreshable" => Begin::NotRefreshable,
        "inactive" => {
            // Perhaps only since now.
            store.changes.tell(attempt.id);
            Begin::Inactive(status(&reply, conn)?)
        }
        "absent" => Begin::Absent,
        "corrupt" => return Err(corrupt(conn, "a field is missing, or of another form")),
        _ => return Err(reply.unknown_word()),
    })
}

fn begun(reply: &mut Reply, key: String) -> Result<Begun, StoreError> {
    // A span in ms; negative for none.
    let span = |at| {
        let ms: i64 = reply.part(at)?;
        Ok::<_, StoreError>(u64::try_from(ms).ok().map(Duration::from_millis))
    };
    let (undecided_since, refresh_expires_in, signed_in_for) = (span(6)?, span(8)?, span(9)?);
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
        undecided_since,
        refresh_expires_in,
        signed_in_for,
    })
}

pub(in crate::store::redis) async fn renew(
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

pub(in crate::store::redis) async fn commit(
    store: &RedisStore,
    commit: Commit<'_>,
) -> Result<CommitOutcome, StoreError> {
    let (request, presented) = (commit.request.to_hex(), commit.presented.to_hex());
    let (key, token) = (key(commit.sealed_by), hex(commit.refresh_token));
    let [conn, due, sealed, outbox, history] = all(store, commit.id);
    let argv = [
        text(&request),
        text(commit.id.as_str()),
        Arg::Number(commit.fence),
        Arg::Number(commit.grant),
        text(&presented),
        Arg::Bytes(commit.secret),
        text(&key),
        text(&token),
        Arg::Optional(commit.expires_in.map(millis)),
        Arg::Optional(commit.refresh_expires_in.map(millis)),
        Arg::Optional(commit.next_in.map(millis)),
        Arg::Number(millis(commit.answered_ago)),
        text(commit.by.actor.as_str()),
        text(commit.by.idp_host),
    ];
    let keys = [&*conn, &*due, &*sealed, &*outbox, &*history];
    let verb = &scripts::CONNECTION_COMMIT;
    let reply = store.run_script(verb, keys, argv, request.as_bytes()).await?;
    Ok(match reply.word() {
        "committed" => {
            store.changes.tell(commit.id);
            CommitOutcome::Committed { ver: reply.part(0)?, recovered: reply.part::<u8>(1)? == 1 }
        }
        "withdrawn" => CommitOutcome::Withdrawn { ver: reply.part(0)? },
        "already" => CommitOutcome::AlreadyCommitted { ver: reply.part(0)? },
        "alt" => CommitOutcome::Alt,
        "superseded" => CommitOutcome::Superseded,
        "refused" => CommitOutcome::Refused,
        "gone" => CommitOutcome::Gone,
        _ => return Err(reply.unknown_word()),
    })
}

pub(in crate::store::redis) async fn fail(
    store: &RedisStore,
    fail: Fail<'_>,
) -> Result<FailOutcome, StoreError> {
    let (request, presented) = (fail.request.to_hex(), fail.presented.to_hex());
    let [conn, due, sealed, outbox, history] = all(store, fail.id);
    let argv = [
        text(&request),
        text(fail.id.as_str()),
        Arg::Number(fail.fence),
        Arg::Number(fail.grant),
        text(&presented),
        text(fail.kind.as_str()),
        text(fail.reason),
        Arg::Number(millis(fail.backoff)),
        Arg::Optional(fail.horizon.map(millis)),
        text(fail.by.actor.as_str()),
        text(fail.by.idp_host),
    ];
    let keys = [&*conn, &*due, &*sealed, &*outbox, &*history];
    let verb = &scripts::CONNECTION_FAIL;
    let reply = store.run_script(verb, keys, argv, request.as_bytes()).await?;
    let outcome = match reply.word() {
        "recorded" => FailOutcome::Recorded { attempts: reply.part(0)? },
        "switched" => FailOutcome::Switched { attempts: reply.part(0)? },
        "exhausted" => FailOutcome::Exhausted { attempts: reply.part(0)? },
        "stale" => FailOutcome::Stale,
        "gone" => FailOutcome::Gone,
        _ => return Err(reply.unknown_word()),
    };
    if outcome.is_a_change(fail.kind) {
        store.changes.tell(fail.id);
    }
    Ok(outcome)
}

pub(in crate::store::redis) async fn retry(
    store: &RedisStore,
    id: &ConnectionId,
    request: Digest,
    actor: Actor,
) -> Result<Retry, StoreError> {
    let request = request.to_hex();
    let [conn, due, _, outbox, history] = all(store, id);
    let argv = [text(&request), text(id.as_str()), text(actor.as_str())];
    let (verb, keys) = (&scripts::CONNECTION_RETRY, [&*conn, &*due, &*outbox, &*history]);
    let reply = store.run_script(verb, keys, argv, request.as_bytes()).await?;
    Ok(match reply.word() {
        "retried" => Retry::Retried,
        "not_failing" => Retry::NotFailing,
        "inactive" => Retry::Inactive(status(&reply, conn)?),
        "absent" => Retry::Absent,
        _ => return Err(reply.unknown_word()),
    })
}

/// The status that a reply ends with.
fn status(reply: &Reply, key: String) -> Result<Status, StoreError> {
    let status = reply.part::<String>(0).ok().and_then(|word| Status::from_word(&word));
    status.ok_or_else(|| corrupt(key, "its status is unknown"))
}

fn corrupt(key: String, what: &'static str) -> StoreError {
    StoreError::Corrupt { verb: "connection/begin", key, what }
}
