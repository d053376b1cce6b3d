//! Connections as their owners know them: created, read, listed, revoked, deleted. What races them
//! is in the files below; what agrees at random is in `agreement`.

mod damaged;
mod in_flight;
mod pages;
mod races;
mod retries;

use std::time::Duration;

use redis::AsyncCommands;
use vestibule::{
    Vestibule,
    connection::{
        AccessToken, ConnectionError, Connections, RefreshToken, Refreshed, ReplayPolicy,
        TokenAnswer,
    },
    seal::Seal,
    store::{ConnectionId, DeletedConnection, Retry, RevokedConnection, Status},
};

use crate::{
    properties::{
        connections::{connections_of, connector},
        pkce::shared_keys,
    },
    support::{server, side::Side},
};

/// A host without a provider, on either store.
pub(crate) struct Host {
    pub(crate) connections: Connections,
    pub(crate) vestibule: Vestibule,
    pub(crate) side: Side,
}

impl Host {
    pub(crate) async fn both() -> [Self; 2] {
        Side::both().await.map(Self::on)
    }

    pub(crate) async fn redis() -> Self {
        Self::on(Side::redis().await)
    }

    fn on(side: Side) -> Self {
        let keys = shared_keys();
        let vestibule =
            Vestibule::assemble(side.store.clone(), Seal::new(keys.ring.clone()), &keys);
        let connector = connector("http://127.0.0.1:9", ReplayPolicy::Strict);
        let connections = connections_of(&vestibule, connector);
        Self { connections, vestibule, side }
    }

    pub(crate) async fn pass(&self, seconds: u64) {
        self.side.pass(Duration::from_secs(seconds)).await;
    }

    /// A credential under a new connection.
    pub(crate) async fn stored(&self, owner: &str) -> ConnectionId {
        self.connections.store(owner, "demo", None, &granted("first")).await.unwrap()
    }

    pub(crate) async fn vended(
        &self,
        owner: &str,
        id: &ConnectionId,
    ) -> Result<String, ConnectionError> {
        let vended = self.connections.vend(owner, id).await?;
        Ok(vended.access_token.secret().to_owned())
    }

    /// How many connections the owner's list has.
    pub(crate) async fn listed(&self, owner: &str) -> usize {
        self.connections.list(owner, None, 100).await.unwrap().connections.len()
    }

    pub(crate) fn key(&self, id: &ConnectionId) -> String {
        self.side.key(id.shard(), format!("conn:{id}"))
    }
}

pub(crate) fn granted(access_token: &str) -> TokenAnswer {
    TokenAnswer {
        access_token: AccessToken::new(access_token),
        refresh_token: Some(RefreshToken::new("refresh")),
        expires_in: Some(Duration::from_secs(300)),
        scope: None,
        refresh_expires_in: None,
    }
}

/// V-9: a connection can be there before its credential; the connector must exist, and an owner.
#[tokio::test]
async fn a_connection_is_created_before_its_credential() {
    for host in Host::both().await {
        let (all, alice) = (&host.connections, "alice");
        let id = all.create(alice, "demo").await.unwrap();
        let row = all.get(alice, &id).await.unwrap();
        assert_eq!((row.status, row.grant, row.ver), (Status::NeedsReauth, 0, 0));
        assert_eq!(row.reason.as_deref(), Some("not_signed_in"));
        assert_eq!((&row.id, &*row.connector), (&id, "demo"));
        assert!(row.created_at_ms.is_some() && row.status_at_ms == row.created_at_ms);
        let error = host.vended(alice, &id).await.unwrap_err();
        assert!(matches!(error, ConnectionError::NeedsReauth { .. }), "{error}");
        assert!(matches!(all.refresh(&id).await, Ok(Refreshed::Not("inactive"))));

        all.store(alice, "demo", Some(&id), &granted("token")).await.unwrap();
        let row = all.get(alice, &id).await.unwrap();
        assert_eq!((row.status, row.reason, row.grant), (Status::Active, None, 1));
        assert_eq!(host.vended(alice, &id).await.unwrap(), "token");
        assert_eq!(host.listed(alice).await, 1);

        let unknown = all.create(alice, "unknown").await.unwrap_err();
        assert!(matches!(unknown, ConnectionError::UnknownConnector { .. }), "{unknown}");
        for owner in ["", &"x".repeat(513)] {
            let error = all.create(owner, "demo").await.unwrap_err();
            assert!(matches!(error, ConnectionError::InvalidOwner { .. }), "{error}");
        }
        assert_eq!(host.listed(alice).await, 1);
    }
}

