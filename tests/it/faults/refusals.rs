//! What Redis refuses before it runs it: retried within the deadline, or not at all.

use std::{fs, sync::Arc, time::Duration};

use redis::aio::MultiplexedConnection;
use tokio::time::sleep;
use vestibule::store::{
    Begin, Class, CommitOutcome, FailOutcome, Put, Renewal, Store, Stored, redis::RedisStore,
};

use super::{
    AT_ONCE, MARGIN, PATIENT, PREFIX, expect_class, hears, patient_for, refused, tcp_clients, tell,
    until, wait_until_refused,
};
use crate::support::{
    server::TestServer,
    stopwatch::Stopwatch,
    stores::store,
    verbs::{self, LEASE},
};

const SHORT: Duration = Duration::from_millis(500);

/// A take during each outage: it must get its record as soon as the outage is over, and past the
/// deadline it must be said to have changed nothing.
struct Outage {
    _server: TestServer,
    raw: MultiplexedConnection,
    store: Arc<RedisStore>,
    hasty: Arc<RedisStore>,
}

impl Outage {
    async fn on(server: TestServer) -> Self {
        let store = store(&server, PREFIX).await;
        let hasty = patient_for(SHORT, &server.url()).await.unwrap();
        Self { raw: server.raw().await, _server: server, store, hasty }
    }

    async fn test(&mut self, code: &str, begin: &[&str], end: &[&str]) {
        let name = verbs::live(&*self.store).await;
        for words in begin {
            tell::<redis::Value>(&mut self.raw, words).await;
        }

        let asked = async || self.hasty.take(&name, verbs::request()).await;
        let (outcome, watch) = hears(SHORT, code, asked).await;
        let error = expect_class(outcome, Class::NotExecuted, code);
        assert!(error.to_string().contains("nothing was changed"), "{error}");
        assert!(watch.took() < SHORT + MARGIN, "{code}: {watch:?}");

        tell::<()>(&mut self.raw, "CONFIG RESETSTAT").await;
        let take = self.store.take(&name, verbs::request());
        let mend = async {
            wait_until_refused(&mut self.raw, code).await;
            for words in end {
                tell::<redis::Value>(&mut self.raw, words).await;
            }
        };
        let (taken, ()) = tokio::join!(take, mend);
        assert_eq!(taken.unwrap(), verbs::body(), "{code}");
        verbs::every_verb(&*self.store, async || {}).await;
    }
}

/// READONLY: the connection leads to a demoted primary and is left; the next one is another.
#[tokio::test]
async fn a_demoted_primary_is_left() {
    let server = TestServer::builder().cluster(false).start().await;
    let mut outage = Outage::on(server).await;
    let before = tcp_clients(&mut outage.raw).await;
    assert_eq!(before.len(), 2);
    outage.test("READONLY", &["REPLICAOF 127.0.0.1 1"], &["REPLICAOF NO ONE"]).await;
    let after = tcp_clients(&mut outage.raw).await;
    assert!(before.is_disjoint(&after), "{before:?} {after:?}");
}

/// MASTERDOWN: a replica that has lost its primary, and does not even serve reads, is left.
#[tokio::test]
async fn a_replica_without_its_primary_is_left() {
    let stale = ("--replica-serve-stale-data", "no");
    let server = TestServer::builder().cluster(false).arg(stale.0, stale.1).start().await;
    let store = store(&server, PREFIX).await;
    let hasty = patient_for(SHORT, &server.url()).await.unwrap();
    let id = verbs::due(&*store).await;
    let mut raw = server.raw().await;
    let before = tcp_clients(&mut raw).await;
    tell::<()>(&mut raw, "REPLICAOF 127.0.0.1 1").await;
    let (read, _) = hears(SHORT, "", async || hasty.read_credential(&id).await).await;
    expect_class(read, Class::NotExecuted, "nothing was changed");

    tell::<()>(&mut raw, "CONFIG RESETSTAT").await;
    let mend = async {
        wait_until_refused(&mut raw, "MASTERDOWN").await;
        tell::<()>(&mut raw, "REPLICAOF NO ONE").await;
    };
    let (row, ()) = tokio::join!(store.read_credential(&id), mend);
    assert_eq!(row.unwrap().unwrap().secret, verbs::SECRET);
    let after = tcp_clients(&mut raw).await;
    assert!(before.is_disjoint(&after), "{before:?} {after:?}");
}

