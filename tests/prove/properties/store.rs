//! What is acknowledged stays, and a dead connection is left quickly.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    Progress, Verdict,
    pkce::{record, shared_keys, state, states},
    verdict,
};
use crate::support::{
    proxy::Proxy,
    server::{TestServer, random},
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
    let next = AtomicU64::new(0);
    let unacknowledged = AtomicU64::new(0);
    futures_util::future::join_all((0..128).map(|_| async {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return;
            }
            if states.put(&state(seed, number), &record(number)).await.is_err() {
                unacknowledged.fetch_add(1, Ordering::Relaxed);
            }
        }
    }))
    .await;
    server.kill9();
    server.restart().await;

    let (next, missing) = (AtomicU64::new(0), AtomicU64::new(0));
    futures_util::future::join_all((0..128).map(|_| async {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return;
            }
            let found = states.take(&state(seed, number)).await;
            if found.is_ok_and(|found| found.connection == format!("c{number}")) {
                progress(1);
            } else {
                missing.fetch_add(1, Ordering::Relaxed);
            }
        }
    }))
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
        let started = Instant::now();
        failed += u64::from(states.take(&state(round, 0)).await.is_err());
        worst = worst.max(started.elapsed());
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
