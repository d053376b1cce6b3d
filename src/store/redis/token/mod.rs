//! Temp tokens on Redis: a record, the indexes that make it valid, and its counted uses.

mod bulk;

use std::time::Duration;

use async_trait::async_trait;
use redis::{Cmd, Pipeline, Value};

use super::{RedisStore, record, reply, scripts, scripts::Arg};
use crate::{
    digest::Digest,
    store::{
        DroppedScope, GRACE, NewToken, PutToken, Revocation, ScopePage, Shard, StoreError,
        TokenCursor, TokenId, TokenPage, TokenRow, TokenStore, TrimmedScope, Use, millis,
    },
};

#[async_trait]
impl TokenStore for RedisStore {
    async fn mint_token(&self, token: NewToken<'_>) -> Result<PutToken, StoreError> {
        mint(self, token).await
    }

    async fn read_token(
        &self,
        id: TokenId,
        other: Option<TokenId>,
    ) -> Result<(TokenId, TokenRow), StoreError> {
        read(self, id, other).await
    }

    async fn use_token(&self, id: TokenId, request: Digest, limit: u32) -> Result<Use, StoreError> {
        count(self, id, request, limit).await
    }

    async fn revoke_token(&self, id: TokenId, request: Digest) -> Result<Revocation, StoreError> {
        revoke(self, id, request).await
    }

    async fn drop_tokens(
        &self,
        index: Digest,
        scope: Digest,
        request: Digest,
    ) -> Result<u64, StoreError> {
        bulk::drop_resource(self, index, scope, request).await
    }

    async fn drop_scope(&self, page: ScopePage) -> Result<DroppedScope, StoreError> {
        bulk::drop_scope(self, page).await
    }

    async fn list_tokens(
        &self,
        index: Digest,
        cursor: Option<TokenCursor>,
        limit: u16,
    ) -> Result<TokenPage, StoreError> {
        bulk::list(self, index, cursor, limit).await
    }

    async fn trim_tokens(
        &self,
        page: ScopePage,
        age: Duration,
        cursor: Option<TokenCursor>,
    ) -> Result<TrimmedScope, StoreError> {
        bulk::trim(self, page, age, cursor).await
    }

    async fn count_ended(
        &self,
        scope: Digest,
        shard: Shard,
        age: Duration,
    ) -> Result<u64, StoreError> {
        bulk::count_ended(self, scope, shard, age).await
    }
}

async fn mint(store: &RedisStore, new: NewToken<'_>) -> Result<PutToken, StoreError> {
    store.keep_time().await?;
    let (digest, name) = (new.id.digest().to_hex(), new.id.index().to_hex());
    let ttl_ms = millis(new.ttl);
    let slots = [new.request, Digest::NONE, Digest::NONE];
    let now_ms = store.clock.now_ms();
    let value = record::write_slots(now_ms, ttl_ms, new.display, &slots, new.body);
    let kept = new.receipt.map_or_else(Vec::new, |it| [digest.as_bytes(), it.sealed].concat());
    let argv = [
        Arg::Bytes(new.request.as_bytes()),
        text(&digest),
        text(&name),
        Arg::Bytes(&value),
        Arg::Number(ttl_ms),
        Arg::Number(millis(GRACE)),
        Arg::Bytes(&kept),
    ];
    let (shard, [key, index]) = (new.id.shard(), both(store, new.id));
    let receipt =
        new.receipt.map_or_else(|| key.clone(), |receipt| store.keys.receipt(shard, receipt.name));
    let keys = [key.as_str(), &index, &store.keys.scope(shard, new.scope), &receipt];
    let (verb, request) = (&scripts::TOKEN_MINT, new.request.as_bytes());
    let mut reply = store.run_script(verb, keys, argv, request).await?;
    Ok(match reply.word() {
        "minted" => PutToken::Minted { left: Duration::from_millis(reply.part(0)?) },
        "retried" => {
            let (left, kept) = (Duration::from_millis(reply.part(0)?), reply.take_bytes(1)?);
            let Some((digest, sealed)) = read_kept(&kept) else {
                let what = "it is no receipt of a mint";
                return Err(StoreError::Corrupt { verb: verb.name, key: receipt, what });
            };
            let id = TokenId::new(new.id.index(), digest);
            PutToken::Retried { id, left, sealed: sealed.to_vec() }
        }
        "collision" => PutToken::Collision,
        "corrupt" => return Err(corrupt(verb.name, key)),
        _ => return Err(reply.unknown_word()),
    })
}

/// What a receipt of a mint holds: the token's digest in hexadecimal, and its sealed text.
fn read_kept(kept: &[u8]) -> Option<(Digest, &[u8])> {
    let (digest, sealed) = kept.split_at_checked(32)?;
    Some((Digest::from_hex(std::str::from_utf8(digest).ok()?)?, sealed))
}

