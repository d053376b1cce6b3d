//! How fast orphans are reaped, of ten thousand and of a million, and how long that holds Redis. Every
//! other of them is a header credential.

use std::{sync::Arc, time::Instant};

use redis::{aio::MultiplexedConnection, cmd, pipe};
use tokio_util::sync::CancellationToken;
use vestibule::{
    Digest, Keys, RequestId, Vestibule,
    seal::Seal,
    store::{
        AccessStore, ConnectionId, HeadersStore, ReapConnection, Reaped,
        redis::{RedisConfig, RedisStore},
    },
    sweep::{Budget, Orphans},
};

use crate::{
    Scale,
    rounds::median,
    store::{slowest, slowest_script},
    support::server::TestServer,
    table::{Reach::AtMost, Table},
};

/// How many each owner has.
const FOR_EACH: usize = 20;
/// As long ago as the first of them became one.
const LONG_AGO: u64 = 1_600_000_000_000;

pub async fn orphans(table: &mut Table, scale: Scale) {
    let mut rates = Vec::new();
    for (full, rounds) in [(10_000, 5), (1_000_000, 1)] {
        let count = scale.count(full);
        let server = TestServer::for_benches().start().await;
        let keys = Keys::random();
        let config = RedisConfig::new(&server.url()).unwrap();
        let store = Arc::new(RedisStore::connect(config, &keys.naming).await.unwrap());
        let seal = Seal::new(keys.ring.clone());
        let vestibule = Vestibule::assemble(store.clone(), seal, &keys);
        let mut raw = server.raw().await;
        for (name, value) in [("slowlog-log-slower-than", "100"), ("slowlog-max-len", "100000")] {
            let () = cmd("CONFIG").arg(&["SET", name, value]).query_async(&mut raw).await.unwrap();
        }
        let (mut swept, mut plain) = (Vec::new(), Vec::new());
        let (mut script, mut command) = (0, 0);
        for _ in 0..rounds {
            preload(&mut raw, 0..count).await;
            swept.push(reaped(&vestibule, count).await);
            script = script.max(slowest_script(&mut raw).await);
            preload(&mut raw, 0..count).await;
            let () = cmd("SLOWLOG").arg("RESET").query_async(&mut raw).await.unwrap();
            plain.push(unlinked(&mut raw, count).await);
            command = command.max(slowest(&mut raw, &["HGET", "UNLINK"]).await);
            let () = cmd("FLUSHDB").query_async(&mut raw).await.unwrap();
        }
        let rate = |times: &[f64]| count as f64 / median(times.iter().copied()).unwrap();
        let (ours, bare) = (rate(&swept), rate(&plain));
        table.compare(
            [
                "sweeps",
                &format!("reap {count} orphans, half of them header credentials"),
                "HGET and UNLINK, 32 at a time",
            ],
            ours / bare,
            &format!(
                "{:.1} k/s against {:.1} k/s; by the clock, which counts it where Redis is put aside, \
                 the longest script took {:.1} ms, the longest bare command {:.1} ms",
                ours / 1e3,
                bare / 1e3,
                script as f64 / 1e3,
                command as f64 / 1e3
            ),
        );
        rates.push(ours);
        if full == 1_000_000 {
            hold(table, scale, &store, &mut raw, count).await;
        }
    }
    table.compare(
        ["sweeps", "reap, at a million", "at ten thousand"],
        rates[1] / rates[0],
        &format!("{:.1} k/s against {:.1} k/s", rates[1] / 1e3, rates[0] / 1e3),
    );
}

/// The longest that Redis was in one of the scripts that reap, beside so many orphans.
async fn hold(
    table: &mut Table,
    scale: Scale,
    store: &RedisStore,
    raw: &mut MultiplexedConnection,
    count: usize,
) {
    const ROUNDS: usize = 5;
    let each = scale.count(2_000).min(count / ROUNDS);
    preload(raw, 0..count).await;
    let mut worst = Vec::new();
    for round in 0..ROUNDS {
        let () = cmd("SLOWLOG").arg("RESET").query_async(raw).await.unwrap();
        // One at a time: with more, Redis is put aside in the middle of a script.
        for number in round * each..(round + 1) * each {
            assert_eq!(reap(store, &Names::of(number)).await, Reaped::Reaped);
        }
        worst.push(slowest_script(raw).await);
    }
    worst.sort_unstable();
    let (middle, most) = (worst[ROUNDS / 2], worst[ROUNDS - 1]);
    table.judge(
        ["sweeps", &format!("reap beside {count} orphans, one at a time: the worst hold"), "1 ms"],
        middle as f64 / 1000.0,
        AtMost(1.0),
        &format!(
            "{middle} µs, the median of the worst of {ROUNDS} rounds of {each}; {most} µs in the worst \
             round"
        ),
    );
}

