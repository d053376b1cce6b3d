//! What `make prove` shows of pendings at full size, at a size for every run.

use std::time::Duration;

use crate::{
    properties::{
        pendings::{self, bulk, waits, waits::Waiter},
        unwatched,
    },
    support::server,
};

/// P-4, X-1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_winner_of_every_pending() {
    let server = server::shared().await;
    println!("{}", pendings::one_winner(server, false, 100, unwatched()).await.unwrap());
}

/// The proof that the one above can fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_get_and_a_del_have_several_winners() {
    let found = pendings::one_winner(server::shared().await, true, 50, unwatched()).await;
    assert!(found.unwrap_err().contains("with several"));
}

///
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_wake_up_is_lost() {
    println!("{}", waits::no_lost_wake_up(Waiter::Vestibule, 80, unwatched()).await.unwrap());
}

/// The proof that the one above can fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_subscription_loses_wake_ups() {
    let found = waits::no_lost_wake_up(Waiter::PlainSubscribe, 80, unwatched()).await;
    let found = found.unwrap_err();
    assert!(found.contains("wake-ups lost"), "{found}");
}

/// P-12.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_expires_leaves_nothing() {
    println!("{}", bulk::expiry_leaves_nothing(1_000, unwatched()).await.unwrap());
}

/// P-5. The bound is for a machine that runs other tests meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_big_namespace_lists_and_clears() {
    let bound = Duration::from_millis(100);
    println!("{}", bulk::big_namespace(bound, 2_000, unwatched()).await.unwrap());
}

///
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_reply_loses_nothing() {
    println!("{}", pendings::lost_replies(80, unwatched()).await.unwrap());
}
