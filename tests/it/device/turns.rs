//! Turns at polling: how long they are waited for, and what is left when their record is not right.

use std::{sync::Arc, time::Duration};

use redis::AsyncCommands;
use tokio::time::timeout;
use vestibule::{
    Digest,
    device::DeviceOutcome,
    store::{
        AcquirePoll, PendingId, PollRelease, PollTurn, ReleasePoll, Store,
        redis::{RedisConfig, RedisStore},
    },
};

use super::{SOON, Scene};
use crate::{
    properties::pkce::shared_keys,
    support::{server, verbs},
};

/// a provider may ask for any pause: a quarter of an hour, or ten minutes between polls, are
/// kept as long, and no longer than the pending lives.
#[tokio::test]
async fn a_long_pause_is_kept_as_the_provider_asked_for_it() {
    let scene = Scene::with(|s| s.device_code_lifetime = 2 * QUARTER).await;
    let id = scene.replica().await.start().await.id;
    let store = store(&scene).await;
    let (longest, apart) = (2 * QUARTER + Duration::from_secs(60), Duration::from_secs(600));

    assert_eq!(released(&*store, id, QUARTER, Duration::ZERO).await.as_secs(), QUARTER.as_secs());
    let later = acquire(&*store, id, Duration::ZERO).await;
    assert!(matches!(later, PollTurn::Later(wait) if QUARTER - wait < SOON), "{later:?}");

    due(&scene, id).await;
    assert_eq!(released(&*store, id, apart, apart).await, apart);
    due(&scene, id).await;
    let next = acquire(&*store, id, Duration::ZERO).await;
    assert!(matches!(next, PollTurn::Yours { interval, .. } if interval == apart), "{next:?}");

    due(&scene, id).await;
    let next_in = released(&*store, id, 10 * QUARTER, apart).await;
    assert!(next_in <= longest && longest - next_in < SOON, "{next_in:?}");
}

/// The clock of Redis jumps back by minutes: what was to come in an interval comes in an interval.
#[tokio::test]
async fn a_clock_that_jumps_back_stops_no_polling() {
    let scene = Scene::new().await;
    let replica = scene.replica().await;
    let started = replica.start().await;
    assert_eq!(replica.wait_for(started.id, SOON / 10).await, DeviceOutcome::TimedOut);
    replica.devices.drained().await;
    let mut raw = server::shared().await.raw().await;
    let _: () = raw.hincr(scene.key("lease", started.id), "next_at", 400_000).await.unwrap();
    scene.approve(&started);
    let outcome = timeout(SOON, replica.wait(started.id)).await.expect("in an interval");
    assert!(matches!(outcome, DeviceOutcome::Connected(_)), "{outcome:?}");
    assert_eq!(scene.too_fast(), 0);
}

/// A record of turns that is damaged is as good as none: an interval is waited, and it heals.
#[tokio::test]
async fn a_damaged_record_of_turns_heals() {
    let scene = Scene::new().await;
    let replica = scene.replica().await;
    let mut raw = server::shared().await.raw().await;
    for field in
        ["holder", "lease_ends_at", "next_at", "interval", "failures", "inherited", "next_in"]
    {
        for damage in ["", "x", "-1", "1e300", "99999999999999999999"] {
            let started = replica.start().await;
            let _: () = raw.hset(scene.key("lease", started.id), field, damage).await.unwrap();
            scene.approve(&started);
            let outcome = timeout(SOON, replica.wait(started.id)).await;
            let outcome = outcome.unwrap_or_else(|_| panic!("{field} = {damage:?}"));
            let well = matches!(outcome, DeviceOutcome::Connected(_));
            assert!(well, "{field} = {damage:?}: {outcome:?}");
        }
    }
}

const QUARTER: Duration = Duration::from_secs(900);

/// The store behind the replicas.
async fn store(scene: &Scene) -> Arc<RedisStore> {
    let config = RedisConfig::new(&scene.url).unwrap().with_prefix(&scene.prefix).unwrap();
    Arc::new(RedisStore::connect(config, &shared_keys().naming).await.unwrap())
}

async fn acquire(store: &dyn Store, id: PendingId, interval: Duration) -> PollTurn {
    acquire_as(store, id, verbs::request(), interval).await
}

async fn acquire_as(
    store: &dyn Store,
    id: PendingId,
    holder: Digest,
    interval: Duration,
) -> PollTurn {
    let lease = Duration::from_secs(1);
    let turn = AcquirePoll { id, holder, lease, interval, instance: "test" };
    store.acquire_poll(turn).await.unwrap()
}

/// When the next is due, of a turn that ends so; also on a retry.
async fn released(
    store: &dyn Store,
    id: PendingId,
    next_in: Duration,
    interval: Duration,
) -> Duration {
    let holder = verbs::request();
    while !matches!(acquire_as(store, id, holder, Duration::ZERO).await, PollTurn::Yours { .. }) {}
    let turn = ReleasePoll { id, holder, next_in, interval, failures: 0 };
    let PollRelease::Released { next_in } = store.release_poll(turn).await.unwrap() else {
        panic!("it is ours")
    };
    let again = store.release_poll(turn).await.unwrap();
    let same = matches!(again, PollRelease::Released { next_in: left } if next_in - left < SOON);
    assert!(same, "{again:?}");
    next_in
}

/// Time has passed: the next poll is due.
async fn due(scene: &Scene, id: PendingId) {
    let mut raw = server::shared().await.raw().await;
    let _: () = raw.hset(scene.key("lease", id), "next_at", 1).await.unwrap();
    let _: () = raw.hdel(scene.key("lease", id), "lease_ends_at").await.unwrap();
}
