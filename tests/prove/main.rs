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

// All that may be asked of a store; only a part of it is needed here.
#[allow(dead_code, unused_imports)]
#[path = "../it/agreement/mod.rs"]
mod agreement;
#[path = "../it/support/mod.rs"]
mod support;

mod properties;
mod report;
mod store;

use std::time::Duration;

use peak_alloc::PeakAlloc;
use properties::{
    callers, connections, crashes,
    failover::{Level, failovers},
    fleet::{self, Paused},
    headers::{self, endings, endings::Ender},
    journal::{self, Kill},
    model,
    pendings::{self, bulk, waits, waits::Waiter},
    pkce,
    pkce::Taker::{PlainGetThenDel, PlainGetdel, Vestibule, VestibuleOnCluster},
    poison::{self, Sweep},
    rotation::{self, Rotation},
    sweeps,
    sweeps::{Reaper, cycles},
    token_timing, tokens,
};
use report::Report;
use support::server::TestServer;
use vestibule::connection::ReplayPolicy;

/// Counts what is allocated, for the properties that bound it.
#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

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
    let on = &server;

    report
        .property("pkce", "one winner of every state", 10_000, |n, p| {
            pkce::one_winner(on, Vestibule, n, p)
        })
        .await;
    report
        .guard("pkce", "one winner", "GET, then DEL", 100, |n, p| {
            pkce::one_winner(on, PlainGetThenDel, n, p)
        })
        .await;
    report
        .property("pkce", "a lost reply loses nothing", 10_000, |n, p| {
            pkce::lost_replies(Vestibule, n, p)
        })
        .await;
    report
        .property("pkce", "nor on a cluster client that re-sends", 10_000, |n, p| {
            pkce::lost_replies(VestibuleOnCluster, n, p)
        })
        .await;
    report
        .guard("pkce", "a lost reply", "a plain GETDEL", 1_000, |n, p| {
            pkce::lost_replies(PlainGetdel, n, p)
        })
        .await;
    report
        .property("pkce", "a dropped future loses nothing", 10_000, |n, p| {
            pkce::dropped_futures(on, Vestibule, n, p)
        })
        .await;
    report
        .guard("pkce", "a dropped future", "a plain GETDEL", 1_000, |n, p| {
            pkce::dropped_futures(on, PlainGetdel, n, p)
        })
        .await;
    report
        .property("connections", "SIGKILL inside a refresh loses nothing", 500, |n, p| {
            connections::survive_kills(on, connections::GRACE, n, p)
        })
        .await;
    report
        .guard("connections", "SIGKILL", "a provider without grace", 30, |n, p| {
            connections::survive_kills(on, std::time::Duration::ZERO, n, p)
        })
        .await;
    report
        .property("connections", "the journal survives SIGKILL (no grace)", 100, |n, p| {
            journal::killed_at(on, Kill::AfterTheJournal, n, p)
        })
        .await;
    report
        .guard("connections", "SIGKILL (no grace)", "a journal", 10, |n, p| {
            journal::killed_at(on, Kill::WithoutAJournal, n, p)
        })
        .await;
    refreshes(&mut report, on).await;
    rotations(&mut report, on).await;
    report
        .property("connections", "3 workers, 2 credentials, exhaustively", 3, |n, p| {
            model::two_credentials(n, p)
        })
        .await;
    report
        .property("pendings", "one winner of every pending", 10_000, |n, p| {
            pendings::one_winner(on, false, n, p)
        })
        .await;
    report
        .guard("pendings", "one winner", "GET, then DEL", 100, |n, p| {
            pendings::one_winner(on, true, n, p)
        })
        .await;
    report
        .property("pendings", "no wake-up is lost", 1_000, |n, p| {
            waits::no_lost_wake_up(Waiter::Vestibule, n, p)
        })
        .await;
    report
        .guard("pendings", "no wake-up", "a plain SUBSCRIBE", 100, |n, p| {
            waits::no_lost_wake_up(Waiter::PlainSubscribe, n, p)
        })
        .await;
    report
        .property("pendings", "what expires leaves nothing", 100_000, |n, p| {
            bulk::expiry_leaves_nothing(n, p)
        })
        .await;
    report
        .property("pendings", "a big namespace lists and clears", 100_000, |n, p| {
            bulk::big_namespace(Duration::from_millis(5), n, p)
        })
        .await;
    report.property("pendings", "a lost reply loses nothing", 1_000, pendings::lost_replies).await;
    report
        .property("tokens", "a limited token is used so often", 10_000, |n, p| {
            tokens::exactly_so_many_uses(on, false, n, p)
        })
        .await;
    report
        .guard("tokens", "a limited token", "GET, compare, SET", 100, |n, p| {
            tokens::exactly_so_many_uses(on, true, n, p)
        })
        .await;
    report.property("tokens", "a lost reply loses nothing", 1_000, tokens::lost_replies).await;
    report
        .property("tokens", "a near guess takes no longer", 100_000, |n, p| {
            token_timing::of_answers(on, false, 0.03, n, p)
        })
        .await;
    report
        .guard("tokens", "a near guess", "a comparison that walks", 2_000, |n, p| {
            token_timing::of_answers(on, true, 0.03, n, p)
        })
        .await;
    #[cfg(target_os = "linux")]
    clock_jumps(&mut report).await;
    header_credentials(&mut report, on).await;
    sweeping(&mut report, on).await;
    store::prove(&mut report).await;
    report
        .property("failover", "what was confirmed is not undone", 100, |n, p| {
            failovers(Level::Confirmed, true, n, p)
        })
        .await;
    report
        .property("failover", "at the normal level only the end is", 100, |n, p| {
            failovers(Level::Normal, false, n, p)
        })
        .await;
    report
        .guard("failover", "not undone", "confirmation", 5, |n, p| {
            failovers(Level::Normal, true, n, p)
        })
        .await;

    report.finish()
}

