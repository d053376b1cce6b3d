//! What `make prove` shows of a rotation of the key ring, at a size for every run.

use crate::{
    properties::{
        rotation::{Rotation, under_load},
        unwatched,
    },
    support::server,
};

async fn found(how: Rotation) -> String {
    under_load(server::shared().await, how, 1, unwatched()).await.unwrap_err()
}

/// a ring is rotated under load: nothing fails to open, and after one sweep nothing is sealed by
/// the old key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_is_rotated_under_load() {
    let server = server::shared().await;
    println!("{}", under_load(server, Rotation::InOrder, 2, unwatched()).await.unwrap());
}

/// The proof that the one above can fail: the old key is taken away too early.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_retired_first_is_noticed() {
    let found = found(Rotation::RetiredFirst).await;
    assert!(found.contains("without a live token") && found.contains("by an old key"), "{found}");
}

/// Another: a new key that seals before all replicas have it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_seals_at_once_is_noticed() {
    let found = found(Rotation::SealsAtOnce).await;
    assert!(found.contains("failed opens"), "{found}");
}

/// Another: what was refreshed meanwhile is overwritten with what it was before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reseal_that_does_not_look_is_noticed() {
    let found = found(Rotation::WithoutLooking).await;
    assert!(found.contains("presented again"), "{found}");
}
