//! Eight workers and thousands of credentials: none is exchanged twice; and when workers are paused
//! or die, no live token gives way to an older one, and others take over in time.

use std::{collections::HashMap, time::Duration};

use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use vestibule::{
    connection::{Connections, ReplayPolicy},
    store::ConnectionId,
    sweep::RefreshDue,
};
use vestibule_worker::provider::{Answer, Failure, Provider, Settings};

use super::{
    Progress, Verdict,
    connections::{GRACE, sign_in},
    limits::{Limited, limited, now_us, replica_of},
    patched::Patched,
    verdict,
};
use crate::support::{
    ageing::age,
    children,
    process::signal,
    server::{TestServer, random},
    stores::fresh_prefix,
};

const WORKERS: usize = 8;
/// Of a credential whose provider forgives for 30 s or more.
const LEASE: Duration = Duration::from_secs(12);
const FREE: Limited = Limited { per_second: 0, at_once: 0 };

struct Scene {
    provider: Provider,
    prefix: String,
    replica: Connections,
    ids: Vec<(ConnectionId, String)>,
    raw: MultiplexedConnection,
}

impl Scene {
    async fn due(server: &TestServer, credentials: u64, settings: Settings) -> Self {
        let prefix = fresh_prefix();
        let provider = Provider::start(settings).await.unwrap();
        let replica = limited(&server.url(), &prefix, &provider.issuer(), FREE).await;
        let mut ids = Vec::new();
        for n in 0..credentials {
            let owner = format!("owner-{n}");
            ids.push((sign_in(&replica, &owner).await, owner));
        }
        let mut raw = server.raw().await;
        age(&mut raw, &prefix, Duration::from_secs(280)).await;
        Self { provider, prefix, replica, ids, raw }
    }

    fn args(&self, server: &TestServer) -> Value {
        json!({
            "url": server.url(), "prefix": self.prefix, "issuer": self.provider.issuer(),
            "per_second": 0, "at_once": 0,
        })
    }

    fn key(&self, id: &ConnectionId) -> String {
        format!("{}:{{{}}}:conn:{id}", self.prefix, id.shard())
    }

    async fn pass(&self) -> usize {
        let sweep = RefreshDue { limit: 10_000, ..RefreshDue::default() };
        sweep.pass(&self.replica, &CancellationToken::new()).await.refreshed
    }

    /// Takes every lease away, and makes its credential due again: as if there were none.
    async fn take_leases_away(&mut self) {
        let mut all = redis::pipe();
        for (id, _) in &self.ids {
            all.hdel(self.key(id), &["lease", "lease_ends_at"]).ignore();
            let due = format!("{}:{{{}}}:due", self.prefix, id.shard());
            all.cmd("ZADD").arg(due).arg("XX").arg("LT").arg(1).arg(id.as_str()).ignore();
        }
        all.query_async::<()>(&mut self.raw).await.unwrap();
    }

    /// For Redis and for the provider.
    async fn pass_time(&mut self, by: Duration) {
        age(&mut self.raw, &self.prefix, by).await;
        self.provider.advance(by);
    }

