//! A private Redis for one test or one test process.
//!
//! Whoever takes its URL comes as a user with the rights that `acl` prints for the library, and Redis
//! may refuse him nothing: a test at whose end there is such a refusal in the server's log fails. One
//! that wants refusals takes them: [`TestServer::refused`].

pub mod users;

use std::{
    cell::Cell,
    collections::hash_map::RandomState,
    fs,
    hash::{BuildHasher, Hasher},
    net::{TcpListener, UdpSocket},
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use redis::aio::MultiplexedConnection;
use tempfile::TempDir;
use tokio::{net::TcpSocket, sync::OnceCell, time::sleep};
use vestibule::inspect::Role;

use super::process::{Guarded, server_program};

/// How long a server may take to answer, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);

/// The server that the tests of this process share: they differ by key prefix.
pub async fn shared() -> &'static TestServer {
    static SHARED: OnceCell<TestServer> = OnceCell::const_new();
    let server = SHARED.get_or_init(|| TestServer::builder().start()).await;
    AT_THE_END.with(|look| look.0.set(Some(server)));
    server
}

thread_local! {
    static AT_THE_END: Look = const { Look(Cell::new(None)) };
}

/// What is shared is never dropped: the thread of each test that used it looks when it ends.
struct Look(Cell<Option<&'static TestServer>>);

impl Drop for Look {
    fn drop(&mut self) {
        if let Some(refused) = self.0.get().and_then(TestServer::told_of_refusals) {
            // The harness has the test's outcome already; it still waits for its thread.
            eprintln!("{refused}");
            std::process::exit(101);
        }
    }
}

/// A running server; it dies when this is dropped, or with the test process.
#[derive(Debug)]
pub struct TestServer {
    /// Before `dir`, since fields are dropped in this order.
    process: Mutex<Option<Guarded>>,
    dir: TempDir,
    ports: Ports,
    wanted: Builder,
    /// By a signal: it answers nobody.
    stopped: AtomicBool,
}

/// What kind of server is wanted.
#[derive(Debug, Clone)]
pub struct Builder {
    cluster: bool,
    tls: bool,
    every_right: bool,
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
            every_right: false,
            password: None,
            env: Vec::new(),
            args: Vec::new(),
        }
    }

    /// No Cluster, and who comes may do everything: also what the library is compared with.
    pub fn for_benches() -> Builder {
        Builder { cluster: false, every_right: true, ..Self::builder() }
    }

    pub fn port(&self) -> u16 {
        self.ports.service
    }

    /// For a client that takes it as a single server, which also suits a one-node Cluster: as the
    /// library's user. Without any where the default user has a password, or every right is wanted.
    pub fn url(&self) -> String {
        let is_open = self.wanted.every_right || self.wanted.password.is_some();
        let login = if is_open { String::new() } else { users::login(Role::Library) };
        format!("redis://{login}127.0.0.1:{}", self.port())
    }

    /// Who comes by [`url`](Self::url).
    pub fn user(&self) -> String {
        users::name(Role::Library)
    }

    pub fn url_as(&self, user: &str, password: &str) -> String {
        format!("redis://{user}:{password}@127.0.0.1:{}", self.port())
    }

    pub fn cluster_url(&self) -> String {
        self.url().replacen("redis://", "redis-cluster://", 1)
    }

    /// Takes what was refused to the users of the roles since it was last asked. A test that provokes
    /// refusals takes them, and says that they are what it wanted; they are of one server, so it
    /// shares none.
    pub fn refused(&self) -> Vec<String> {
        users::refused(&self.raw_url()).expect("it answers")
    }

    /// What fails a test. Nothing from a server that is gone, or too busy to say.
    fn told_of_refusals(&self) -> Option<String> {
        let runs = self.process.lock().is_ok_and(|process| process.is_some());
        if !runs || self.stopped.load(Ordering::Relaxed) {
            return None;
        }
        let refused = users::refused(&self.raw_url()).ok().filter(|it| !it.is_empty())?;
        Some(format!("Redis refused what nobody wanted it to refuse: {}", refused.join("; ")))
    }

    fn expect_no_refusals(&self) {
        if !std::thread::panicking()
            && let Some(refused) = self.told_of_refusals()
        {
            panic!("{refused}");
        }
    }

    /// A connection of the test's own, with every right and no library in between. It comes
    /// through a Unix socket, so it works whatever a test does to the TCP port.
    pub async fn raw(&self) -> MultiplexedConnection {
        self.try_raw().await.unwrap_or_else(|error| panic!("{error}\n{}", self.log()))
    }

    /// SIGKILL, as a power cut: nothing is flushed.
    pub fn kill9(&self) {
        self.expect_no_refusals(); // its log ends with it
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
    }

    /// SIGSTOP: connections stay open and nobody answers.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.with_process(|process| process.signal("STOP"));
    }

    pub fn cont(&self) {
        self.with_process(|process| process.signal("CONT"));
        self.stopped.store(false, Ordering::Relaxed);
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

    fn raw_url(&self) -> String {
        let login = self.wanted.password.as_ref().map(|p| format!("&pass={p}")).unwrap_or_default();
        format!("redis+unix://{}?db=0{login}", self.dir.path().join("socket").display())
    }

    async fn try_raw(&self) -> redis::RedisResult<MultiplexedConnection> {
        let client = redis::Client::open(self.raw_url())?;
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

impl Drop for TestServer {
    fn drop(&mut self) {
        self.expect_no_refusals();
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

    /// Who takes its URL is the default user: for what is no library.
    pub fn every_right(mut self) -> Self {
        self.every_right = true;
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
                stopped: AtomicBool::new(false),
            };
            if self.cluster {
                let config = server.dir.path().join("nodes.conf");
                fs::write(config, replica_of_nobody(server.ports)).expect("a file");
            }
            if server.launch().await {
                server.take_all_slots().await;
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
        args.extend(users::arguments().iter().cloned());
        args.extend(self.args.iter().cloned());
        args
    }
}

/// The same server by the default user, for clients that are no library; a URL of somebody else stays
/// as it is.
pub fn with_every_right(url: &str) -> String {
    Role::ALL.iter().fold(url.to_owned(), |url, role| url.replace(&users::login(*role), ""))
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
///
/// It is this process's until that ends, whoever is to listen on it, and when: the datagram port of the
/// same number is held, and no other test takes a port whose it cannot have.
pub fn free_port() -> u16 {
    listener().1
}

/// Listens on such a port.
pub fn listener() -> (TcpListener, u16) {
    static TAKEN: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());
    loop {
        let port = 12_000 + (random() % 20_000) as u16;
        if let Ok(taken) = UdpSocket::bind(("127.0.0.1", port))
            && let Ok(listener) = TcpListener::bind(("127.0.0.1", port))
        {
            TAKEN.lock().unwrap().push(taken);
            return (listener, port);
        }
    }
}

/// A port that nobody listens on, and nobody can while this lives.
pub fn dead_port() -> (TcpSocket, u16) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a port");
    let port = socket.local_addr().expect("an address").port();
    (socket, port)
}

/// Not secret; without a dependency.
pub fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

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
