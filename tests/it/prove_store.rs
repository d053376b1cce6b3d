//! What `make prove` shows of the store at full size, at a size for every run.

use crate::{
    agreement,
    properties::{
        key_names,
        malformed::{self, Decoder, Matcher},
        migration,
        overload::{self, Client},
        partial::{self, Recording, Scripts},
        records::{self, Reader},
        refusals,
        store::{self, Asked},
        unwatched,
    },
};

/// Nobody counts here what is allocated.
fn uncounted() -> usize {
    0
}

/// whatever a script is refused in the middle, nothing is left half done for good; and what would
/// leave half is found out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_script_is_left_half_done() {
    let size = 8;
    let recording = Recording::of(agreement::drive, size).await;
    let refuse = |scripts| partial::refuse(&recording, scripts, size, unwatched());
    println!("{}", refuse(Scripts::AsTheyAre).await.unwrap());
    for scripts in [Scripts::WithoutTypeChecks, Scripts::RecordFirst, Scripts::WithoutAsking] {
        let found = refuse(scripts).await.unwrap_err();
        assert!(found.contains("torn"), "{scripts:?}: {found}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_evicts_is_noticed() {
    println!("{}", store::eviction_is_noticed(Asked::Vestibule, 1, unwatched()).await.unwrap());
}

/// The proof that the one above can fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_ping_does_not_notice_evictions() {
    let found = store::eviction_is_noticed(Asked::Ping, 1, unwatched()).await.unwrap_err();
    assert!(found.contains("not noticed"), "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_refusal_is_in_its_class() {
    println!("{}", refusals::are_classed(1, unwatched()).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_redis_only_ends_things() {
    println!("{}", refusals::full_redis_only_ends(3, unwatched()).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_move_are_followed() {
    println!("{}", migration::is_followed(true, 100, unwatched()).await.unwrap());
}

/// The proof that the one above can fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_follows_no_slot_is_found_out() {
    let found = migration::is_followed(false, 20, unwatched()).await.unwrap_err();
    assert!(found.contains("never served"), "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overload_is_outlasted() {
    println!("{}", overload::is_outlasted(Client::Vestibule, 1, unwatched()).await.unwrap());
}

/// The proof that the one above can fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_connection_waits_past_the_deadline() {
    let found = overload::is_outlasted(Client::Plain, 1, unwatched()).await.unwrap_err();
    assert!(found.contains("past their deadline"), "{found}");
}

#[test]
fn hostile_bodies_texts_and_paths_are_refused() {
    let (count, nobody) = (20_000, &unwatched());
    for figure in [
        malformed::decoding(Decoder::Vestibule, count, uncounted, nobody),
        malformed::texts(count, uncounted, nobody),
        malformed::paths(Matcher::Vestibule, count, uncounted, nobody),
        key_names::of_all_ids(count, uncounted, nobody),
    ] {
        println!("{}", figure.unwrap());
    }
}

/// The proof that the one above can fail.
#[test]
fn a_lax_matcher_is_found_out() {
    let found = malformed::paths(Matcher::Lax, 20_000, uncounted, &unwatched()).unwrap_err();
    assert!(found.contains("not the route's"), "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_records_are_told() {
    println!("{}", records::are_refused(Reader::Vestibule, 6_000, unwatched()).await.unwrap());
}

/// The proof that the one above can fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_trusts_is_found_out() {
    let found = records::are_refused(Reader::Trusting, 200, unwatched()).await.unwrap_err();
    assert!(found.contains("other errors"), "{found}");
}
