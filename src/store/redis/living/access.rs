//! Access that is withdrawn and given back, on Redis.

use std::time::Duration;

use async_trait::async_trait;
use redis::{Value, cmd, from_redis_value_ref};

use super::{
    super::{RedisStore, reply, scripts, scripts::Arg},
    lifecycle::{NO_OWNER, is_elsewhere},
    text,
};
use crate::{
    digest::Digest,
    store::{
        AccessStore, Class, ConnectionId, GRACE, HeadersId, Orphan, OrphanPage, ReapConnection,
        Reaped, RestoredConnection, Shard, StoreError, WithdrawConnection, WithdrawnConnection,
        millis, retention_ms,
    },
};

#[async_trait]
impl AccessStore for RedisStore {
    async fn withdraw_connection(
        &self,
        withdraw: WithdrawConnection<'_>,
    ) -> Result<WithdrawnConnection, StoreError> {
        let (request, owner) = (withdraw.request.to_hex(), withdraw.owner.to_hex());
        let [conn, due, _, outbox, history] = super::all(self, withdraw.id);
        let orphans = self.keys.orphans(withdraw.id.shard());
        let argv =
            [text(&request), text(withdraw.id.as_str()), text(&owner), text(withdraw.reason)];
        let (verb, keys) =
            (&scripts::CONNECTION_WITHDRAW, [conn.as_str(), &due, &orphans, &outbox, &history]);
        let reply = self.run_script(verb, keys, argv, request.as_bytes()).await?;
        match reply.word() {
            "withdrawn" => {
                self.changes.tell(withdraw.id);
                Ok(WithdrawnConnection::Withdrawn)
            }
            "already" => Ok(WithdrawnConnection::Already),
            "revoked" => Ok(WithdrawnConnection::Revoked),
            "absent" => Ok(WithdrawnConnection::Absent),
            "corrupt" => Err(corrupt(verb.name, conn, NO_STATUS)),
            _ => Err(reply.unknown_word()),
        }
    }

    async fn restore_connection(
        &self,
        owner: Digest,
        id: &ConnectionId,
        request: Digest,
    ) -> Result<RestoredConnection, StoreError> {
        let (request, owner) = (request.to_hex(), owner.to_hex());
        let [conn, due, _, outbox, history] = super::all(self, id);
        let orphans = self.keys.orphans(id.shard());
        let argv = [text(&request), text(id.as_str()), text(&owner)];
        let (verb, keys) =
            (&scripts::CONNECTION_RESTORE, [conn.as_str(), &due, &orphans, &outbox, &history]);
        let reply = self.run_script(verb, keys, argv, request.as_bytes()).await?;
        match reply.word() {
            "restored" => Ok(RestoredConnection::Restored),
            "not_orphaned" => Ok(RestoredConnection::NotOrphaned),
            "absent" => Ok(RestoredConnection::Absent),
            "corrupt" => Err(corrupt(verb.name, conn, NO_STATUS)),
            _ => Err(reply.unknown_word()),
        }
    }

    async fn reap_connection(&self, reap: ReapConnection<'_>) -> Result<Reaped, StoreError> {
        if is_elsewhere(reap.id, reap.owner) {
            return Ok(Reaped::NotOrphaned);
        }
        let [conn, due, sealed, outbox, history] = super::all(self, reap.id);
        let (index, orphans) =
            (self.keys.owner(reap.id.shard(), reap.owner), self.keys.orphans(reap.id.shard()));
        let (request, owner) = (reap.request.to_hex(), reap.owner.to_hex());
        let argv = [
            text(&request),
            text(reap.id.as_str()),
            text(&owner),
            Arg::Number(retention_ms(reap.retention)),
            Arg::Number(millis(GRACE)),
        ];
        let keys = [&*conn, &*index, &*due, &*orphans, &*sealed, &*outbox, &*history];
        let verb = &scripts::CONNECTION_REAP;
        let reply = self.run_script(verb, keys, argv, request.as_bytes()).await?;
        match reply.word() {
            "reaped" => Ok(Reaped::Reaped),
            "not_orphaned" => Ok(Reaped::NotOrphaned),
            "too_young" => {
                Ok(Reaped::TooYoung { remaining: Duration::from_millis(reply.part(0)?) })
            }
            "absent" => Ok(Reaped::Absent),
            "corrupt" => Err(corrupt(verb.name, conn, NO_OWNER)),
            _ => Err(reply.unknown_word()),
        }
    }

