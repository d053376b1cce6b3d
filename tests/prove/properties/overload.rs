//! More than Redis can do, and a Redis that stands still: callers are told in time, nothing piles
//! up, and once it is over all is as fast as before.

use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use redis::aio::MultiplexedConnection;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use vestibule::store::{
    Class, Store,
    redis::{RedisConfig, RedisStore, Timeouts},
};

use super::{Progress, Verdict, verdict};
use crate::support::{
    proxy::Proxy,
    server::{TestServer, with_every_right},
    stores::naming_key,
    verbs,
};

/// What every verb is given.
const DEADLINE: Duration = Duration::from_millis(500);
/// What it may take beyond that, and beyond what a bare timer was late meanwhile each time that the
/// verb, too, has to wait for this machine: to be sent, to be woken, and to tell who asked.
const MARGIN: Duration = Duration::from_millis(50);
const TURNS: u64 = 3;
const RECOVERS_WITHIN: Duration = Duration::from_secs(3);
const MOST_CONNECTIONS: u64 = 4;
/// What may be held: this much, and so much for each verb that its deadline allows to be in flight,
/// with the task that asks for it. Whatever is asked longer ago than that must be gone.
const MOST_MEMORY_KIB: u64 = 64 * 1024;
const MOST_PER_VERB_KIB: u64 = 24;
/// The callers that keep a healthy Redis busy.
const CALLERS: usize = 16;
/// How long throughput is counted at a time.
const WINDOW: Duration = Duration::from_millis(250);

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    Vestibule,
    /// One connection as the client library opens it, told to wait for its replies.
    Plain,
}

#[derive(Clone)]
enum Asks {
    Vestibule(Arc<RedisStore>),
    Plain(MultiplexedConnection),
}

impl Asks {
    async fn connect(client: Client, url: &str) -> Self {
        if client == Client::Plain {
            let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
            let client = redis::Client::open(with_every_right(url)).unwrap();
            return Self::Plain(
                client.get_multiplexed_async_connection_with_config(&config).await.unwrap(),
            );
        }
        let timeouts = Timeouts { overall: DEADLINE, ..Timeouts::default() };
        let config = RedisConfig::new(url).unwrap().with_timeouts(timeouts);
        Self::Vestibule(Arc::new(RedisStore::connect(config, &naming_key()).await.unwrap()))
    }

    fn client(&self) -> Client {
        match self {
            Self::Vestibule(_) => Client::Vestibule,
            Self::Plain(_) => Client::Plain,
        }
    }

    /// A take of what is not there: a script like any other. Whether it was answered; an error of
    /// another class than these is a wrong one.
    async fn ask(&mut self) -> Result<bool, String> {
        match self {
            Self::Plain(connection) => {
                let mut command = redis::cmd("GETDEL");
                command.arg(format!("vst:{{00}}:pkce:{}", verbs::request()));
                Ok(command.query_async::<Option<Vec<u8>>>(connection).await.is_ok())
            }
            Self::Vestibule(store) => match store.take(&verbs::name(), verbs::request()).await {
                Ok(_) => Ok(true),
                Err(error) => match error.class() {
                    Class::NotExecuted | Class::Ambiguous => Ok(false),
                    _ => Err(error.to_string()),
                },
            },
        }
    }
}

/// What was seen of a load.
#[derive(Debug, Default)]
struct Seen {
    answered: AtomicU64,
    refused: AtomicU64,
    wrong: AtomicU64,
    /// Microseconds, each verb's.
    took: Mutex<Vec<u64>>,
    stop: AtomicBool,
}

impl Seen {
    async fn one(&self, asks: &mut Asks) {
        let started = Instant::now();
        let counter = match asks.ask().await {
            Ok(true) => &self.answered,
            Ok(false) => &self.refused,
            Err(error) => {
                println!("{error}");
                &self.wrong
            }
        };
        counter.fetch_add(1, Relaxed);
        self.took.lock().unwrap().push(started.elapsed().as_micros() as u64);
    }

    /// `callers` that ask as soon as they were answered, until it is stopped.
    fn closed(self: &Arc<Self>, asks: &Asks, callers: usize) -> JoinSet<()> {
        let mut load = JoinSet::new();
        for _ in 0..callers {
            let (seen, mut asks) = (self.clone(), asks.clone());
            load.spawn(async move {
                while !seen.stop.load(Relaxed) {
                    seen.one(&mut asks).await;
                }
            });
        }
        load
    }

    /// So many a second, whether they are answered or not.
    async fn open(self: &Arc<Self>, asks: &Asks, rate: f64, during: Duration) -> u64 {
        let (started, mut load, mut sent) = (Instant::now(), JoinSet::new(), 0);
        while started.elapsed() < during {
            let due = (started.elapsed().as_secs_f64() * rate) as u64;
            for _ in sent..due {
                let (seen, mut asks) = (self.clone(), asks.clone());
                load.spawn(async move { seen.one(&mut asks).await });
            }
            sent = sent.max(due);
            while load.try_join_next().is_some() {}
            sleep(Duration::from_millis(1)).await;
        }
        load.join_all().await;
        sent
    }

