//! Logins and rights: only an operator can help, and is told how.

use redis::aio::MultiplexedConnection;
use vestibule::store::{Class, Put, RecordName, Store};

use super::{AT_ONCE, PATIENT, PREFIX, expect_class, patient_for, tell, until};
use crate::support::{server::TestServer, stopwatch::Stopwatch, stores, verbs};

const PASSWORD: &str = "canary-password";

/// What `user` with all rights but `without` may do.
async fn grant(raw: &mut MultiplexedConnection, without: &str) {
    let rule = format!("ACL SETUSER narrow reset on >{PASSWORD} ~* &* +@all {without}");
    tell::<()>(raw, rule.trim()).await;
}

/// A record's bytes and whether it keeps its life.
async fn record(raw: &mut MultiplexedConnection, name: &RecordName) -> (Vec<u8>, bool) {
    let key = format!("{PREFIX}:{{{}}}:pkce:{}", name.shard, name.digest);
    let bytes = tell(raw, &format!("GET {key}")).await;
    (bytes, tell::<u64>(raw, &format!("PTTL {key}")).await > 61_000)
}

/// NOPERM, and its like inside a script, which is a plain ERR: the record is untouched, and once
/// the right is there the same connection serves.
#[tokio::test]
async fn a_missing_right_is_named_and_changes_nothing() {
    let server = TestServer::builder().start().await;
    let direct = stores::store(&server, PREFIX).await;
    let mut raw = server.raw().await;
    grant(&mut raw, "").await;
    let url = server.url_as("narrow", PASSWORD);
    let store = patient_for(PATIENT, &url).await.unwrap();
    for (without, says) in [
        ("-evalsha", "NOPERM"),
        ("-get", "user executing the script"),
        ("-pttl", "user executing the script"),
        ("-time", "user executing the script"),
        ("-setrange", "user executing the script"),
        ("resetkeys ~vst:meta", "NOPERM"),
    ] {
        let name = verbs::live(&*direct).await;
        let before = record(&mut raw, &name).await;
        assert!(before.1);
        grant(&mut raw, without).await;
        let watch = Stopwatch::start();
        let error = expect_class(
            store.take(&name, verbs::request()).await,
            Class::Operator,
            "give this user the commands, keys and channels that the library uses",
        );
        assert!(error.to_string().contains(says), "{without}: {error}");
        assert!(!format!("{error} {error:?}").contains(PASSWORD), "{error}");
        assert!(watch.took() < AT_ONCE, "{watch:?}");
        assert_eq!(record(&mut raw, &name).await, before, "{without}");

        grant(&mut raw, "").await;
        assert_eq!(store.take(&name, verbs::request()).await.unwrap(), verbs::body(), "{without}");
    }
}

/// A right that a script misses half-way leaves nothing that its own request id cannot finish.
#[tokio::test]
async fn a_script_without_a_right_is_finished_by_the_same_request() {
    let server = TestServer::builder().start().await;
    let direct = stores::store(&server, PREFIX).await;
    let mut raw = server.raw().await;
    grant(&mut raw, "").await;
    let store = patient_for(PATIENT, &server.url_as("narrow", PASSWORD)).await.unwrap();
    for without in ["-get", "-pttl", "-time", "-setrange", "-pexpire"] {
        let (name, request) = (verbs::live(&*direct).await, verbs::request());
        grant(&mut raw, without).await;
        expect_class(store.take(&name, request).await, Class::Operator, "user executing");
        grant(&mut raw, "").await;
        assert_eq!(store.take(&name, request).await.unwrap(), verbs::body(), "{without}");
    }
}

/// A put is a plain command: without its right it stores nothing.
#[tokio::test]
async fn a_put_without_its_right_stores_nothing() {
    let server = TestServer::builder().start().await;
    let mut raw = server.raw().await;
    grant(&mut raw, "").await;
    let store = patient_for(PATIENT, &server.url_as("narrow", PASSWORD)).await.unwrap();
    grant(&mut raw, "-set").await;
    let name = verbs::name();
    expect_class(verbs::put(&*store, &name).await, Class::Operator, "NOPERM");
    grant(&mut raw, "").await;
    assert_eq!(verbs::put(&*store, &name).await.unwrap(), Put::Stored);
}

/// NOAUTH and WRONGPASS, at the start and in the middle of a process's life.
#[tokio::test]
async fn a_wrong_login_is_refused_at_once() {
    let server = TestServer::builder().password(PASSWORD).start().await;
    let says = "check the user and password in the Redis URL";
    for url in [
        server.url(),
        server.cluster_url(),
        server.url_as("", "wrong-canary"),
        server.url_as("nobody", PASSWORD),
        server.url_as("nobody", PASSWORD).replace("redis://", "redis-cluster://"),
    ] {
        let watch = Stopwatch::start();
        let error = expect_class(patient_for(PATIENT, &url).await, Class::Operator, says);
        assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
        assert!(watch.took() < AT_ONCE, "{url}: {watch:?}");
    }

    let store = patient_for(PATIENT, &server.url_as("", PASSWORD)).await.unwrap();
    let name = verbs::live(&*store).await;
    let mut raw = server.raw().await;
    tell::<()>(&mut raw, "CONFIG SET requirepass changed").await;
    tell::<u64>(&mut raw, "CLIENT KILL TYPE normal SKIPME yes").await;
    let request = verbs::request();
    let first = store.take(&name, request).await.unwrap_err();
    assert!(matches!(first.class(), Class::Ambiguous | Class::Operator), "{first}");
    expect_class(store.take(&name, request).await, Class::Operator, says);
    tell::<()>(&mut raw, &format!("CONFIG SET requirepass {PASSWORD}")).await;
    until("accepted", async || store.take(&name, request).await.is_ok_and(|t| t == verbs::body()))
        .await;
}
