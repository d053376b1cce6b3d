//! The verb ran and its answer was lost: the same request id is told, and *unknown* stays unknown.

use std::time::Duration;

use tokio::time::timeout;
use vestibule::store::{
    Begin, Class, CommitOutcome, Put, Store, StoreError, Stored, Take, redis::RedisStore,
};

use super::{PATIENT, PREFIX, expect_class, patient_for, tell, until};
use crate::support::{proxy::Proxy, server::TestServer, stopwatch::undisturbed, stores, verbs};

const SHORT: Duration = Duration::from_millis(500);

/// whatever verb loses its reply, its caller gets the answer of the run that it did not see.
#[tokio::test]
async fn a_lost_reply_is_asked_for_again() {
    let server = TestServer::builder().start().await;
    let proxy = Proxy::start(server.port());
    proxy.announce_on(&server).await;
    for url in [proxy.url(), proxy.cluster_url()] {
        let store = patient_for(PATIENT, &url).await.unwrap();
        let (store, name): (&RedisStore, _) = (&store, verbs::name());
        // A reply that is lost shall not be NOSCRIPT.
        verbs::every_verb(store, async || {}).await;
        let put = proxy.without_reply(verbs::put(store, &name)).await;
        assert_eq!(put.unwrap(), Put::Stored);
        let take = store.take(&name, verbs::request());
        let taken = proxy.without_reply(take).await;
        assert_eq!(taken.unwrap(), verbs::body());

        let id = verbs::connection();
        let storing = verbs::store_credential(store, &id);
        let stored = proxy.without_reply(storing).await;
        assert_eq!(stored.unwrap(), Stored::Stored { grant: 1 }, "not a second grant");
        let claimed = proxy.without_reply(verbs::claim(store, id.shard())).await;
        assert_eq!(claimed.unwrap(), std::slice::from_ref(&id), "not hidden from its own claim");
        let begin = verbs::begin(store, &id, verbs::request());
        let begun = proxy.without_reply(begin).await;
        let Begin::Begun(begun) = begun.unwrap() else { panic!("held by itself") };
        assert_eq!((begun.fence, begun.undecided_since), (1, None), "no second attempt");
        let commit = verbs::commit(store, &id, &begun, verbs::request());
        let committed = proxy.without_reply(commit).await;
        assert_eq!(committed.unwrap(), CommitOutcome::AlreadyCommitted { ver: 2 });
    }
}

/// K-3, X-1: past the deadline it is *unknown*, not *absent*; the record is its request's.
#[tokio::test]
async fn an_unknown_take_is_never_absent() {
    let server = TestServer::builder().start().await;
    let proxy = Proxy::start(server.port());
    proxy.announce_on(&server).await;
    for url in [proxy.url(), proxy.cluster_url()] {
        let direct = stores::store(&server, PREFIX).await;
        let connects = async || patient_for(SHORT, &url).await;
        let (store, _) = undisturbed(SHORT / 4, Result::is_ok, connects).await;
        let store = store.unwrap();
        verbs::every_verb(&*direct, async || {}).await;
        let (name, request) = (verbs::live(&*direct).await, verbs::request());
        proxy.drop_reply(1.0, 1);
        let outcome = store.take(&name, request).await;
        expect_class(outcome, Class::Ambiguous, "retry with the same request id");
        proxy.pass();
        let other = direct.take(&name, verbs::request()).await.unwrap();
        assert!(matches!(other, Take::AlreadyTaken { .. }), "{other:?}");
        // A machine that is late itself may leave it no time for an answer.
        super::until("its own answer", async || {
            store.take(&name, request).await.is_ok_and(|taken| taken == verbs::body())
        })
        .await;
    }
}

/// What may have run is not said to have changed nothing, whatever Redis says to the retry.
#[tokio::test]
async fn a_refusal_after_a_lost_reply_is_still_unknown() {
    let server = TestServer::builder().start().await;
    let proxy = Proxy::start(server.port());
    proxy.announce_on(&server).await;
    let mut raw = server.raw().await;
    // A cluster client retries inside, and tells the refusal alone.
    for url in [proxy.url(), proxy.cluster_url()] {
        let store = patient_for(PATIENT, &url).await.unwrap();
        let (name, request) = (verbs::name(), verbs::request());
        let fill = async {
            let before = proxy.dropped_replies();
            proxy.drop_reply(1.0, 1);
            until("a lost reply", async || proxy.dropped_replies() > before).await;
            tell::<()>(&mut raw, "CONFIG SET maxmemory 1").await;
            proxy.pass();
        };
        let (put, ()) = tokio::join!(verbs::put_as(&*store, &name, request), fill);
        expect_class(put, Class::Ambiguous, "OOM");
        tell::<()>(&mut raw, "CONFIG SET maxmemory 0").await;
        assert_eq!(verbs::put_as(&*store, &name, request).await.unwrap(), Put::Stored);
        assert_eq!(verbs::put(&*store, &name).await.unwrap(), Put::Collision);
    }
}

/// Every future is dropped while its take is under way, some more than once; each value is
/// delivered to its own request.
#[tokio::test]
async fn a_dropped_take_is_not_lost() {
    let server = TestServer::builder().start().await;
    let proxy = Proxy::start(server.port());
    let direct = stores::store(&server, PREFIX).await;
    let store = patient_for(PATIENT, &proxy.url()).await.unwrap();
    proxy.delay(Duration::from_millis(5));
    let mut dropped = 0;
    for number in 0..200 {
        let (name, request) = (verbs::live(&*direct).await, verbs::request());
        let mut taken: Option<Result<Take, StoreError>> = None;
        for again in 0..2 {
            // All over the 5 ms that a reply takes.
            let patience = Duration::from_micros((number * 1237 + again * 613) % 5000);
            taken = timeout(patience, store.take(&name, request)).await.ok();
            dropped += u32::from(taken.is_none());
        }
        let taken = match taken {
            Some(taken) => taken,
            None => store.take(&name, request).await,
        };
        assert_eq!(taken.unwrap(), verbs::body());
    }
    println!("{dropped} dropped");
    assert!(dropped > 200);
}
