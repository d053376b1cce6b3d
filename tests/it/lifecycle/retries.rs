//! The same request again: the same answer, and nothing comes back that was ended, nor is anything
//! ended that came since.

use redis::AsyncCommands;
use vestibule::{
    RequestId,
    connection::ConnectionError,
    store::{
        Begin, Class, CommitOutcome, ConnectionId, DeletedConnection, NewCredential,
        RevokedConnection, Status, Stored,
    },
};

use super::{Host, granted};
use crate::support::{
    proxy::Proxy, server, server::TestServer, side::Side, stores::store_at, verbs,
};

/// What was stored since is another grant: none of the revocation's, however late it is retried.
#[tokio::test]
async fn a_retried_revocation_leaves_a_new_grant_alone() {
    for host in Host::both().await {
        let (all, alice, id) = (&host.connections, "alice", host.stored("alice").await);
        let request = RequestId::random();
        for _ in 0..2 {
            let revoked = all.revoke_as(&request, alice, &id, "once").await.unwrap();
            assert_eq!(revoked, RevokedConnection::Revoked { grant: 2 });
        }
        all.store(alice, "demo", Some(&id), &granted("new")).await.unwrap();
        for seconds in [0, 100] {
            host.pass(seconds).await;
            let revoked = all.revoke_as(&request, alice, &id, "once").await.unwrap();
            assert_eq!(revoked, RevokedConnection::Revoked { grant: 3 });
            assert_eq!(host.vended(alice, &id).await.unwrap(), "new");
        }
        let other = all.revoke_as(&RequestId::random(), alice, &id, "twice").await.unwrap();
        assert_eq!(other, RevokedConnection::Revoked { grant: 4 });
    }
}

/// So is what was stored under the id of a deleted connection; and it stays.
#[tokio::test]
async fn a_retried_deletion_leaves_a_new_connection_alone() {
    for host in Host::both().await {
        let (all, alice, id) = (&host.connections, "alice", host.stored("alice").await);
        let owner = host.side.store.read_credential(&id).await.unwrap().unwrap().owner;
        let (one, two) = (RequestId::random(), RequestId::random());
        let revoked = all.revoke_as(&two, alice, &id, "before").await.unwrap();
        assert_eq!(revoked, RevokedConnection::Revoked { grant: 2 });
        for _ in 0..2 {
            let deleted = all.delete_as(&one, alice, &id).await.unwrap();
            assert_eq!(deleted, DeletedConnection::Deleted);
        }
        // No verb of a host's brings a deleted one back: only one that is retried late could.
        let stored = all.store(alice, "demo", Some(&id), &granted("new")).await;
        assert!(matches!(stored, Err(ConnectionError::NotFound)), "{stored:?}");
        let new = NewCredential { owner, ..verbs::credential(&id, RequestId::random().digest()) };
        host.side.store.store_credential(new).await.unwrap();
        let row = all.get(alice, &id).await.unwrap();
        assert_eq!((row.status, row.grant, row.ver), (Status::Active, 4, 1), "one for each verb");
        // The receipts' end is not the connection's.
        for seconds in [0, 100] {
            host.pass(seconds).await;
            let deleted = all.delete_as(&one, alice, &id).await.unwrap();
            assert_eq!(deleted, DeletedConnection::Deleted);
            let revoked = all.revoke_as(&two, alice, &id, "before").await.unwrap();
            assert_eq!(revoked, RevokedConnection::Revoked { grant: 4 });
            let row = all.get(alice, &id).await.unwrap();
            assert_eq!((row.status, row.grant), (Status::Active, 4));
            assert_eq!(host.listed(alice).await, 1);
        }
    }
}

/// A retried creation finds its own connection, whatever became of it, and brings none back.
#[tokio::test]
async fn a_retried_creation_brings_nothing_back() {
    for host in Host::both().await {
        let (all, alice) = (&host.connections, "alice");
        let request = RequestId::derived(alice, "create 1");
        let id = all.create_as(&request, alice, "demo").await.unwrap();
        assert_eq!(all.create_as(&request, alice, "demo").await.unwrap(), id);
        let others = all.create_as(&request, "bob", "demo").await.unwrap();
        assert_ne!(others, id, "the same request of somebody else's is another one");
        assert_eq!(host.listed(alice).await, 1);
        all.store(alice, "demo", Some(&id), &granted("token")).await.unwrap();
        assert_eq!(all.create_as(&request, alice, "demo").await.unwrap(), id);
        assert_eq!(all.get(alice, &id).await.unwrap().status, Status::Active);
        all.delete(alice, &id).await.unwrap();
        assert_eq!(all.create_as(&request, alice, "demo").await.unwrap(), id);
        assert_eq!(host.listed(alice).await, 0);
    }
}

