//! What `make prove` shows of sweeps at full size, at a size for every run.

use crate::{
    properties::{
        sweeps::{self, Reaper, cycles},
        unwatched,
    },
    support::server,
};

/// H-10: three workers share the orphans, one of them is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_workers_reap_each_orphan_once() {
    println!("{}", sweeps::three_workers(4_000, unwatched()).await.unwrap());
}

/// H-9: access that is given back while the orphan is being reaped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_given_back_is_not_reaped() {
    let (server, reaper) = (server::shared().await, Reaper::Vestibule);
    let raced = sweeps::given_back_meanwhile(server, reaper, 1_000, unwatched()).await;
    println!("{}", raced.unwrap());
}

/// The proof that the one above can fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_and_then_a_delete_lose_what_was_given_back() {
    let (server, reaper) = (server::shared().await, Reaper::LooksThenDeletes);
    let raced = sweeps::given_back_meanwhile(server, reaper, 1_000, unwatched()).await;
    let found = raced.unwrap_err();
    assert!(found.contains("deleted though given back"), "{found}");
}

/// T-9: what is short-lived leaves nothing, however its makers end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cycles_leave_nothing() {
    println!("{}", cycles::leave_nothing(6_000, 3, unwatched()).await.unwrap());
}
