//! One URL chooses how Redis is reached; the verbs are the same on every way.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use redis::{FromRedisValue, aio::MultiplexedConnection};
use tokio::task::JoinSet;
use vestibule::store::{
    Class, RecordName, Store, StoreError, Take,
    redis::{RedisConfig, RedisStore, Timeouts},
};

use crate::support::{
    sentinel::{SERVICE, SentinelSet},
    server::{TestServer, with_every_right},
    stopwatch::{Stopwatch, undisturbed},
    stores::{naming_key, store_at},
    tls::{TlsServer, unrelated_ca_pem},
    verbs,
};

/// A password with what a URL must quote.
const PASSWORD: &str = "p@ss:w/rd%";
const QUOTED: &str = "p%40ss%3Aw%2Frd%25";
const PREFIX: &str = "vst";
/// From the Sentinel's decision to the first success: the longest pause between two connects, and
/// a connect.
const RECOVERY: Duration = Duration::from_millis(1500);

/// Every verb on one server, on one of its databases, and on a Cluster.
#[tokio::test]
async fn every_verb_on_a_server_and_on_a_cluster() {
    let (single, cluster) = (TestServer::builder().cluster(false), TestServer::builder());
    let (single, cluster) = (single.start().await, cluster.start().await);
    let database = format!("{}/3", single.url());
    for url in [single.url(), database, cluster.url(), cluster.cluster_url()] {
        let store = store_at(&url, PREFIX).await.unwrap();
        verbs::every_verb(&*store, async || {}).await;
    }
    let mut raw = single.raw().await;
    let keyspace: String = tell(&mut raw, "INFO keyspace").await;
    assert!(keyspace.contains("db0:") && keyspace.contains("db3:"), "{keyspace}");
}

/// A Cluster client learns the nodes from whichever it is given, and passes by those that are gone.
#[tokio::test]
async fn a_cluster_is_found_through_any_node_that_lives() {
    let server = TestServer::builder().start().await;
    let url = server.cluster_url().replace('@', "@127.0.0.1:1,");
    let store = store_at(&url, PREFIX).await.unwrap();
    verbs::every_verb(&*store, async || {}).await;
}

/// User and password come from the URL, quoted, on every way.
#[tokio::test]
async fn a_login_is_in_the_url() {
    let set = SentinelSet::start().await;
    let cluster = TestServer::builder().start().await;
    for server in [&set.primary, &set.replica, &cluster] {
        let rule = format!("ACL SETUSER app on >{PASSWORD} ~{PREFIX}:* &{PREFIX}:* +@all");
        tell::<()>(&mut server.raw().await, &rule).await;
    }
    for url in [set.url(), set.primary.url(), cluster.url(), cluster.cluster_url()] {
        let url = with_every_right(&url);
        let login = url.replace("://", &format!("://app:{QUOTED}@"));
        let store = store_at(&login, PREFIX).await.unwrap();
        verbs::every_verb(&*store, async || {}).await;
        let wrong = url.replace("://", "://app:wrong@");
        let error = store_at(&wrong, PREFIX).await.unwrap_err();
        assert_eq!(error.class(), Class::Operator, "{url}: {error}");
        assert!(error.to_string().contains("check the user and password"), "{error}");
    }
}

/// The primary is killed: no record that had reached the replica is lost, and the store serves as
/// soon as the Sentinel has decided.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_primary_is_replaced() {
    let set = SentinelSet::start().await;
    let store = store_at(&set.url(), PREFIX).await.unwrap();
    let mut names = Vec::new();
    for _ in 0..20 {
        names.push(verbs::live(&*store).await);
    }
    wait_for_replica(&set).await;
    set.primary.kill9();

    let mut takes = JoinSet::new();
    for name in names {
        takes.spawn(take(store.clone(), name));
    }
    let watch = Stopwatch::start();
    assert_eq!(set.wait_for_failover(set.primary.port()).await, set.replica.port());
    let decided = watch.took();
    let errors: u32 = takes.join_all().await.into_iter().sum();
    let recovered = watch.took();
    println!("decided after {decided:?}, recovered after {recovered:?}, {errors} errors before");
    assert!(recovered < decided + RECOVERY, "{decided:?}, {recovered:?}");
    verbs::every_verb(&*store, async || {}).await;
}

/// A planned failover: the demoted primary is left, and no caller sees an error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planned_failover_is_followed() {
    let set = SentinelSet::start().await;
    let store = store_at(&set.url(), PREFIX).await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for _ in 0..8 {
        let (store, over) = (store.clone(), over.clone());
        callers.spawn(async move {
            let mut slowest = Duration::ZERO;
            while !over.load(SeqCst) {
                let started = Instant::now();
                let name = verbs::live(&*store).await;
                match store.take(&name, verbs::request()).await {
                    // What had not reached the replica is undone.
                    Ok(Take::Taken(_) | Take::Absent) => {}
                    other => panic!("{other:?}"),
                }
                slowest = slowest.max(started.elapsed());
            }
            slowest
        });
    }
    tell::<()>(&mut set.raw().await, &format!("SENTINEL FAILOVER {SERVICE}")).await;
    assert_eq!(set.wait_for_failover(set.primary.port()).await, set.replica.port());
    // Until the load runs on the new one.
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut raw = set.replica.raw().await;
    let mut clients = String::new();
    while !clients.contains("cmd=evalsha") {
        assert!(Instant::now() < deadline, "{clients}");
        clients = tell(&mut raw, "CLIENT LIST TYPE normal").await;
    }
    over.store(true, SeqCst);
    let slowest = callers.join_all().await.into_iter().max().unwrap();
    println!("slowest caller: {slowest:?}");
}

