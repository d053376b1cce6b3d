//! `make bench`: what the library costs against the plain commands, side by side, as ratios.
//!
//! `ONLY=pkce` picks an area (`pkce`, `store`, `pendings`, `tokens`, `connections`, `headers`, `sweeps`,
//! `seal`), `SCALE=0.1` shortens the rounds and shrinks what is preloaded. A whole run writes its table
//! into `docs/results.md`.
//!
//! Absolute figures of a shared machine mean little, and drift while it runs. So the contestants
//! of a row take turns in short rounds on the same server, and what is reported is the median of
//! their ratios within a round.
#![allow(
    unreachable_pub,
    clippy::pedantic,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "bench code: what fails ends the run"
)]

#[allow(dead_code, reason = "shared with the tests, which use all of it")]
#[path = "../tests/it/support"]
mod support {
    pub mod process;
    pub mod results;
    pub mod server;
}

mod cached;
mod connections;
mod contestants;
mod headers;
mod live_pendings;
mod live_tokens;
mod pendings;
mod pkce;
mod postgres;
mod queues;
mod refreshing;
mod rounds;
mod sealing;
mod store;
mod sweeps;
mod table;
mod tokens;

use table::Table;

/// What a run is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Scale(f64);

impl Scale {
    /// A full size, shrunk.
    pub fn count(self, full: usize) -> usize {
        ((full as f64 * self.0) as usize).max(1)
    }

    /// A full duration, shortened.
    pub fn time(self, full_ms: u64) -> std::time::Duration {
        std::time::Duration::from_secs_f64((full_ms as f64 * self.0 / 1000.0).max(0.02))
    }
}

fn main() {
    // `cargo test --benches` starts it too, without this.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let only = std::env::var("ONLY").ok().filter(|only| !only.is_empty());
    let scale = std::env::var("SCALE")
        .ok()
        .map_or(1.0, |scale| scale.parse().expect("SCALE is a number such as 0.1"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    // On a worker, where a host's code runs too.
    runtime.block_on(runtime.spawn(compare(only, scale))).expect("no bench panics");
}

async fn compare(only: Option<String>, scale: f64) {
    let mut table = Table::new(only, scale);
    let scale = Scale(scale);
    if table.wants("pkce") {
        pkce::against_plain_commands(&mut table, scale).await;
        pkce::against_postgres(&mut table, scale).await;
    }
    if table.wants("store") {
        store::server_cost(&mut table, scale).await;
        store::many_records(&mut table, scale).await;
    }
    if table.wants("pendings") {
        pendings::one_at_a_time(&mut table, scale).await;
        pendings::under_load(&mut table, scale).await;
        pendings::waking(&mut table, scale).await;
        live_pendings::one_namespace(&mut table, scale).await;
        live_pendings::flat(&mut table, scale).await;
    }
    if table.wants("tokens") {
        tokens::one_at_a_time(&mut table, scale).await;
        tokens::in_memory(&mut table, scale).await;
        tokens::under_load(&mut table, scale).await;
        live_tokens::flat(&mut table, scale).await;
        live_tokens::ending_many(&mut table, scale).await;
    }
    if table.wants("connections") {
        connections::warm_vend(&mut table, scale).await;
        cached::cached_vend(&mut table, scale).await;
        connections::due_claims(&mut table, scale).await;
        refreshing::through_the_store(&mut table, scale).await;
        refreshing::claims_alone(&mut table, scale).await;
        refreshing::at_a_slow_provider(&mut table, scale).await;
    }
    if table.wants("headers") {
        headers::one_at_a_time(&mut table, scale).await;
        headers::under_load(&mut table, scale).await;
        headers::asking(&mut table, scale).await;
    }
    if table.wants("sweeps") {
        sweeps::orphans(&mut table, scale).await;
    }
    if table.wants("seal") {
        sealing::seal_and_open(&mut table, scale);
    }
    table.finish();
}
