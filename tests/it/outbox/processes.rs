//! Three processes that deliver, and what happens if some of them are killed.

use crate::{properties::deliveries::delivered, support::server};

/// without kills each event is told exactly once, by whichever process.
#[tokio::test(flavor = "multi_thread")]
async fn three_processes_tell_each_event_once() {
    let told = delivered(server::shared().await, 600, 0).await;
    assert_eq!((told.missing, told.twice, told.out_of_order), (0, 0, 0), "{told:?}");
}

/// with two of three killed between telling and acknowledging, each event is told at least
/// once, in order; and only what was in the hands of the dead is told twice.
#[tokio::test(flavor = "multi_thread")]
async fn killed_processes_lose_no_event() {
    let told = delivered(server::shared().await, 600, 2).await;
    assert_eq!((told.missing, told.out_of_order), (0, 0), "{told:?}");
    assert!((1..=2 * 8).contains(&told.twice), "{told:?}");
}