/// NOREPLICAS and CLUSTERDOWN: the server is the right one and not ready; the connection is kept.
#[tokio::test]
async fn a_server_that_is_not_ready_is_waited_for() {
    let mut outage = Outage::on(TestServer::builder().start().await).await;
    let before = tcp_clients(&mut outage.raw).await;
    let (begin, end) = ("CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0");
    outage.test("NOREPLICAS", &[begin], &[end]).await;
    // One slot stays: a primary without any counts as a minority, and is held back for 5 s.
    let (begin, end) = ("CLUSTER DELSLOTSRANGE 0 16382", "CLUSTER ADDSLOTSRANGE 0 16382");
    outage.test("CLUSTERDOWN", &[begin], &[end]).await;
    assert_eq!(tcp_clients(&mut outage.raw).await, before);
}

/// LOADING: a server that reads its data set back is waited for.
#[tokio::test]
async fn a_server_that_is_loading_is_waited_for() {
    let server = TestServer::builder()
        .arg("--loading-process-events-interval-bytes", "1024")
        .arg("--rdbcompression", "no")
        .start()
        .await;
    let store = patient_for(PATIENT, &server.url()).await.unwrap();
    let hasty = patient_for(SHORT, &server.url()).await.unwrap();
    let mut raw = server.raw().await;
    let name = verbs::live(&*store).await;
    for number in 0..300 {
        tell::<()>(&mut raw, &format!("SET {{00}}{number} {}", "x".repeat(1000))).await;
    }

    tell::<()>(&mut raw, "CONFIG SET key-load-delay 10000").await;
    let mut loader = server.raw().await;
    let loading = tokio::spawn(async move { tell::<()>(&mut loader, "DEBUG RELOAD").await });
    until("loading", async || {
        let ping: redis::RedisResult<()> = redis::cmd("DBSIZE").query_async(&mut raw).await;
        ping.is_err_and(|error| error.code() == Some("LOADING"))
    })
    .await;
    let asked = async || hasty.take(&name, verbs::request()).await;
    let (taken, _) = hears(SHORT, "LOADING", asked).await;
    expect_class(taken, Class::NotExecuted, "LOADING");
    assert_eq!(store.take(&name, verbs::request()).await.unwrap(), verbs::body());
    loading.await.unwrap();
}

/// BUSY: a runaway script is outlasted; one that stays is reported.
#[tokio::test]
async fn a_runaway_script_is_outlasted() {
    let server = TestServer::builder().arg("--busy-reply-threshold", "10").start().await;
    let store = store(&server, PREFIX).await;
    let hasty = patient_for(SHORT, &server.url()).await.unwrap();
    let name = verbs::live(&*store).await;
    let mut raw = server.raw().await;
    let mut runaway = server.raw().await;
    let running = tokio::spawn(async move {
        let mut endless = redis::cmd("EVAL");
        endless.arg("while true do end").arg(0);
        endless.query_async::<()>(&mut runaway).await
    });
    until("busy", async || {
        let ping: redis::RedisResult<()> = redis::cmd("PING").query_async(&mut raw).await;
        ping.is_err_and(|error| error.code() == Some("BUSY"))
    })
    .await;

    let asked = async || hasty.take(&name, verbs::request()).await;
    let (taken, watch) = hears(SHORT, "BUSY", asked).await;
    expect_class(taken, Class::NotExecuted, "BUSY");
    assert!(watch.took() < SHORT + MARGIN, "{watch:?}");
    let kill = async {
        sleep(Duration::from_millis(200)).await; // so long is the outage
        tell::<()>(&mut raw, "SCRIPT KILL").await;
    };
    let (taken, ()) = tokio::join!(store.take(&name, verbs::request()), kill);
    assert_eq!(taken.unwrap(), verbs::body());
    assert!(running.await.unwrap().is_err(), "it was killed");
}

/// NOSCRIPT: the scripts are loaded again, however often they are flushed.
#[tokio::test]
async fn flushed_scripts_are_loaded_again() {
    let server = TestServer::builder().start().await;
    for url in [server.url(), server.cluster_url()] {
        let store = patient_for(Duration::from_secs(5), &url).await.unwrap();
        let mut raw = server.raw().await;
        verbs::every_verb(&*store, async || tell::<()>(&mut raw, "SCRIPT FLUSH").await).await;

        let mut names = Vec::new();
        for _ in 0..100 {
            names.push(verbs::live(&*store).await);
        }
        let takes = async {
            for name in &names {
                assert_eq!(store.take(name, verbs::request()).await.unwrap(), verbs::body());
            }
        };
        let mut flushes = 0;
        tokio::select! {
            () = takes => {}
            () = async {
                loop {
                    tell::<()>(&mut raw, "SCRIPT FLUSH").await;
                    flushes += 1;
                    sleep(Duration::from_millis(1)).await;
                }
            } => {}
        }
        assert!(flushes > 0);
    }
}

