//! What is acknowledged stays, a dead connection is left quickly, and a server that would evict live
//! records is noticed.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::sleep;
use vestibule::store::{Class, Store, StoreError};

use super::{
    Progress, Verdict, for_each,
    pkce::{record, shared_keys, state, states},
    verdict,
};
use crate::support::{
    proxy::Proxy,
    server::{TestServer, random},
    stopwatch::Stopwatch,
    stores::store_at,
};

/// Acknowledged puts, SIGKILL, restart with AOF always: none is missing. Without AOF, most are.
pub async fn survives_a_restart(aof: bool, count: u64, progress: Progress) -> Verdict {
    let seed = random();
    let server = TestServer::builder()
        .arg("--appendonly", if aof { "yes" } else { "no" })
        .arg("--appendfsync", "always")
        .start()
        .await;
    let states = states(&server.url(), "vst", &shared_keys()).await;
    let unacknowledged = AtomicU64::new(0);
    for_each(count, 128, async |number| {
        if states.put(&state(seed, number), &record(number)).await.is_err() {
            unacknowledged.fetch_add(1, Ordering::Relaxed);
        }
    })
    .await;
    server.kill9();
    server.restart().await;

    let missing = AtomicU64::new(0);
    for_each(count, 128, async |number| {
        let found = states.take(&state(seed, number)).await;
        if found.is_ok_and(|found| found.connection == format!("c{number}")) {
            progress(1);
        } else {
            missing.fetch_add(1, Ordering::Relaxed);
        }
    })
    .await;
    verdict(
        format!("{count} acknowledged puts, SIGKILL, restart (AOF always), none missing"),
        &[
            ("missing", missing.into_inner()),
            ("puts not acknowledged", unacknowledged.into_inner()),
        ],
    )
}

/// All connections of the process go silent: how long until the first success.
pub async fn black_hole(rounds: u64, progress: Progress) -> Verdict {
    let server = TestServer::builder().start().await;
    let proxy = Proxy::start(server.port());
    let states = states(&proxy.url(), "vst", &shared_keys()).await;
    let (mut worst, mut failed) = (Duration::ZERO, 0);
    for round in 0..rounds {
        states.put(&state(round, 0), &record(0)).await.unwrap();
        proxy.black_hole_existing();
        let watch = Stopwatch::start();
        let taken = states.take(&state(round, 0)).await;
        // Not where the machine itself took the time from its deadline.
        failed += u64::from(taken.is_err() && watch.late() < Duration::from_secs(1));
        worst = worst.max(watch.took());
        progress(1);
    }
    verdict(
        format!(
            "{rounds} black holes, first success after {} ms at worst (bound 1500)",
            worst.as_millis()
        ),
        &[("failed", failed), ("too late", u64::from(worst > Duration::from_millis(1500)))],
    )
}

/// Who is asked whether all is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Vestibule,
    /// A client that only hears whether somebody answers.
    Ping,
}

/// Every policy that evicts, from the start and under a running process: refused, and told by the
/// next ping, as a worker sends it each second.
pub async fn eviction_is_noticed(asked: Asked, rounds: u64, progress: Progress) -> Verdict {
    const POLICIES: [&str; 7] = [
        "volatile-lru",
        "volatile-lfu",
        "volatile-random",
        "volatile-ttl",
        "allkeys-lru",
        "allkeys-lfu",
        "allkeys-random",
    ];
    const SOON: Duration = Duration::from_secs(1);
    let server = TestServer::builder().start().await;
    let mut raw = server.raw().await;
    let running = store_at(&server.url(), "vst").await.unwrap();
    let on_cluster = store_at(&server.cluster_url(), "vst").await.unwrap();
    let mut set = async |policy: &str| {
        let mut set = redis::cmd("CONFIG");
        set.arg(&["SET", "maxmemory-policy", policy]);
        set.query_async::<()>(&mut raw).await.unwrap();
    };
    let says = |outcome: Result<(), StoreError>, policy: &str| {
        let told = |error: &StoreError| error.to_string().contains(policy);
        outcome.is_err_and(|error| error.class() == Class::Operator && told(&error))
    };
    let (mut started, mut unnoticed, mut alarmed) = (0, 0, 0);
    let (mut slowest_start, mut slowest_alarm) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..rounds {
        for policy in POLICIES {
            set(policy).await;
            let switched = Stopwatch::start();
            for store in [&running, &on_cluster] {
                let noticed = loop {
                    let outcome = match asked {
                        Asked::Vestibule => store.ping().await,
                        Asked::Ping => redis::cmd("PING")
                            .query_async::<()>(&mut server.raw().await)
                            .await
                            .map_err(|error| StoreError::Config(error.to_string())),
                    };
                    if says(outcome, policy) {
                        break true;
                    }
                    if switched.took() > SOON {
                        break false;
                    }
                    sleep(Duration::from_millis(50)).await;
                };
                unnoticed += u64::from(!noticed);
                slowest_alarm = slowest_alarm.max(switched.took());
            }
            for url in [server.url(), server.cluster_url()] {
                let begun = Stopwatch::start();
                started += u64::from(!says(store_at(&url, "vst").await.map(drop), policy));
                slowest_start = slowest_start.max(begun.took());
            }
            set("noeviction").await;
            alarmed += u64::from(running.ping().await.is_err());
        }
        progress(1);
    }
    verdict(
        format!(
            "{} switches to 7 policies, each told by a ping within {} ms; {} starts, each refused \
             within {} ms",
            rounds * 7,
            slowest_alarm.as_millis(),
            rounds * 14,
            slowest_start.as_millis()
        ),
        &[
            ("not noticed within 1 s", unnoticed),
            ("starts", started),
            ("starts that took over 1 s", u64::from(slowest_start > SOON)),
            ("false alarms", alarmed),
        ],
    )
}
