//! A connection's life on Redis, as its owner leads it.

use std::sync::Weak;

use async_trait::async_trait;
use redis::{Value, cmd, from_redis_value_ref};

use super::{
    super::{RedisStore, reply, scripts, scripts::Arg},
    text,
};
use crate::{
    digest::Digest,
    store::{
        By, Class, ConnectionCursor, ConnectionId, ConnectionPage, ConnectionRow,
        CreatedConnection, DeletedConnection, GRACE, Keeper, LifecycleStore, NewConnection, Revoke,
        RevokedConnection, Shard, Status, StoreError, millis,
    },
};

/// The fields of a read, in the order of [`row`]. No secret is among them.
const READ: [&str; 15] = [
    "owner",
    "connector",
    "status",
    "reason",
    "status_at",
    "grant",
    "ver",
    "expires_at",
    "next_at",
    "attempts",
    "last_error",
    "created_at",
    "updated_at",
    "refresh_expires_at",
    "authenticated_at",
];

#[async_trait]
impl LifecycleStore for RedisStore {
    async fn create_connection(
        &self,
        new: NewConnection<'_>,
    ) -> Result<CreatedConnection, StoreError> {
        if is_elsewhere(new.id, new.owner) {
            return Ok(CreatedConnection::Foreign);
        }
        let keys = [self.keys.connection(new.id), self.keys.owner(new.id.shard(), new.owner)];
        let (request, owner) = (new.request.to_hex(), new.owner.to_hex());
        let argv = [
            text(&request),
            text(new.id.as_str()),
            text(&owner),
            text(new.connector),
            text(new.reason),
        ];
        let (verb, keys) = (&scripts::CONNECTION_CREATE, [keys[0].as_str(), &keys[1]]);
        let reply = self.run_script(verb, keys, argv, request.as_bytes()).await?;
        match reply.word() {
            "created" => Ok(CreatedConnection::Created),
            "foreign" => Ok(CreatedConnection::Foreign),
            _ => Err(reply.unknown_word()),
        }
    }

    async fn read_connection(
        &self,
        owner: Digest,
        id: &ConnectionId,
    ) -> Result<Option<ConnectionRow>, StoreError> {
        self.keep_time().await?;
        let key = self.keys.connection(id);
        let mut command = cmd("HMGET");
        command.arg(&key).arg(&READ);
        let fields = self.read("read_connection", &command).await?;
        row(id, owner, &fields).map_err(|what| StoreError::Corrupt {
            verb: "read_connection",
            key,
            what,
        })
    }

    async fn list_connections(
        &self,
        owner: Digest,
        cursor: Option<ConnectionCursor>,
        limit: u16,
    ) -> Result<ConnectionPage, StoreError> {
        self.keep_time().await?;
        let (ids, next) = self.owned(owner, cursor, limit).await?;
        let mut page = ConnectionPage { next, ..ConnectionPage::default() };
        for (id, fields) in ids.iter().zip(self.read_owned(&ids).await?) {
            match row(id, owner, &fields) {
                Ok(Some(connection)) => page.connections.push(connection),
                // It is listed again, and taken off then, if that fails now.
                Ok(None) => drop(self.unlist(owner, id).await),
                Err(_) => page.damaged.push(id.clone()),
            }
        }
        Ok(page)
    }

    async fn revoke_connection(&self, revoke: Revoke<'_>) -> Result<RevokedConnection, StoreError> {
        let (request, owner) = (revoke.request.to_hex(), revoke.owner.to_hex());
        let [conn, due, sealed, outbox, history] = super::all(self, revoke.id);
        let orphans = self.keys.orphans(revoke.id.shard());
        let argv = [
            text(&request),
            text(revoke.id.as_str()),
            text(&owner),
            text(revoke.reason),
            text(revoke.by.actor.as_str()),
            text(revoke.by.idp_host),
        ];
        let keys = [&*conn, &*due, &*orphans, &*sealed, &*outbox, &*history];
        let verb = &scripts::CONNECTION_REVOKE;
        let reply = self.run_script(verb, keys, argv, request.as_bytes()).await?;
        match reply.word() {
            "revoked" => {
                self.changes.tell(revoke.id);
                Ok(RevokedConnection::Revoked { grant: reply.part(0)? })
            }
            "already" => Ok(RevokedConnection::Already),
            "absent" => Ok(RevokedConnection::Absent),
            "corrupt" => Err(StoreError::Corrupt { verb: verb.name, key: conn, what: NO_OWNER }),
            _ => Err(reply.unknown_word()),
        }
    }

    async fn delete_connection(
        &self,
        owner: Digest,
        id: &ConnectionId,
        request: Digest,
        by: By<'_>,
    ) -> Result<DeletedConnection, StoreError> {
        if is_elsewhere(id, owner) {
            return Ok(DeletedConnection::Absent);
        }
        let [conn, due, sealed, outbox, history] = super::all(self, id);
        let (index, orphans) = (self.keys.owner(id.shard(), owner), self.keys.orphans(id.shard()));
        let (request, owner) = (request.to_hex(), owner.to_hex());
        let argv = [
            text(&request),
            text(id.as_str()),
            text(&owner),
            Arg::Number(millis(GRACE)),
            text(by.actor.as_str()),
            text(by.idp_host),
        ];
        let keys = [&*conn, &*index, &*due, &*orphans, &*sealed, &*outbox, &*history];
        let verb = &scripts::CONNECTION_DELETE;
        let reply = self.run_script(verb, keys, argv, request.as_bytes()).await?;
        match reply.word() {
            "deleted" => {
                self.changes.tell(id);
                Ok(DeletedConnection::Deleted)
            }
            "absent" => Ok(DeletedConnection::Absent),
            "corrupt" => Err(StoreError::Corrupt { verb: verb.name, key: conn, what: NO_OWNER }),
            _ => Err(reply.unknown_word()),
        }
    }

