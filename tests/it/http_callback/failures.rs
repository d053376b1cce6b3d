//! Redis is slow, refuses, or is gone.

use std::time::{Duration, Instant};

use vestibule::{
    Vestibule,
    pending::Pendings,
    store::redis::{RedisConfig, Timeouts},
};

use super::host::{Door, PAGE, Question, app, config_of, namespace, question};
use crate::{
    properties::pkce::shared_keys,
    support::{logs, server::TestServer, stopwatch::Stopwatch},
};

const DEADLINE: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(20);

/// Persistent, since it is killed.
async fn start() -> (TestServer, Pendings<Question>) {
    let server = TestServer::builder()
        .cluster(false)
        .arg("--appendonly", "yes")
        .arg("--appendfsync", "always")
        .start()
        .await;
    let timeouts = Timeouts { overall: DEADLINE, ..Timeouts::default() };
    let config = RedisConfig::new(&server.url()).unwrap().with_timeouts(timeouts);
    let vestibule = Vestibule::connect(config, &shared_keys()).await.unwrap();
    (server, vestibule.pendings(config_of("a")))
}

/// P-8, P-11: without Redis a callback is a 500 that invites another try, in bounded time, logged
/// once with its cause; when Redis is back the pending is there, and is answered.
#[tokio::test]
async fn a_callback_without_redis_fails_and_consumes_nothing() {
    let logs = logs::capture();
    let (server, pendings) = start().await;
    let door = Door::over_tcp(app(&pendings)).await;
    let id = pendings.create(&namespace(), &question()).await.unwrap().id;
    let path = format!("/pending/{id}");

    server.kill9();
    for form in [None, Some("action=submit")] {
        let asked = Stopwatch::start();
        let heard = match form {
            None => door.get(&path).await,
            Some(form) => door.post(&path, form).await,
        };
        heard.is_refusal(500, "failed to load pending");
        assert_eq!(heard.headers["retry-after"], "1");
        assert!(asked.took() < DEADLINE + Duration::from_secs(2), "{asked:?}");
    }
    let text = logs.text();
    let told: Vec<_> =
        text.lines().filter(|line| line.contains("failed to load a pending")).collect();
    let told: Vec<_> = told.iter().filter(|line| line.contains(&id.to_string())).collect();
    assert_eq!(told.len(), 2, "once for each request");
    assert!(told.iter().all(|line| line.contains("ERROR") && line.contains("error=")), "{told:?}");

    server.restart().await;
    let back = Instant::now();
    let heard = loop {
        let heard = door.get(&path).await;
        if heard.status != 500 {
            break heard;
        }
        assert!(back.elapsed() < PATIENCE, "{heard:?}");
    };
    heard.is(200, PAGE);
    door.post(&path, "action=submit").await.is(200, "accepted");
    door.get(&path).await.is_refusal(404, "pending not found");
}

/// P-8: a Redis that hangs costs a callback its deadline, no more.
#[tokio::test]
async fn a_callback_on_a_redis_that_hangs_ends() {
    let (server, pendings) = start().await;
    let door = Door::over_tcp(app(&pendings)).await;
    let id = pendings.create(&namespace(), &question()).await.unwrap().id;
    let path = format!("/callback?id={id}");
    server.stop();
    let asked = Stopwatch::start();
    let heard = door.get(&path).await;
    heard.is_refusal(500, "failed to load pending");
    assert_eq!(heard.headers["retry-after"], "1");
    assert!(asked.took() < DEADLINE + Duration::from_secs(2), "{asked:?}");
    server.cont();
    let back = Instant::now();
    while door.get(&path).await.status == 500 {
        assert!(back.elapsed() < PATIENCE);
    }
    door.post(&path, "action=cancel").await.is(200, "cancelled");
}

/// P-8: what only an operator can mend, and a record that is damaged, invite no other try.
#[tokio::test]
async fn what_no_retry_mends_invites_none() {
    let (server, pendings) = start().await;
    let door = Door::Service(app(&pendings));
    let id = pendings.create(&namespace(), &question()).await.unwrap().id;
    let mut raw = server.raw().await;
    let key: Vec<String> =
        redis::cmd("KEYS").arg("vst:*:pending:*").query_async(&mut raw).await.unwrap();
    assert_eq!(key.len(), 1);
    let intact: Vec<u8> = redis::cmd("DUMP").arg(&key[0]).query_async(&mut raw).await.unwrap();
    for damaged in [&b"v9 what is this"[..], b"", &[0xff; 300]] {
        let mut set = redis::cmd("SET");
        set.arg(&key[0]).arg(damaged).arg("PX").arg(600_000);
        set.query_async::<()>(&mut raw).await.unwrap();
        let heard = door.get(&format!("/pending/{id}")).await;
        heard.is_refusal(500, "failed to load pending");
        assert!(!heard.headers.contains_key("retry-after"), "{damaged:?}");
    }
    let mut restore = redis::cmd("RESTORE");
    restore.arg(&key[0]).arg(600_000).arg(intact).arg("REPLACE");
    restore.query_async::<()>(&mut raw).await.unwrap();
    door.get(&format!("/pending/{id}")).await.is(200, PAGE);
}
