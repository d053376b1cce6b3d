//! A real provider that takes its time, and owners who do not wait for it: whatever is in flight,
//! what was ended stays ended.

use std::time::Duration;

use redis::AsyncCommands;
use tokio::time::sleep;
use vestibule::{
    connection::{ConnectionError, Refreshed},
    store::{ConnectionId, DeletedConnection, Status},
};

use crate::{
    properties::journal::{self, Kill},
    support::{
        replicas::Replicas,
        server::{self, random},
    },
};

/// Time for all that happens meanwhile, on a busy machine too.
const SLOW: Duration = Duration::from_secs(2);

impl Replicas {
    async fn fields(&self, id: &ConnectionId) -> Vec<String> {
        server::shared().await.raw().await.hkeys(self.key(id)).await.unwrap()
    }

    async fn due(&self, id: &ConnectionId) -> bool {
        let key = format!("{}:{{{}}}:due", self.prefix, id.shard());
        let score: Option<f64> =
            server::shared().await.raw().await.zscore(key, id.as_str()).await.unwrap();
        score.is_some()
    }
}

/// X-6, V-5: revoked while the provider works: its answer is refused, and whoever waits is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_is_not_undone_by_what_is_in_flight() {
    let scene = Replicas::start().await;
    let id = scene.ran_out().await;
    scene.provider.set_answer_delay(SLOW);
    let waits = scene.one.vend("alice", &id);
    let revokes = async {
        scene.in_flight().await;
        scene.two.revoke("alice", &id, "now").await.unwrap();
        scene.two.vend("alice", &id).await
    };
    let (waited, at_once) = tokio::join!(waits, revokes);
    for refused in [waited, at_once] {
        assert!(matches!(refused, Err(ConnectionError::Revoked)), "{refused:?}");
    }
    assert_eq!(scene.provider.counts().refreshes, 1, "it did answer");
    assert_eq!(scene.one.get("alice", &id).await.unwrap().status, Status::Revoked);
    let fields = scene.fields(&id).await;
    assert!(!fields.iter().any(|field| field == "secret" || field == "lease"), "{fields:?}");
    assert!(!scene.due(&id).await);
}

/// X-6, C-6: deleted while the provider works: there is nothing for its answer to go to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_is_not_undone_by_what_is_in_flight() {
    let scene = Replicas::start().await;
    let id = scene.ran_out().await;
    scene.provider.set_answer_delay(SLOW);
    let (waits, refreshes) = (scene.one.vend("alice", &id), async {
        scene.in_flight().await;
        let deleted = scene.two.delete("alice", &id).await.unwrap();
        assert_eq!(deleted, DeletedConnection::Deleted);
        scene.two.refresh(&id).await
    });
    let (waited, refreshed) = tokio::join!(waits, refreshes);
    assert!(matches!(waited, Err(ConnectionError::NotFound)), "{waited:?}");
    assert!(matches!(refreshed, Ok(Refreshed::Not("absent"))), "{refreshed:?}");
    assert_eq!(scene.provider.counts().refreshes, 1, "it did answer");
    assert!(matches!(scene.one.get("alice", &id).await, Err(ConnectionError::NotFound)));
    let fields = scene.fields(&id).await;
    assert!(!fields.iter().any(|field| field == "secret" || field == "status"), "{fields:?}");
    assert!(!scene.due(&id).await);
}

/// ended at some moment or other of an exchange, over and over: never anything but ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_no_moment_is_an_end_undone() {
    let scene = Replicas::start().await;
    scene.provider.set_answer_delay(Duration::from_millis(10));
    let (mut refused, mut fresh) = (0, 0);
    for round in 0..40 {
        let id = scene.ran_out().await;
        let delete = round % 2 == 0;
        let ends = async {
            sleep(Duration::from_micros(random() % 30_000)).await;
            if delete {
                scene.two.delete("alice", &id).await.unwrap();
            } else {
                scene.two.revoke("alice", &id, "now").await.unwrap();
            }
        };
        let (refreshed, ()) = tokio::join!(scene.one.refresh(&id), ends);
        match refreshed.unwrap() {
            Refreshed::Fresh { .. } => fresh += 1,
            Refreshed::Not(_) => refused += 1,
            other => panic!("{other:?}"),
        }
        let after = scene.one.vend("alice", &id).await;
        let ended = match after {
            Err(ConnectionError::NotFound) => delete,
            Err(ConnectionError::Revoked) => !delete,
            _ => false,
        };
        assert!(ended, "{round}: {after:?}");
        assert!(!scene.due(&id).await);
        assert!(!scene.fields(&id).await.iter().any(|field| field == "secret"));
    }
    println!("{fresh} exchanges ended before, {refused} were refused");
    assert!(refused > 0);
}

/// what a dead process's journal holds of a revoked or a deleted connection is never replayed
/// into it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_does_not_bring_back_what_was_ended() {
    let server = server::shared().await;
    let mut scene = journal::Scene::reach(server, Kill::AfterTheJournal, 3).await;
    scene.kill().await;
    let replica = scene.replica(server).await;
    let [(revoked, alice), (deleted, bob), (left, carol)] = &scene.ids[..] else { panic!("three") };
    replica.revoke(alice, revoked, "now").await.unwrap();
    replica.delete(bob, deleted).await.unwrap();
    let pass = replica.replay_journal().await.unwrap();
    assert_eq!((pass.recovered, pass.settled, pass.left), (1, 2, 0), "{pass:?}");
    assert!(matches!(replica.vend(alice, revoked).await, Err(ConnectionError::Revoked)));
    assert!(matches!(replica.vend(bob, deleted).await, Err(ConnectionError::NotFound)));
    assert!(replica.vend(carol, left).await.is_ok());
}

/// C-11: a look at a connection refreshes nothing, however due it is, and needs no provider.
#[tokio::test]
async fn a_look_refreshes_nothing() {
    let scene = Replicas::start().await;
    let id = scene.ran_out().await;
    let calls = scene.provider.counts().token_calls;
    let before = scene.fields(&id).await;
    let row = scene.one.get("alice", &id).await.unwrap();
    assert!(row.next_at_ms < Some(row.status_at_ms.unwrap() + 400_000), "it is due: {row:?}");
    assert_eq!(row.status, Status::Active);
    let page = scene.one.list("alice", None, 10).await.unwrap();
    assert_eq!(page.connections, [row]);
    scene.one.drained().await;
    assert_eq!(scene.provider.counts().token_calls, calls);
    assert_eq!(scene.fields(&id).await, before, "not even a lease");
}
