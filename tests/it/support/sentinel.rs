//! A primary, its replica, and one Sentinel that promotes the replica.

use std::{
    collections::HashMap,
    fs,
    time::{Duration, Instant},
};

use redis::aio::MultiplexedConnection;
use tempfile::TempDir;
use tokio::time::sleep;
use vestibule::inspect::Role;

use super::{
    process::{Guarded, server_program},
    server::{Builder, TestServer, free_port, users::login},
};

/// What the Sentinel calls the pair.
pub const SERVICE: &str = "mymaster";
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub struct SentinelSet {
    /// The Sentinel first: it shall not see the others die.
    _sentinel: Guarded,
    pub primary: TestServer,
    pub replica: TestServer,
    port: u16,
    _dir: TempDir,
}

impl SentinelSet {
    /// Returns when the replica is in step and the Sentinel knows it, so that a failover can
    /// succeed from then on. A primary that is silent for a second is replaced.
    pub async fn start() -> Self {
        let primary = data_server().start().await;
        let of = format!("127.0.0.1 {}", primary.port());
        let replica = data_server().arg("--replicaof", &of).start().await;
        // First, since the Sentinel asks only every ten seconds.
        until("the replica is in step", async || is_in_step(&replica).await).await;

        let dir = tempfile::Builder::new().prefix("vst-").tempdir().expect("a directory");
        let port = free_port();
        let config = dir.path().join("sentinel.conf");
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\n\
             sentinel monitor {SERVICE} {of} 1\n\
             sentinel down-after-milliseconds {SERVICE} 1000\n\
             sentinel failover-timeout {SERVICE} 3000\n",
            dir.path().display()
        );
        fs::write(&config, text).expect("a file");
        let args = [config.display().to_string(), "--sentinel".to_owned()];
        let sentinel = Guarded::spawn(server_program(), &args, dir.path());
        let set = Self { _sentinel: sentinel, primary, replica, port, _dir: dir };
        until("the Sentinel knows the replica", async || set.knows_the_replica().await).await;
        set
    }

    pub fn url(&self) -> String {
        let login = login(Role::Library);
        format!("redis-sentinel://{login}127.0.0.1:{}/{SERVICE}", self.port)
    }

    /// A connection to the Sentinel itself.
    pub async fn raw(&self) -> MultiplexedConnection {
        self.try_raw().await.expect("the Sentinel answers")
    }

    /// Where the Sentinel says that the primary is.
    pub async fn primary_port(&self) -> u16 {
        let (_, port): (String, u16) = redis::cmd("SENTINEL")
            .arg(&["GET-MASTER-ADDR-BY-NAME", SERVICE])
            .query_async(&mut self.raw().await)
            .await
            .expect("the Sentinel knows the service");
        port
    }

    /// Waits until another than `before` is the primary.
    pub async fn wait_for_failover(&self, before: u16) -> u16 {
        until("a failover", async || self.primary_port().await != before).await;
        self.primary_port().await
    }

    async fn try_raw(&self) -> redis::RedisResult<MultiplexedConnection> {
        let client = redis::Client::open(("127.0.0.1", self.port))?;
        client.get_multiplexed_async_connection().await
    }

    async fn knows_the_replica(&self) -> bool {
        let Ok(mut connection) = self.try_raw().await else { return false };
        let replicas: redis::RedisResult<Vec<HashMap<String, String>>> =
            redis::cmd("SENTINEL").arg(&["REPLICAS", SERVICE]).query_async(&mut connection).await;
        // Listed is not enough: only one that is known to be in step can be promoted.
        replicas.is_ok_and(|replicas| {
            replicas.len() == 1 && replicas[0].get("master-link-status").is_some_and(|s| s == "ok")
        })
    }
}

pub fn data_server() -> Builder {
    TestServer::builder().cluster(false).arg("--repl-diskless-sync-delay", "0")
}

pub async fn is_in_step(replica: &TestServer) -> bool {
    let mut info = redis::cmd("INFO");
    info.arg("replication");
    let info: String = info.query_async(&mut replica.raw().await).await.unwrap();
    info.contains("master_link_status:up")
}

pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        sleep(Duration::from_millis(20)).await;
    }
}
