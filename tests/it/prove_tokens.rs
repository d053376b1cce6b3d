//! What `make prove` shows of temp tokens at full size, at a size for every run.

use crate::{
    properties::{token_timing, tokens, unwatched},
    support::server,
};

/// T-7: a token that is good for n uses is used n times.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limited_token_is_used_exactly_so_often() {
    let server = server::shared().await;
    println!("{}", tokens::exactly_so_many_uses(server, false, 100, unwatched()).await.unwrap());
}

/// The proof that the one above can fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_count_that_is_compared_apart_is_used_too_often() {
    let found = tokens::exactly_so_many_uses(server::shared().await, true, 50, unwatched()).await;
    let found = found.unwrap_err();
    assert!(found.contains("used too often"), "{found}");
}

///
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_reply_doubles_and_loses_no_token() {
    println!("{}", tokens::lost_replies(80, unwatched()).await.unwrap());
}

/// Nothing is asked of the times here: other tests run meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_timed() {
    let (server, any) = (server::shared().await, f64::INFINITY);
    let timed = token_timing::of_answers(server, false, any, 200, unwatched()).await;
    println!("{}", timed.unwrap());
}

/// The proof that the one above can fail, where something is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comparison_that_walks_shows_near_guesses() {
    let server = server::shared().await;
    // Beside other tests a few samples may hide it.
    for _ in 0..5 {
        let found = token_timing::of_answers(server, true, 0.03, 200, unwatched()).await;
        if let Err(found) = found {
            assert!(found.contains("a near guess shows"), "{found}");
            return;
        }
    }
    panic!("nothing shows");
}

/// T-6: whatever the clock of Redis does, a token ends by one clock or the other.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jump_of_the_clock_of_redis_revives_nothing() {
    let jumps = crate::properties::token_clocks::jumps(false, 300, unwatched());
    println!("{}", jumps.await.unwrap());
}

/// The proof that the one above can fail: where all clocks go back, nobody knows better.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_clocks_going_back_is_noticed() {
    let found = crate::properties::token_clocks::jumps(true, 50, unwatched()).await.unwrap_err();
    assert!(found.contains("past their sealed end"), "{found}");
}
