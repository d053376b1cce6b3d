//! The server dies and comes back, perhaps as another.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::task::JoinSet;
use vestibule::{
    NamingKey,
    store::{Class, Put, Store, Take, redis::RedisStore},
};

use super::{PATIENT, PREFIX, patient_for, tell, until};
use crate::support::{
    proxy::Proxy,
    server::TestServer,
    stopwatch::undisturbed,
    stores::{self, naming_key},
    verbs,
};

/// What the callers of one store have seen.
#[derive(Debug, Default)]
struct Seen {
    stop: AtomicBool,
    done: AtomicU64,
    not_executed: AtomicU64,
    unknown: AtomicU64,
}

/// Puts and takes until it is stopped. An outage is over at last, so it never gives up.
async fn load(store: Arc<RedisStore>, seen: Arc<Seen>) {
    while !seen.stop.load(SeqCst) {
        let name = verbs::name();
        let outcome = match verbs::put(&*store, &name).await {
            Ok(Put::Collision) => panic!("a new name is taken"),
            Ok(Put::Stored) => store.take(&name, verbs::request()).await,
            Err(error) => Err(error),
        };
        let count = match outcome.as_ref().map_err(|error| error.class()) {
            Ok(Take::Taken(_)) => &seen.done,
            // The server lost it with all the rest.
            Ok(Take::Absent) => &seen.done,
            Ok(other) => panic!("{other:?}"),
            Err(Class::NotExecuted) => &seen.not_executed,
            Err(Class::Ambiguous) => &seen.unknown,
            Err(_) => panic!("{outcome:?}"),
        };
        count.fetch_add(1, SeqCst);
    }
}

/// A restart under load: errors are *not executed* or *unknown*, then all is well again; the
/// empty server is claimed anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_under_load_is_survived() {
    let server = TestServer::builder().cluster(false).start().await;
    let hasty = Duration::from_millis(200);
    let connects = async || patient_for(hasty, &server.url()).await;
    let store = undisturbed(hasty / 4, Result::is_ok, connects).await.0.unwrap();
    let seen = Arc::new(Seen::default());
    let mut callers = JoinSet::new();
    for _ in 0..8 {
        callers.spawn(load(store.clone(), seen.clone()));
    }
    until("some load", async || seen.done.load(SeqCst) > 100).await;
    server.kill9();
    until("errors", async || seen.not_executed.load(SeqCst) > 8).await;
    server.restart().await;
    let before = seen.done.load(SeqCst);
    until("recovery", async || seen.done.load(SeqCst) > before + 100).await;
    seen.stop.store(true, SeqCst);
    callers.join_all().await;
    println!("{seen:?}");

    let meta: Option<String> = tell(&mut server.raw().await, "GET vst:meta").await;
    assert!(meta.unwrap().contains(&naming_key().check().to_hex()));
}

/// A restart that is shorter than the deadline is not even noticed.
#[tokio::test]
async fn a_short_restart_is_outlasted() {
    let persistent = [("--appendonly", "yes"), ("--appendfsync", "always")];
    let mut builder = TestServer::builder().cluster(false);
    for (name, value) in persistent {
        builder = builder.arg(name, value);
    }
    let server = builder.start().await;
    let store = patient_for(PATIENT, &server.url()).await.unwrap();
    let name = verbs::live(&*store).await;
    server.kill9();
    let take = store.take(&name, verbs::request());
    let (taken, ()) = tokio::join!(take, server.restart());
    assert_eq!(taken.unwrap(), verbs::body());
}

/// What comes back is checked like a new server: another naming key, or another layout, and no
/// verb runs on it.
#[tokio::test]
async fn a_server_that_comes_back_as_another_is_refused() {
    let server = TestServer::builder().start().await;
    let proxy = Proxy::start(server.port());
    let store = patient_for(PATIENT, &proxy.url()).await.unwrap();
    let name = verbs::live(&*store).await;
    let mut raw = server.raw().await;
    let meta: String = tell(&mut raw, "GET vst:meta").await;
    let other = NamingKey::new([8; 32]).check();
    let foreign = format!("{}naming={other}", meta.split("naming=").next().unwrap());

    for (meta, says) in [(foreign, "use the key file that made it"), (String::new(), "layout")] {
        let mut set = redis::cmd("SET");
        set.arg("vst:meta").arg(&meta).query_async::<()>(&mut raw).await.unwrap();
        proxy.cut();
        // The verb that found the connection closed cannot know whether it ran, and for a moment
        // nobody asks the server again.
        until("refused", async || {
            let error = store.take(&name, verbs::request()).await.unwrap_err();
            assert!(matches!(error.class(), Class::Ambiguous | Class::Operator), "{error}");
            error.class() == Class::Operator && error.to_string().contains(says)
        })
        .await;
        let found: String = tell(&mut raw, "GET vst:meta").await;
        assert_eq!(found, meta, "left as it is");
    }
    let set = redis::cmd("SET").arg("vst:meta").arg(&meta).query_async::<()>(&mut raw).await;
    set.unwrap();
    let request = verbs::request();
    until("accepted", async || store.take(&name, request).await.is_ok_and(|t| t == verbs::body()))
        .await;
}

/// FLUSHALL takes the mark with it; a process that connects later makes it again.
#[tokio::test]
async fn a_flushed_server_is_claimed_anew() {
    let server = TestServer::builder().start().await;
    let store = stores::store(&server, PREFIX).await;
    let mut raw = server.raw().await;
    tell::<()>(&mut raw, "FLUSHALL").await;
    verbs::every_verb(&*store, async || {}).await;
    tell::<u64>(&mut raw, "CLIENT KILL TYPE normal SKIPME yes").await;
    verbs::every_verb(&*store, async || {}).await;
    assert_eq!(tell::<u64>(&mut raw, "EXISTS vst:meta").await, 1);
}