    /// Until no exchange is under way, and none has a lease.
    async fn until_ended(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            let mut all = redis::pipe();
            for (id, _) in &self.ids {
                all.hexists(self.key(id), "lease");
            }
            let leased: Vec<bool> = all.query_async(&mut self.raw).await.unwrap();
            if self.provider.in_flight() == 0 && !leased.contains(&true) {
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// When the provider answered what is current.
    async fn answered_at(&mut self) -> HashMap<ConnectionId, u64> {
        let mut all = redis::pipe();
        for (id, _) in &self.ids {
            all.hget(self.key(id), "answered_at");
        }
        let times: Vec<Option<u64>> = all.query_async(&mut self.raw).await.unwrap();
        let ids = self.ids.iter().map(|(id, _)| id.clone());
        ids.zip(times.into_iter().map(Option::unwrap_or_default)).collect()
    }
}

/// Every credential is due once, and refreshed once, however many workers there are. Without leases
/// it is not.
pub async fn refreshed_once(
    server: &TestServer,
    leases: bool,
    credentials: u64,
    progress: Progress,
) -> Verdict {
    let mut scene = Scene::due(server, credentials, Settings::default()).await;
    // Without leases: longer than a worker's pause, so that others come while one is asking.
    let answers_in = if leases { 20 } else { 150 };
    scene.provider.set_answer_delay(Duration::from_millis(answers_in));
    let mut workers = children::spawn_many(WORKERS, "sweep", &scene.args(server)).await;
    let started = Instant::now();
    children::start_together(&mut workers).await;
    let deadline = started + Duration::from_secs(300);
    let mut done = 0;
    while done < credentials && Instant::now() < deadline {
        sleep(Duration::from_millis(20)).await;
        if !leases {
            scene.take_leases_away().await;
        }
        let now = scene.provider.counts().refreshes.min(credentials);
        progress(now - done);
        done = now;
    }
    let took = started.elapsed();
    // Whoever still thinks that something is due.
    sleep(Duration::from_millis(500)).await;
    let counts = scene.provider.counts();
    verdict(
        format!(
            "{credentials} due, {WORKERS} workers: {} exchanges in {:.1} s",
            counts.refreshes,
            took.as_secs_f64()
        ),
        &[
            ("not refreshed", credentials - done),
            ("exchanges too many", counts.refreshes.saturating_sub(credentials)),
            ("refresh tokens presented again", counts.reused_presentations),
        ],
    )
}

/// Under which provider workers are stopped, and what is taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paused {
    /// It forgives for 30 s, as it is said to.
    Forgiven,
    /// It forgives nothing, and is said to forgive.
    Unforgiven,
    /// It forgives, and whatever a worker commits is current then.
    WithoutLineage,
    /// It forgives nothing, and is known for it.
    Strict,
    /// The same, and nobody waits for the one that has the answer.
    StrictWithoutWaiting,
}

impl Paused {
    fn strict(self) -> bool {
        matches!(self, Self::Strict | Self::StrictWithoutWaiting)
    }

    /// Twice the lease.
    fn stopped_for(self) -> Duration {
        if self.strict() { Duration::from_secs(60) } else { LEASE * 2 }
    }