/// V-1, V-5: what is revoked is told as that, says why and since when, and keeps no secret.
#[tokio::test]
async fn a_revoked_connection_vends_nothing_and_keeps_nothing() {
    for host in Host::both().await {
        let (all, alice, id) = (&host.connections, "alice", host.stored("alice").await);
        host.pass(10).await;
        let why = "left the company\u{202e}\r\n see https://hr.example/4711";
        let revoked = all.revoke(alice, &id, why).await.unwrap();
        assert_eq!(revoked, RevokedConnection::Revoked { grant: 2 });
        let row = all.get(alice, &id).await.unwrap();
        assert_eq!((row.status, row.grant, row.ver), (Status::Revoked, 2, 1));
        assert_eq!(row.reason.as_deref(), Some("left the company see [url]"));
        assert!(row.status_at_ms.unwrap() >= row.created_at_ms.unwrap() + 10_000);
        assert_eq!((row.expires_at_ms, row.next_at_ms), (None, None));
        let error = host.vended(alice, &id).await.unwrap_err();
        assert!(matches!(error, ConnectionError::Revoked), "{error}");
        assert_eq!(error.to_string(), "connection revoked");
        assert!(matches!(all.refresh(&id).await, Ok(Refreshed::Not("revoked"))));
        assert_eq!(all.retry(&id).await.unwrap(), Retry::Inactive(Status::Revoked));
        assert!(host.side.store.read_credential(&id).await.unwrap().unwrap().secret.is_empty());
        if host.side.is_redis() {
            let mut raw = server::shared().await.raw().await;
            let fields: Vec<String> = raw.hkeys(host.key(&id)).await.unwrap();
            for gone in ["secret", "token", "next_at", "lease", "att_token", "alt_secret"] {
                assert!(!fields.iter().any(|field| field == gone), "{gone} is left");
            }
            let due = host.side.key(id.shard(), "due");
            assert_eq!(raw.zcard::<_, u64>(due).await.unwrap(), 0);
        }

        // The first reason and time stay.
        host.pass(10).await;
        assert_eq!(all.revoke(alice, &id, "again").await.unwrap(), RevokedConnection::Already);
        assert_eq!(all.get(alice, &id).await.unwrap().reason, row.reason);
        // Its owner signs in again: the same connection, under another grant.
        all.store(alice, "demo", Some(&id), &granted("new")).await.unwrap();
        let row = all.get(alice, &id).await.unwrap();
        assert_eq!((row.status, row.reason, row.grant), (Status::Active, None, 3));
        assert_eq!(host.vended(alice, &id).await.unwrap(), "new");
    }
}

