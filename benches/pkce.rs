//! Putting and taking PKCE states.

use std::{io::Write, time::Instant};

use crate::{
    Scale,
    contestants::{checkout, ours, plain, unsealed},
    postgres::{self, Postgres},
    rounds::{median, take_turns},
    support::server::TestServer,
    table::{
        Reach::{AtLeast, AtMost},
        Table,
    },
};

const TASKS: usize = 128;
const ROUNDS: usize = 9;
const WHAT: &str = "sealed, idempotent PKCE put + take, 128 tasks";

pub async fn against_plain_commands(table: &mut Table, scale: Scale) {
    let server = TestServer::for_benches().start().await;
    let contestants = [
        ours(&server).await,
        plain(&server).await,
        checkout(&server).await,
        unsealed(&server).await,
    ];
    let rounds = take_turns(TASKS, scale.time(600), ROUNDS, &contestants).await;

    let kops = |one| rounds.per_second(one) * 2.0 / 1000.0;
    table.judge(
        ["pkce", WHAT, "plain SET NX + GETDEL, same client"],
        rounds.speed(0, 1),
        AtLeast(0.6),
        &format!("{:.0} k against {:.0} k ops/s", kops(0), kops(1)),
    );
    table.judge(
        ["pkce", WHAT, "the same verbs, a pool checkout per call"],
        rounds.speed(0, 2),
        AtLeast(3.0),
        &format!("{:.0} k against {:.0} k ops/s", kops(0), kops(2)),
    );
    table.compare(
        ["pkce", "the same, not sealed", "plain SET NX + GETDEL, same client"],
        rounds.speed(3, 1),
        &format!("{:.0} k against {:.0} k ops/s", kops(3), kops(1)),
    );
    let what = ["pkce", "client CPU per verb", "the plain commands"];
    let cpu = |one| rounds.cpu_us(one).map(|micros| micros / 2.0);
    match rounds.cpu(0, 1).zip(cpu(0)).zip(cpu(1)).zip(cpu(3)) {
        Some((((ratio, ours), plain), unsealed)) => table.judge(
            what,
            ratio,
            AtMost(1.6),
            &format!("{ours:.1} against {plain:.1} µs; not sealed {unsealed:.1} µs"),
        ),
        None => table.tell(what, "not measured: this system does not tell in /proc"),
    }
}

pub async fn against_postgres(table: &mut Table, scale: Scale) {
    const AGAINST: &str = "PostgreSQL, fsync, INSERT + DELETE RETURNING";
    let what = ["pkce", "the same, sealed, AOF always", AGAINST];
    let Some(postgres) = Postgres::start().await else {
        return table.tell(what, "not measured: no PostgreSQL here");
    };
    let server = TestServer::for_benches()
        .arg("--appendonly", "yes")
        .arg("--appendfsync", "always")
        .start()
        .await;
    let contestants =
        [ours(&server).await, postgres::insert_and_delete(&postgres).await, plain(&server).await];
    let rounds = take_turns(TASKS, scale.time(1000), 5, &contestants).await;
    let kops = |one| rounds.per_second(one) * 2.0 / 1000.0;
    table.judge(
        what,
        rounds.speed(0, 1),
        AtLeast(5.0),
        &format!("{:.0} k against {:.1} k ops/s", kops(0), kops(1)),
    );
    // Both wait for the disk, and share it: their distance is the disk's too.
    table.compare(
        ["pkce", "plain SET NX + GETDEL, AOF always", AGAINST],
        rounds.speed(2, 1),
        &format!("{:.0} k against {:.1} k ops/s; one sync {:.1} ms", kops(2), kops(1), sync_ms()),
    );
    postgres.stop();
}

/// How long the disk takes to make a page durable, p50.
fn sync_ms() -> f64 {
    let mut file = tempfile::tempfile().unwrap();
    let sync = || {
        let started = Instant::now();
        file.write_all(&[7; 4096]).unwrap();
        file.sync_data().unwrap();
        started.elapsed().as_secs_f64() * 1e3
    };
    median(std::iter::repeat_with(sync).take(100)).unwrap()
}
