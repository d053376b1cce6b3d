//! A private Redis for one test or one test process.

use std::{
    collections::hash_map::RandomState,
    fs,
    hash::{BuildHasher, Hasher},
    net::TcpListener,
    path::Path,
    sync::Mutex,
    time::{Duration, Instant},
};

use redis::aio::MultiplexedConnection;
use tempfile::TempDir;
use tokio::{sync::OnceCell, time::sleep};
use vestibule::{
    inspect::{Rights, Role},
    store::redis::Prefix,
};

use super::process::{Guarded, server_program};

/// How long a server may take to answer, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);

/// The server that the tests of this process share: they differ by key prefix.
pub async fn shared() -> &'static TestServer {
    static SHARED: OnceCell<TestServer> = OnceCell::const_new();
    SHARED.get_or_init(|| TestServer::builder().start()).await
}

/// A running server; it dies when this is dropped, or with the test process.
#[derive(Debug)]
pub struct TestServer {
    /// Before `dir`, since fields are dropped in this order.
    process: Mutex<Option<Guarded>>,
    dir: TempDir,
    ports: Ports,
    wanted: Builder,
}

/// What kind of server is wanted.
#[derive(Debug, Clone)]
pub struct Builder {
    cluster: bool,
    tls: bool,
    narrow: bool,
    password: Option<String>,
    env: Vec<String>,
    args: Vec<String>,
}

impl TestServer {
    /// Cluster mode with all slots on the one node, unless changed: there a script that reaches
    /// into another slot fails at once, where a standalone server would let it pass.
    pub fn builder() -> Builder {
        Builder {
            cluster: true,
            tls: false,
            narrow: std::env::var_os("VESTIBULE_TEST_ACL").is_some(),
            password: None,
            env: Vec::new(),
            args: Vec::new(),
        }
    }

    pub fn port(&self) -> u16 {
        self.ports.service
    }

    /// For a client that takes it as a single server, which also suits a one-node Cluster.
    pub fn url(&self) -> String {
        match self.narrow() {
            true => self.url_as(self.user(), NARROW),
            false => format!("redis://127.0.0.1:{}", self.port()),
        }
    }

