//! Events that are not needed any more: what all receivers have been told, and what is too old.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use redis::AsyncCommands;
use tokio_util::sync::CancellationToken;
use vestibule::{
    event::OutboxGroup,
    store::{
        Actor, BeginTurn, EventKind, NewEvent, OutboxRead, ReadHistory, ReadOutbox, Shard, Subject,
        SweepName, Turn,
    },
    sweep::{Budget, Swept, TrimEvents, TrimHistory},
};

use crate::{
    lifecycle::Host,
    support::{server, verbs},
};

const DAY: u64 = 24 * 3600;
const MONTH: Duration = Duration::from_secs(30 * DAY);

fn group(name: &str) -> OutboxGroup {
    OutboxGroup::new(name).unwrap()
}

fn dry() -> Budget {
    Budget { dry_run: true, ..Budget::default() }
}

impl Host {
    async fn happen(&self, shard: u8, times: usize) {
        let event = NewEvent {
            kind: EventKind::NeedsReauth,
            subject: Subject::Connection,
            subject_id: "x",
            name: "demo",
            owner: None,
            actor: Actor::BackgroundRefresh,
            idp_host: "",
            detail: "",
        };
        for _ in 0..times {
            let shard = Shard::new(shard);
            self.side.store.append_event(shard, event, verbs::request()).await.unwrap();
        }
    }

    /// Hands a receiver what there is of a shard, and acknowledges the first so many of it.
    async fn tell(&self, shard: u8, name: &str, acknowledged: usize) -> usize {
        let (shard, group, mut ids, mut after) = (Shard::new(shard), group(name), vec![], None);
        loop {
            let read = ReadOutbox {
                shard,
                group: &group,
                consumer: "me",
                request: verbs::request(),
                after,
                count: 100,
                idle: Duration::from_secs(60),
            };
            let read = self.side.store.read_outbox(read).await.unwrap();
            let OutboxRead::Page(page) = read else { panic!("{read:?}") };
            ids.extend(page.events.iter().map(|event| event.id));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let some = &ids[..acknowledged.min(ids.len())];
        self.side.store.ack_outbox(shard, &group, some).await.unwrap();
        ids.len()
    }

    async fn trim(&self, budget: Budget) -> Swept {
        TrimEvents { budget }.pass(&self.vestibule, &CancellationToken::new()).await
    }

    async fn forget(&self, age: Duration, budget: Budget) -> Swept {
        TrimHistory { age, budget }.pass(&self.vestibule, &CancellationToken::new()).await
    }

    async fn kept(&self) -> BTreeMap<u8, u64> {
        let backlog = self.side.store.outbox_backlog().await.unwrap();
        backlog.into_iter().map(|(shard, length)| (shard.number(), length)).collect()
    }

    async fn remembered(&self, shard: u8) -> usize {
        let page = ReadHistory { shard: Shard::new(shard), before: None, since_ms: 0, limit: 1000 };
        self.side.store.read_history(page).await.unwrap().events.len()
    }
}

/// what one of the receivers has yet to be told stays, and what it holds; the rest goes. How
/// far behind each is is told whoever has trimmed.
#[tokio::test]
async fn only_what_all_have_been_told_is_trimmed() {
    for host in Host::both().await {
        for name in ["one", "two"] {
            host.side.store.open_outbox(&group(name)).await.unwrap();
        }
        for shard in [3, 4, 5] {
            host.happen(shard, 5).await;
            host.tell(shard, "one", 5).await;
        }
        // Of one shard it was told all, of one the first two, and of one nothing.
        host.tell(3, "two", 5).await;
        host.tell(4, "two", 2).await;
        let lags = || async { host.vestibule.events().lags().await.unwrap() };
        let behind = BTreeMap::from([("one".to_owned(), 0), ("two".to_owned(), 8)]);
        assert_eq!(lags().await, behind);

        let counted = host.trim(dry()).await;
        assert_eq!((counted.found, counted.done, counted.shards), (7, 0, 3), "{counted:?}");
        assert_eq!(host.kept().await, BTreeMap::from([(3, 5), (4, 5), (5, 5)]));
        let swept = host.trim(Budget::default()).await;
        assert_eq!((swept.found, swept.done, swept.unfinished), (7, 7, false), "{swept:?}");
        assert_eq!(host.kept().await, BTreeMap::from([(4, 3), (5, 5)]));
        let swept = host.trim(Budget::default()).await;
        assert_eq!((swept.found, swept.shards), (0, 2), "{swept:?}");
        assert_eq!(lags().await["two"], 8);

        // What was held is there for it, and what it never had.
        assert_eq!((host.tell(4, "two", 3).await, host.tell(5, "two", 5).await), (3, 5));
        assert_eq!(host.trim(Budget::default()).await.done, 8);
        assert!(host.kept().await.is_empty() && lags().await.values().all(|lag| *lag == 0));
    }
}

/// A dry run counts, and changes nothing: not whose turn it is either. An idle Redis is not written
/// to by the passes themselves.
#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let host = Host::redis().await;
    let mut raw = server::shared().await.raw().await;
    let mut state = async || {
        let mut keys: Vec<String> = raw.keys(format!("{}:*", host.side.prefix())).await.unwrap();
        keys.sort();
        let mut state = Vec::new();
        for key in keys.into_iter().filter(|key| !key.ends_with(":meta")) {
            let dump: Vec<u8> = redis::cmd("DUMP").arg(&key).query_async(&mut raw).await.unwrap();
            state.push((key, dump));
        }
        state
    };
    host.side.store.open_outbox(&group("one")).await.unwrap();
    let idle = state().await;
    assert_eq!(host.trim(Budget::default()).await, Swept::default());
    assert_eq!(state().await, idle);

