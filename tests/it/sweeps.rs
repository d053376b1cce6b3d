//! Access that is withdrawn and given back, and the sweeps. What agrees at random is in `agreement`,
//! what races at full size in `prove_sweeps`.

mod in_flight;
mod reaping;
mod resealing;
mod trimming;
mod turns;

use redis::AsyncCommands;
use vestibule::{
    RequestId,
    connection::{ConnectionError, Refreshed},
    store::{
        Class, DeletedConnection, NewConnection, RestoredConnection, Retry, RevokedConnection,
        Status, WithdrawnConnection,
    },
};

use crate::{
    lifecycle::{Host, granted},
    support::{server, verbs},
};

/// A record, in no order.
type Fields = std::collections::BTreeMap<String, Vec<u8>>;

impl Host {
    /// Whether it is in this index of its shard: `due`, or `orphans`.
    async fn is_in(&self, index: &str, id: &vestibule::store::ConnectionId) -> bool {
        let key = self.side.key(id.shard(), index);
        let member = if index == "due" { id.to_string() } else { format!("conn:{id}") };
        let score: Option<f64> = self.side.raw().zscore(key, member).await.unwrap();
        score.is_some()
    }
}

/// H-9: access that is lost makes an orphan, which is of no use and is not refreshed; access that
/// returns makes it what it was, without a sign-in.
#[tokio::test]
async fn access_that_returns_brings_the_credential_back() {
    for host in Host::both().await {
        let (all, alice, id) = (&host.connections, "alice", host.stored("alice").await);
        host.pass(5).await;
        assert_eq!(all.withdraw_access(alice, &id).await.unwrap(), WithdrawnConnection::Withdrawn);
        let row = all.get(alice, &id).await.unwrap();
        assert_eq!((row.status, row.grant, row.ver), (Status::Orphaned, 1, 1));
        assert_eq!(row.reason.as_deref(), Some("access_withdrawn"));
        assert!(row.status_at_ms.unwrap() >= row.created_at_ms.unwrap() + 5_000);
        let error = host.vended(alice, &id).await.unwrap_err();
        assert!(matches!(error, ConnectionError::Withdrawn), "{error}");
        let error = all.vend_api_key(alice, &id).await.unwrap_err();
        assert!(matches!(error, ConnectionError::Withdrawn), "{error}");
        assert!(matches!(all.refresh(&id).await, Ok(Refreshed::Not("orphaned"))));
        assert_eq!(all.retry(&id).await.unwrap(), Retry::Inactive(Status::Orphaned));
        assert_eq!(host.listed(alice).await, 1);
        if host.side.is_redis() {
            assert!(!host.is_in("due", &id).await && host.is_in("orphans", &id).await);
        }

        // Since when it is an orphan is not told anew.
        host.pass(5).await;
        assert_eq!(all.withdraw_access(alice, &id).await.unwrap(), WithdrawnConnection::Already);
        let again = all.get(alice, &id).await.unwrap();
        assert!(again.status_at_ms.unwrap().abs_diff(row.status_at_ms.unwrap()) <= 6_000);

        assert_eq!(all.restore_access(alice, &id).await.unwrap(), RestoredConnection::Restored);
        assert_eq!(host.vended(alice, &id).await.unwrap(), "first");
        let row = all.get(alice, &id).await.unwrap();
        assert_eq!((row.status, row.reason, row.grant), (Status::Active, None, 1));
        if host.side.is_redis() {
            assert!(host.is_in("due", &id).await && !host.is_in("orphans", &id).await);
            let mut raw = server::shared().await.raw().await;
            let fields: Vec<String> = raw.hkeys(host.key(&id)).await.unwrap();
            assert!(!fields.iter().any(|field| field.starts_with("was")), "{fields:?}");
        }
        let again = all.restore_access(alice, &id).await.unwrap();
        assert_eq!(again, RestoredConnection::NotOrphaned);
    }
}

