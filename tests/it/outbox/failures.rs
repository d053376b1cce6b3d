//! Notifiers that fail, entries that are damaged, an outbox that is full, a Redis that dies.

use std::time::Instant;

use redis::cmd;
use vestibule::store::{OUTBOX_CAP, ReadOutbox, memory::MemoryStore};

use super::*;

/// a record whose event is refused waits, and nothing else does; then it goes on in order.
#[tokio::test]
async fn a_refused_event_holds_up_its_record_only() {
    let scene = Scene::new().await;
    let of_one = |event: &Event| event.subject_id.ends_with("01");
    let receiver = Receiver::failing(move |event, _| of_one(event).then(refused));
    let config = DeliveryConfig { first_pause: Duration::from_millis(500), ..brisk() };
    let config = DeliveryConfig { longest_pause: Duration::from_millis(500), ..config };
    let delivery = scene.delivery_with("one", receiver.clone(), config);
    delivery.open().await.unwrap();
    // 1 and 8 share a shard.
    for nth in 0..3 {
        for record in [1, 8, 2] {
            scene.happens(record, nth).await;
        }
    }
    let first = pass(&delivery).await;
    assert_eq!((first.delivered, first.refused, first.held_up), (6, 1, 2), "{first:?}");
    receiver.mend();
    deliver_all(&scene, &delivery).await;
    receiver.expect_once_and_in_order(9);
}

/// What comes later of a record waits for what was refused, also where the pause ends before the pass.
#[tokio::test]
async fn no_event_overtakes_a_refused_one() {
    let scene = Scene::new().await;
    let receiver = Receiver::failing(|event, _| {
        std::thread::sleep(Duration::from_millis(5)); // longer than any pause
        (event.subject_id.ends_with("01") && event.detail == "nth=0").then(refused)
    });
    let config = DeliveryConfig { first_pause: Duration::from_millis(1), ..brisk() };
    let config = DeliveryConfig { longest_pause: Duration::from_millis(1), ..config };
    let delivery = scene.delivery_with("one", receiver.clone(), config);
    delivery.open().await.unwrap();
    // 1 and 8 share a shard.
    for nth in 0..3 {
        for record in [1, 8] {
            scene.happens(record, nth).await;
        }
    }
    let first = pass(&delivery).await;
    assert_eq!((first.delivered, first.refused, first.held_up), (3, 1, 2), "{first:?}");
    receiver.mend();
    deliver_all(&scene, &delivery).await;
    receiver.expect_once_and_in_order(6);
}

/// V-10: what is refused for good is given up after so many tries, and counted; what follows is told.
#[tokio::test]
async fn what_is_refused_for_good_is_given_up() {
    let scene = Scene::new().await;
    let receiver = Receiver::failing(|event, _| (event.detail == "nth=0").then(refused));
    let config = DeliveryConfig { tries: 3, ..brisk() };
    let delivery = scene.delivery_with("one", receiver.clone(), config);
    delivery.open().await.unwrap();
    scene.happens(1, 0).await;
    scene.happens(1, 1).await;
    deliver_all(&scene, &delivery).await;
    assert_eq!(receiver.calls(), 4, "three tries, and then the next");
    receiver.expect_once_and_in_order(1);
}

/// a notifier that is away for an hour: nothing is lost, order is kept, and it is not hammered.
#[tokio::test]
async fn an_hour_away_loses_nothing() {
    let scene = Scene::new().await;
    let receiver = Receiver::failing(|_, _| Some(away()));
    let pause = Duration::from_secs(60);
    let config = DeliveryConfig { first_pause: pause, longest_pause: pause, ..brisk() };
    let delivery = scene.delivery_with("one", receiver.clone(), config);
    delivery.open().await.unwrap();
    for nth in 0..6 {
        for record in 0..20 {
            scene.happens(record, nth).await;
        }
        let calls = receiver.calls();
        assert!(pass(&delivery).await.away.is_some());
        assert!(pass(&delivery).await.away.is_some(), "left alone");
        assert!(receiver.calls() <= calls + if nth == 0 { 8 } else { 1 }, "one asks for all");
        scene.age(Duration::from_secs(600)).await;
        passes_here(pause).await;
    }
    assert_eq!(scene.kept().await, 120);
    receiver.mend();
    deliver_all(&scene, &delivery).await;
    receiver.expect_once_and_in_order(120);
}

