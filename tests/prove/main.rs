//! `make prove`: the big figures at full size, one line each, with PASS or FAIL.
//!
//! `ONLY=pkce` picks an area, `SCALE=0.1` shrinks it. Writes what it found into
//! `docs/results.md`. The small sizes are part of `make test`.
#![allow(
    unreachable_pub,
    clippy::pedantic,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code: a panic is a failed property"
)]

#[path = "../it/support/mod.rs"]
mod support;

mod properties;
mod report;

use properties::{
    Progress, connections, pkce,
    pkce::Taker::{PlainGetdel, Vestibule, VestibuleOnCluster},
    seal, store,
};
use report::Report;
use support::server::TestServer;

fn main() {
    support::children::run_if_child();
    let only = std::env::var("ONLY").ok().filter(|only| !only.is_empty());
    let scale = std::env::var("SCALE")
        .ok()
        .map_or(1.0, |scale| scale.parse().expect("SCALE is a number such as 0.1"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let passed = runtime.block_on(prove(Report::new(only, scale)));
    std::process::exit(i32::from(!passed));
}

async fn prove(mut report: Report) -> bool {
    let server = TestServer::builder().start().await;

    report
        .property("pkce", "one winner of every state", 10_000, |n, p: Progress| {
            pkce::one_winner(&server, n, p)
        })
        .await;
    report
        .property("pkce", "a lost reply loses nothing", 10_000, |n, p: Progress| {
            pkce::lost_replies(Vestibule, n, p)
        })
        .await;
    report
        .property("pkce", "nor on a cluster client that re-sends", 10_000, |n, p: Progress| {
            pkce::lost_replies(VestibuleOnCluster, n, p)
        })
        .await;
    report
        .property(
            "pkce",
            "(the same fails with a plain GETDEL)",
            1_000,
            |n, p: Progress| async move {
                match pkce::lost_replies(PlainGetdel, n, p).await {
                    Ok(figure) => Err(format!("it passed: the property has no teeth; {figure}")),
                    Err(found) => Ok(format!("fails as it must: {found}")),
                }
            },
        )
        .await;
    report
        .property("pkce", "a dropped future loses nothing", 10_000, |n, p: Progress| {
            pkce::dropped_futures(&server, n, p)
        })
        .await;
    report
        .property("connections", "SIGKILL inside a refresh loses nothing", 500, |n, p: Progress| {
            connections::survive_kills(&server, n, p)
        })
        .await;
    report
        .property("store", "acknowledged is durable (AOF always)", 100_000, |n, p: Progress| {
            store::survives_a_restart(n, p)
        })
        .await;
    report
        .property("store", "a black hole is left in time", 50, |n, p: Progress| {
            store::black_hole(n, p)
        })
        .await;
    report
        .property("seal", "hostile bodies do not open", 1_000_000, |n, p: Progress| async move {
            tokio::task::spawn_blocking(move || seal::hostile_bodies(n, &p)).await.unwrap()
        })
        .await;

    report.finish()
}
