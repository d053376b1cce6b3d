//! What `make prove` shows of header credentials at full size, at a size for every run.

use crate::{
    properties::{
        headers::{self, endings, endings::Ender},
        unwatched,
    },
    support::server,
};

/// H-6: 64 racers in four processes, one flow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_flow_for_all_who_ask() {
    let server = server::shared().await;
    println!("{}", headers::one_flow(server, false, 30, unwatched()).await.unwrap());
}

/// The proof that the one above can fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_get_and_a_set_have_several_flows() {
    let found = headers::one_flow(server::shared().await, true, 30, unwatched()).await;
    let found = found.unwrap_err();
    assert!(found.contains("with several flows"), "{found}");
}

/// H-4: 64 racers in four processes, one id, and no mixture of what they store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_credential_of_all_who_store() {
    let server = server::shared().await;
    println!("{}", headers::one_credential(server, false, 20, unwatched()).await.unwrap());
}

/// The proof that the one above can fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_for_each_part_mixes_two() {
    let found = headers::one_credential(server::shared().await, true, 30, unwatched()).await;
    let found = found.unwrap_err();
    assert!(found.contains("with several ids") && found.contains("mixtures of two"), "{found}");
}

/// H-15: 64 racers in four processes, one claimer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_claimer_of_every_flow() {
    let server = server::shared().await;
    println!("{}", headers::one_claimer(server, false, 30, unwatched()).await.unwrap());
}

/// The proof that the one above can fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_get_and_a_set_have_several_claimers() {
    let found = headers::one_claimer(server::shared().await, true, 30, unwatched()).await;
    let found = found.unwrap_err();
    assert!(found.contains("with several"), "{found}");
}

/// H-15: SIGKILL of who checks what was submitted, by the clock on the wall.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_claimer_is_succeeded() {
    let server = server::shared().await;
    println!("{}", endings::dead_claimers(server, false, 1, unwatched()).await.unwrap());
}

/// The proof that the one above can fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_for_ever_blocks_all_others() {
    let found = endings::dead_claimers(server::shared().await, true, 1, unwatched()).await;
    let found = found.unwrap_err();
    assert!(found.contains("not claimed a second after"), "{found}");
}

/// H-8, H-9: a submission races a revocation, or access that is withdrawn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_a_binding_ends_what_is_submitted() {
    let (server, ender) = (server::shared().await, Ender::Vestibule);
    println!("{}", endings::ended_meanwhile(server, ender, 400, unwatched()).await.unwrap());
}

/// The proof that the one above can fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_that_is_removed_alone_comes_back() {
    let (server, ender) = (server::shared().await, Ender::CredentialAlone);
    let found = endings::ended_meanwhile(server, ender, 200, unwatched()).await.unwrap_err();
    assert!(found.contains("there though revoked"), "{found}");
}

///
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_reply_loses_nothing() {
    println!("{}", endings::lost_replies(false, 25, unwatched()).await.unwrap());
}

/// The proof that the one above can fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asking_again_without_a_receipt_does_things_twice() {
    let found = endings::lost_replies(true, 100, unwatched()).await.unwrap_err();
    assert!(found.contains("done twice"), "{found}");
}