/// Nor does a retried store or commit: the receipts outlive the record. On a Redis where the record
/// is taken away without them, the retried store does.
#[tokio::test]
async fn a_retried_store_brings_nothing_back() {
    for host in Host::both().await {
        for keeps_receipts in [true, false] {
            let (store, id) = (&*host.side.store, verbs::connection());
            let (request, holder) = (verbs::request(), verbs::request());
            let new = verbs::credential(&id, request);
            assert_eq!(store.store_credential(new.clone()).await.unwrap(), STORED);
            let begun = verbs::begin(store, &id, holder).await.unwrap();
            let Begin::Begun(begun) = begun else { panic!("{begun:?}") };
            if keeps_receipts {
                let deleted = store.delete_connection(new.owner, &id, verbs::request(), verbs::BY);
                assert_eq!(deleted.await.unwrap(), DeletedConnection::Deleted);
            } else if host.side.is_redis() {
                let mut raw = server::shared().await.raw().await;
                let _: () = raw.del(host.key(&id)).await.unwrap();
            } else {
                continue;
            }
            let committed = verbs::commit(store, &id, &begun, verbs::request()).await.unwrap();
            assert_eq!(committed, CommitOutcome::Gone);
            store.store_credential(new).await.unwrap();
            let back = store.read_credential(&id).await.unwrap().is_some();
            assert_eq!(back, !keeps_receipts);
        }
    }
}

const STORED: Stored = Stored::Stored { grant: 1 };

/// Whatever verb loses its reply, its caller gets the answer of the run that it did not see.
#[tokio::test]
async fn a_lost_reply_is_asked_for_again() {
    let server = TestServer::builder().start().await;
    let proxy = Proxy::start(server.port());
    proxy.announce_on(&server).await;
    let direct = Side::redis_on(&server).await;
    for url in [proxy.url(), proxy.cluster_url()] {
        let store = store_at(&url, direct.prefix()).await.unwrap();
        let host = Host::on(Side { store, ..direct.clone() });
        let all = &host.connections;
        // Every script is there: a reply that is lost shall not be NOSCRIPT.
        let id = all.create("warm", "demo").await.unwrap();
        all.list("warm", None, 1).await.unwrap();
        all.revoke("warm", &id, "warm").await.unwrap();
        all.delete("warm", &id).await.unwrap();

        let owner = &url;
        let id: ConnectionId = proxy.without_reply(all.create(owner, "demo")).await.unwrap();
        let page = proxy.without_reply(all.list(owner, None, 10)).await.unwrap();
        assert_eq!(page.connections.len(), 1, "created once");
        let revoked = proxy.without_reply(all.revoke(owner, &id, "x")).await.unwrap();
        assert_eq!(revoked, RevokedConnection::Revoked { grant: 1 }, "by itself");
        let deleted = proxy.without_reply(all.delete(owner, &id)).await.unwrap();
        assert_eq!(deleted, DeletedConnection::Deleted, "by itself");
    }
}

/// On a full Redis nothing is created, and everything can be ended.
#[tokio::test]
async fn a_full_redis_lets_owners_end_what_they_have() {
    let server = TestServer::builder().cluster(false).start().await;
    let host = Host::on(Side::redis_on(&server).await);
    let (all, one, two) =
        (&host.connections, host.stored("alice").await, host.stored("alice").await);
    let mut raw = server.raw().await;
    redis::cmd("CONFIG").arg(&["SET", "maxmemory", "1"]).exec_async(&mut raw).await.unwrap();
    let created = all.create("alice", "demo").await;
    let Err(ConnectionError::Store(error)) = created else { panic!("{created:?}") };
    assert_eq!(error.class(), Class::Resource);
    let revoked = all.revoke("alice", &one, "x").await.unwrap();
    assert_eq!(revoked, RevokedConnection::Revoked { grant: 2 });
    assert_eq!(all.delete("alice", &two).await.unwrap(), DeletedConnection::Deleted);
    assert_eq!(host.listed("alice").await, 1);
}
