//! Caps that all replicas share, and connectors that are paused (V-8, X-8). Where time must pass
//! for the store, records are made older; where it must for a process, it is paused.

mod outages;
mod people;

use std::{
    num::NonZero,
    time::{Duration, Instant},
};

use serde_json::json;
use vestibule::store::{Caps, ConnectorName, LimitStore, Release, Reserve, Reserved, Shard, Store};
use vestibule_worker::provider::{Answer, Failure, Provider, Settings};

use crate::{
    properties::{
        connections::sign_in,
        limits::{Limited, Seen, fleet, limited},
    },
    support::{
        ageing::age,
        children, server,
        side::Side,
        stores::{fresh_prefix, store},
        verbs,
    },
};

const DEMO: ConnectorName<'_> = ConnectorName { shard: Shard::new(7), slug: "demo" };

/// A machine that is busy may leave a fleet too little; it has so many tries to use its cap.
const TRIES: usize = 3;

/// V-8, X-8: four processes with sixteen slots each keep one cap of calls in a second, and use it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_keeps_a_rate_and_uses_it() {
    let caps = Limited { per_second: 40, at_once: 0 };
    let at_the_cap = Duration::from_secs(4);
    let takes = Duration::from_millis(100);
    uses_its_cap(200, takes, caps, at_the_cap, |seen| {
        for seconds in 1..=seen.seconds() {
            let most = 40 * seconds as usize;
            assert!(seen.busiest(seconds) <= most, "in {seconds} s: {seen:?}");
        }
    })
    .await;
}

/// V-8, X-8: the same of calls at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_keeps_to_its_places_and_uses_them() {
    let caps = Limited { per_second: 0, at_once: 4 };
    // So long that what lies between two calls is little beside it.
    let takes = Duration::from_millis(400);
    uses_its_cap(60, takes, caps, takes * 48 / 4, |seen| assert!(seen.peak <= 4, "{seen:?}")).await;
}

/// At 80 % of the cap at least, in one of some tries; `keeps` judges each.
async fn uses_its_cap(
    refreshes: usize,
    takes: Duration,
    caps: Limited,
    at_the_cap: Duration,
    keeps: impl Fn(&Seen),
) {
    for last in (0..TRIES).rev() {
        let seen = fleet(server::shared().await, refreshes, takes, caps).await;
        println!("{seen:?}");
        assert_eq!(seen.refreshes, refreshes as u64);
        keeps(&seen);
        if seen.took.mul_f64(0.8) <= at_the_cap {
            return;
        }
        assert!(last > 0, "less than 80 % of the cap, every time: {seen:?}");
    }
}

/// What the two above measure is not small by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_without_caps_does_not() {
    let (free, takes) = (Limited { per_second: 0, at_once: 0 }, Duration::from_millis(100));
    for last in (0..TRIES).rev() {
        let seen = fleet(server::shared().await, 100, takes, free).await;
        println!("{seen:?}");
        if seen.peak > 4 && seen.most_within(Duration::from_secs(1)) > 40 {
            return;
        }
        assert!(last > 0, "{seen:?}");
    }
}

/// a holder that is killed gives its place back with its lease, and not before.
#[tokio::test]
async fn a_killed_holder_frees_its_place_after_its_lease() {
    let (server, prefix) = (server::shared().await, fresh_prefix());
    let provider = Provider::start(Settings::default()).await.unwrap();
    let caps = Limited { per_second: 0, at_once: 1 };
    let replica = limited(&server.url(), &prefix, &provider.issuer(), caps).await;
    for owner in ["alice", "bob"] {
        sign_in(&replica, owner).await;
    }
    let mut raw = server.raw().await;
    age(&mut raw, &prefix, Duration::from_secs(280)).await;
    provider.set_failure(Some(Failure::always(Answer::Hang)));
    let args = json!({
        "url": server.url(), "prefix": prefix, "issuer": provider.issuer(),
        "per_second": 0, "at_once": 1,
    });
    let mut victim = children::spawn("sweep", &args).await;
    children::start_together(std::slice::from_mut(&mut victim)).await;
    while provider.in_flight() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    victim.kill9().await;
    provider.set_failure(None);
    // Past the lease of the credential, which is another one: 12 s.
    age(&mut raw, &prefix, Duration::from_secs(13)).await;
    let pass = || async {
        let stop = tokio_util::sync::CancellationToken::new();
        vestibule::sweep::RefreshDue::default().pass(&replica, &stop).await
    };
    let calls = provider.counts().token_calls;
    let full = pass().await;
    // On a machine that is late a pass leaves before all are put off.
    assert_eq!((full.refreshed, full.put_off + full.running), (0, 2), "{full:?}");
    replica.drained().await;
    assert_eq!(provider.counts().token_calls, calls, "nobody was asked");
    age(&mut raw, &prefix, Duration::from_secs(10)).await;
    for _ in 0..20 {
        pass().await;
        replica.drained().await;
        if provider.counts().refreshes == 2 {
            return;
        }
        age(&mut raw, &prefix, Duration::from_secs(1)).await;
    }
    panic!("the place is not given back: {:?}", provider.counts());
}

