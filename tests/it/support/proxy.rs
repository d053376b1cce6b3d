//! A TCP proxy before Redis that breaks things on demand.
//!
//! It runs on a thread and a runtime of its own, so it works the same whatever the test does to
//! its runtime. It knows just enough of RESP to see a verb pass by (EVALSHA, SET or GETDEL).

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{oneshot, watch},
    time::{sleep, timeout},
};
use vestibule::inspect::Role;

use super::server::{TestServer, listener, users::login};

/// The largest piece that is forwarded at once, and all that is buffered.
const CHUNK: usize = 64 * 1024;

/// The proxy; dropping it closes its port and all its connections.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    _until_dropped: oneshot::Sender<()>,
}

#[derive(Debug)]
struct Shared {
    upstream: u16,
    faults: Mutex<Faults>,
    /// Connections are numbered from 1; those up to here are black holes for good.
    holed_to: AtomicU64,
    /// The same of those that have subscribed.
    subscriptions_holed_to: AtomicU64,
    /// Those up to here are to be closed at once.
    cut_to: watch::Sender<u64>,
    opened: AtomicU64,
    open: AtomicU64,
    dropped_replies: AtomicU64,
    resets: AtomicU64,
}

#[derive(Debug, Default)]
struct Faults {
    drop_reply: f64,
    reset: f64,
    delay: Duration,
    rewrite: Option<(Vec<u8>, Vec<u8>)>,
    rewrite_requests: Option<(Vec<u8>, Vec<u8>)>,
    hole_new: bool,
    dice: u64,
}

impl Proxy {
    /// Listens on a port of its own and passes everything on to `upstream`, until told otherwise.
    pub fn start(upstream: u16) -> Self {
        let (listener, port) = listener();
        listener.set_nonblocking(true).expect("a socket");
        let shared = Arc::new(Shared {
            upstream,
            faults: Mutex::default(),
            holed_to: AtomicU64::new(0),
            subscriptions_holed_to: AtomicU64::new(0),
            cut_to: watch::Sender::new(0),
            opened: AtomicU64::new(0),
            open: AtomicU64::new(0),
            dropped_replies: AtomicU64::new(0),
            resets: AtomicU64::new(0),
        });
        let (until_dropped, dropped) = oneshot::channel::<()>();
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let listener = TcpListener::from_std(listener).expect("a listener");
                tokio::select! {
                    () = serve(&listener, &serving) => {}
                    _ = dropped => {}
                }
            });
        });
        Self { port, shared, _until_dropped: until_dropped }
    }

    /// Makes a one-node Cluster name this proxy as its only node, for Cluster clients.
    pub async fn announce_on(&self, server: &TestServer) {
        let mut connection = server.raw().await;
        let set: redis::RedisResult<()> = redis::cmd("CONFIG")
            .arg(&["SET", "cluster-announce-port", &self.port.to_string()])
            .query_async(&mut connection)
            .await;
        set.expect("the server takes another port to announce");
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Of the server behind it, for the library's user.
    pub fn url(&self) -> String {
        format!("redis://{}127.0.0.1:{}", login(Role::Library), self.port)
    }

    pub fn cluster_url(&self) -> String {
        self.url().replacen("redis://", "redis-cluster://", 1)
    }

    /// Ends all faults. What is a black hole already stays one: it has swallowed bytes.
    pub fn pass(&self) {
        *self.faults() = Faults::default();
    }

    /// With probability `p` for each piece that holds a verb: the server runs it, its reply
    /// is swallowed, the connection closes.
    pub fn drop_reply(&self, p: f64, seed: u64) {
        let mut faults = self.faults();
        faults.drop_reply = p;
        faults.dice = seed;
    }

    /// Runs a verb whose first replies are all swallowed, after Redis has run it.
    pub async fn without_reply<T>(&self, verb: impl Future<Output = T>) -> T {
        let before = self.dropped_replies();
        self.drop_reply(1.0, 1);
        let lose = async {
            while self.dropped_replies() == before {
                sleep(Duration::from_millis(1)).await;
            }
            self.pass();
        };
        tokio::join!(verb, lose).0
    }

    /// With probability `p` for each piece that holds a verb: the connection is reset, every other
    /// time before the server saw the verb.
    pub fn reset(&self, p: f64) {
        self.faults().reset = p;
    }

    /// No byte passes any more, on any connection, new ones included, until [`Proxy::pass`]; yet
    /// none closes.
    pub fn black_hole(&self) {
        self.faults().hole_new = true;
        self.black_hole_existing();
    }

    /// No byte passes on the connections that are open now; new ones work.
    pub fn black_hole_existing(&self) {
        self.shared.holed_to.store(self.connections(), SeqCst);
    }

    /// No byte passes on the subscriptions that are open now; other connections work, and new ones.
    pub fn black_hole_subscriptions(&self) {
        self.shared.subscriptions_holed_to.store(self.connections(), SeqCst);
    }

    /// Closes the connections that are open now.
    pub fn cut(&self) {
        self.shared.cut_to.send_replace(self.connections());
    }

    /// Every piece of a reply waits for so long.
    pub fn delay(&self, by: Duration) {
        self.faults().delay = by;
    }

    /// Replaces `from` in the replies, where one piece holds all of it.
    pub fn rewrite(&self, from: &[u8], to: &[u8]) {
        assert_eq!(from.len(), to.len(), "RESP counts bytes");
        self.faults().rewrite = Some((from.to_vec(), to.to_vec()));
    }

    /// The same in what clients send.
    pub fn rewrite_requests(&self, from: &[u8], to: &[u8]) {
        assert_eq!(from.len(), to.len(), "RESP counts bytes");
        self.faults().rewrite_requests = Some((from.to_vec(), to.to_vec()));
    }

    /// How many connections there have been.
    pub fn connections(&self) -> u64 {
        self.shared.opened.load(SeqCst)
    }

    /// How many are open now, black holes included.
    pub fn open_connections(&self) -> u64 {
        self.shared.open.load(SeqCst)
    }

    pub fn dropped_replies(&self) -> u64 {
        self.shared.dropped_replies.load(SeqCst)
    }

    pub fn resets(&self) -> u64 {
        self.shared.resets.load(SeqCst)
    }

    fn faults(&self) -> std::sync::MutexGuard<'_, Faults> {
        self.shared.faults.lock().unwrap()
    }
}

