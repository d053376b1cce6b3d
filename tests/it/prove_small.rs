//! What `make prove` shows at full size, at a size for every run.

use std::time::Duration;

use crate::{
    properties::{connections, pkce, pkce::Taker, seal, store, unwatched},
    support::server,
};

/// K-3, X-1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_winner_of_every_state() {
    pkce::one_winner(server::shared().await, Taker::Vestibule, 200, unwatched()).await.unwrap();
}

/// The proof that the one above can fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_get_and_a_del_have_several_winners() {
    let taker = Taker::PlainGetThenDel;
    let found = pkce::one_winner(server::shared().await, taker, 50, unwatched()).await;
    assert!(found.unwrap_err().contains("with several"));
}

///
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_reply_loses_nothing() {
    println!("{}", pkce::lost_replies(Taker::Vestibule, 300, unwatched()).await.unwrap());
}

/// X-1, through the client that re-sends by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_reply_loses_nothing_on_a_cluster() {
    println!("{}", pkce::lost_replies(Taker::VestibuleOnCluster, 300, unwatched()).await.unwrap());
}

/// The proof that the two above can fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_getdel_loses_what_a_lost_reply_took() {
    let found = pkce::lost_replies(Taker::PlainGetdel, 300, unwatched()).await.unwrap_err();
    assert!(found.contains("values lost"), "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_future_loses_nothing() {
    let taker = Taker::Vestibule;
    pkce::dropped_futures(server::shared().await, taker, 1_000, unwatched()).await.unwrap();
}

/// The proof that the one above can fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_getdel_loses_what_a_dropped_future_took() {
    let taker = Taker::PlainGetdel;
    let found = pkce::dropped_futures(server::shared().await, taker, 2_000, unwatched()).await;
    assert!(found.unwrap_err().contains("values lost"));
}

///
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_inside_a_refresh_loses_nothing() {
    let (server, grace) = (server::shared().await, connections::GRACE);
    println!("{}", connections::survive_kills(server, grace, 15, unwatched()).await.unwrap());
}

/// The proof that the one above can fail: without a grace a kill costs what it must.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_under_a_provider_without_grace_is_noticed() {
    let (server, strict) = (server::shared().await, Duration::ZERO);
    let found = connections::survive_kills(server, strict, 15, unwatched()).await.unwrap_err();
    assert!(found.contains("without a live token"), "{found}");
}

/// At full size: it is what "acknowledged" means.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_puts_survive_a_restart() {
    store::survives_a_restart(true, 100_000, unwatched()).await.unwrap();
}

/// The proof that the one above can fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_aof_acknowledged_puts_are_missing() {
    let found = store::survives_a_restart(false, 200, unwatched()).await.unwrap_err();
    assert!(found.contains("missing"), "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_black_hole_is_left_in_time() {
    println!("{}", store::black_hole(2, unwatched()).await.unwrap());
}

#[test]
fn hostile_bodies_do_not_open() {
    seal::hostile_bodies(20_000, || 0, &unwatched()).unwrap();
}