    // More than is counted at once.
    host.happen(7, 1100).await;
    host.tell(7, "one", 1050).await;
    host.pass(2 * DAY).await;
    let before = state().await;
    let counted = host.trim(dry()).await;
    assert_eq!((counted.found, counted.done), (1050, 0), "{counted:?}");
    let counted = host.forget(Duration::from_secs(DAY), dry()).await;
    assert_eq!((counted.found, counted.done, counted.shards), (1100, 0, 256), "{counted:?}");
    assert!(state().await == before, "something was written");
    assert_eq!(host.trim(Budget::default()).await.done, 1050);
    assert_eq!(host.forget(Duration::from_secs(DAY), Budget::default()).await.done, 1100);
}

/// A pass keeps to its budget, within a shard too, and the next goes on; a stop ends it.
#[tokio::test]
async fn a_pass_that_ends_early_is_gone_on_with() {
    for host in Host::both().await {
        host.side.store.open_outbox(&group("one")).await.unwrap();
        for (shard, times) in [(1, 250), (2, 30), (0xfe, 20)] {
            host.happen(shard, times).await;
            host.tell(shard, "one", times).await;
        }
        host.pass(31 * DAY).await;
        // Well within the interval: what is not done is not recent.
        let hour = Duration::from_secs(3600);
        let budget = Budget { limit: 120, not_within: hour, ..Budget::default() };
        let stop = CancellationToken::new();
        stop.cancel();
        let swept = TrimEvents { budget }.pass(&host.vestibule, &stop).await;
        assert!(swept.unfinished && swept.shards == 0, "{swept:?}");
        let (mut trimmed, mut forgotten) = (Vec::new(), Vec::new());
        for (done, is_history) in [(&mut trimmed, false), (&mut forgotten, true)] {
            loop {
                let swept = match is_history {
                    true => host.forget(MONTH, budget).await,
                    false => host.trim(budget).await,
                };
                assert!(swept.found <= 120 && swept.errors == 0, "{swept:?}");
                done.push(swept.done);
                if !swept.unfinished {
                    break;
                }
            }
            assert_eq!(done.iter().sum::<u64>(), 300, "{done:?}");
            assert!(done.len() >= 3, "{done:?}");
        }
        assert!(host.kept().await.is_empty() && host.remembered(1).await == 0);
    }
}