/// Many at once, and what ends them meanwhile.
async fn header_credentials(report: &mut Report, on: &TestServer) {
    report
        .property("headers", "one flow for all who ask", 1_000, |n, p| {
            headers::one_flow(on, false, n, p)
        })
        .await;
    report
        .guard("headers", "one flow", "GET, then SET", 50, |n, p| headers::one_flow(on, true, n, p))
        .await;
    report
        .property("headers", "one credential of all who store", 1_000, |n, p| {
            headers::one_credential(on, false, n, p)
        })
        .await;
    report
        .guard("headers", "one credential", "a command for each part", 50, |n, p| {
            headers::one_credential(on, true, n, p)
        })
        .await;
    report
        .property("headers", "one claimer of every flow", 1_000, |n, p| {
            headers::one_claimer(on, false, n, p)
        })
        .await;
    report
        .guard("headers", "one claimer", "GET, then SET", 50, |n, p| {
            headers::one_claimer(on, true, n, p)
        })
        .await;
    report
        .property("headers", "a dead claimer is succeeded in its lease and 1 s", 20, |n, p| {
            endings::dead_claimers(on, false, n, p)
        })
        .await;
    report
        .guard("headers", "succeeded", "a claim for ever", 1, |n, p| {
            endings::dead_claimers(on, true, n, p)
        })
        .await;
    report
        .property("headers", "what ends a binding ends what is submitted", 10_000, |n, p| {
            endings::ended_meanwhile(on, Ender::Vestibule, n, p)
        })
        .await;
    report
        .guard("headers", "what ends a binding", "the credential alone", 500, |n, p| {
            endings::ended_meanwhile(on, Ender::CredentialAlone, n, p)
        })
        .await;
    report
        .property("headers", "a lost reply loses nothing", 500, |n, p| {
            endings::lost_replies(false, n, p)
        })
        .await;
    report
        .guard("headers", "a lost reply", "asking again without a receipt", 100, |n, p| {
            endings::lost_replies(true, n, p)
        })
        .await;
}

async fn sweeping(report: &mut Report, on: &TestServer) {
    report
        .property("sweeps", "3 workers, one killed, reap each orphan once", 100_000, |n, p| {
            sweeps::three_workers(n, p)
        })
        .await;
    report
        .property("sweeps", "what is given back is not reaped", 10_000, |n, p| {
            sweeps::given_back_meanwhile(on, Reaper::Vestibule, n, p)
        })
        .await;
    report
        .guard("sweeps", "what is given back", "a look, then a delete", 2_000, |n, p| {
            sweeps::given_back_meanwhile(on, Reaper::LooksThenDeletes, n, p)
        })
        .await;
    report
        .property("sweeps", "cycles with kills leave nothing", 1_000_000, |n, p| {
            cycles::leave_nothing(n, 20, p)
        })
        .await;
}

