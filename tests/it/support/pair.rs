//! A primary and its replica, and the link between them, which can be cut.

use super::{
    proxy::Proxy,
    sentinel::{data_server, is_in_step, until},
    server::TestServer,
};

#[derive(Debug)]
pub struct Pair {
    pub primary: TestServer,
    pub replica: TestServer,
    /// What passes on to the replica. Stopping the replica instead would lose nothing: the kernel
    /// keeps what was sent.
    link: Option<Proxy>,
}

impl Pair {
    /// Returns when the replica is in step.
    pub async fn start() -> Self {
        let primary = data_server().start().await;
        let link = Proxy::start(primary.port());
        let of = format!("127.0.0.1 {}", link.port());
        let replica = data_server().arg("--replicaof", &of).start().await;
        let pair = Self { primary, replica, link: Some(link) };
        pair.in_step().await;
        pair
    }

    /// From now on the replica gets nothing. Returns when the primary knows that nobody listens.
    pub async fn cut(&mut self) {
        self.link = None;
        let mut raw = self.primary.raw().await;
        until("the primary has no replica", async || {
            let mut info = redis::cmd("INFO");
            let info: String = info.arg("replication").query_async(&mut raw).await.unwrap();
            info.contains("connected_slaves:0")
        })
        .await;
    }

    /// Another link; returns when the replica is in step again.
    pub async fn mend(&self) {
        self.replica_of("127.0.0.1", &self.primary.port().to_string()).await;
        self.in_step().await;
    }

    /// The replica says so a moment before the primary counts it.
    pub async fn in_step(&self) {
        until("the replica is in step", async || is_in_step(&self.replica).await).await;
        let mut raw = self.primary.raw().await;
        until("the primary counts it", async || {
            let mut both = redis::pipe();
            both.cmd("SET").arg(&["in-step", "1", "PX", "1"]).ignore();
            both.cmd("WAIT").arg(&["1", "100"]);
            let (counted,): (u32,) = both.query_async(&mut raw).await.expect("it answers");
            counted >= 1
        })
        .await;
    }

    /// The replica is the primary from now on.
    pub async fn promote(&self) {
        self.replica_of("NO", "ONE").await;
    }

    async fn replica_of(&self, host: &str, port: &str) {
        let mut command = redis::cmd("REPLICAOF");
        command.arg(host).arg(port);
        command.query_async::<()>(&mut self.replica.raw().await).await.expect("it obeys");
    }
}