/// C-1: a deletion is idempotent, and leaves nothing but its receipts, and these for a minute.
#[tokio::test]
async fn a_deletion_is_idempotent_and_leaves_nothing() {
    for host in Host::both().await {
        let (all, alice, id) = (&host.connections, "alice", host.stored("alice").await);
        assert_eq!(all.delete(alice, &id).await.unwrap(), DeletedConnection::Deleted);
        for _ in 0..2 {
            assert_eq!(all.delete(alice, &id).await.unwrap(), DeletedConnection::Absent);
        }
        let never = ConnectionId::random(vestibule::Digest::NONE);
        assert_eq!(all.delete(alice, &never).await.unwrap(), DeletedConnection::Absent);
        assert!(matches!(all.get(alice, &id).await, Err(ConnectionError::NotFound)));
        assert!(matches!(host.vended(alice, &id).await, Err(ConnectionError::NotFound)));
        let revoked = all.revoke(alice, &id, "late").await;
        assert!(matches!(revoked, Err(ConnectionError::NotFound)));
        assert!(matches!(all.refresh(&id).await, Ok(Refreshed::Not("absent"))));
        assert_eq!(all.retry(&id).await.unwrap(), Retry::Absent);
        assert_eq!(host.listed(alice).await, 0);
        if host.side.is_redis() {
            let mut raw = server::shared().await.raw().await;
            let keys: Vec<String> = raw.keys(format!("{}:{{*", host.side.prefix())).await.unwrap();
            let (history, keys): (Vec<_>, Vec<_>) =
                keys.into_iter().partition(|key| key.ends_with(":history"));
            assert_eq!(keys, [host.key(&id)], "the receipts");
            let fields: Vec<String> = raw.hkeys(&keys[0]).await.unwrap();
            assert!(!fields.iter().any(|field| field == "secret" || field == "owner"));
            assert!((1..=60_000).contains(&raw.pttl::<_, i64>(&keys[0]).await.unwrap()));
            host.pass(61).await;
            let keys: Vec<String> = raw.keys(format!("{}:{{*", host.side.prefix())).await.unwrap();
            assert_eq!(keys, history, "what is told of it");
        }
    }
}

/// V-5: to another owner a connection is not there, whatever is asked of it.
#[tokio::test]
async fn another_owner_finds_nothing() {
    for host in Host::both().await {
        let (all, id) = (&host.connections, host.stored("alice").await);
        let before = all.get("alice", &id).await.unwrap();
        // One of them is in the shard of Alice's, so that the scripts have to judge.
        let near = (0..).map(|n| format!("mallory-{n}"));
        let mut in_her_shard = None;
        for owner in near {
            if host.stored(&owner).await.shard() == id.shard() {
                in_her_shard = Some(owner);
                break;
            }
        }
        for owner in ["mallory", &in_her_shard.unwrap()] {
            assert!(matches!(all.get(owner, &id).await, Err(ConnectionError::NotFound)));
            assert!(matches!(host.vended(owner, &id).await, Err(ConnectionError::NotFound)));
            let revoked = all.revoke(owner, &id, "mine now").await;
            assert!(matches!(revoked, Err(ConnectionError::NotFound)));
            assert_eq!(all.delete(owner, &id).await.unwrap(), DeletedConnection::Absent);
            let stored = all.store(owner, "demo", Some(&id), &granted("theirs")).await;
            assert!(matches!(stored, Err(ConnectionError::NotFound)));
            let page = all.list(owner, None, 100).await.unwrap();
            assert!(page.connections.iter().all(|connection| connection.id != id));
        }
        assert_eq!(all.get("alice", &id).await.unwrap(), before);
        assert_eq!(host.vended("alice", &id).await.unwrap(), "first");
    }
}

/// C-1: what is told of a connection is read without its secrets: they may be missing.
#[tokio::test]
async fn no_secret_is_read() {
    let host = Host::redis().await;
    let id = host.stored("alice").await;
    let before = host.connections.get("alice", &id).await.unwrap();
    let mut raw = server::shared().await.raw().await;
    let _: () = raw.hdel(host.key(&id), &["secret", "token"]).await.unwrap();
    assert!(matches!(host.vended("alice", &id).await, Err(ConnectionError::Store(_))));
    assert_eq!(host.connections.get("alice", &id).await.unwrap(), before);
    let page = host.connections.list("alice", None, 10).await.unwrap();
    assert_eq!(page.connections, [before]);
    for secret in ["first", "refresh\""] {
        assert!(!format!("{page:?}").contains(secret), "{page:?}");
    }
}
