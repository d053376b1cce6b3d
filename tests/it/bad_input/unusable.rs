//! Servers, URLs and keys that cannot be used.

use std::time::Duration;

use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpListener};
use vestibule::{
    NamingKey,
    store::{
        Class, StoreError,
        redis::{RedisConfig, RedisStore, Timeouts},
    },
};

use super::{CANARY, message};
use crate::support::{
    children, logs,
    proxy::Proxy,
    server::{self, TestServer},
    stopwatch::Stopwatch,
    stores::{fresh_prefix, naming_key, store, store_at},
    verbs,
};

const OVERALL: Duration = Duration::from_millis(500);
/// What an operation may take past its deadline, on a machine that is busy with other tests.
const MARGIN: Duration = Duration::from_millis(400);

/// What is told at once is told long before this deadline.
const PATIENT: Duration = Duration::from_secs(60);
const AT_ONCE: Duration = Duration::from_secs(5);

async fn hasty(url: &str) -> Result<RedisStore, StoreError> {
    within(OVERALL, url).await
}

async fn patient(url: &str) -> Result<RedisStore, StoreError> {
    within(PATIENT, url).await
}

async fn within(overall: Duration, url: &str) -> Result<RedisStore, StoreError> {
    let timeouts = Timeouts { overall, ..Timeouts::default() };
    let config = RedisConfig::new(url)?.with_prefix(fresh_prefix())?.with_timeouts(timeouts);
    RedisStore::connect(config, &naming_key()).await
}

/// A wrong URL is explained and not repeated.
#[test]
fn a_wrong_url_is_explained() {
    for url in [
        "",
        " ",
        "redis",
        "redis://",
        "redis:///0",
        "http://127.0.0.1",
        &format!("redis://:{CANARY}@host:port"),
        &format!("redis://:{CANARY}@host/database"),
        &format!("redis://:{CANARY}@[::1"),
        &format!("redis-cluster://:{CANARY}@a:1,b:x"),
        &format!("redis-cluster://:{CANARY}@a:1/0"),
        &format!("redis-sentinel://:{CANARY}@a:1"),
        &format!("redis-sentinel://:{CANARY}@a:1/service/x"),
        &format!("rediss://:{CANARY}@host#insecure"),
        &format!("redis+unix:///{CANARY}?db=x"),
        &format!("{CANARY}\0"),
    ] {
        let error = RedisConfig::new(url).unwrap_err();
        assert_eq!(error.class(), Class::Operator);
        assert!(message(&error).contains("expected redis://"), "{url}: {error}");
    }
    let config = RedisConfig::new(&format!("redis://user:{CANARY}@host")).unwrap();
    assert!(!format!("{config:?}").contains(CANARY), "{config:?}");
    for prefix in ["", "a:b", "{00}", "A", "é", "a\0", &"a".repeat(33)] {
        let error = config.clone().with_prefix(prefix).unwrap_err();
        assert!(message(&error).contains("a key prefix is 1 to 32"), "{error}");
    }
}

/// Nobody listens, or nobody has that name: not executed, within the deadline.
#[tokio::test]
async fn a_redis_that_is_down_is_said_to_be_in_time() {
    let logs = logs::capture();
    let (_nobody, port) = server::dead_port();
    for (scheme, path) in [("redis", ""), ("redis-cluster", ""), ("redis-sentinel", "/service")] {
        for host in [format!("127.0.0.1:{port}"), "nobody.invalid:6379".to_owned()] {
            let url = format!("{scheme}://user:{CANARY}@{host}{path}");
            let watch = Stopwatch::start();
            let error = hasty(&url).await.unwrap_err();
            assert!(watch.took() < OVERALL + MARGIN, "{url}: {watch:?}");
            assert_eq!(error.class(), Class::NotExecuted, "{url}: {error}");
            assert!(message(&error).contains("nothing was changed, try again later"), "{error}");
        }
    }
    assert!(!logs.contain(CANARY));
}

/// TLS without a crypto provider: rustls would panic, and nothing would come of any retry.
#[tokio::test]
async fn a_process_without_a_crypto_provider_is_told_to_install_one() {
    let (_nobody, port) = server::dead_port();
    for (scheme, path) in [("rediss", ""), ("rediss-cluster", ""), ("rediss-sentinel", "/service")]
    {
        for installs in [false, true] {
            let url = format!("{scheme}://user:{CANARY}@127.0.0.1:{port}{path}");
            let args = json!({ "url": url, "installs": installs });
            let mut child = children::spawn("connect", &args).await;
            children::start_together(std::slice::from_mut(&mut child)).await;
            let told = child.next().await.expect("an error");
            let (class, error) = (&told["class"], told["error"].as_str().unwrap());
            assert!(!error.contains(CANARY), "{error}");
            if installs {
                assert_eq!(class, "NotExecuted", "{error}");
            } else {
                assert_eq!(class, "Operator", "{error}");
                assert!(error.contains("no rustls crypto provider; install one"), "{error}");
            }
        }
    }
}

/// Something else listens: not executed, or an operator's matter; never a panic, never a hang.
#[tokio::test]
async fn a_server_that_is_no_redis_is_refused_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let answers = ["HTTP/1.1 400 Bad Request\r\n\r\n", "*99999999\r\n$-7\r\n", "+OK\r\n", "\0"];
        for answer in answers.iter().cycle() {
            let (mut client, _) = listener.accept().await.unwrap();
            let _ = client.write_all(answer.repeat(20).as_bytes()).await; // it may hang up first
        }
    });
    for scheme in ["redis", "redis-cluster"] {
        let watch = Stopwatch::start();
        let error = hasty(&format!("{scheme}://:{CANARY}@127.0.0.1:{port}")).await.unwrap_err();
        assert!(watch.took() < OVERALL + MARGIN, "{watch:?}");
        assert!(matches!(error.class(), Class::NotExecuted | Class::Operator), "{error}");
        message(&error);
    }
}