    /// Who comes by [`url`](Self::url).
    pub fn user(&self) -> &'static str {
        if self.narrow() { NARROW } else { "default" }
    }

    pub fn url_as(&self, user: &str, password: &str) -> String {
        format!("redis://{user}:{password}@127.0.0.1:{}", self.port())
    }

    pub fn cluster_url(&self) -> String {
        self.url().replacen("redis://", "redis-cluster://", 1)
    }

    fn narrow(&self) -> bool {
        self.wanted.narrow && self.wanted.password.is_none() && !self.wanted.tls
    }

    async fn add_narrow_user(&self) {
        if !self.narrow() {
            return;
        }
        // Tests have a prefix each.
        let any = Prefix::new("any").expect("a prefix");
        let rules = Rights::of(Role::Library, &any).rules().replace("any:", "*:");
        let mut line = redis::cmd("ACL");
        line.arg("SETUSER").arg(NARROW).arg("on").arg(format!(">{NARROW}"));
        line.arg(rules.split(' ').collect::<Vec<_>>());
        let mut raw = self.raw().await;
        line.query_async::<()>(&mut raw).await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// A connection of the test's own, with every right and no library in between. It comes
    /// through a Unix socket, so it works whatever a test does to the TCP port.
    pub async fn raw(&self) -> MultiplexedConnection {
        self.try_raw().await.unwrap_or_else(|error| panic!("{error}\n{}", self.log()))
    }

    /// SIGKILL, as a power cut: nothing is flushed.
    pub fn kill9(&self) {
        if let Some(process) = self.process.lock().unwrap().take() {
            process.kill9();
        }
    }

    /// Starts it again with the same port, directory and arguments, after a `kill9` if it runs.
    /// In cluster mode that takes two seconds: Redis holds a rebooted primary back for so long.
    pub async fn restart(&self) {
        self.kill9();
        let deadline = Instant::now() + PATIENCE;
        while !self.launch().await {
            assert!(Instant::now() < deadline, "the port stays taken:\n{}", self.log());
            sleep(Duration::from_millis(50)).await;
        }
        self.wait_for_slots().await;
        self.add_narrow_user().await;
    }

    /// SIGSTOP: connections stay open and nobody answers.
    pub fn stop(&self) {
        self.with_process(|process| process.signal("STOP"));
    }

    pub fn cont(&self) {
        self.with_process(|process| process.signal("CONT"));
    }

    pub fn pid(&self) -> u32 {
        self.with_process(Guarded::pid)
    }

    /// All that the server has logged, over restarts too.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Where its files are: the append-only file, the snapshot, the log.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn with_process<T>(&self, act: impl FnOnce(&Guarded) -> T) -> T {
        act(self.process.lock().unwrap().as_ref().expect("the server runs"))
    }

    async fn try_raw(&self) -> redis::RedisResult<MultiplexedConnection> {
        let login = self.wanted.password.as_ref().map(|p| format!("&pass={p}")).unwrap_or_default();
        let socket = self.dir.path().join("socket");
        let client = redis::Client::open(format!("redis+unix://{}?db=0{login}", socket.display()))?;
        let config = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(5)))
            .set_response_timeout(Some(Duration::from_secs(30)));
        client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// False if somebody else got the port first.
    async fn launch(&self) -> bool {
        let already = self.log().len();
        let args = self.wanted.command_line(self.ports, self.dir.path());
        let process = Guarded::spawn(Path::new("env"), &args, self.dir.path());
        *self.process.lock().unwrap() = Some(process);

        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(mut connection) = self.try_raw().await
                && redis::cmd("PING").query_async::<String>(&mut connection).await.is_ok()
            {
                return true;
            }
            let log = self.log();
            if log[already..].contains("Address already in use") {
                self.kill9();
                return false;
            }
            assert!(Instant::now() < deadline, "the server does not come up:\n{log}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Makes the replica of [`replica_of_nobody`] the primary of all slots.
    async fn take_all_slots(&self) {
        if !self.wanted.cluster {
            return;
        }
        let mut connection = self.raw().await;
        let mut cluster = async |words: &[&str]| {
            let said: redis::RedisResult<String> =
                redis::cmd("CLUSTER").arg(words).query_async(&mut connection).await;
            said.unwrap_or_else(|error| panic!("CLUSTER {words:?}: {error}\n{}", self.log()))
        };
        cluster(&["FAILOVER", "TAKEOVER"]).await;
        cluster(&["FORGET", NOBODY]).await;
        self.wait_for_slots().await;
    }

    async fn wait_for_slots(&self) {
        if !self.wanted.cluster {
            return;
        }
        let mut connection = self.raw().await;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let info: String =
                redis::cmd("CLUSTER").arg("INFO").query_async(&mut connection).await.unwrap();
            if info.contains("cluster_state:ok") {
                return;
            }
            assert!(Instant::now() < deadline, "no cluster:\n{info}\n{}", self.log());
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Builder {
    pub fn cluster(mut self, on: bool) -> Self {
        self.cluster = on;
        self
    }

    /// One more setting, as `("--appendonly", "yes")`; it wins over the defaults here.
    pub fn arg(mut self, name: &str, value: &str) -> Self {
        self.args.extend([name.to_owned(), value.to_owned()]);
        self
    }

    /// A variable of its environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push(format!("{name}={value}"));
        self
    }

    /// What the default user must say.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self.arg("--requirepass", password)
    }

    /// Whoever takes its URL comes as a user who may do what the library needs, and nothing else.
    /// With `VESTIBULE_TEST_ACL` in the environment that is so of every server.
    pub fn narrow(mut self) -> Self {
        self.narrow = true;
        self
    }

    /// The port speaks TLS only; the certificate comes as further arguments.
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Returns when it answers, and in cluster mode when it serves all slots.
    pub async fn start(self) -> TestServer {
        for _ in 0..20 {
            let dir = tempfile::Builder::new().prefix("vst-").tempdir().expect("a directory");
            let server = TestServer {
                process: Mutex::new(None),
                dir,
                ports: Ports::free(),
                wanted: self.clone(),
            };
            if self.cluster {
                let config = server.dir.path().join("nodes.conf");
                fs::write(config, replica_of_nobody(server.ports)).expect("a file");
            }
            if server.launch().await {
                server.take_all_slots().await;
                server.add_narrow_user().await;
                return server;
            }
        }
        panic!("twenty ports that were free were taken a moment later");
    }

    /// The arguments of `env`.
    fn command_line(&self, ports: Ports, dir: &Path) -> Vec<String> {
        let (plain, tls) = if self.tls { (0, ports.service) } else { (ports.service, 0) };
        let mut line = format!(
            "--port {plain} --tls-port {tls} --bind 127.0.0.1 --daemonize no --appendonly no \
             --enable-debug-command yes"
        );
        if self.cluster {
            line += &format!(
                " --cluster-enabled yes --cluster-config-file nodes.conf --cluster-port {}",
                ports.bus
            );
        }
        let mut args = self.env.clone();
        args.push(server_program().display().to_string());
        args.extend(line.split_whitespace().map(str::to_owned));
        args.extend(["--save".to_owned(), String::new()]);
        for (name, file) in [("--dir", ""), ("--unixsocket", "socket")] {
            args.extend([name.to_owned(), dir.join(file).display().to_string()]);
        }
        args.extend(self.args.iter().cloned());
        args
    }
}

/// The same server by a user who may do everything, for clients that are no library.
pub fn with_every_right(url: &str) -> String {
    match url.split_once("://").zip(url.rsplit_once('@')) {
        Some(((scheme, _), (_, rest))) => format!("{scheme}://{rest}"),
        None => url.to_owned(),
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Ports {
    pub service: u16,
    /// The cluster bus; else unused.
    pub bus: u16,
}

impl Ports {
    pub fn free() -> Self {
        Self { service: free_port(), bus: free_port() }
    }
}

/// Below the range that the system gives to outgoing connections. In that range, a client that
/// reconnects to a server which is down can end up connected to itself, or hold its port.
pub fn free_port() -> u16 {
    loop {
        let port = 12_000 + (random() % 20_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Not secret; without a dependency.
pub fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

const NARROW: &str = "narrow-suite";
const NOBODY: &str = "00000000000000000000000000000000000b0d1e";

/// A cluster of a primary that does not exist, with all slots, and of the server as its replica.
///
/// A new primary answers CLUSTERDOWN for its first two seconds, a replica does not; so one that
/// starts as a replica and takes over serves at once. With a server per test process this is most
/// of what the tests would wait for.
fn replica_of_nobody(Ports { service, bus }: Ports) -> String {
    let me = format!("{:016x}{:016x}{:08x}", random(), random(), random() as u32);
    format!(
        "{NOBODY} 127.0.0.1:1@2 master - 0 0 1 connected 0-16383\n\
         {me} 127.0.0.1:{service}@{bus} myself,slave {NOBODY} 0 0 1 connected\n\
         vars currentEpoch 1 lastVoteEpoch 0\n"
    )
}