/// Fleets of workers that are paused and die.
async fn refreshes(report: &mut Report, on: &TestServer) {
    let kept = connections::GRACE;
    report
        .property("refreshes", "callers in 2 processes ask the provider once", 200, |n, p| {
            callers::ask_once(on, true, n, p)
        })
        .await;
    report
        .guard("refreshes", "callers in 2 processes", "leases", 5, |n, p| {
            callers::ask_once(on, false, n, p)
        })
        .await;
    report
        .property("refreshes", "8 workers refresh each once", 5_000, |n, p| {
            fleet::refreshed_once(on, true, n, p)
        })
        .await;
    report
        .guard("refreshes", "each once", "leases", 300, |n, p| {
            fleet::refreshed_once(on, false, n, p)
        })
        .await;
    report
        .property("refreshes", "SIGSTOP for twice the lease overwrites nothing", 200, |n, p| {
            fleet::paused_workers(on, Paused::Forgiven, n, p)
        })
        .await;
    report
        .guard("refreshes", "SIGSTOP", "the provider's grace", 20, |n, p| {
            fleet::paused_workers(on, Paused::Unforgiven, n, p)
        })
        .await;
    report
        .guard("refreshes", "SIGSTOP", "lineage", 20, |n, p| {
            fleet::paused_workers(on, Paused::WithoutLineage, n, p)
        })
        .await;
    report
        .property("refreshes", "SIGSTOP, at a strict provider", 50, |n, p| {
            fleet::paused_workers(on, Paused::Strict, n, p)
        })
        .await;
    report
        .guard("refreshes", "SIGSTOP, strict", "the wait for the answer", 20, |n, p| {
            fleet::paused_workers(on, Paused::StrictWithoutWaiting, n, p)
        })
        .await;
    report
        .property("refreshes", "a dead worker is succeeded in its lease and 2 s", 16, |n, p| {
            fleet::takeover_in_time(on, ReplayPolicy::Grace(kept), n, p)
        })
        .await;
    report
        .guard("refreshes", "succeeded", "the short lease", 4, |n, p| {
            fleet::takeover_in_time(on, ReplayPolicy::Strict, n, p)
        })
        .await;
    report
        .property("refreshes", "SIGKILL anywhere, under 4 graces", 40, |n, p| {
            crashes::everywhere(on, true, n, p)
        })
        .await;
    report
        .guard("refreshes", "SIGKILL anywhere", "the grace that is promised", 3, |n, p| {
            crashes::everywhere(on, false, n, p)
        })
        .await;
    report
        .property("refreshes", "damaged records hold nobody up", 10_000, |n, p| async move {
            poison::among_many(on, Sweep::Vestibule, n, p).await.0
        })
        .await;
    report
        .guard("refreshes", "damaged records", "going on after one", 600, |n, p| async move {
            poison::among_many(on, Sweep::EndsAtAnError, n, p).await.0
        })
        .await;
}

/// A key ring that is rotated under load.
async fn rotations(report: &mut Report, on: &TestServer) {
    report
        .property("rotation", "a ring is rotated under load", 20, |n, p| {
            rotation::under_load(on, Rotation::InOrder, n, p)
        })
        .await;
    for (without, how) in [
        ("the sweep before the end", Rotation::RetiredFirst),
        ("opening before sealing", Rotation::SealsAtOnce),
        ("the comparison", Rotation::WithoutLooking),
    ] {
        report
            .guard("rotation", "a ring is rotated", without, 1, |n, p| {
                rotation::under_load(on, how, n, p)
            })
            .await;
    }
}

/// A server's clock can only be moved here.
#[cfg(target_os = "linux")]
async fn clock_jumps(report: &mut Report) {
    use properties::token_clocks::jumps;

    report
        .property("tokens", "a jump of Redis's clock revives nothing", 10_000, |n, p| {
            jumps(false, n, p)
        })
        .await;
    report.guard("tokens", "a jump", "all clocks going back", 100, |n, p| jumps(true, n, p)).await;
}