/// H-9: it is given back as it was: what needed its owner still does, and says why.
#[tokio::test]
async fn what_was_lost_before_is_not_found_by_giving_it_back() {
    for host in Host::both().await {
        let (all, alice) = (&host.connections, "alice");
        let id = all.create(alice, "demo").await.unwrap();
        all.withdraw_access(alice, &id).await.unwrap();
        all.restore_access(alice, &id).await.unwrap();
        let row = all.get(alice, &id).await.unwrap();
        assert_eq!(row.status, Status::NeedsReauth);
        assert_eq!(row.reason.as_deref(), Some("not_signed_in"));

        // Of what was revoked there is nothing to withdraw, or to give back.
        all.revoke(alice, &id, "gone").await.unwrap();
        let withdrawn = all.withdraw_access(alice, &id).await.unwrap();
        assert_eq!(withdrawn, WithdrawnConnection::Revoked);
        let restored = all.restore_access(alice, &id).await.unwrap();
        assert_eq!(restored, RestoredConnection::NotOrphaned);
        assert_eq!(all.get(alice, &id).await.unwrap().status, Status::Revoked);
    }
}

/// H-9: an orphan that is signed in to again is active; one that is revoked or deleted is that; and
/// none of them is an orphan any more.
#[tokio::test]
async fn an_orphan_may_end_otherwise() {
    for host in Host::both().await {
        let (all, alice) = (&host.connections, "alice");
        let [stored, revoked, deleted] =
            [host.stored(alice).await, host.stored(alice).await, host.stored(alice).await];
        for id in [&stored, &revoked, &deleted] {
            all.withdraw_access(alice, id).await.unwrap();
        }
        all.store(alice, "demo", Some(&stored), &granted("new")).await.unwrap();
        assert_eq!(host.vended(alice, &stored).await.unwrap(), "new");
        assert_eq!(all.get(alice, &stored).await.unwrap().reason, None);
        let outcome = all.revoke(alice, &revoked, "gone").await.unwrap();
        assert_eq!(outcome, RevokedConnection::Revoked { grant: 2 });
        assert_eq!(all.get(alice, &revoked).await.unwrap().status, Status::Revoked);
        assert_eq!(all.delete(alice, &deleted).await.unwrap(), DeletedConnection::Deleted);
        for id in [&stored, &revoked] {
            let restored = all.restore_access(alice, id).await.unwrap();
            assert_eq!(restored, RestoredConnection::NotOrphaned);
        }
        let restored = all.restore_access(alice, &deleted).await;
        assert!(matches!(restored, Err(ConnectionError::NotFound)));
        if host.side.is_redis() {
            for id in [&stored, &revoked, &deleted] {
                assert!(!host.is_in("orphans", id).await);
            }
        }
    }
}

/// the same request again changes nothing that came since.
#[tokio::test]
async fn a_late_retry_leaves_alone_what_came_since() {
    for host in Host::both().await {
        let (all, alice, id) = (&host.connections, "alice", host.stored("alice").await);
        let [lost, returned] = [RequestId::random(), RequestId::random()];
        all.withdraw_access_as(&lost, alice, &id).await.unwrap();
        all.restore_access_as(&returned, alice, &id).await.unwrap();
        for seconds in [0, 100] {
            host.pass(seconds).await;
            let again = all.withdraw_access_as(&lost, alice, &id).await.unwrap();
            assert_eq!(again, WithdrawnConnection::Withdrawn);
            assert_eq!(all.get(alice, &id).await.unwrap().status, Status::Active);
        }
        all.withdraw_access(alice, &id).await.unwrap();
        let again = all.restore_access_as(&returned, alice, &id).await.unwrap();
        assert_eq!(again, RestoredConnection::Restored);
        assert_eq!(all.get(alice, &id).await.unwrap().status, Status::Orphaned);
    }
}

/// V-5: to another owner it is not there.
#[tokio::test]
async fn another_owners_access_is_out_of_reach() {
    for host in Host::both().await {
        let (all, id) = (&host.connections, host.stored("alice").await);
        let withdrawn = all.withdraw_access("mallory", &id).await;
        assert!(matches!(withdrawn, Err(ConnectionError::NotFound)));
        all.withdraw_access("alice", &id).await.unwrap();
        let restored = all.restore_access("mallory", &id).await;
        assert!(matches!(restored, Err(ConnectionError::NotFound)));
        assert_eq!(all.get("alice", &id).await.unwrap().status, Status::Orphaned);
    }
}

