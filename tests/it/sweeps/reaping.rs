//! The orphans' sweep: what is old enough goes, whole; what is not, or is damaged, stays.

use std::time::Duration;

use redis::AsyncCommands;
use tokio_util::sync::CancellationToken;
use vestibule::{
    connection::ConnectionError,
    store::{BeginTurn, ConnectionId, ReapConnection, Reaped, SweepName, Turn},
    sweep::{Budget, Orphans, Swept},
};

use crate::{
    lifecycle::Host,
    support::{server, verbs},
};

const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);
const DAY_S: u64 = 24 * 3600;

impl Host {
    /// An orphan since now.
    async fn orphan(&self, owner: &str) -> ConnectionId {
        let id = self.stored(owner).await;
        self.connections.withdraw_access(owner, &id).await.unwrap();
        id
    }

    async fn reap(&self, retention: Duration, budget: Budget) -> Swept {
        let sweep = Orphans { retention, budget };
        sweep.pass(&self.vestibule, &CancellationToken::new()).await
    }
}

/// H-10: an orphan older than the retention is deleted with all that is known of it; a younger one,
/// and what is none, are not touched.
#[tokio::test]
async fn only_what_is_older_than_the_retention_is_reaped() {
    for host in Host::both().await {
        let (all, alice) = (&host.connections, "alice");
        let (old, back, used) =
            (host.orphan(alice).await, host.orphan(alice).await, host.stored(alice).await);
        all.restore_access(alice, &back).await.unwrap();
        host.pass(31 * DAY_S).await;
        let young = host.orphan(alice).await;
        let dry = Budget { dry_run: true, ..Budget::default() };
        let swept = host.reap(MONTH, dry).await;
        assert_eq!((swept.found, swept.done, swept.shards), (1, 0, 256), "{swept:?}");
        assert_eq!(host.listed(alice).await, 4);

        let swept = host.reap(MONTH, Budget::default()).await;
        assert_eq!((swept.found, swept.done, swept.unfinished), (1, 1, false), "{swept:?}");
        assert!(matches!(all.get(alice, &old).await, Err(ConnectionError::NotFound)));
        assert_eq!(host.listed(alice).await, 3);
        for (id, word) in [(&back, "active"), (&used, "active"), (&young, "orphaned")] {
            assert_eq!(all.get(alice, id).await.unwrap().status.as_str(), word);
        }
        if host.side.is_redis() {
            let mut raw = server::shared().await.raw().await;
            let fields: Vec<String> = raw.hkeys(host.key(&old)).await.unwrap();
            assert!(!fields.iter().any(|field| field == "secret" || field == "owner"));
            assert!((1..=60_000).contains(&raw.pttl::<_, i64>(host.key(&old)).await.unwrap()));
            assert!(!host.is_in("orphans", &old).await && !host.is_in("due", &old).await);
        }
        let swept = host.reap(MONTH, Budget::default()).await;
        assert_eq!((swept.found, swept.shards), (0, 256), "{swept:?}");
    }
}

/// H-10, bad input: a retention of zero switches the sweep off, one that is longer than time keeps
/// everything.
#[tokio::test]
async fn a_retention_of_zero_or_of_ages_reaps_nothing() {
    for host in Host::both().await {
        host.orphan("alice").await;
        host.pass(11 * 365 * DAY_S).await;
        for retention in [Duration::ZERO, Duration::MAX, Duration::from_secs(u64::MAX / 1000)] {
            let swept = host.reap(retention, Budget::default()).await;
            assert_eq!((swept.found, swept.errors), (0, 0), "{retention:?}: {swept:?}");
            assert_eq!(host.listed("alice").await, 1, "{retention:?}");
        }
        // Ten years are not for ever.
        let swept = host.reap(Duration::from_secs(10 * 365 * DAY_S), Budget::default()).await;
        assert_eq!(swept.done, 1);
    }
}

/// H-10: whatever the list said, the verb judges: by the status, by the age, and by the owner.
#[tokio::test]
async fn what_is_reaped_is_judged_where_it_is_deleted() {
    for host in Host::both().await {
        let store = &*host.side.store;
        let id = verbs::due(store).await;
        let (owner, retention) = (verbs::owner_of(&id), MONTH);
        let reap = |request| ReapConnection { id: &id, request, owner, retention };
        let outcome = store.reap_connection(reap(verbs::request())).await.unwrap();
        assert_eq!(outcome, Reaped::NotOrphaned);
        let withdraw = vestibule::store::WithdrawConnection {
            id: &id,
            request: verbs::request(),
            owner,
            reason: "lost",
        };
        store.withdraw_connection(withdraw).await.unwrap();
        host.pass(29 * DAY_S).await;
        let outcome = store.reap_connection(reap(verbs::request())).await.unwrap();
        let Reaped::TooYoung { remaining } = outcome else { panic!("{outcome:?}") };
        assert!(remaining.as_secs().abs_diff(DAY_S) < 60, "{remaining:?}");
        host.pass(2 * DAY_S).await;
        let stranger = ReapConnection { owner: verbs::request(), ..reap(verbs::request()) };
        assert_eq!(store.reap_connection(stranger).await.unwrap(), Reaped::NotOrphaned);

        let request = verbs::request();
        for _ in 0..2 {
            assert_eq!(store.reap_connection(reap(request)).await.unwrap(), Reaped::Reaped);
        }
        let other = store.reap_connection(reap(verbs::request())).await.unwrap();
        assert_eq!(other, Reaped::Absent);
        // What is stored anew under the id is another one, of another grant.
        verbs::store_credential(store, &id).await.unwrap();
        let row = store.read_credential(&id).await.unwrap().unwrap();
        assert_eq!(row.grant, 3);
        assert_eq!(store.reap_connection(reap(request)).await.unwrap(), Reaped::Reaped);
        assert!(store.read_credential(&id).await.unwrap().is_some());
    }
}