/// Plain commands, all in one pipeline: a validation is the verb that runs most, and a script of the
/// same takes four times the server's time (3.3 µs instead of 0.8).
///
/// Others may run between them, so the life is read first: nothing shortens it, and nothing brings a
/// token back. What all three accept was valid when the first of them ran.
async fn read(
    store: &RedisStore,
    id: TokenId,
    other: Option<TokenId>,
) -> Result<(TokenId, TokenRow), StoreError> {
    const VERB: &str = "read_token";
    let ids = [Some(id), other];
    let mut commands = Pipeline::with_capacity(6);
    for id in ids.iter().flatten() {
        let ([key, index], digest) = (both(store, *id), id.digest().to_hex());
        commands.add_command(command("PTTL", &[&key]));
        commands.add_command(command("GET", &[&key]));
        // Its rank says as much as its score, in a third of the time: no float is printed for it. Only
        // with a hundred thousand tokens of one resource does it take longer.
        commands.add_command(command("ZRANK", &[&index, &digest]));
    }
    let Value::Array(answers) = store.read_all(VERB, &commands).await? else {
        return Err(reply::unreadable(VERB));
    };
    let mut answers = answers.into_iter();
    for id in ids.into_iter().flatten() {
        let (Some(Value::Int(left)), Some(value), Some(member)) =
            (answers.next(), answers.next(), answers.next())
        else {
            return Err(reply::unreadable(VERB));
        };
        let row = row(left, value, &member).ok_or_else(|| corrupt(VERB, store.keys.token(id)))?;
        if row != TokenRow::Absent {
            return Ok((id, row));
        }
    }
    Ok((id, TokenRow::Absent))
}

/// The state comes before the membership, which a revoked one has lost as well; and both before the
/// life, since the dead are never merely expired. `None` if it is no record of a token.
fn row(left: i64, value: Value, member: &Value) -> Option<TokenRow> {
    let Value::BulkString(mut bytes) = value else { return Some(TokenRow::Absent) };
    if left == MINTED_SINCE {
        return Some(TokenRow::Absent);
    }
    let (state, body) = record::read_pending(&bytes)?;
    let left = u64::try_from(left).unwrap_or_default().saturating_sub(millis(GRACE));
    match state {
        "revoked" => Some(TokenRow::Revoked),
        "live" if *member == Value::Nil => Some(TokenRow::Dropped),
        "live" if left == 0 => Some(TokenRow::Expired),
        "live" => {
            bytes.drain(..body);
            Some(TokenRow::Live { body: bytes, left: Duration::from_millis(left) })
        }
        _ => None,
    }
}

async fn count(
    store: &RedisStore,
    id: TokenId,
    request: Digest,
    limit: u32,
) -> Result<Use, StoreError> {
    let (digest, hex) = (id.digest().to_hex(), request.to_hex());
    let argv = [
        Arg::Bytes(request.as_bytes()),
        text(&digest),
        text(&hex),
        Arg::Number(limit.into()),
        Arg::Number(millis(GRACE)),
    ];
    let [key, index] = both(store, id);
    let keys = [key.as_str(), &index, &store.keys.uses(id)];
    let verb = &scripts::TOKEN_USE;
    let reply = store.run_script(verb, keys, argv, request.as_bytes()).await?;
    Ok(match reply.word() {
        "used" => Use::Used { left: reply.part(0)? },
        "used_up" => Use::UsedUp,
        "revoked" => Use::Revoked,
        "dropped" => Use::Dropped,
        "expired" => Use::Expired,
        "absent" => Use::Absent,
        "corrupt" => return Err(corrupt(verb.name, key)),
        _ => return Err(reply.unknown_word()),
    })
}

async fn revoke(
    store: &RedisStore,
    id: TokenId,
    request: Digest,
) -> Result<Revocation, StoreError> {
    let digest = id.digest().to_hex();
    let argv = [Arg::Bytes(request.as_bytes()), text(&digest), Arg::Number(millis(GRACE))];
    let [key, index] = both(store, id);
    let verb = &scripts::TOKEN_REVOKE;
    let reply = store.run_script(verb, [&key, &index], argv, request.as_bytes()).await?;
    Ok(match reply.word() {
        "revoked" => Revocation::Revoked,
        "already" => Revocation::Already,
        "expired" => Revocation::Expired,
        "absent" => Revocation::Absent,
        "corrupt" => return Err(corrupt(verb.name, key)),
        _ => return Err(reply.unknown_word()),
    })
}

fn corrupt(verb: &'static str, key: String) -> StoreError {
    StoreError::Corrupt { verb, key, what: "its head cannot be read" }
}

/// There was no record when its life was read.
const MINTED_SINCE: i64 = -2;

/// The record and the index of a token.
fn both(store: &RedisStore, id: TokenId) -> [String; 2] {
    [store.keys.token(id), store.keys.tokens(id.shard(), id.index())]
}

/// A command with room for as long as it gets: else it is moved while it grows.
fn command(name: &str, args: &[&str]) -> Cmd {
    let mut command = Cmd::with_capacity(1 + args.len(), 160);
    command.arg(name).arg(args).take()
}

fn text(text: &str) -> Arg<'_> {
    Arg::Bytes(text.as_bytes())
}