/// H-9: all of an owner's, a page at a time, in line with what the owner may have now.
#[tokio::test]
async fn a_grant_that_changes_is_reconciled_page_by_page() {
    for host in Host::both().await {
        let (all, alice) = (&host.connections, "alice");
        let mut ids = Vec::new();
        for _ in 0..7 {
            ids.push(host.stored(alice).await);
            // Apart, or the order of a page is that of random ids.
            host.pass(1).await;
        }
        all.revoke(alice, &ids[6], "gone").await.unwrap();
        for (allowed, withdrawn, restored) in
            [(2..4, 4, 0), (2..4, 0, 0), (3..6, 1, 2), (0..7, 0, 3)]
        {
            let (mut lost, mut back, mut cursor) = (0, 0, None);
            loop {
                let has_access =
                    |row: &vestibule::store::ConnectionRow| ids[allowed.clone()].contains(&row.id);
                let page = all.reconcile_access(alice, cursor, 2, has_access).await.unwrap();
                lost += page.withdrawn.len();
                back += page.restored.len();
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!((lost, back), (withdrawn, restored), "{allowed:?}");
            for (at, id) in ids.iter().enumerate().take(6) {
                let expected =
                    if allowed.contains(&at) { Status::Active } else { Status::Orphaned };
                assert_eq!(all.get(alice, id).await.unwrap().status, expected, "{at} {allowed:?}");
            }
        }
        assert_eq!(all.get(alice, &ids[6]).await.unwrap().status, Status::Revoked);
    }
}

/// Bad input: a record that is damaged is left as it is, and named; so is one beside an index that
/// is none.
#[tokio::test]
async fn what_is_damaged_is_left_as_it_is() {
    let host = Host::redis().await;
    let mut raw = server::shared().await.raw().await;
    let (all, alice) = (&host.connections, "alice");
    let corrupt = |error: &ConnectionError| matches!(error, ConnectionError::Store(error) if error.class() == Class::Corrupt);
    for (field, value) in [("status", "dormant"), ("was", "dormant"), ("next_at", "soon")] {
        let id = host.stored(alice).await;
        if field != "status" {
            all.withdraw_access(alice, &id).await.unwrap();
        }
        let _: () = raw.hset(host.key(&id), field, value).await.unwrap();
        let before: Fields = raw.hgetall(host.key(&id)).await.unwrap();
        let error = if field == "status" {
            all.withdraw_access(alice, &id).await.unwrap_err()
        } else {
            all.restore_access(alice, &id).await.unwrap_err()
        };
        assert!(corrupt(&error), "{field}: {error}");
        let after: Fields = raw.hgetall(host.key(&id)).await.unwrap();
        assert_eq!(before, after, "{field}");
    }

    // An index of another type fails the verb before anything is written.
    let id = verbs::connection();
    let (owner, request) = (verbs::owner_of(&id), verbs::request());
    let new = NewConnection { id: &id, request, owner, connector: "demo", reason: "new" };
    host.side.store.create_connection(new).await.unwrap();
    for index in ["due", "orphans"] {
        let key = host.side.key(id.shard(), index);
        let _: () = raw.set(&key, "x").await.unwrap();
        let before: Fields = raw.hgetall(host.key(&id)).await.unwrap();
        let request = verbs::request();
        let withdraw =
            vestibule::store::WithdrawConnection { id: &id, request, owner, reason: "lost" };
        let error = host.side.store.withdraw_connection(withdraw).await.unwrap_err();
        assert_eq!(error.class(), Class::Corrupt, "{error}");
        let after: Fields = raw.hgetall(host.key(&id)).await.unwrap();
        assert_eq!(before, after, "{index}");
        let _: () = raw.del(&key).await.unwrap();
    }
    assert!(host.side.store.read_connection(owner, &id).await.unwrap().is_some());
}