    /// Answers a second.
    async fn throughput(&self, during: Duration) -> f64 {
        let (before, started) = (self.answered.load(Relaxed), Instant::now());
        sleep(during).await;
        (self.answered.load(Relaxed) - before) as f64 / started.elapsed().as_secs_f64()
    }
}

/// What the process and the proxy show meanwhile, and how late this machine is by itself.
#[derive(Debug, Default)]
struct Watch {
    late_us: AtomicU64,
    connections: AtomicU64,
    memory_kib: AtomicU64,
    stop: AtomicBool,
}

impl Watch {
    async fn keep(self: Arc<Self>, proxy: Arc<Proxy>) {
        while !self.stop.load(Relaxed) {
            let due = Instant::now() + Duration::from_millis(2);
            sleep_until(due).await;
            self.late_us.fetch_max(due.elapsed().as_micros() as u64, Relaxed);
            self.connections.fetch_max(proxy.open_connections(), Relaxed);
            self.memory_kib.fetch_max(resident_kib(), Relaxed);
        }
    }
}

fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// What makes Redis too small, or lets it stand still.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    Pause,
    SlowScript,
    TenTimes,
}

/// Each trouble in turn, so many times.
pub async fn is_outlasted(client: Client, rounds: u64, progress: Progress) -> Verdict {
    let server = TestServer::builder().cluster(false).start().await;
    let proxy = Arc::new(Proxy::start(server.port()));
    let asks = Asks::connect(client, &proxy.url()).await;
    let watch = Arc::new(Watch::default());
    let watching = tokio::spawn(watch.clone().keep(proxy.clone()));
    let (mut report, mut found) = (Vec::new(), Found::default());
    for _ in 0..rounds {
        for trouble in [Trouble::Pause, Trouble::SlowScript, Trouble::TenTimes] {
            if client == Client::Plain && matches!(trouble, Trouble::TenTimes) {
                continue; // it would wait for all of them
            }
            let memory = resident_kib();
            watch.memory_kib.store(memory, Relaxed);
            watch.late_us.store(0, Relaxed);
            watch.connections.store(0, Relaxed);
            report.push(one(&server, &proxy, &asks, trouble, &watch, memory, &mut found).await);
        }
        progress(1);
    }
    watch.stop.store(true, Relaxed);
    watching.await.unwrap();
    verdict(
        report.join("; "),
        &[
            ("verbs past their deadline", found.late),
            ("verbs with an error of another class", found.wrong),
            ("troubles after which it was not as fast as before within 3 s", found.slow),
            ("troubles with more than 4 connections", found.connections),
            ("troubles with more memory than what is in flight needs", found.memory),
            (
                "runs in which no verb was refused",
                u64::from(client == Client::Vestibule && found.refused == 0),
            ),
        ],
    )
}

#[derive(Debug, Default)]
struct Found {
    late: u64,
    wrong: u64,
    slow: u64,
    connections: u64,
    memory: u64,
    refused: u64,
}

async fn one(
    server: &TestServer,
    proxy: &Proxy,
    asks: &Asks,
    trouble: Trouble,
    watch: &Watch,
    memory: u64,
    found: &mut Found,
) -> String {
    let healthy = Arc::new(Seen::default());
    let load = healthy.closed(asks, CALLERS);
    sleep(WINDOW).await;
    let mut before = [0.0; 4];
    for window in &mut before {
        *window = healthy.throughput(WINDOW).await;
    }
    before.sort_by(f64::total_cmp);
    let usual = before[1].midpoint(before[2]);

    let mut raw = server.raw().await;
    let seen = Arc::new(Seen::default());
    let (mut extra, mut rate) = (String::new(), 0);
    match trouble {
        Trouble::Pause | Trouble::SlowScript => {
            // The same callers go on, and their verbs are judged from now on.
            healthy.stop.store(true, Relaxed);
            load.join_all().await;
            let load = seen.closed(asks, CALLERS);
            sleep(WINDOW).await;
            stand_still(server, &mut raw, trouble).await;
            seen.stop.store(true, Relaxed);
            let recovered = recovery(asks, &proxy.url(), usual).await;
            load.join_all().await;
            extra += &found.recovery(recovered);
        }
        Trouble::TenTimes => {
            healthy.stop.store(true, Relaxed);
            load.join_all().await;
            // So small that this machine can ask ten times as much.
            let small = Small::new(server);
            let overload = async {
                let few = Arc::new(Seen::default());
                let load = few.closed(asks, 4 * CALLERS);
                sleep(WINDOW).await;
                let capacity = few.throughput(Duration::from_secs(1)).await;
                few.stop.store(true, Relaxed);
                load.join_all().await;
                let sent = seen.open(asks, capacity * 10.0, Duration::from_secs(3)).await;
                small.stop.store(true, Relaxed);
                (capacity, sent)
            };
            let ((capacity, sent), ()) = tokio::join!(overload, small.keep());
            rate = sent / 3;
            extra += &format!("{sent} verbs in 3 s where {capacity:.0}/s are served, ");
            extra += &found.recovery(recovery(asks, &proxy.url(), usual).await);
        }
    }
    let mut took = std::mem::take(&mut *seen.took.lock().unwrap());
    took.sort_unstable();
    let bound = (DEADLINE + MARGIN).as_micros() as u64 + TURNS * watch.late_us.load(Relaxed);
    let in_flight = (4 * CALLERS as u64).max(rate * bound / 1_000_000);
    let (worst, p99) = (*took.last().unwrap_or(&0), took[took.len() * 99 / 100]);
    let connections = watch.connections.load(Relaxed);
    let grown = watch.memory_kib.load(Relaxed).saturating_sub(memory);
    found.late += took.iter().filter(|took| **took > bound).count() as u64;
    found.wrong += seen.wrong.load(Relaxed);
    found.refused += seen.refused.load(Relaxed);
    found.connections += u64::from(connections > MOST_CONNECTIONS);
    found.memory += u64::from(grown > MOST_MEMORY_KIB + in_flight * MOST_PER_VERB_KIB);
    format!(
        "{trouble:?}: {} answered, {} refused, p99 {} ms, at worst {} ms (a bare timer was {} ms \
         late), {extra}{connections} connections, {} MiB more for {in_flight} in flight",
        seen.answered.load(Relaxed),
        seen.refused.load(Relaxed),
        p99 / 1000,
        worst / 1000,
        watch.late_us.load(Relaxed) / 1000,
        grown / 1024
    )
}