/// So much time for what waits in this process, at once.
async fn passes_here(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// with the pauses of a worker and its passes, a receiver that is away for an hour is called a few
/// times an hour by each replica, and told all within the longest pause after it is back.
#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_away_is_called_a_few_times_an_hour() {
    let (store, keys) = (Arc::new(MemoryStore::new()), shared_keys());
    let vestibule = Vestibule::assemble(store.clone(), Seal::new(keys.ring.clone()), &keys);
    let receiver = Receiver::failing(|_, _| Some(away()));
    let (events, config) = (vestibule.events(), DeliveryConfig::default());
    let group = OutboxGroup::new("one").unwrap();
    let delivery = Delivery::new(&events, group, receiver.clone(), "test", config);
    delivery.open().await.unwrap();
    for second in 0..3600 {
        if second % 60 == 0 {
            for record in 0..20 {
                append(&*store, record, EventKind::NeedsReauth, &format!("nth={second}")).await;
            }
        }
        let pass = pass(&delivery).await;
        assert_eq!((pass.delivered, pass.given_up, pass.lost), (0, 0, 0), "{pass:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    // Seven shards at once; nine pauses that double to 256 s at the most; then one in 150 s at least.
    let calls = receiver.calls();
    assert!((15..=7 + 9 + 3600 / 150).contains(&calls), "{calls}");
    receiver.mend();
    for _ in 0..310 {
        pass(&delivery).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    receiver.expect_once_and_in_order(1200);
    assert_eq!(receiver.calls(), calls + 1200, "each is told in one call");
}

/// V-10: a notifier that hangs neither delays a change nor undoes it.
#[tokio::test]
async fn a_notifier_that_hangs_delays_no_change() {
    #[derive(Debug)]
    struct Hangs;
    #[async_trait::async_trait]
    impl Notifier for Hangs {
        async fn notify(&self, _: &Event) -> Result<(), NotifyError> {
            std::future::pending().await
        }
    }
    let scene = Scene::new().await;
    let config = DeliveryConfig { timeout: Duration::from_millis(300), ..brisk() };
    let delivery = scene.delivery_with("one", Arc::new(Hangs), config);
    delivery.open().await.unwrap();
    scene.happens(1, 0).await;
    let changes = async {
        let started = Instant::now();
        for nth in 1..50 {
            scene.happens(1, nth).await;
        }
        started.elapsed()
    };
    let started = Instant::now();
    let (pass, _) = tokio::join!(pass(&delivery), changes);
    assert!(pass.away.is_some() && started.elapsed() >= Duration::from_millis(300));
    assert_eq!(scene.kept().await, 50);
    let id = format!("{}{:032x}", shard(1), 1).parse().unwrap();
    let filter =
        vestibule::event::Filter { connection: Some(id), ..vestibule::event::Filter::newest(100) };
    assert_eq!(scene.vestibule.events().list(&filter).await.unwrap().events.len(), 50);
}

/// an outbox that nobody empties is bounded, and what it drops is counted: what was never
/// handed out, and what was.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_cap_drops_is_counted() {
    let scene = Scene::new().await;
    let receiver = Receiver::failing(|_, _| Some(away()));
    let delivery = scene.delivery("one", receiver.clone());
    delivery.open().await.unwrap();
    scene.happens(1, 0).await;
    assert!(pass(&delivery).await.away.is_some(), "one is held");
    let all = OUTBOX_CAP as usize + 700;
    for some in (1..all).collect::<Vec<_>>().chunks(100) {
        join_all(some.iter().map(|nth| scene.happens(1, *nth))).await;
    }
    let kept = scene.kept().await;
    assert!((OUTBOX_CAP..OUTBOX_CAP + 200).contains(&kept), "{kept}");

    receiver.mend();
    tokio::time::sleep(Duration::from_millis(25)).await;
    let (mut lost, mut told) = (0, 0);
    while told + lost < all as u64 {
        let pass = pass(&delivery).await;
        // The record that failed is passed over once, in case there is another one to try first.
        assert!(pass.delivered > 0 || pass.held_up > 0 && told == 0, "{pass:?}");
        lost += pass.lost;
        told += pass.delivered as u64;
    }
    assert_eq!((told, lost), (kept, all as u64 - kept), "what is not told is counted");
    receiver.expect_once_and_in_order(kept as usize);
    assert_eq!(pass(&delivery).await, DeliveryPass::default());
}

/// an entry that is no event blocks nothing, in the outbox and in the history.
#[tokio::test]
async fn what_is_no_event_blocks_nothing() {
    let scene = Scene::new().await;
    let receiver = Receiver::new();
    let delivery = scene.delivery("one", receiver.clone());
    delivery.open().await.unwrap();
    let mut raw = server::shared().await.raw().await;
    for (stream, name) in [("outbox", "type"), ("history", "x\r\n"), ("outbox", "\u{0}")] {
        let key = format!("{}:{{{}}}:{stream}", scene.prefix, shard(1));
        let entry = cmd("XADD").arg(key).arg("*").arg(name).arg(&b"\xff\xfe"[..]).clone();
        entry.query_async::<String>(&mut raw).await.unwrap();
        scene.happens(1, 0).await;
    }
    let first = pass(&delivery).await;
    assert_eq!((first.delivered, first.damaged, first.errors), (3, 2, 0), "{first:?}");
    assert_eq!(pass(&delivery).await, DeliveryPass::default());
    assert_eq!(trim(&scene).await, 5);
    let filter = vestibule::event::Filter::newest(10);
    let listed = scene.vestibule.events().list(&filter).await.unwrap();
    assert_eq!((listed.events.len(), listed.damaged), (3, 1));
}

/// a key of another type fails its shard, and is left as it is; the others are delivered.
#[tokio::test]
async fn a_key_of_another_type_fails_its_shard_only() {
    let scene = Scene::new().await;
    let receiver = Receiver::new();
    let delivery = scene.delivery("one", receiver.clone());
    delivery.open().await.unwrap();
    for record in 0..7 {
        scene.happens(record, 0).await;
    }
    let mut raw = server::shared().await.raw().await;
    let key = format!("{}:{{{}}}:outbox", scene.prefix, shard(3));
    cmd("SET").arg(&key).arg("foreign").query_async::<()>(&mut raw).await.unwrap();
    let failed = pass(&scene.delivery("one", receiver.clone())).await;
    assert_eq!((failed.errors, failed.delivered), (1, 6), "{failed:?}");
    let event = NewEvent {
        kind: EventKind::Recovered,
        subject: Subject::Connection,
        subject_id: "x",
        name: "github",
        owner: None,
        actor: Actor::Owner,
        idp_host: "",
        detail: "",
    };
    scene.store.append_event(shard(3), event, request()).await.unwrap_err();
    let page =
        vestibule::store::ReadHistory { shard: shard(3), before: None, since_ms: 0, limit: 9 };
    let history = scene.store.read_history(page).await.unwrap();
    assert_eq!(history.events.len(), 1, "nothing is written half-way");
    let left: String = cmd("GET").arg(&key).query_async(&mut raw).await.unwrap();
    assert_eq!(left, "foreign");
    cmd("DEL").arg(&key).query_async::<()>(&mut raw).await.unwrap();
    delivery.open().await.unwrap();
    scene.happens(3, 1).await;
    assert_eq!(pass(&delivery).await.delivered, 1);
}

/// Redis dies between the telling and the acknowledgement, and comes back: nothing is told
/// twice, and nothing is forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_restarts_forgets_and_repeats_nothing() {
    let server = TestServer::builder()
        .arg("--appendonly", "yes")
        .arg("--appendfsync", "always")
        .start()
        .await;
    let server = Arc::new(server);
    let scene = Scene::on(&server, &fresh_prefix()).await;
    let dies = server.clone();
    let receiver = Receiver::failing(move |_, nth| {
        if nth == 5 {
            dies.kill9();
        }
        None
    });
    let config = DeliveryConfig { parallel: 1, ..brisk() };
    let delivery = scene.delivery_with("one", receiver.clone(), config);
    delivery.open().await.unwrap();
    for nth in 0..20 {
        scene.happens(1, nth).await;
    }
    let cut = pass(&delivery).await;
    assert_eq!((cut.delivered, cut.errors), (6, 1), "{cut:?}");
    server.restart().await;
    deliver_all(&scene, &delivery).await;
    receiver.expect_once_and_in_order(20);
}

/// what a replica holds is its own until it has been silent for too long; then another one has
/// all of it, in order.
#[tokio::test]
async fn what_a_dead_replica_held_is_taken_over() {
    let scene = Scene::new().await;
    let (dead, receiver) = (Receiver::failing(|_, _| Some(away())), Receiver::new());
    let first = scene.delivery("one", dead);
    first.open().await.unwrap();
    for nth in 0..5 {
        scene.happens(1, nth).await;
    }
    assert!(pass(&first).await.away.is_some());
    let second = scene.delivery("one", receiver.clone());
    let early = pass(&second).await;
    assert_eq!((early.elsewhere, early.delivered), (1, 0), "{early:?}");
    scene.age(Duration::from_secs(61)).await;
    assert_eq!(pass(&second).await.delivered, 5);
    receiver.expect_once_and_in_order(5);
}

/// A read whose reply was lost is handed the same page again.
#[tokio::test]
async fn a_lost_reply_hides_no_event() {
    let scene = Scene::new().await;
    let group = OutboxGroup::new("one").unwrap();
    scene.store.open_outbox(&group).await.unwrap();
    for nth in 0..5 {
        scene.happens(1, nth).await;
    }
    let read = ReadOutbox {
        shard: shard(1),
        group: &group,
        consumer: "me",
        request: request(),
        after: None,
        count: 3,
        idle: Duration::from_secs(60),
    };
    let page = scene.store.read_outbox(read).await.unwrap();
    assert_eq!(scene.store.read_outbox(read).await.unwrap(), page);
}
