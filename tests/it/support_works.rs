//! What the other tests stand on does what it says.

use std::{path::Path, time::Duration};

use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::support::{
    children,
    process::signal,
    proxy::Proxy,
    sentinel::SentinelSet,
    server::{self, with_every_right},
    stopwatch::Stopwatch,
    tls::TlsServer,
};

#[tokio::test]
async fn the_shared_server_serves_all_slots_and_refuses_foreign_ones() {
    let mut raw = server::shared().await.raw().await;
    let set = redis::cmd("SET").arg(&["{00}", "1"]).query_async::<()>(&mut raw).await;
    set.unwrap();
    let crossing = redis::cmd("EVAL")
        .arg("#!lua\nreturn redis.call('SET', '{ff}', '2')")
        .arg(&["1", "{00}"])
        .query_async::<()>(&mut raw)
        .await;
    assert!(crossing.unwrap_err().to_string().contains("same slot"));
}

#[tokio::test]
async fn a_server_restarts_with_what_it_had_written() {
    let server = server::TestServer::builder()
        .arg("--appendonly", "yes")
        .arg("--appendfsync", "always")
        .start()
        .await;
    let first = server.pid();
    let mut raw = server.raw().await;
    redis::cmd("SET").arg(&["k", "kept"]).query_async::<()>(&mut raw).await.unwrap();

    server.kill9();
    assert!(redis::cmd("PING").query_async::<()>(&mut raw).await.is_err());
    server.restart().await;
    assert_ne!(server.pid(), first);
    let mut raw = server.raw().await;
    let kept: String = redis::cmd("GET").arg("k").query_async(&mut raw).await.unwrap();
    assert_eq!(kept, "kept");

    server.stop();
    let ping = redis::cmd("PING");
    assert!(timeout(Duration::from_millis(50), ping.query_async::<()>(&mut raw)).await.is_err());
    server.cont();
    ping.query_async::<()>(&mut raw).await.unwrap();
}

#[tokio::test]
async fn a_server_dies_with_a_test_process_that_is_killed() {
    let mut owner = children::spawn("serve", &json!({})).await;
    let pid = owner.next().await.unwrap();
    let dir = owner.next().await.unwrap();
    let dir = Path::new(dir.as_str().unwrap());
    assert!(dir.exists());

    owner.kill9().await;
    let process = format!("/proc/{pid}");
    while cfg!(target_os = "linux") && Path::new(&process).exists() || dir.exists() {
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn children_start_together_and_talk() {
    let mut children = children::spawn_many(2, "echo", &json!({ "n": 1 })).await;
    children::start_together(&mut children).await;
    for child in &mut children {
        assert_eq!(child.next().await, Some(json!({ "n": 1 })));
        child.tell("hello").await;
        assert_eq!(child.next().await, Some(json!("hello")));
        child.tell("END").await;
        assert_eq!(child.rest().await, [] as [serde_json::Value; 0]);
        assert!(child.wait().await);
    }
}

#[tokio::test]
async fn a_dropped_reply_is_of_a_verb_that_ran() {
    let server = server::shared().await;
    let proxy = Proxy::start(server.port());
    let connect = || async {
        let client = redis::Client::open(with_every_right(&proxy.url())).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    };
    let mut set = redis::cmd("SET");
    set.arg(&["dropped", "1"]);

    let mut through = connect().await;
    proxy.drop_reply(1.0, 1);
    redis::cmd("PING").query_async::<()>(&mut through).await.unwrap();
    assert!(set.query_async::<()>(&mut through).await.is_err());
    assert_eq!(proxy.dropped_replies(), 1);
    let mut raw = server.raw().await;
    let ran: String = redis::cmd("GETDEL").arg("dropped").query_async(&mut raw).await.unwrap();
    assert_eq!(ran, "1");

    proxy.pass();
    let mut through = connect().await;
    set.query_async::<()>(&mut through).await.unwrap();
    proxy.reset(1.0);
    assert!(set.query_async::<()>(&mut through).await.is_err());
    assert_eq!((proxy.resets(), proxy.connections()), (1, 2));
}

#[tokio::test]
async fn a_black_hole_is_silent_and_a_rewritten_reply_is_changed() {
    let proxy = Proxy::start(server::shared().await.port());
    let client = redis::Client::open(with_every_right(&proxy.url())).unwrap();
    let connect = async || {
        let patience =
            redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(1)));
        client.get_multiplexed_async_connection_with_config(&patience).await.unwrap()
    };
    let echo = async |mut connection: redis::aio::MultiplexedConnection| {
        redis::cmd("ECHO").arg("one").query_async::<String>(&mut connection).await
    };

    let holed = connect().await;
    assert_eq!(echo(holed.clone()).await.unwrap(), "one");
    proxy.black_hole_existing();
    assert!(echo(holed.clone()).await.unwrap_err().is_timeout());
    proxy.rewrite(b"one", b"two");
    assert_eq!(echo(connect().await).await.unwrap(), "two");
    proxy.pass();
    assert!(echo(holed).await.unwrap_err().is_timeout());
    assert_eq!(proxy.open_connections(), 1, "the other one was dropped");

    let cut = connect().await;
    proxy.cut();
    assert!(!echo(cut).await.unwrap_err().is_timeout());
}

#[tokio::test]
async fn a_tls_server_proves_who_it_is() {
    let tls = TlsServer::start().await;
    let client = redis::Client::build_with_tls(
        tls.url(),
        redis::TlsCertificates {
            client_tls: None,
            root_cert: Some(tls.ca_pem().as_bytes().to_vec()),
        },
    );
    let patient = Some(Duration::from_secs(30));
    let config = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(patient)
        .set_response_timeout(patient);
    let connecting = client.unwrap();
    let connecting = connecting.get_multiplexed_async_connection_with_config(&config);
    let mut connection = connecting.await.unwrap();
    redis::cmd("PING").query_async::<()>(&mut connection).await.unwrap();
    let stranger = redis::Client::open(tls.url()).unwrap();
    assert!(stranger.get_multiplexed_async_connection().await.is_err());
}

#[tokio::test]
async fn a_sentinel_promotes_the_replica() {
    let set = SentinelSet::start().await;
    let before = set.primary_port().await;
    assert_eq!(before, set.primary.port());
    set.primary.kill9();
    assert_eq!(set.wait_for_failover(before).await, set.replica.port());
}

/// What a paused process is late is not counted; what it waits for is.
#[tokio::test]
async fn a_stopwatch_stands_still_in_a_pause() {
    let mut child = children::spawn("time", &json!({})).await;
    children::start_together(std::slice::from_mut(&mut child)).await;
    for paused in [Duration::ZERO, Duration::from_secs(1)] {
        let outside = Stopwatch::start();
        child.tell("500").await;
        assert_eq!(child.next().await, Some(json!("timing")));
        signal(child.pid(), "STOP");
        sleep(paused).await;
        signal(child.pid(), "CONT");
        let said = child.next().await.unwrap();
        let [took, late] =
            ["took", "late"].map(|name| Duration::from_millis(said[name].as_u64().unwrap()));
        // It sleeps for half a second, also while it is paused.
        let half = Duration::from_millis(500);
        assert!(took + late >= half.max(paused), "{said}");
        assert!(took < half + Duration::from_millis(200) + outside.late(), "{said}");
        if paused.is_zero() {
            assert!(took + outside.late() > half / 2, "{said}");
        } else {
            assert!(late > paused - half / 2, "{said}");
        }
    }
}