/// OOM: what is under way is finished, nothing new starts, and a full Redis is asked once.
#[tokio::test]
async fn a_full_redis_finishes_what_is_under_way_and_starts_nothing() {
    let server = TestServer::builder().start().await;
    let store = patient_for(PATIENT, &server.url()).await.unwrap();
    let store: &dyn Store = &*store;
    let mut raw = server.raw().await;
    let (name, other) = (verbs::live(store).await, verbs::live(store).await);
    let holder = verbs::request();
    let (committing, commit) = verbs::begun(store, holder).await;
    let (failing, fail) = verbs::begun(store, verbs::request()).await;
    let due = verbs::due(store).await;
    tell::<()>(&mut raw, "CONFIG SET maxmemory 1").await;
    tell::<()>(&mut raw, "CONFIG RESETSTAT").await;
    let keys: u64 = tell(&mut raw, "DBSIZE").await;

    let (watch, new) = (Stopwatch::start(), verbs::name());
    expect_class(verbs::put(store, &new).await, Class::Resource, "free memory");
    expect_class(verbs::begin(store, &due, verbs::request()).await, Class::Resource, "OOM");
    expect_class(verbs::claim(store, due.shard()).await, Class::Resource, "OOM");
    assert!(watch.took() < AT_ONCE, "{watch:?}");
    assert_eq!(refused(&mut raw, "OOM").await, 3, "each verb asks once");
    assert_eq!(tell::<u64>(&mut raw, "DBSIZE").await, keys);
    let row = store.read_credential(&due).await.unwrap().unwrap();
    assert_eq!((row.lease_ends_at_ms, row.attempts), (None, 0));

    assert_eq!(store.take(&name, verbs::request()).await.unwrap(), verbs::body());
    // A sign-in whose code is spent ends too.
    let another = verbs::connection();
    let stored = verbs::store_credential(store, &another).await.unwrap();
    assert!(matches!(stored, Stored::Stored { grant: 1 }), "{stored:?}");
    assert_eq!(store.renew(&committing, holder, LEASE).await.unwrap(), Renewal::Renewed);
    let committed = verbs::commit(store, &committing, &commit, verbs::request()).await.unwrap();
    assert_eq!(committed, CommitOutcome::Committed { ver: 2, recovered: false });
    let failed = verbs::fail(store, &failing, &fail).await.unwrap();
    assert_eq!(failed, FailOutcome::Recorded { attempts: 1 });
    store.give_back(&due, verbs::request(), Duration::ZERO).await.unwrap();

    // A process that starts or reconnects now finishes what is under way, too.
    tell::<()>(&mut raw, "SCRIPT FLUSH").await;
    let late = patient_for(PATIENT, &server.url()).await.unwrap();
    assert_eq!(late.take(&other, verbs::request()).await.unwrap(), verbs::body());

    tell::<()>(&mut raw, "CONFIG SET maxmemory 0").await;
    assert_eq!(verbs::put(store, &new).await.unwrap(), Put::Stored);
    let begun = verbs::begin(store, &due, verbs::request()).await.unwrap();
    assert!(matches!(begun, Begin::Begun(_)), "{begun:?}");
    verbs::every_verb(store, async || {}).await;
}

/// MISCONF: a Redis that cannot persist is not hammered, and serves again once it can.
#[tokio::test]
async fn a_redis_that_cannot_persist_is_asked_once() {
    let server = TestServer::builder().arg("--save", "3600 1").start().await;
    let store = patient_for(PATIENT, &server.url()).await.unwrap();
    let mut raw = server.raw().await;
    let name = verbs::live(&*store).await;
    let saved = async |raw: &mut MultiplexedConnection, status: &str| {
        tell::<()>(raw, "BGSAVE").await;
        until("a save", async || {
            let info: String = tell(raw, "INFO persistence").await;
            info.contains("rdb_bgsave_in_progress:0")
                && info.contains(&format!("rdb_last_bgsave_status:{status}"))
        })
        .await;
    };
    // The snapshot cannot replace a directory.
    let obstacle = server.dir().join("dump.rdb");
    fs::create_dir(&obstacle).unwrap();
    saved(&mut raw, "err").await;
    tell::<()>(&mut raw, "CONFIG RESETSTAT").await;

    let watch = Stopwatch::start();
    let put = verbs::put(&*store, &verbs::name()).await;
    expect_class(put, Class::Resource, "repair persistence");
    expect_class(store.take(&name, verbs::request()).await, Class::Resource, "MISCONF");
    assert!(watch.took() < AT_ONCE, "{watch:?}");
    assert_eq!(refused(&mut raw, "MISCONF").await, 2, "each verb asks once");

    fs::remove_dir(&obstacle).unwrap();
    saved(&mut raw, "ok").await;
    assert_eq!(store.take(&name, verbs::request()).await.unwrap(), verbs::body());
}