/// who waits is told a time of its own, each half a call later than the last, within a minute; who
/// is in a hurry is told the soonest.
#[tokio::test]
async fn those_who_wait_stand_in_line() {
    let redis = store(server::shared().await, &fresh_prefix()).await;
    let rate = Some((NonZero::new(1).unwrap(), Duration::from_secs(10)));
    let caps = Caps { rate, at_once: None };
    assert_eq!(reserve(&*redis, caps, true).await, Reserved::Go { probe: false });
    let began = Instant::now();
    for told in [10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 60, 60] {
        near(reserve(&*redis, caps, true).await, told, began);
    }
    near(reserve(&*redis, caps, false).await, 10, began);
}

/// A call that is not made is not counted, however often that is said.
#[tokio::test]
async fn what_is_not_made_is_not_counted() {
    let redis = store(server::shared().await, &fresh_prefix()).await;
    let rate = Some((NonZero::new(1).unwrap(), Duration::from_secs(10)));
    let caps = Caps { rate, at_once: None };
    let holder = verbs::request();
    for made in [false, true] {
        let began = Instant::now();
        let lease = Duration::from_secs(30);
        let wanted = Reserve { connector: DEMO, holder, lease, caps, in_line: false };
        for _ in 0..3 {
            let reserved = redis.reserve(wanted).await.unwrap();
            assert_eq!(reserved, Reserved::Go { probe: false }, "a retry is told the same");
        }
        for _ in 0..3 {
            redis.release(Release { connector: DEMO, holder, caps, made }).await.unwrap();
        }
        let next = reserve(&*redis, Caps { rate, at_once: NonZero::new(9) }, false).await;
        if made {
            near(next, 10, began);
        } else {
            assert_eq!(next, Reserved::Go { probe: false });
            near(reserve(&*redis, caps, false).await, 10, began);
            age_all(&redis).await;
        }
    }
}

/// Who says so only after its lease is past is too late, whether others' places keep its own on
/// record or not.
#[tokio::test]
async fn what_is_not_made_is_counted_when_its_lease_is_over() {
    let rate = Some((NonZero::new(1).unwrap(), Duration::from_secs(40)));
    let (caps, places) =
        (Caps { rate, at_once: None }, Caps { rate: None, at_once: NonZero::new(9) });
    for kept in [false, true] {
        for side in Side::both().await {
            let (began, holder, lease) =
                (Instant::now(), verbs::request(), Duration::from_secs(12));
            let wanted = Reserve { connector: DEMO, holder, lease, caps, in_line: false };
            let go = Reserved::Go { probe: false };
            assert_eq!(side.store.reserve(wanted).await.unwrap(), go);
            if kept {
                assert_eq!(reserve(&*side.store, places, false).await, go);
            }
            side.pass(Duration::from_secs(14)).await;
            let unmade = Release { connector: DEMO, holder, caps, made: false };
            side.store.release(unmade).await.unwrap();
            near(reserve(&*side.store, caps, false).await, 26, began);
        }
    }
}

/// Nothing is left of a provider's caps once nobody calls.
#[tokio::test]
async fn what_is_counted_ends_by_itself() {
    let (server, prefix) = (server::shared().await, fresh_prefix());
    let redis = store(server, &prefix).await;
    let rate = Some((NonZero::new(60).unwrap(), Duration::from_secs(60)));
    let caps = Caps { rate, at_once: NonZero::new(1) };
    for _ in 0..4 {
        reserve(&*redis, caps, true).await;
    }
    let mut raw = server.raw().await;
    age(&mut raw, &prefix, Duration::from_secs(120)).await;
    let left: Vec<String> =
        redis::cmd("KEYS").arg(format!("{prefix}:{{*")).query_async(&mut raw).await.unwrap();
    assert_eq!(left, [] as [String; 0]);
}

async fn reserve(store: &dyn Store, caps: Caps, in_line: bool) -> Reserved {
    let lease = Duration::from_secs(30);
    let wanted = Reserve { connector: DEMO, holder: verbs::request(), lease, caps, in_line };
    store.reserve(wanted).await.unwrap()
}

/// Told to come in so many seconds from some moment since `began`.
fn near(told: Reserved, seconds: u64, began: Instant) {
    let Reserved::Later(wait) = told else { panic!("{told:?}") };
    let (at, second) = (Duration::from_secs(seconds), Duration::from_secs(1));
    assert!(
        wait < at + second && wait + began.elapsed() + second > at,
        "{wait:?}, not {seconds} s"
    );
}

async fn age_all(store: &vestibule::store::redis::RedisStore) {
    let prefix = Store::prefix(store).to_owned();
    age(&mut server::shared().await.raw().await, &prefix, Duration::from_secs(60)).await;
}