async fn reap(store: &RedisStore, names: &Names) -> Reaped {
    let (request, retention) = (RequestId::random().digest(), Orphans::default().retention);
    if names.kind == "headers" {
        return store.reap_headers(names.id.parse().unwrap(), retention, request).await.unwrap();
    }
    let id: ConnectionId = names.id.parse().unwrap();
    let owner = Digest::from_hex(&names.owner).unwrap();
    let reap = ReapConnection { id: &id, request, owner, retention };
    store.reap_connection(reap).await.unwrap()
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
            let key = Names::of(number).key();
            some.cmd("HGET").arg(&key).arg("owner").ignore();
            some.cmd("UNLINK").arg(&key).ignore();
        }
        let () = some.query_async(raw).await.unwrap();
    }
    started.elapsed().as_secs_f64()
}

/// What one of them is called.
struct Names {
    kind: &'static str,
    owner: String,
    id: String,
}

impl Names {
    fn of(number: usize) -> Self {
        let owner = hex("owner", number / FOR_EACH);
        let kind = if number.is_multiple_of(2) { "conn" } else { "headers" };
        let id = format!("{}{}", &owner[..2], hex(kind, number));
        Self { kind, owner, id }
    }

    /// A key in its shard.
    fn beside(&self, rest: &str) -> String {
        format!("vst:{{{}}}:{rest}", &self.owner[..2])
    }

    fn key(&self) -> String {
        self.beside(&self.member())
    }

    fn member(&self) -> String {
        format!("{}:{}", self.kind, self.id)
    }
}

fn hex(what: &str, number: usize) -> String {
    blake3::hash(format!("{what} {number}").as_bytes()).to_hex()[..32].to_owned()
}

/// Orphans of the library's layout, older than the retention.
async fn preload(raw: &mut MultiplexedConnection, numbers: std::ops::Range<usize>) {
    for first in numbers.clone().step_by(500) {
        let mut some = pipe();
        for number in first..(first + 500).min(numbers.end) {
            let names = Names::of(number);
            let since = LONG_AGO + number as u64;
            record(&mut some, &names, since);
            let orphans = names.beside("orphans");
            some.cmd("ZADD").arg(orphans).arg(since).arg(names.member()).ignore();
            some.cmd("ZADD").arg(names.beside("sealed")).arg(1).arg(names.member()).ignore();
            if names.kind == "headers" {
                let client = names.beside(&format!("client:{}", hex("client", 0)));
                some.cmd("ZADD").arg(client).arg(since).arg(&names.id).ignore();
                let binding = names.beside(&format!("binding:{}", &names.id[2..]));
                some.cmd("SET").arg(binding).arg(&names.id).ignore();
            } else {
                let owned = names.beside(&format!("owner:{}", names.owner));
                some.cmd("ZADD").arg(owned).arg(since).arg(&names.id).ignore();
            }
        }
        let () = some.query_async(raw).await.unwrap();
    }
}

/// The hash of one.
fn record(some: &mut redis::Pipeline, names: &Names, since: u64) {
    let (owner, client) = (names.owner.as_str(), hex("client", 0));
    let all = [("v", "1"), ("status", "orphaned"), ("was", "active"), ("was_reason", "")];
    let connection = [
        ("connector", "demo"),
        ("owner", owner),
        ("token", owner),
        ("stored", owner),
        ("withdrawn", owner),
        ("grant", "1"),
        ("attempts", "1"),
    ];
    let headers = [
        ("mode", "user"),
        ("identity", owner),
        ("client", &client),
        ("name", "weather"),
        ("binding", &names.id[2..]),
        ("receipts", owner),
        ("key", "00000001"),
    ];
    let fields = if names.kind == "headers" { headers } else { connection };
    let record = some.cmd("HSET").arg(names.key());
    for (field, value) in all.into_iter().chain(fields) {
        record.arg(field).arg(value);
    }
    for field in ["status_at", "created_at", "updated_at", "expires_at", "next_at"] {
        record.arg(field).arg(since);
    }
    record.arg("ver").arg(1).arg("reason").arg("access_withdrawn");
    record.arg("secret").arg(&[b's'; 300]).ignore();
}