    async fn list_orphans(&self, page: OrphanPage) -> Result<Vec<Orphan>, StoreError> {
        let Some(until) = self.long_ago(page.retention).await? else { return Ok(Vec::new()) };
        let mut command = cmd("ZRANGEBYSCORE");
        command.arg(self.keys.orphans(page.shard)).arg("-inf").arg(until);
        command.arg("LIMIT").arg(page.skip).arg(page.limit.clamp(1, 100));
        let found = self.read(LIST, &command).await?;
        let members: Vec<Vec<u8>> =
            from_redis_value_ref(&found).map_err(|_| reply::unreadable(LIST))?;
        let mut orphans: Vec<_> = members.iter().map(|member| orphan(page.shard, member)).collect();
        let connection = |orphan: &Orphan| match orphan {
            Orphan::Connection { id, .. } => Some(id.clone()),
            _ => None,
        };
        let connections: Vec<_> = orphans.iter().filter_map(connection).collect();
        let mut owners = self.owners(connections.iter()).await?.into_iter();
        for orphan in &mut orphans {
            if let Orphan::Connection { owner, .. } = orphan {
                *owner = owners.next().flatten();
            }
        }
        Ok(orphans)
    }

    async fn count_orphans(&self, shard: Shard, retention: Duration) -> Result<u64, StoreError> {
        let Some(until) = self.long_ago(retention).await? else { return Ok(0) };
        let mut command = cmd("ZCOUNT");
        command.arg(self.keys.orphans(shard)).arg("-inf").arg(until);
        let count = self.read("count_orphans", &command).await?;
        from_redis_value_ref(&count).map_err(|_| reply::unreadable("count_orphans"))
    }
}

/// What a member of the index stands for, as far as it says.
fn orphan(shard: Shard, member: &[u8]) -> Orphan {
    let parts = str::from_utf8(member).ok().and_then(|text| text.split_once(':'));
    let is_here = |of: Shard| of == shard;
    match parts {
        Some(("conn", id)) => match id.parse::<ConnectionId>() {
            Ok(id) if is_here(id.shard()) => Orphan::Connection { id, owner: None },
            _ => Orphan::Unknown,
        },
        Some(("headers", id)) => match id.parse::<HeadersId>() {
            Ok(id) if is_here(id.shard()) => Orphan::Headers { id },
            _ => Orphan::Unknown,
        },
        _ => Orphan::Unknown,
    }
}

impl RedisStore {
    /// The time that is so long ago, as far as is known here: what is reaped is judged by Redis.
    /// `None` if there was no such time.
    async fn long_ago(&self, retention: Duration) -> Result<Option<u64>, StoreError> {
        self.keep_time().await?;
        Ok(self.clock.now_ms().checked_sub(retention_ms(retention)))
    }

    /// Whose these are, in one round trip; unless one of them is no hash, which must not hide the
    /// others.
    async fn owners(
        &self,
        ids: impl Iterator<Item = &ConnectionId>,
    ) -> Result<Vec<Option<Digest>>, StoreError> {
        let mut all = redis::pipe();
        for id in ids {
            all.cmd("HGET").arg(self.keys.connection(id)).arg("owner");
        }
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let owner = |value: &Value| {
            let hex = from_redis_value_ref::<Option<String>>(value).ok().flatten()?;
            Digest::from_hex(&hex)
        };
        match self.read_all(LIST, &all).await {
            Ok(Value::Array(owners)) if owners.len() == all.len() => {
                return Ok(owners.iter().map(owner).collect());
            }
            Ok(_) => return Err(reply::unreadable(LIST)),
            Err(error) if error.class() != Class::Corrupt => return Err(error),
            Err(_) => {}
        }
        let mut owners = Vec::with_capacity(all.len());
        for command in all.cmd_iter() {
            match self.read(LIST, command).await {
                Err(error) if error.class() == Class::Corrupt => owners.push(None),
                found => owners.push(owner(&found?)),
            }
        }
        Ok(owners)
    }
}

fn corrupt(verb: &'static str, key: String, what: &'static str) -> StoreError {
    StoreError::Corrupt { verb, key, what }
}

const LIST: &str = "list_orphans";
const NO_STATUS: &str = "it has no owner, or no status that is known";
