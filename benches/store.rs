//! What the verbs cost Redis: CPU, memory, how long a script holds it, and how that grows.

use std::{collections::HashMap, time::Duration};

use redis::{aio::MultiplexedConnection, cmd, pipe};
use vestibule::{
    RequestId,
    store::{Claim, Shard, Store},
};

use crate::{
    Scale,
    connections::{preload_due, redis_store},
    contestants::{PAYLOAD, ours, plain, stored},
    rounds::{Work, load, median, take_turns},
    support::server::TestServer,
    table::{Reach::AtMost, Table},
};

/// Sealed, the payload of [`PAYLOAD`] bytes takes so many.
const SEALED: usize = PAYLOAD + 8 + 61;

pub async fn server_cost(table: &mut Table, scale: Scale) {
    let server = TestServer::for_benches().start().await;
    let mut raw = server.raw().await;
    let ours = command_costs(&mut raw, scale, &ours(&server).await).await;
    let plain = command_costs(&mut raw, scale, &plain(&server).await).await;
    for (what, ours, against, plain) in [
        ("put on the server", ours["set"], "SET NX", plain["set"]),
        ("take on the server", ours["evalsha"], "GETDEL", plain["getdel"]),
    ] {
        table.tell(["store", what, against], &format!("{ours:.1} against {plain:.1} µs"));
    }

    let _: () = cmd("FLUSHALL").query_async(&mut raw).await.unwrap();
    let states = crate::contestants::vestibule(&server).await.pkce();
    let state = crate::contestants::state(0);
    states.put(&state, &crate::contestants::record()).await.unwrap();
    let keys: Vec<String> = cmd("KEYS").arg("vst:{*").query_async(&mut raw).await.unwrap();
    let [key] = keys.as_slice() else { panic!("{keys:?}") };
    let bare = "x".repeat(key.len());
    let _: () = cmd("SET").arg(&bare).arg(vec![b'p'; PAYLOAD]).query_async(&mut raw).await.unwrap();
    let ours: f64 = cmd("MEMORY").arg(&["USAGE", key]).query_async(&mut raw).await.unwrap();
    let plain: f64 = cmd("MEMORY").arg(&["USAGE", &bare]).query_async(&mut raw).await.unwrap();
    table.judge(
        ["store", "memory per PKCE record", "a bare string, same 364-byte payload"],
        ours / plain,
        AtMost(1.6),
        &format!("{ours:.0} against {plain:.0} bytes"),
    );
}

/// µs of Redis per call, by command.
async fn command_costs(
    raw: &mut MultiplexedConnection,
    scale: Scale,
    work: &Work,
) -> HashMap<String, f64> {
    // The first round only warms up.
    for _ in 0..2 {
        let _: () = cmd("CONFIG").arg("RESETSTAT").query_async(raw).await.unwrap();
        take_turns(128, scale.time(500), 1, std::slice::from_ref(work)).await;
    }
    let info: String = cmd("INFO").arg("commandstats").query_async(raw).await.unwrap();
    let lines = info.lines().filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(':'));
    lines
        .map(|(name, stats)| {
            let per_call = stats.split(',').find_map(|stat| stat.strip_prefix("usec_per_call="));
            (name.to_owned(), per_call.unwrap().parse().unwrap())
        })
        .collect()
}

pub async fn many_records(table: &mut Table, scale: Scale) {
    // More than 2^20: below, Redis would grow its tables while it is measured.
    let (few, many) = (scale.count(1_000), scale.count(1_100_000));
    let servers =
        [TestServer::for_benches().start().await, TestServer::for_benches().start().await];
    let at = [ours(&servers[0]).await, ours(&servers[1]).await];
    preload(&servers[1], many).await;
    while grows(&servers[1]).await {
        load(128, scale.time(300), &at[1]).await;
    }
    let mut ratios = Vec::new();
    let mut micros = [Vec::new(), Vec::new()];
    for round in 0..=7 {
        // Its own tombstones would soon make many of few.
        let _: () = cmd("FLUSHALL").query_async(&mut servers[0].raw().await).await.unwrap();
        preload(&servers[0], few).await;
        let mut figures = [0.0; 2];
        for (figure, work) in figures.iter_mut().zip(&at) {
            *figure = 1e6 / load(128, scale.time(500), work).await.per_second / 2.0;
        }
        if round > 0 {
            ratios.push(figures[1] / figures[0]);
            micros[0].push(figures[0]);
            micros[1].push(figures[1]);
        }
    }
    let [one, other] = micros.map(|micros| median(micros).unwrap());
    table.judge(
        ["store", &format!("put + take at {many} live records"), &format!("at {few}")],
        median(ratios).unwrap(),
        AtMost(1.2),
        &format!("{other:.1} against {one:.1} µs per verb, 128 tasks"),
    );
    worst_hold(table, scale, &servers[1], &at[1]).await;
}

