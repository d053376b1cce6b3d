//! Connections that go silent, mix up their replies, or cannot be opened.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;
use vestibule::store::{Class, Store};

use super::{MARGIN, PATIENT, expect_class, patient_for};
use crate::support::{proxy::Proxy, server::TestServer, stopwatch::Stopwatch, verbs};

/// The bound of the design: the response timeout of 1 s, a pause, and a connect.
const FIRST_SUCCESS: Duration = Duration::from_millis(1500);

/// Half-open connections: 32 callers at once succeed within the bound, over few new connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_are_left_by_all_callers() {
    let server = TestServer::builder().start().await;
    let proxy = Proxy::start(server.port());
    proxy.announce_on(&server).await;
    for url in [proxy.url(), proxy.cluster_url()] {
        let store = patient_for(PATIENT, &url).await.unwrap();
        let mut names = Vec::new();
        for _ in 0..32 {
            names.push(verbs::live(&*store).await);
        }
        proxy.black_hole_existing();
        let (before, watch) = (proxy.connections(), Arc::new(Stopwatch::start()));
        let mut callers = JoinSet::new();
        for name in names {
            let (store, watch) = (store.clone(), watch.clone());
            callers.spawn(async move {
                let taken = store.take(&name, verbs::request()).await;
                (taken.map(|taken| taken == verbs::body()), watch.took())
            });
        }
        let (mut first, mut last) = (PATIENT, Duration::ZERO);
        for (taken, after) in callers.join_all().await {
            assert!(taken.unwrap());
            (first, last) = (first.min(after), last.max(after));
        }
        let opened = proxy.connections() - before;
        println!("{url}: first {first:?}, last {last:?}, {opened} new connections");
        assert!(first < FIRST_SUCCESS, "{first:?}");
        assert!(opened <= 4, "{opened} new connections");
    }
}

/// A connection that hands out another request's reply is found out by the echo, and left; the
/// verb is told its own answer on the next one.
#[tokio::test]
async fn a_connection_that_mixes_up_replies_is_left() {
    let server = TestServer::builder().start().await;
    let proxy = Proxy::start(server.port());
    let store = patient_for(PATIENT, &proxy.url()).await.unwrap();
    let name = verbs::live(&*store).await;
    let before = proxy.connections();

    let (mine, other) = (verbs::request(), verbs::request());
    proxy.rewrite(mine.as_bytes(), other.as_bytes());
    let mend = async {
        super::until("a second connection", async || proxy.connections() > before).await;
        proxy.pass();
    };
    let (taken, ()) = tokio::join!(store.take(&name, mine), mend);
    assert_eq!(taken.unwrap(), verbs::body());
}

/// A server that accepts connections and never answers: not executed, within the deadline.
#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let server = TestServer::builder().start().await;
    let proxy = Proxy::start(server.port());
    proxy.black_hole();
    for url in [proxy.url(), proxy.cluster_url()] {
        for overall in [Duration::from_millis(300), Duration::from_millis(2500)] {
            let watch = Stopwatch::start();
            let outcome = patient_for(overall, &url).await;
            expect_class(outcome, Class::NotExecuted, "nothing was changed");
            assert!(watch.took() < overall + MARGIN, "{url}: {watch:?}");
        }
    }
}

/// Nothing of a verb was sent if the greeting before it was lost: never *unknown*.
#[tokio::test]
async fn a_lost_greeting_is_no_lost_verb() {
    let server = TestServer::builder().start().await;
    let proxy = Proxy::start(server.port());
    proxy.drop_reply(1.0, 1);
    let short = Duration::from_millis(500);
    let connects = async || patient_for(short, &proxy.url()).await;
    let (outcome, _) = super::hears(short, "nothing was changed", connects).await;
    expect_class(outcome, Class::NotExecuted, "nothing was changed");
    assert!(proxy.dropped_replies() > 0);
}