/// Past the deadline without a primary: not executed, and the store recovers by itself later.
#[tokio::test]
async fn without_a_primary_nothing_is_executed() {
    let set = SentinelSet::start().await;
    let timeouts = Timeouts { overall: Duration::from_millis(300), ..Timeouts::default() };
    let config = RedisConfig::new(&set.url()).unwrap().with_timeouts(timeouts);
    let connects = async || RedisStore::connect(config.clone(), &naming_key()).await;
    let (store, _) = undisturbed(timeouts.overall / 4, Result::is_ok, connects).await;
    let store = store.unwrap();
    let name = verbs::live(&*store_at(&set.url(), PREFIX).await.unwrap()).await;
    wait_for_replica(&set).await;
    set.primary.kill9();
    let request = verbs::request();
    let first = store.take(&name, request).await.unwrap_err();
    assert!(matches!(first.class(), Class::NotExecuted | Class::Ambiguous), "{first}");
    let second = store.take(&name, request).await.unwrap_err();
    assert_eq!(second.class(), Class::NotExecuted, "{second}");

    set.wait_for_failover(set.primary.port()).await;
    let watch = Stopwatch::start();
    let taken = loop {
        match store.take(&name, request).await {
            Ok(taken) => break taken,
            Err(error) => assert!(watch.took() < RECOVERY, "{error}"),
        }
    };
    assert_eq!(taken, verbs::body());
}

/// A service that the Sentinel does not know, and a Sentinel that is not there.
#[tokio::test]
async fn a_sentinel_that_does_not_help_is_an_error_in_time() {
    let set = SentinelSet::start().await;
    let unknown = set.url().replace(SERVICE, "unknown");
    let nobody = format!("redis-sentinel://127.0.0.1:1/{SERVICE}");
    for url in [unknown, nobody] {
        let (watch, overall) = (Stopwatch::start(), Duration::from_millis(500));
        let timeouts = Timeouts { overall, ..Timeouts::default() };
        let config = RedisConfig::new(&url).unwrap().with_timeouts(timeouts);
        let error = RedisStore::connect(config, &naming_key()).await.unwrap_err();
        assert_eq!(error.class(), Class::NotExecuted, "{error}");
        assert!(watch.took() < Duration::from_secs(1), "{url}: {watch:?}");
    }
}

/// TLS: a server of a private CA is trusted with that CA only.
#[tokio::test]
async fn a_tls_server_is_trusted_by_its_own_ca() {
    let tls = TlsServer::start().await;
    let timeouts = Timeouts { overall: Duration::from_secs(60), ..Timeouts::default() };
    let with = async |ca: Option<&str>| {
        let config = RedisConfig::new(&tls.url()).unwrap().with_timeouts(timeouts);
        let config = ca.map_or(config.clone(), |pem| config.with_ca_pem(pem));
        RedisStore::connect(config, &naming_key()).await
    };
    verbs::every_verb(&with(Some(tls.ca_pem())).await.unwrap(), async || {}).await;

    let watch = Stopwatch::start();
    let unrelated = unrelated_ca_pem();
    for ca in [None, Some(unrelated.as_str())] {
        let error = with(ca).await.unwrap_err();
        assert_eq!(error.class(), Class::Operator, "{error}");
        assert!(error.to_string().contains("the CA given for it"), "{error}");
    }
    let error = with(Some("not a certificate")).await.unwrap_err();
    assert!(matches!(error, StoreError::Config(_) | StoreError::Operator { .. }), "{error}");
    assert!(watch.took() < Duration::from_secs(10), "at once: {watch:?}");
}

/// The open port's protocol is told from the other's, in time and without a hang.
#[tokio::test]
async fn tls_and_plain_do_not_mix() {
    let (tls, plain) = (TlsServer::start().await, TestServer::builder().start().await);
    for url in [
        tls.url().replace("rediss://", "redis://"),
        plain.url().replace("redis://", "rediss://"),
        plain.cluster_url().replace("redis-cluster://", "rediss-cluster://"),
    ] {
        let (watch, overall) = (Stopwatch::start(), Duration::from_millis(700));
        let timeouts = Timeouts { overall, ..Timeouts::default() };
        let config = RedisConfig::new(&url).unwrap().with_timeouts(timeouts);
        let error = RedisStore::connect(config, &naming_key()).await.unwrap_err();
        assert!(matches!(error.class(), Class::NotExecuted | Class::Operator), "{error}");
        assert!(watch.took() < Duration::from_secs(2), "{url}: {watch:?}");
    }
}

async fn wait_for_replica(set: &SentinelSet) {
    // The last write was on another connection; this one's offset is behind it.
    let mut raw = set.primary.raw().await;
    tell::<()>(&mut raw, "SET barrier 1").await;
    assert_eq!(tell::<u64>(&mut raw, "WAIT 1 5000").await, 1);
}

/// Takes one, with the same request id until it is decided; how many errors that took.
async fn take(store: Arc<RedisStore>, name: RecordName) -> u32 {
    let (request, mut errors) = (verbs::request(), 0);
    loop {
        match store.take(&name, request).await {
            Ok(taken) => {
                assert_eq!(taken, verbs::body());
                return errors;
            }
            Err(error) => {
                assert!(matches!(error.class(), Class::NotExecuted | Class::Ambiguous), "{error}");
                errors += 1;
            }
        }
    }
}

async fn tell<T: FromRedisValue>(raw: &mut MultiplexedConnection, words: &str) -> T {
    let mut words = words.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    for word in words {
        command.arg(word);
    }
    command.query_async(raw).await.unwrap()
}
