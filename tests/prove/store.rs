//! What is proved of the store itself: durability, refusals, overload, and bad input.

use crate::{
    ALLOCATED, agreement,
    properties::{
        Verdict, key_names,
        malformed::{self, Decoder, Matcher},
        migration, overload,
        partial::{self, Scripts},
        records::{self, Reader},
        refusals, seal,
        store::{self, Asked},
    },
    report::Report,
};

pub async fn prove(report: &mut Report) {
    report
        .property("store", "acknowledged is durable (AOF always)", 100_000, |n, p| {
            store::survives_a_restart(true, n, p)
        })
        .await;
    report
        .guard("store", "acknowledged is durable", "no AOF", 1_000, |n, p| {
            store::survives_a_restart(false, n, p)
        })
        .await;
    report.property("store", "a black hole is left in time", 50, store::black_hole).await;
    report
        .property("store", "a Redis that evicts is noticed", 10, |n, p| {
            store::eviction_is_noticed(Asked::Vestibule, n, p)
        })
        .await;
    report
        .guard("store", "a Redis that evicts", "a plain PING", 1, |n, p| {
            store::eviction_is_noticed(Asked::Ping, n, p)
        })
        .await;
    refusing(report).await;
    half_done(report).await;
    malformed(report).await;
}

async fn refusing(report: &mut Report) {
    report.property("store", "each refusal in its class", 5, refusals::are_classed).await;
    report
        .property("store", "a full Redis only ends things", 100, refusals::full_redis_only_ends)
        .await;
    report
        .property("store", "slots move under load", 1_000, |n, p| {
            migration::is_followed(true, n, p)
        })
        .await;
    report
        .guard("store", "slots move", "a client that knows one node", 50, |n, p| {
            migration::is_followed(false, n, p)
        })
        .await;
    report
        .property("store", "an overload is outlasted", 2, |n, p| {
            overload::is_outlasted(overload::Client::Vestibule, n, p)
        })
        .await;
    report
        .guard("store", "an overload", "a plain connection", 1, |n, p| {
            overload::is_outlasted(overload::Client::Plain, n, p)
        })
        .await;
}

async fn half_done(report: &mut Report) {
    let drive = agreement::drive;
    report
        .property("store", "no script is left half done", 30, |n, p| {
            partial::every_call_fails(drive, Scripts::AsTheyAre, n, p)
        })
        .await;
    for (without, scripts) in [
        ("reads that come after the writes", Scripts::WithoutTypeChecks),
        ("the record last", Scripts::RecordFirst),
        ("asking for rights first", Scripts::WithoutAsking),
    ] {
        report
            .guard("store", "no script is left half done", without, 8, |n, p| {
                partial::every_call_fails(drive, scripts, n, p)
            })
            .await;
    }
}

async fn malformed(report: &mut Report) {
    const MILLION: u64 = 1_000_000;
    report
        .property("seal", "hostile bodies do not open", MILLION, |n, p| {
            alone(move || seal::hostile_bodies(n, peak, &p))
        })
        .await;
    report
        .property("store", "hostile bodies do not decode", MILLION, |n, p| {
            alone(move || malformed::decoding(Decoder::Vestibule, n, peak, &p))
        })
        .await;
    report
        .guard("store", "hostile bodies", "a decoder that trusts", 10_000, |n, p| {
            alone(move || malformed::decoding(Decoder::Trusting, n, peak, &p))
        })
        .await;
    report
        .property("store", "hostile texts are refused", MILLION, |n, p| {
            alone(move || malformed::texts(n, peak, &p))
        })
        .await;
    report
        .property("store", "hostile paths are refused", MILLION, |n, p| {
            alone(move || malformed::paths(Matcher::Vestibule, n, peak, &p))
        })
        .await;
    report
        .guard("store", "hostile paths", "decoding first", 10_000, |n, p| {
            alone(move || malformed::paths(Matcher::Lax, n, peak, &p))
        })
        .await;
    report
        .property("store", "every key is in the table", MILLION, |n, p| {
            alone(move || key_names::of_all_ids(n, peak, &p))
        })
        .await;
    report
        .property("store", "damaged records are told", MILLION / 4, |n, p| {
            records::are_refused(Reader::Vestibule, n, p)
        })
        .await;
    report
        .guard("store", "damaged records", "a reader that trusts", 1_000, |n, p| {
            records::are_refused(Reader::Trusting, n, p)
        })
        .await;
}

/// Off the runtime's threads.
async fn alone(target: impl FnOnce() -> Verdict + Send + 'static) -> Verdict {
    tokio::task::spawn_blocking(target).await.unwrap()
}

/// The most that was allocated since this was last asked, beyond what there was then.
fn peak() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    static BEFORE: AtomicUsize = AtomicUsize::new(0);
    let grown = ALLOCATED.peak_usage().saturating_sub(BEFORE.load(Relaxed));
    ALLOCATED.reset_peak_usage();
    BEFORE.store(ALLOCATED.current_usage(), Relaxed);
    grown
}