async fn serve(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        let shared = Arc::clone(shared);
        let id = shared.opened.fetch_add(1, SeqCst) + 1;
        shared.open.fetch_add(1, SeqCst);
        tokio::spawn(async move {
            let mut cuts = shared.cut_to.subscribe();
            tokio::select! {
                () = connection(id, client, &shared) => {}
                _ = cuts.wait_for(|cut_to| id <= *cut_to) => {}
            }
            shared.open.fetch_sub(1, SeqCst);
        });
    }
}

async fn connection(id: u64, mut client: TcpStream, shared: &Shared) {
    let mut up = vec![0; CHUNK];
    let mut down = vec![0; CHUNK];
    let mut subscribed = false;
    if shared.swallows(id, subscribed) {
        return swallow(client, &mut up).await;
    }
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", shared.upstream)).await else { return };
    if client.set_nodelay(true).and(server.set_nodelay(true)).is_err() {
        return;
    }
    let mut verbs = VerbSpotter::default();
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(read @ 1..) = read else { return };
                subscribed |= subscribes(&up[..read]);
                if shared.swallows(id, subscribed) {
                    return swallow(client, &mut up).await;
                }
                let fate = if verbs.in_piece(&up[..read]) { shared.fate() } else { Fate::Pass };
                if matches!(fate, Fate::Reset { before: true }) {
                    return shared.reset(&client);
                }
                shared.faults.lock().unwrap().rewrite_requests.rewrite(&mut up[..read]);
                if server.write_all(&up[..read]).await.is_err() {
                    return;
                }
                match fate {
                    Fate::Pass => {}
                    Fate::Reset { .. } => return shared.reset(&client),
                    Fate::DropReply => {
                        drain(&mut server, &mut down).await;
                        shared.dropped_replies.fetch_add(1, SeqCst);
                        return;
                    }
                }
            }
            read = server.read(&mut down) => {
                let delay = shared.faults.lock().unwrap().delay;
                if !delay.is_zero() {
                    sleep(delay).await;
                }
                if shared.swallows(id, subscribed) {
                    return swallow(client, &mut up).await;
                }
                let Ok(read @ 1..) = read else { return };
                shared.faults.lock().unwrap().rewrite.rewrite(&mut down[..read]);
                if client.write_all(&down[..read]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Takes what comes and answers nothing, as a peer behind a dead link.
async fn swallow(mut client: TcpStream, buffer: &mut [u8]) {
    while let Ok(1..) = client.read(buffer).await {}
}

/// Lets the server run all that it was sent: with nothing more to read it closes, and only then is
/// it certain that the verb ran.
async fn drain(server: &mut TcpStream, buffer: &mut [u8]) {
    let _ = server.shutdown().await; // fails only if the server closed first
    let all = async { while let Ok(1..) = server.read(buffer).await {} };
    let _ = timeout(Duration::from_secs(2), all).await; // a stopped server answers to nobody
}

enum Fate {
    Pass,
    DropReply,
    Reset { before: bool },
}

impl Shared {
    fn swallows(&self, id: u64, subscribed: bool) -> bool {
        if self.faults.lock().unwrap().hole_new {
            self.holed_to.fetch_max(id, SeqCst);
        }
        let only_those = &self.subscriptions_holed_to;
        id <= self.holed_to.load(SeqCst) || subscribed && id <= only_those.load(SeqCst)
    }

    fn fate(&self) -> Fate {
        let mut faults = self.faults.lock().unwrap();
        if faults.roll() < faults.drop_reply {
            Fate::DropReply
        } else if faults.roll() < faults.reset {
            Fate::Reset { before: faults.roll() < 0.5 }
        } else {
            Fate::Pass
        }
    }

    fn reset(&self, client: &TcpStream) {
        let _ = client.set_zero_linger(); // without it the close is an orderly one, also a loss
        self.resets.fetch_add(1, SeqCst);
    }
}

/// One text in place of another.
trait Rewrite {
    fn rewrite(&self, piece: &mut [u8]);
}

impl Rewrite for Option<(Vec<u8>, Vec<u8>)> {
    fn rewrite(&self, piece: &mut [u8]) {
        let Some((from, to)) = self else { return };
        let mut at = 0;
        while let Some(found) = piece[at..].windows(from.len()).position(|w| w == from) {
            piece[at + found..][..to.len()].copy_from_slice(to);
            at += found + to.len();
        }
    }
}

impl Faults {
    /// SplitMix64, from 0 up to but not including 1: the same seed, the same faults.
    fn roll(&mut self) -> f64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The command is small, and comes in one piece.
fn subscribes(piece: &[u8]) -> bool {
    const SUBSCRIBE: &[u8] = b"\r\nSUBSCRIBE\r\n";
    piece.windows(SUBSCRIBE.len()).any(|window| window == SUBSCRIBE)
}

/// Sees a verb in a stream of pieces, also one that is split between two.
#[derive(Default)]
struct VerbSpotter {
    tail: Vec<u8>,
}

impl VerbSpotter {
    fn in_piece(&mut self, piece: &[u8]) -> bool {
        const VERBS: [&[u8]; 3] = [b"$7\r\nEVALSHA\r\n", b"$3\r\nSET\r\n", b"$6\r\nGETDEL\r\n"];
        self.tail.extend_from_slice(piece);
        let found =
            VERBS.iter().any(|verb| self.tail.windows(verb.len()).any(|window| window == *verb));
        // A verb that was seen is not seen again.
        let keep = if found { 0 } else { self.tail.len().min(12) };
        self.tail.drain(..self.tail.len() - keep);
        found
    }
}
