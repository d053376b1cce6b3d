//! What `make prove` shows of temp tokens at full size, at a size for every run.

use crate::{
    properties::{tokens, unwatched},
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
