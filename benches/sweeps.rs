//! How fast orphans are reaped, of ten thousand and of a million.

use std::time::Instant;

use redis::{aio::MultiplexedConnection, cmd, pipe};
use tokio_util::sync::CancellationToken;
use vestibule::{
    Keys, Vestibule,
    store::redis::RedisConfig,
    sweep::{Budget, Orphans},
};

use crate::{
    Scale, rounds::median, store::slowest_script, support::server::TestServer, table::Table,
};

/// How many each owner has.
const FOR_EACH: usize = 20;

pub async fn orphans(table: &mut Table, scale: Scale) {
    let mut rates = Vec::new();
    for (full, rounds) in [(10_000, 5), (1_000_000, 1)] {
        let count = scale.count(full);
        let server = TestServer::builder().cluster(false).start().await;
        let config = RedisConfig::new(&server.url()).unwrap();
        let vestibule = Vestibule::connect(config, &Keys::random()).await.unwrap();
        let mut raw = server.raw().await;
        for (name, value) in [("slowlog-log-slower-than", "100"), ("slowlog-max-len", "10000")] {
            let () = cmd("CONFIG").arg(&["SET", name, value]).query_async(&mut raw).await.unwrap();
        }
        let (mut swept, mut plain) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            preload(&mut raw, count).await;
            swept.push(reaped(&vestibule, count).await);
            preload(&mut raw, count).await;
            plain.push(unlinked(&mut raw, count).await);
            let () = cmd("FLUSHDB").query_async(&mut raw).await.unwrap();
        }
        let rate = |times: &[f64]| count as f64 / median(times.iter().copied()).unwrap();
        let (ours, bare) = (rate(&swept), rate(&plain));
        let slowest = slowest_script(&mut raw).await as f64 / 1000.0;
        table.compare(
            ["sweeps", &format!("reap {count} orphans"), "HGET and UNLINK, 32 at a time"],
            ours / bare,
            &format!(
                "{:.1} k/s against {:.1} k/s; no script held Redis for longer than {slowest:.1} ms",
                ours / 1e3,
                bare / 1e3
            ),
        );
        rates.push(ours);
    }
    table.compare(
        ["sweeps", "reap, at a million", "at ten thousand"],
        rates[1] / rates[0],
        &format!("{:.1} k/s against {:.1} k/s", rates[1] / 1e3, rates[0] / 1e3),
    );
}

/// Seconds that a sweep takes.
async fn reaped(vestibule: &Vestibule, count: usize) -> f64 {
    let budget = Budget { limit: u64::MAX, ..Budget::default() };
    let sweep = Orphans { budget, ..Orphans::default() };
    let (started, mut done) = (Instant::now(), 0);
    while done < count as u64 {
        let swept = sweep.pass(vestibule, &CancellationToken::new()).await;
        assert!(swept.done > 0 && swept.errors == 0, "{swept:?}");
        done += swept.done;
    }
    started.elapsed().as_secs_f64()
}

/// Seconds that it takes to look at each record and remove it, and to do nothing else: what a sweep
/// without indexes, checks and receipts could do.
async fn unlinked(raw: &mut MultiplexedConnection, count: usize) -> f64 {
    let started = Instant::now();
    for first in (0..count).step_by(32) {
        let mut some = pipe();
        for number in first..(first + 32).min(count) {
            let (_, _, key) = names(number);
            some.cmd("HGET").arg(&key).arg("owner").ignore();
            some.cmd("UNLINK").arg(&key).ignore();
        }
        let () = some.query_async(raw).await.unwrap();
    }
    started.elapsed().as_secs_f64()
}

/// The owner and the id of a connection, and the key of its record.
fn names(number: usize) -> (String, String, String) {
    let owner =
        blake3::hash(format!("owner {}", number / FOR_EACH).as_bytes()).to_hex()[..32].to_owned();
    let (tag, unique) = (&owner[..2], blake3::hash(format!("connection {number}").as_bytes()));
    let id = format!("{tag}{}", &unique.to_hex()[..32]);
    let key = format!("vst:{{{tag}}}:conn:{id}");
    (owner, id, key)
}

/// Orphans of the library's layout, older than the retention.
async fn preload(raw: &mut MultiplexedConnection, count: usize) {
    const LONG_AGO: u64 = 1_600_000_000_000;
    let secret = [b's'; 300];
    for first in (0..count).step_by(500) {
        let mut some = pipe();
        for number in first..(first + 500).min(count) {
            let (owner, id, key) = names(number);
            let tag = &owner[..2];
            let record = some.cmd("HSET").arg(key);
            for (field, value) in [
                ("v", "1"),
                ("status", "orphaned"),
                ("was", "active"),
                ("was_reason", ""),
                ("reason", "access_withdrawn"),
                ("connector", "demo"),
                ("owner", owner.as_str()),
                ("token", owner.as_str()),
                ("stored", owner.as_str()),
                ("withdrawn", owner.as_str()),
            ] {
                record.arg(field).arg(value);
            }
            for field in ["status_at", "created_at", "updated_at", "expires_at", "next_at"] {
                record.arg(field).arg(LONG_AGO + number as u64);
            }
            for field in ["grant", "ver", "attempts"] {
                record.arg(field).arg(1);
            }
            record.arg("secret").arg(&secret).ignore();
            let owned = format!("vst:{{{tag}}}:owner:{owner}");
            some.cmd("ZADD").arg(owned).arg(number).arg(&id).ignore();
            let orphans = format!("vst:{{{tag}}}:orphans");
            let member = format!("conn:{id}");
            some.cmd("ZADD").arg(orphans).arg(LONG_AGO + number as u64).arg(member).ignore();
        }
        let () = some.query_async(raw).await.unwrap();
    }
}
