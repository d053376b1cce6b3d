//! Putting and taking PKCE states.

use crate::{
    Scale,
    contestants::{checkout, ours, plain},
    postgres::{self, Postgres},
    rounds::take_turns,
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
    let server = TestServer::builder().cluster(false).start().await;
    let contestants = [ours(&server).await, plain(&server).await, checkout(&server).await];
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
    let what = ["pkce", "client CPU per verb", "the plain commands"];
    match rounds.cpu(0, 1).zip(rounds.cpu_us(0)).zip(rounds.cpu_us(1)) {
        Some(((ratio, one), other)) => table.judge(
            what,
            ratio,
            AtMost(1.6),
            &format!("{:.1} against {:.1} µs", one / 2.0, other / 2.0),
        ),
        None => table.tell(what, "not measured: this system does not tell in /proc"),
    }
}

pub async fn against_postgres(table: &mut Table, scale: Scale) {
    let what = ["pkce", "the same, AOF always", "PostgreSQL, fsync, INSERT + DELETE RETURNING"];
    let Some(postgres) = Postgres::start().await else {
        return table.tell(what, "not measured: no PostgreSQL here");
    };
    let server = TestServer::builder()
        .cluster(false)
        .arg("--appendonly", "yes")
        .arg("--appendfsync", "always")
        .start()
        .await;
    let contestants = [ours(&server).await, postgres::insert_and_delete(&postgres).await];
    let rounds = take_turns(TASKS, scale.time(1000), 5, &contestants).await;
    let kops = |one| rounds.per_second(one) * 2.0 / 1000.0;
    table.judge(
        what,
        rounds.speed(0, 1),
        AtLeast(5.0),
        &format!("{:.0} k against {:.1} k ops/s", kops(0), kops(1)),
    );
    postgres.stop();
}