    fn tell_changes(&self, keeper: Weak<dyn Keeper>) {
        self.changes.register(keeper);
        self.listener.hear_changes();
    }
}

impl RedisStore {
    /// A page of an owner's index.
    async fn owned(
        &self,
        owner: Digest,
        cursor: Option<ConnectionCursor>,
        limit: u16,
    ) -> Result<(Vec<ConnectionId>, Option<ConnectionCursor>), StoreError> {
        let shard = Shard::new(owner.as_bytes()[0]);
        let index = self.keys.owner(shard, owner);
        let limit = limit.clamp(1, 100);
        let (from, after) = match &cursor {
            Some(cursor) => (cursor.from_ms, cursor.after.as_str()),
            None => (0, ""),
        };
        // Nothing to be told apart by: it writes nothing, so any echo will do.
        let request = owner.to_hex();
        let argv = [text(&request), Arg::Number(limit.into()), Arg::Number(from), text(after)];
        let verb = &scripts::CONNECTION_LIST;
        let reply = self.run_script(verb, [&index], argv, request.as_bytes()).await?;
        if reply.word() != "page" {
            return Err(reply.unknown_word());
        }
        let listed: Vec<Vec<u8>> = reply.part(0)?;
        let full = listed.len() == usize::from(limit);
        // A member that is no id of ours is nobody's connection.
        let id = |text: &Vec<u8>| str::from_utf8(text).ok()?.parse().ok();
        let ours = |id: &ConnectionId| id.shard() == shard;
        let ids: Vec<_> = listed.iter().filter_map(id).filter(ours).collect();
        let next = match ids.last().filter(|_| full) {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a time in ms"
            )]
            Some(after) => Some(ConnectionCursor {
                after: after.clone(),
                from_ms: reply.part::<f64>(1)? as u64,
            }),
            None => None,
        };
        Ok((ids, next))
    }

    /// What [`row`] reads of each, in one round trip; unless one of them is no hash, which must not
    /// hide the others.
    async fn read_owned(&self, ids: &[ConnectionId]) -> Result<Vec<Value>, StoreError> {
        const VERB: &str = "list_connections";
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut all = redis::pipe();
        for id in ids {
            all.cmd("HMGET").arg(self.keys.connection(id)).arg(&READ);
        }
        match self.read_all(VERB, &all).await {
            Ok(Value::Array(rows)) if rows.len() == ids.len() => return Ok(rows),
            Ok(_) => return Err(reply::unreadable(VERB)),
            Err(error) if error.class() != Class::Corrupt => return Err(error),
            Err(_) => {}
        }
        let mut rows = Vec::with_capacity(ids.len());
        for command in all.cmd_iter() {
            match self.read(VERB, command).await {
                Err(error) if error.class() == Class::Corrupt => rows.push(Value::Nil),
                row => rows.push(row?),
            }
        }
        Ok(rows)
    }

    async fn unlist(&self, owner: Digest, id: &ConnectionId) -> Result<(), StoreError> {
        let keys = [self.keys.connection(id), self.keys.owner(id.shard(), owner)];
        let request = owner.to_hex();
        let argv = [text(&request), text(id.as_str())];
        let (verb, keys) = (&scripts::CONNECTION_UNLIST, [keys[0].as_str(), &keys[1]]);
        self.run_script(verb, keys, argv, request.as_bytes()).await.map(drop)
    }
}

/// `None` if there is no such connection, or it is another owner's; an error names what is damaged.
fn row(
    id: &ConnectionId,
    owner: Digest,
    fields: &Value,
) -> Result<Option<ConnectionRow>, &'static str> {
    let Value::Array(fields) = fields else { return Err("it is no hash") };
    if fields.len() != READ.len() {
        return Err("it has other fields");
    }
    if fields.iter().all(|field| *field == Value::Nil) {
        return Ok(None);
    }
    let string = |at: usize| from_redis_value_ref::<Option<String>>(&fields[at]).ok().flatten();
    let number = |at: usize| match &fields[at] {
        Value::Nil => Ok(None),
        value => from_redis_value_ref::<u64>(value).map(Some).map_err(|_| "a number is not one"),
    };
    if string(0).and_then(|hex| Digest::from_hex(&hex)).ok_or(NO_OWNER)? != owner {
        return Ok(None);
    }
    Ok(Some(ConnectionRow {
        id: id.clone(),
        connector: string(1).ok_or("it has no connector")?,
        status: string(2)
            .and_then(|word| Status::from_word(&word))
            .ok_or("its status is unknown")?,
        reason: string(3),
        status_at_ms: number(4)?,
        grant: number(5)?.ok_or("it has no grant")?,
        ver: number(6)?.ok_or("it has no ver")?,
        expires_at_ms: number(7)?,
        refresh_expires_at_ms: number(13)?,
        authenticated_at_ms: number(14)?,
        next_at_ms: number(8)?,
        attempts: number(9)?.and_then(|n| n.try_into().ok()).unwrap_or(0),
        last_error: string(10),
        created_at_ms: number(11)?,
        updated_at_ms: number(12)?,
    }))
}

/// Whether this cannot be the owner's: its index would be in another shard.
pub(super) fn is_elsewhere(id: &ConnectionId, owner: Digest) -> bool {
    id.shard().number() != owner.as_bytes()[0]
}

pub(super) const NO_OWNER: &str = "it has no owner";
