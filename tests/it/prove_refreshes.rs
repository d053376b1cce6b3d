//! What `make prove` shows of refreshes at full size, at a size for every run.

use vestibule::connection::ReplayPolicy;

use crate::{
    properties::{
        callers,
        connections::GRACE,
        crashes,
        fleet::{self, Paused},
        poison::{self, Sweep},
        unwatched,
    },
    support::{logs, server},
};

/// C-3, C-12, H-14: 2 processes, 20 callers in each, one provider call and one token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_in_two_processes_ask_once() {
    let server = server::shared().await;
    println!("{}", callers::ask_once(server, true, 5, unwatched()).await.unwrap());
}

/// The proof that the one above can fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_leases_callers_ask_twice() {
    let server = server::shared().await;
    let found = callers::ask_once(server, false, 3, unwatched()).await.unwrap_err();
    assert!(found.contains("calls too many"), "{found}");
}

/// H-12, C-2: eight workers, none refreshed twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_workers_refresh_each_once() {
    let server = server::shared().await;
    println!("{}", fleet::refreshed_once(server, true, 300, unwatched()).await.unwrap());
}

/// The proof that the one above can fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_leases_some_are_refreshed_twice() {
    let server = server::shared().await;
    let found = fleet::refreshed_once(server, false, 100, unwatched()).await.unwrap_err();
    assert!(found.contains("presented again"), "{found}");
}

/// SIGSTOP for twice the lease, at a provider that forgives and at a strict one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_was_paused_overwrites_nothing() {
    let server = server::shared().await;
    for how in [Paused::Forgiven, Paused::Strict] {
        println!("{}", fleet::paused_workers(server, how, 8, unwatched()).await.unwrap());
    }
}

/// The proof that the one above can fail: a provider that does not forgive as it is said to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_under_a_provider_without_grace_is_noticed() {
    let (server, how) = (server::shared().await, Paused::Unforgiven);
    let found = fleet::paused_workers(server, how, 8, unwatched()).await.unwrap_err();
    assert!(found.contains("families revoked"), "{found}");
}

/// And with a commit that asks not what an answer descends from.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_lineage_an_older_answer_is_noticed() {
    let (server, how) = (server::shared().await, Paused::WithoutLineage);
    let found = fleet::paused_workers(server, how, 8, unwatched()).await.unwrap_err();
    assert!(found.contains("gave way to an older one"), "{found}");
}

/// And with a begin that does not wait for the one that has the answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strict_provider_that_is_asked_too_soon_is_noticed() {
    let (server, how) = (server::shared().await, Paused::StrictWithoutWaiting);
    let found = fleet::paused_workers(server, how, 8, unwatched()).await.unwrap_err();
    assert!(found.contains("families revoked"), "{found}");
}

/// the lease and 2 s, by the clock on the wall.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_worker_is_succeeded_in_time() {
    let (server, replay) = (server::shared().await, ReplayPolicy::Grace(GRACE));
    println!("{}", fleet::takeover_in_time(server, replay, 12, unwatched()).await.unwrap());
}

/// The proof that the one above can fail: the long lease of a strict provider.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_lease_is_not_succeeded_in_that_time() {
    let (server, replay) = (server::shared().await, ReplayPolicy::Strict);
    let found = fleet::takeover_in_time(server, replay, 4, unwatched()).await.unwrap_err();
    assert!(found.contains("not taken over"), "{found}");
}

/// SIGKILL at every place of an exchange, under four graces.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_anywhere_is_recovered_or_told() {
    println!(
        "{}",
        crashes::everywhere(server::shared().await, true, 4, unwatched()).await.unwrap()
    );
}

/// The proof that the one above can fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grace_that_is_not_kept_is_noticed() {
    let found = crashes::everywhere(server::shared().await, false, 2, unwatched()).await;
    let found = found.unwrap_err();
    assert!(found.contains("lost for nothing"), "{found}");
}

/// H-12: records that are of no use hold nobody up, stay, and are told of once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_few_damaged_records_hold_nobody_up() {
    let (logs, server) = (logs::capture(), server::shared().await);
    let (found, damaged) = poison::among_many(server, Sweep::Vestibule, 600, unwatched()).await;
    println!("{}", found.unwrap());
    let text = logs.text();
    for id in &damaged[..2] {
        let told =
            |line: &&str| line.contains(id.as_str()) && line.contains("left for those who can");
        assert_eq!(text.lines().filter(told).count(), 1, "{id} is told of once");
    }
}

/// The proof that the one above can fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_that_ends_at_an_error_is_held_up() {
    let server = server::shared().await;
    let (found, _) = poison::among_many(server, Sweep::EndsAtAnError, 600, unwatched()).await;
    assert!(found.unwrap_err().contains("not refreshed in time"));
}