/// A Redis before 7.0 is refused at once: its scripts would not be checked.
#[tokio::test]
async fn an_old_redis_is_refused() {
    let server = TestServer::builder().start().await;
    let proxy = Proxy::start(server.port());
    proxy.announce_on(&server).await;
    let version = server_version(&server).await;
    let old = format!("6.{}", "0".repeat(version.len() - 2));
    proxy.rewrite(format!("\r\n{version}\r\n").as_bytes(), format!("\r\n{old}\r\n").as_bytes());
    for url in [proxy.url(), proxy.cluster_url()] {
        let watch = Stopwatch::start();
        let error = patient(&url).await.unwrap_err();
        assert_eq!(error.class(), Class::Operator, "{error}");
        let said = message(&error);
        assert!(said.contains(&old) && said.contains("use Redis 7.0 or newer"), "{said}");
        assert!(watch.took() < AT_ONCE, "{watch:?}");
    }
}

async fn server_version(server: &TestServer) -> String {
    let hello: std::collections::HashMap<String, redis::Value> =
        redis::cmd("HELLO").query_async(&mut server.raw().await).await.unwrap();
    redis::from_redis_value_ref(&hello["version"]).unwrap()
}

/// Any policy but `noeviction` would evict live records first: refused at once, at the start and
/// on every later connection.
#[tokio::test]
async fn a_redis_that_evicts_is_refused() {
    let server = TestServer::builder().start().await;
    let mut raw = server.raw().await;
    let running = store(&server, "vst").await;
    for policy in [
        "volatile-lru",
        "volatile-lfu",
        "volatile-random",
        "volatile-ttl",
        "allkeys-lru",
        "allkeys-lfu",
        "allkeys-random",
    ] {
        let mut set = redis::cmd("CONFIG");
        set.arg(&["SET", "maxmemory-policy", policy]);
        set.query_async::<()>(&mut raw).await.unwrap();
        for url in [server.url(), server.cluster_url()] {
            let watch = Stopwatch::start();
            let error = patient(&url).await.unwrap_err();
            assert_eq!(error.class(), Class::Operator, "{error}");
            let said = message(&error);
            assert!(said.contains(policy) && said.contains("set maxmemory-policy noeviction"));
            assert!(watch.took() < AT_ONCE, "{watch:?}");
        }
    }
    let mut kill = redis::cmd("CLIENT");
    kill.arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"]);
    kill.query_async::<u64>(&mut raw).await.unwrap();
    let error = verbs::put(&*running, &verbs::name()).await.unwrap_err();
    assert!(message(&error).contains("set maxmemory-policy noeviction"), "{error}");
}

/// Another naming key would find every record absent: refused at once, and nothing is changed. A
/// damaged mark is refused as well.
#[tokio::test]
async fn a_wrong_naming_key_is_refused() {
    let (server, prefix) = (server::shared().await, fresh_prefix());
    store(server, &prefix).await;
    let mut raw = server.raw().await;
    let meta = format!("{prefix}:meta");
    let mark: Vec<u8> = redis::cmd("GET").arg(&meta).query_async(&mut raw).await.unwrap();

    let other = NamingKey::new([8; 32]);
    for url in [server.url(), server.cluster_url()] {
        let timeouts = Timeouts { overall: PATIENT, ..Timeouts::default() };
        let config = RedisConfig::new(&url).unwrap().with_timeouts(timeouts);
        let with = |prefix: &str| config.clone().with_prefix(prefix).unwrap();
        let watch = Stopwatch::start();
        let error = RedisStore::connect(with(&prefix), &other).await.unwrap_err();
        assert!(watch.took() < AT_ONCE, "{watch:?}");
        assert_eq!(error.class(), Class::Operator, "{error}");
        assert!(message(&error).contains("use the key file that made it"), "{error}");
        RedisStore::connect(with(&fresh_prefix()), &other).await.unwrap();
    }
    let now: Vec<u8> = redis::cmd("GET").arg(&meta).query_async(&mut raw).await.unwrap();
    assert_eq!(now, mark);

    for damaged in [&b""[..], b"\xff\xfe", b"v2 shards=512", &mark[..mark.len() - 1]] {
        let set = redis::cmd("SET").arg(&meta).arg(damaged).query_async::<()>(&mut raw).await;
        set.unwrap();
        let error = store_at(&server.url(), &prefix).await.unwrap_err();
        assert_eq!(error.class(), Class::Operator, "{error}");
        let now: Vec<u8> = redis::cmd("GET").arg(&meta).query_async(&mut raw).await.unwrap();
        assert_eq!(now, damaged);
    }
}

/// The password is in no message and no log line, whatever fails.
#[tokio::test]
async fn a_password_is_never_repeated() {
    let logs = logs::capture();
    let server = TestServer::builder().password("right").start().await;
    for user in ["", "default", "nobody"] {
        let error = patient(&server.url_as(user, CANARY)).await.unwrap_err();
        assert_eq!(error.class(), Class::Operator, "{error}");
        assert!(message(&error).contains("check the user and password"), "{error}");
    }
    let cluster = server.url_as("", CANARY).replace("redis://", "redis-cluster://");
    message(&patient(&cluster).await.unwrap_err());
    assert!(!logs.contain(CANARY));
}