impl Found {
    fn recovery(&mut self, recovered: Option<Duration>) -> String {
        self.slow += u64::from(recovered.is_none());
        match recovered {
            Some(after) => format!("as fast as before after {} ms, ", after.as_millis()),
            None => "not as fast as before, ".to_owned(),
        }
    }
}

/// For 2 s nobody is answered.
async fn stand_still(server: &TestServer, raw: &mut MultiplexedConnection, trouble: Trouble) {
    match trouble {
        Trouble::Pause => {
            let mut pause = redis::cmd("CLIENT");
            pause.arg("PAUSE").arg(2000).arg("ALL").query_async::<()>(raw).await.unwrap();
            sleep(Duration::from_secs(2)).await;
        }
        _ => {
            let mut slow = redis::cmd("EVAL");
            slow.arg(SLOW).arg(0).arg(2_000_000);
            slow.query_async::<()>(&mut server.raw().await).await.unwrap();
        }
    }
}

/// For so many microseconds nobody else is served.
const SLOW: &str = "local function now()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
local ends = now() + ARGV[1]
repeat until now() >= ends";

/// As fast as before, when it is over. A debug build has less than a core to itself.
const AS_FAST: f64 = if cfg!(debug_assertions) { 0.7 } else { 0.95 };

/// When the usual callers get [so much](AS_FAST) of what they got before; `None` if that is too late,
/// and a client that saw nothing of it gets more.
async fn recovery(asks: &Asks, url: &str, usual: f64) -> Option<Duration> {
    let (seen, started) = (Arc::new(Seen::default()), Instant::now());
    let load = seen.closed(asks, CALLERS);
    let mut recovered = None;
    while recovered.is_none() && started.elapsed() < RECOVERS_WITHIN {
        let from = started.elapsed();
        let fast = seen.throughput(WINDOW).await >= AS_FAST * usual;
        recovered = fast.then_some(from);
    }
    seen.stop.store(true, Relaxed);
    load.join_all().await;
    if recovered.is_none() {
        // Then it may be this machine that is slower than before.
        let unharmed = Asks::connect(asks.client(), url).await;
        let (mut harmed, mut others) = (0.0, 0.0);
        for _ in 0..4 {
            harmed += in_a_window(asks).await;
            others += in_a_window(&unharmed).await;
        }
        recovered = (harmed >= AS_FAST * others).then_some(RECOVERS_WITHIN);
    }
    recovered
}

async fn in_a_window(asks: &Asks) -> f64 {
    let seen = Arc::new(Seen::default());
    let load = seen.closed(asks, CALLERS);
    let throughput = seen.throughput(WINDOW).await;
    seen.stop.store(true, Relaxed);
    load.join_all().await;
    throughput
}

/// Redis runs for two of every hundred milliseconds: a fiftieth of it is there.
struct Small<'a> {
    server: &'a TestServer,
    stop: AtomicBool,
}

impl<'a> Small<'a> {
    fn new(server: &'a TestServer) -> Self {
        Self { server, stop: AtomicBool::new(false) }
    }

    async fn keep(&self) {
        while !self.stop.load(Relaxed) {
            self.server.stop();
            sleep(Duration::from_millis(98)).await;
            self.server.cont();
            sleep(Duration::from_millis(2)).await;
        }
    }
}