/// H-10: what is damaged, or of a later version, is left and counted, and hides nothing behind it;
/// an entry of what is gone is taken off.
#[tokio::test]
async fn what_cannot_be_reaped_holds_nothing_up() {
    let host = Host::redis().await;
    let mut raw = server::shared().await.raw().await;
    let mut ids = Vec::new();
    for _ in 0..130 {
        ids.push(host.orphan("alice").await);
    }
    host.pass(31 * DAY_S).await;
    let index = host.side.key(ids[0].shard(), "orphans");
    let [not_known, no_hash, no_time, gone] = [&ids[0], &ids[1], &ids[2], &ids[3]];
    let _: () = raw.zadd(&index, "thing:1", 1).await.unwrap();
    let _: () = raw.hset(host.key(not_known), "status", "dormant").await.unwrap();
    let _: () = raw.del(host.key(no_hash)).await.unwrap();
    let _: () = raw.set(host.key(no_hash), "x").await.unwrap();
    let _: () = raw.hset(host.key(no_time), "status_at", "then").await.unwrap();
    let _: () = raw.del(host.key(gone)).await.unwrap();
    let swept = host.reap(MONTH, Budget::default()).await;
    assert_eq!(swept.done, 126, "{swept:?}");
    // One is no orphan by its status, one is gone; two are damaged, one is a kind that is not known.
    assert_eq!((swept.changed, swept.errors, swept.left), (2, 0, 3), "{swept:?}");
    let members: Vec<String> = raw.zrange(&index, 0, -1).await.unwrap();
    let left = [no_hash, no_time].map(|id| format!("conn:{id}"));
    assert_eq!(members.len(), 3, "{members:?}");
    assert!(members.contains(&"thing:1".to_owned()));
    assert!(left.iter().all(|id| members.contains(id)), "{members:?}");
    // The next one finds the same three, and no more.
    let swept = host.reap(MONTH, Budget::default()).await;
    assert_eq!((swept.found, swept.done, swept.errors, swept.left), (3, 0, 0, 3), "{swept:?}");
}

/// H-10: a pass keeps to its budget, and the next goes on; a stop ends it between two pages.
#[tokio::test]
async fn a_pass_that_ends_early_is_gone_on_with() {
    for host in Host::both().await {
        for owner in 0..30 {
            host.orphan(&format!("owner-{owner}")).await;
        }
        host.pass(31 * DAY_S).await;
        // Well within the interval: what is not done is not recent.
        let hour = Duration::from_secs(3600);
        let budget = Budget { limit: 12, not_within: hour, ..Budget::default() };
        let mut done = Vec::new();
        loop {
            let swept = host.reap(MONTH, budget).await;
            assert!(swept.found <= 12, "{swept:?}");
            done.push(swept.done);
            if !swept.unfinished {
                break;
            }
        }
        assert_eq!(done.iter().sum::<u64>(), 30, "{done:?}");
        assert!(done.len() >= 3, "{done:?}");

        let stop = CancellationToken::new();
        stop.cancel();
        let sweep = Orphans { retention: MONTH, budget };
        let swept = sweep.pass(&host.vestibule, &stop).await;
        assert!(swept.unfinished && swept.shards + swept.recent == 0, "{swept:?}");
    }
}

/// H-10: replicas share a round: what one has swept the other leaves alone, and so it does what one
/// is at; what a dead one held is taken over when its lease is over.
#[tokio::test]
async fn a_round_is_shared() {
    for host in Host::both().await {
        host.orphan("alice").await;
        host.pass(31 * DAY_S).await;
        let (sweep, shard) = (SweepName::Orphans, vestibule::store::Shard::new(7));
        let hour = Duration::from_secs(3600);
        let dead = BeginTurn {
            sweep,
            shard,
            request: verbs::request(),
            lease: Duration::from_secs(60),
            not_within: hour,
        };
        assert!(matches!(host.side.store.begin_turn(dead).await.unwrap(), Turn::Begun { .. }));
        let budget = Budget { not_within: hour, ..Budget::default() };
        let swept = host.reap(MONTH, budget).await;
        assert_eq!((swept.held, swept.shards, swept.unfinished), (1, 255, true), "{swept:?}");
        host.pass(61).await;
        let swept = host.reap(MONTH, budget).await;
        assert_eq!((swept.recent, swept.shards, swept.unfinished), (255, 1, false), "{swept:?}");
        let swept = host.reap(MONTH, budget).await;
        assert_eq!((swept.recent, swept.found), (256, 0), "{swept:?}");
        host.pass(3600).await;
        let swept = host.reap(MONTH, budget).await;
        assert_eq!((swept.shards, swept.found), (256, 0), "{swept:?}");
        // Whoever asks by hand does not wait.
        assert_eq!(host.reap(MONTH, Budget::default()).await.shards, 256);
    }
}