/// Replicas share a round: nothing is counted twice, and a shard is one's at a time; what a dead one
/// held is taken over when its lease is over.
#[tokio::test]
async fn replicas_share_a_round() {
    let host = Host::redis().await;
    host.side.store.open_outbox(&group("one")).await.unwrap();
    for shard in 0..100 {
        host.happen(shard, 3).await;
        host.tell(shard, "one", 3).await;
    }
    let budget = Budget { not_within: Duration::from_secs(600), ..Budget::default() };
    let dead = BeginTurn {
        sweep: SweepName::Events,
        shard: Shard::new(9),
        request: verbs::request(),
        lease: Duration::from_secs(60),
        not_within: Duration::ZERO,
    };
    assert!(matches!(host.side.store.begin_turn(dead).await.unwrap(), Turn::Begun { .. }));
    let swept = join_all((0..3).map(|_| host.trim(budget))).await;
    let sum = |of: fn(&Swept) -> u64| swept.iter().map(of).sum::<u64>();
    assert_eq!((sum(|it| it.found), sum(|it| it.done), sum(|it| it.shards)), (297, 297, 99));
    assert!(swept.iter().all(|it| it.unfinished && it.held >= 1), "{swept:?}");
    assert_eq!(host.kept().await, BTreeMap::from([(9, 3)]));
    host.pass(61).await;
    let swept = host.trim(budget).await;
    assert_eq!((swept.done, swept.shards, swept.unfinished), (3, 1, false), "{swept:?}");
    // Swept a moment ago: the next round is not begun by anybody.
    host.happen(9, 1).await;
    let swept = host.trim(budget).await;
    assert_eq!((swept.recent, swept.shards), (1, 0), "{swept:?}");
}

/// E-2: what is older than the age is forgotten, by anybody once; zero switches it off, and an age
/// that is longer than time forgets nothing.
#[tokio::test]
async fn what_is_too_old_is_forgotten() {
    for host in Host::both().await {
        host.happen(3, 4).await;
        host.pass(31 * DAY).await;
        host.happen(3, 2).await;
        for age in [Duration::ZERO, Duration::MAX, Duration::from_secs(u64::MAX / 1000)] {
            for budget in [dry(), Budget::default()] {
                let swept = host.forget(age, budget).await;
                assert_eq!((swept.found, swept.errors), (0, 0), "{age:?}: {swept:?}");
            }
        }
        let budget = Budget { not_within: Duration::from_secs(3600), ..Budget::default() };
        host.pass(3601).await;
        let counted = host.forget(MONTH, dry()).await;
        assert_eq!((counted.found, counted.done), (4, 0), "{counted:?}");
        let swept = join_all((0..2).map(|_| host.forget(MONTH, budget))).await;
        let done: u64 = swept.iter().map(|it| it.done).sum();
        let shards: u64 = swept.iter().map(|it| it.shards).sum();
        assert_eq!((done, shards, host.remembered(3).await), (4, 256, 2), "{swept:?}");
        let again = host.forget(MONTH, budget).await;
        assert_eq!((again.recent, again.found), (256, 0), "{again:?}");
    }
}

/// Bad input: a key of another type fails its shard, and is told; the others are swept.
#[tokio::test]
async fn a_damaged_shard_holds_up_no_other() {
    let host = Host::redis().await;
    host.side.store.open_outbox(&group("one")).await.unwrap();
    for shard in [1, 2, 3, 4, 5, 6] {
        host.happen(shard, 2).await;
        host.tell(shard, "one", 2).await;
    }
    host.pass(31 * DAY).await;
    let mut raw = server::shared().await.raw().await;
    // However many there are in a row: it is not Redis that is away.
    for shard in ["02", "03", "04", "05"] {
        for stream in ["outbox", "history"] {
            let key = format!("{}:{{{shard}}}:{stream}", host.side.prefix());
            let _: () = raw.set(key, "foreign").await.unwrap();
        }
    }
    for swept in [host.trim(Budget::default()).await, host.forget(MONTH, dry()).await] {
        assert_eq!((swept.errors, swept.found), (4, 4), "{swept:?}");
        assert!(swept.unfinished, "{swept:?}");
    }
    assert!(host.vestibule.events().lags().await.unwrap().values().all(|lag| *lag == 0));
    let kept: String = raw.get(format!("{}:{{02}}:outbox", host.side.prefix())).await.unwrap();
    assert_eq!(kept, "foreign");
}
