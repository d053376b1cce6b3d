//! What `make prove` shows at full size, at a size for every run.

use crate::{
    properties::{connections, pkce, pkce::Taker, seal, store, unwatched},
    support::server,
};

/// K-3, X-1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_winner_of_every_state() {
    pkce::one_winner(server::shared().await, 200, unwatched()).await.unwrap();
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
    pkce::dropped_futures(server::shared().await, 1_000, unwatched()).await.unwrap();
}

///
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_inside_a_refresh_loses_nothing() {
    println!(
        "{}",
        connections::survive_kills(server::shared().await, 15, unwatched()).await.unwrap()
    );
}

/// At full size: it is what "acknowledged" means.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_puts_survive_a_restart() {
    store::survives_a_restart(100_000, unwatched()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_black_hole_is_left_in_time() {
    println!("{}", store::black_hole(2, unwatched()).await.unwrap());
}

#[test]
fn hostile_bodies_do_not_open() {
    seal::hostile_bodies(20_000, &unwatched()).unwrap();
}
