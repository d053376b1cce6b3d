//! Caps of a provider, with many replicas against one that counts.

use std::{
    num::NonZero,
    time::{Duration, Instant, SystemTime},
};

use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use vestibule::{
    connection::{Connections, RateProfile, ReplayPolicy},
    sweep::RefreshDue,
};
use vestibule_worker::provider::{Provider, Settings};

use super::{
    connect,
    connections::{GRACE, connections_of, connector, sign_in},
};
use crate::support::{
    ageing::age,
    children::{self, Parent},
    server::TestServer,
    stopwatch::Stopwatch,
    stores::fresh_prefix,
};

/// What may be on its way longer than another call, and so often what this machine was late at once:
/// it is not the limiter's.
const ON_THE_WAY: Duration = Duration::from_millis(150);
const TURNS: u32 = 3;

/// So many calls a second, and so many at once; zero for no cap.
#[derive(Debug, Clone, Copy)]
pub struct Limited {
    pub per_second: u32,
    pub at_once: u16,
}

/// What a provider saw of a fleet that refreshed everything once.
#[derive(Debug)]
pub struct Seen {
    pub refreshes: u64,
    pub peak: u64,
    /// When each call came, from the first on.
    arrivals: Vec<Duration>,
    /// Until four fifths were asked for, after which too few are left to use a cap; what the machine
    /// was late not counted.
    pub took: Duration,
    /// What calls may have been on their way.
    on_the_way: Duration,
}

impl Seen {
    /// The most calls in any so many seconds, without what may have been on its way.
    pub fn busiest(&self, seconds: u32) -> usize {
        self.most_within(Duration::from_secs(seconds.into()).saturating_sub(self.on_the_way))
    }

    pub fn most_within(&self, window: Duration) -> usize {
        let within = |first: &Duration| {
            self.arrivals.iter().filter(|at| *at >= first && **at < *first + window).count()
        };
        self.arrivals.iter().map(within).max().unwrap_or(0)
    }

    /// How long all of it was, in whole seconds.
    pub fn seconds(&self) -> u32 {
        self.arrivals.last().map_or(0, |last| last.as_secs() as u32 + 1)
    }
}

/// A replica, as a host with these caps would have it.
pub async fn limited(url: &str, prefix: &str, issuer: &str, limited: Limited) -> Connections {
    let vestibule = connect(url, prefix).await;
    let mut connector = connector(issuer, ReplayPolicy::Grace(GRACE));
    let second = Duration::from_secs(1);
    connector.rate =
        NonZero::new(limited.per_second).map(|calls| RateProfile { calls, per: second });
    connector.concurrency = NonZero::new(limited.at_once);
    connections_of(&vestibule, connector)
}

/// Four processes with sixteen slots each refresh so many credentials that are due; each call takes so
/// long.
pub async fn fleet(
    server: &TestServer,
    credentials: usize,
    takes: Duration,
    caps: Limited,
) -> Seen {
    let prefix = fresh_prefix();
    let provider = Provider::start(Settings::default()).await.unwrap();
    let free = Limited { per_second: 0, at_once: 0 };
    let connections = limited(&server.url(), &prefix, &provider.issuer(), free).await;
    for owner in 0..credentials {
        sign_in(&connections, &format!("owner-{owner}")).await;
    }
    age(&mut server.raw().await, &prefix, Duration::from_secs(280)).await;
    provider.set_answer_delay(takes);

    let before = provider.arrivals().len();
    let args = json!({
        "url": server.url(), "prefix": prefix, "issuer": provider.issuer(),
        "per_second": caps.per_second, "at_once": caps.at_once,
    });
    let mut replicas = children::spawn_many(4, "sweep", &args).await;
    children::start_together(&mut replicas).await;
    let watch = Stopwatch::start();
    let deadline = Instant::now() + Duration::from_secs(60);
    while provider.counts().refreshes < credentials as u64 && Instant::now() < deadline {
        sleep(Duration::from_millis(20)).await;
    }
    let calls = provider.arrivals().split_off(before);
    let counts = provider.counts();
    let arrivals: Vec<_> = calls.iter().map(|at| *at - calls[0]).collect();
    let enough = arrivals.get(credentials * 4 / 5);
    Seen {
        refreshes: counts.refreshes,
        peak: counts.peak_in_flight,
        took: enough.map_or(Duration::MAX, |last| last.saturating_sub(watch.late())),
        arrivals,
        on_the_way: ON_THE_WAY + watch.worst() * TURNS,
    }
}

/// A replica without caps, at a provider of which so much is known.
pub async fn replica_of(
    url: &str,
    prefix: &str,
    issuer: &str,
    replay: ReplayPolicy,
) -> Connections {
    let vestibule = connect(url, prefix).await;
    connections_of(&vestibule, connector(issuer, replay))
}

/// All processes of a machine read the same clock.
pub fn now_us() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros() as u64
}

/// Sweeps as a worker does, until it is killed, and says when each pass has ended; see [`fleet`].
pub async fn sweeper(args: Value, mut parent: Parent) {
    let text = |name: &str| args[name].as_str().unwrap().to_owned();
    let number = |name: &str| args[name].as_u64().unwrap();
    let caps =
        Limited { per_second: number("per_second") as u32, at_once: number("at_once") as u16 };
    let (url, prefix, issuer) = (text("url"), text("prefix"), text("issuer"));
    let connections = match args["grace"].as_bool() {
        Some(false) => replica_of(&url, &prefix, &issuer, ReplayPolicy::Strict).await,
        _ => limited(&url, &prefix, &issuer, caps).await,
    };
    parent.ready().await;
    let sweep = RefreshDue { limit: 16, parallel: 16, ..RefreshDue::default() };
    loop {
        sweep.pass(&connections, &CancellationToken::new()).await;
        parent.say(now_us());
        sleep(Duration::from_millis(100)).await;
    }
}