/// Whether Redis is moving its keys to a larger table.
pub async fn grows(server: &TestServer) -> bool {
    let stats: String =
        cmd("DEBUG").arg("HTSTATS").arg(0).query_async(&mut server.raw().await).await.unwrap();
    stats.contains("rehashing target")
}

/// Records of the library's layout, in all shards.
async fn preload(server: &TestServer, count: usize) {
    let mut raw = server.raw().await;
    let record = stored(&[b's'; SEALED]);
    for first in (0..count).step_by(1_000) {
        let mut batch = pipe();
        for number in first..(first + 1_000).min(count) {
            let name = *blake3::hash(&number.to_le_bytes()).as_bytes();
            let hex: String = name[..16].iter().map(|byte| format!("{byte:02x}")).collect();
            let key = format!("vst:{{{}}}:pkce:{hex}", &hex[..2]);
            batch.cmd("SET").arg(key).arg(&record).arg("PX").arg(660_000).ignore();
        }
        let _: () = batch.query_async(&mut raw).await.unwrap();
    }
}

/// The longest that Redis was in one script: takes, and claims of the largest size.
async fn worst_hold(table: &mut Table, scale: Scale, server: &TestServer, take: &Work) {
    let mut raw = server.raw().await;
    let due = scale.count(1_000_000);
    let shard = Shard::new(0);
    preload_due(&mut raw, shard, due).await;
    for (name, value) in [("slowlog-max-len", "100000"), ("slowlog-log-slower-than", "100")] {
        let _: () = cmd("CONFIG").arg(&["SET", name, value]).query_async(&mut raw).await.unwrap();
    }
    let store = redis_store(server).await;
    let mut worst = Vec::new();
    for _ in 0..5 {
        let _: () = cmd("SLOWLOG").arg("RESET").query_async(&mut raw).await.unwrap();
        // One at a time: with more, Redis is put aside in the middle of a script.
        take_turns(1, scale.time(400), 1, std::slice::from_ref(take)).await;
        for _ in 0..scale.count(2_000) {
            let request = RequestId::random().digest();
            let claim = Claim { shard, request, limit: 100, hide: Duration::from_millis(1) };
            assert_eq!(store.claim_due(claim).await.unwrap().len(), 100);
        }
        worst.push(slowest_script(&mut raw).await);
    }
    worst.sort_unstable();
    let [.., most] = worst.as_slice() else { return };
    table.judge(
        [
            "store",
            &format!("one script's worst hold of Redis, at {due} records and due ids"),
            "1 ms",
        ],
        worst[worst.len() / 2] as f64 / 1000.0,
        AtMost(1.0),
        &format!(
            "{} µs, the median of the worst of 5 rounds of takes and of 2000 claims of 100; \
             {most} µs in the worst round",
            worst[worst.len() / 2]
        ),
    );
}

pub async fn slowest_script(raw: &mut MultiplexedConnection) -> u64 {
    slowest(raw, &["EVALSHA"]).await
}

/// How long the longest of these commands took in the slow log, in µs by the clock on the wall; the log's
/// threshold, if none is in it.
pub async fn slowest(raw: &mut MultiplexedConnection, names: &[&str]) -> u64 {
    let slow: Vec<redis::Value> = cmd("SLOWLOG").arg("GET").arg(-1).query_async(raw).await.unwrap();
    let micros = slow.into_iter().filter_map(|entry| {
        let (_, _, micros, words, ..): (u64, u64, u64, Vec<Vec<u8>>, String, String) =
            redis::from_redis_value(entry).unwrap();
        names.iter().any(|name| words[0] == name.as_bytes()).then_some(micros)
    });
    micros.max().unwrap_or(100)
}