    async fn patched(self, server: &TestServer) -> Option<Patched> {
        let (script, guard, without) = match self {
            Self::WithoutLineage => (
                "connection/commit",
                "local proven = refused:find(presented, 1, true)",
                "local proven = true",
            ),
            Self::StrictWithoutWaiting => {
                ("connection/begin", "undecided >= forgiven and undecided < settled", "false")
            }
            _ => return None,
        };
        Some(Patched::of(server, script, guard, without).await)
    }
}

/// A worker is stopped in the middle of its exchanges for twice the lease, others take over, and it
/// goes on: what it still commits costs nobody anything. The clocks of Redis and of the provider
/// are set forward by as much.
pub async fn paused_workers(
    server: &TestServer,
    how: Paused,
    rounds: u64,
    progress: Progress,
) -> Verdict {
    const CREDENTIALS: u64 = 8;
    let seed = random();
    let forgives = matches!(how, Paused::Forgiven | Paused::WithoutLineage);
    let reuse_grace = if forgives { GRACE } else { Duration::ZERO };
    let settings = Settings { reuse_grace, ..Settings::default() };
    let patched = how.patched(server).await;
    let url = patched.as_ref().map_or_else(|| server.url(), Patched::url);
    let mut scene = Scene::due(server, CREDENTIALS, settings).await;
    scene.provider.advance(Duration::from_secs(280));
    let replay = if how.strict() { ReplayPolicy::Strict } else { ReplayPolicy::Grace(GRACE) };
    scene.replica = replica_of(&url, &scene.prefix, &scene.provider.issuer(), replay).await;
    let mut args = scene.args(server);
    args["url"] = json!(url);
    args["grace"] = json!(!how.strict());
    scene.provider.set_answer_delay(Duration::from_millis(20));
    let (mut overlapped, mut older, mut dead) = (0, 0, 0);
    for _ in 0..rounds {
        let before = scene.provider.counts();
        let mut victim = children::spawn("sweep", &args).await;
        assert_eq!(victim.next().await, Some(Value::from("READY")));
        victim.tell("GO").await;
        let asked = Instant::now() + Duration::from_secs(10);
        while scene.provider.counts().token_calls == before.token_calls && Instant::now() < asked {
            sleep(Duration::from_micros(200)).await;
        }
        sleep(Duration::from_micros(random() % 30_000)).await;
        signal(victim.pid(), "STOP");
        // Its requests are answered, and nobody reads that.
        while scene.provider.in_flight() > 0 {
            sleep(Duration::from_millis(1)).await;
        }
        scene.pass_time(how.stopped_for()).await;
        scene.pass().await;
        let was = scene.answered_at().await;
        let asked = scene.provider.counts().refreshes;
        let went_on = now_us();
        signal(victim.pid(), "CONT");
        // It commits what it has, and refreshes what it thinks is due.
        let ended = |said: Option<Value>| said.and_then(|said| said.as_u64()).expect("it lives");
        while ended(victim.next().await) < went_on {}
        scene.until_ended().await;
        let is = scene.answered_at().await;
        let asked = scene.provider.counts().refreshes - asked;
        let stored = was.iter().filter(|(id, at)| is[*id] != **at).count() as u64;
        older += was.iter().filter(|(id, at)| is[*id] < **at).count() as u64;
        victim.kill9().await;
        let again = scene.provider.counts().reused_presentations - before.reused_presentations;
        // Under a strict provider: it stored what it was told before.
        let caught = if how.strict() { stored > asked } else { again > 0 };
        overlapped += u64::from(caught);

        // Each must be good for another refresh.
        scene.pass_time(Duration::from_secs(290)).await;
        scene.pass().await;
        for (id, owner) in &scene.ids {
            let live = match scene.replica.vend(owner, id).await {
                Ok(vended) => scene.provider.is_access_token_live(vended.access_token.secret()),
                Err(_) => false,
            };
            dead += u64::from(!live);
        }
        scene.pass_time(Duration::from_secs(290)).await;
        progress(1);
        if dead > 0 && how != Paused::WithoutLineage {
            break;
        }
    }
    let counts = scene.provider.counts();
    verdict(
        format!(
            "{rounds} workers stopped for twice the lease, {overlapped} of them inside an \
             exchange; {} refreshes, {} second presentations; seed {seed}",
            counts.refreshes, counts.reused_presentations
        ),
        &[
            ("answers that gave way to an older one", older),
            ("credentials without a live token", dead),
            ("families revoked", counts.family_revocations),
            ("runs in which none was inside an exchange", u64::from(rounds > 4 && overlapped == 0)),
        ],
    )
}

/// A worker dies inside its exchanges, by the clock on the wall: who sweeps beside it asks the
/// provider again within the lease and 2 s. `replay` is what is known of the provider.
pub async fn takeover_in_time(
    server: &TestServer,
    replay: ReplayPolicy,
    credentials: u64,
    progress: Progress,
) -> Verdict {
    let scene = Scene::due(server, credentials, Settings::default()).await;
    let successor =
        replica_of(&server.url(), &scene.prefix, &scene.provider.issuer(), replay).await;
    scene.provider.set_failure(Some(Failure::always(Answer::Hang)));
    let mut args = scene.args(server);
    args["grace"] = json!(matches!(replay, ReplayPolicy::Grace(GRACE)));
    let mut victim = children::spawn("sweep", &args).await;
    children::start_together(std::slice::from_mut(&mut victim)).await;
    while (scene.provider.in_flight() as u64) < credentials {
        sleep(Duration::from_millis(1)).await;
    }
    victim.kill9().await;
    let killed = std::time::Instant::now();
    let asked_before = scene.provider.arrivals().len();
    scene.provider.set_failure(None);
    let most = LEASE + Duration::from_secs(2);
    let sweep = RefreshDue { parallel: 64, ..RefreshDue::default() };
    let again = || scene.provider.arrivals().split_off(asked_before);
    while (again().len() as u64) < credentials && killed.elapsed() < most {
        sweep.pass(&successor, &CancellationToken::new()).await;
        sleep(Duration::from_millis(100)).await;
    }
    progress(credentials);
    let took: Vec<_> = again().iter().map(|at| *at - killed).collect();
    let slowest = took.iter().max().copied().unwrap_or_default();
    let counts = scene.provider.counts();
    verdict(
        format!(
            "{} of {credentials} asked for again, the last {:.2} s after the kill (lease {} s); {} \
             refreshed",
            took.len(),
            slowest.as_secs_f64(),
            LEASE.as_secs(),
            counts.refreshes
        ),
        &[
            ("not taken over in time", credentials - took.len() as u64),
            (
                "later than the lease and 2 s",
                took.iter().filter(|took| **took > most).count() as u64,
            ),
        ],
    )
}
