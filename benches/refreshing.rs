//! Refreshing what is due: one credential's way through the store, beside job queues that do less, and
//! a hundred thousand at a provider that takes its time.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use redis::{cmd, pipe};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use url::Url;
use vestibule::{
    Digest, Keys, RequestId,
    connection::{
        AccessToken, CodeGrant, Connections, ConnectionsConfig, Connector, ExchangeError,
        RefreshToken, Registry, TokenAnswer, TokenExchange,
    },
    store::{
        Actor, Attempt, Begin, By, Claim, Commit, CommitOutcome, ConnectionId, NewCredential,
        Shard, Store,
    },
    sweep::RefreshDue,
};

use crate::{
    Scale,
    connections::{due_claim, preload_due_everywhere, redis_store},
    contestants, queues,
    rounds::{Rounds, play, quantile, under_load, work},
    support::server::TestServer,
    table::{
        Reach::{AtLeast, AtMost},
        Table,
    },
};

/// A provider's cap, and how long each of its answers takes.
const CAP: usize = 256;
const ANSWERS_IN: Duration = Duration::from_millis(20);
/// Who go through the store at the same time.
const TASKS: usize = 64;
const HOUR: Duration = Duration::from_secs(3600);
const BY: By<'_> = By { actor: Actor::BackgroundRefresh, idp_host: "idp.example" };

/// Claim, begin and commit of one credential; against taking an element off a plain list and
/// acknowledging it, which keeps neither a lease nor a secret, and against what job queues do.
pub async fn through_the_store(table: &mut Table, scale: Scale) {
    let server = TestServer::for_benches().start().await;
    let (store, plain) = (redis_store(&server).await, contestants::patient(&server).await);
    let count = scale.count(20_000);
    for number in 0..count {
        let owner = Digest::from_bytes(&[(number % 256) as u8; 16]).unwrap();
        let new = NewCredential {
            id: &ConnectionId::random(owner),
            request: RequestId::random().digest(),
            owner,
            connector: "github",
            secret: &[7; 364],
            sealed_by: 1,
            refresh_token: Some(owner),
            expires_in: Some(HOUR),
            refresh_expires_in: None,
            next_in: Some(Duration::ZERO),
            known_end: None,
            by: BY,
        };
        store.store_credential(new).await.unwrap();
        let push = cmd("LPUSH").arg("queue").arg(&[7_u8; 364][..]).to_owned();
        push.query_async::<()>(&mut plain.clone()).await.unwrap();
    }
    // Claimed by the dozen, as the sweep does.
    let claimed = Arc::new(Mutex::new(Vec::new()));
    let ours = work(move |number| {
        let (store, claimed) = (store.clone(), claimed.clone());
        async move {
            let (shard, request) = (Shard::new(number as u8), RequestId::random().digest());
            let next = claimed.lock().unwrap().pop();
            let id = match next {
                Some(id) => id,
                None => {
                    let (limit, hide) = (queues::BATCH, Duration::from_secs(12));
                    let claim = Claim { shard, request, limit, hide };
                    let mut more = store.claim_due(claim).await.unwrap();
                    let Some(id) = more.pop() else { return false };
                    claimed.lock().unwrap().extend(more);
                    id
                }
            };
            let attempt = Attempt {
                id: &id,
                holder: request,
                owner: None,
                lease: Duration::from_secs(12),
                instance: "bench",
                forgiven: HOUR,
                settled: HOUR,
                lifetime: None,
                by: BY,
            };
            let Begin::Begun(begun) = store.begin(attempt).await.unwrap() else { return false };
            let commit = Commit {
                id: &id,
                request,
                fence: begun.fence,
                grant: begun.grant,
                presented: begun.refresh_token,
                secret: &[8; 364],
                sealed_by: 1,
                refresh_token: Some(begun.refresh_token),
                expires_in: Some(HOUR),
                refresh_expires_in: None,
                // Due again at once: none runs out.
                next_in: Some(Duration::ZERO),
                answered_ago: Duration::ZERO,
                by: BY,
            };
            matches!(store.commit(commit).await.unwrap(), CommitOutcome::Committed { .. })
        }
    });
    let theirs = work(move |_| {
        let mut plain = plain.clone();
        async move {
            let mut fetch = cmd("LMOVE");
            fetch.arg(&["queue", "taken", "RIGHT", "LEFT"]);
            let Some(item) = fetch.query_async::<Option<Vec<u8>>>(&mut plain).await.unwrap() else {
                return false;
            };
            let mut done = pipe();
            done.lrem("taken", 1, &item).lpush("queue", &item).ignore();
            let (removed,): (usize,) = done.query_async(&mut plain).await.unwrap();
            removed == 1
        }
    });
    let rsmq = queues::rsmq(&server, count).await;
    let under_load = |work| under_load(TASKS, scale.time(1_000), work);
    let jobs = queues::apalis(&server, scale.count(queues::MOST_JOBS));
    let turns = [under_load(ours), under_load(theirs), under_load(rsmq), jobs];
    let rounds = play(3, &turns).await;
    const WHAT: &str = "claim + begin + commit, 64 tasks";
    let plain = ["connections", WHAT, "LMOVE, then LREM + LPUSH"];
    table.compare(plain, rounds.speed(0, 1), &against(&rounds, 1));
    let rsmq = ["connections", WHAT, "rsmq: receive by 16, make visible again"];
    table.judge(rsmq, rounds.speed(0, 2), AtLeast(3.0), &against(&rounds, 2));
    let apalis = ["connections", WHAT, "apalis: fetch by 16, lock and acknowledge"];
    table.judge(apalis, rounds.speed(0, 3), AtLeast(10.0), &against(&rounds, 3));
}

/// The first step alone, in which all do the same: take what is due, and put it off.
pub async fn claims_alone(table: &mut Table, scale: Scale) {
    let server = TestServer::for_benches().start().await;
    preload_due_everywhere(&server, 200 * Shard::COUNT).await;
    let ours = due_claim(&redis_store(&server).await, queues::BATCH);
    let rsmq = queues::rsmq_receives(&server, scale.count(20_000)).await;
    let under_load = |work| under_load(TASKS, scale.time(500), work);
    let jobs = scale.count(queues::MOST_JOBS);
    let jobs = queues::apalis_fetches(&server, TASKS, jobs).await;
    let rounds = play(5, &[under_load(ours), under_load(rsmq), jobs]).await;
    const WHAT: &str = "due claim alone, N = 16, 64 tasks";
    for (other, name) in [(1, "rsmq: receive by 16"), (2, "apalis: fetch by 16")] {
        let name = format!("{name}, the bodies as well");
        let row = ["connections", WHAT, &name];
        table.compare(row, rounds.speed(0, other), &against(&rounds, other));
    }
}

fn against(rounds: &Rounds, other: usize) -> String {
    let [ours, theirs] = [0, other].map(|one| rounds.per_second(one) / 1000.0);
    format!("{ours:.1} k/s against {theirs:.1} k/s")
}

/// A hundred thousand come due at one moment; then as many more become due as can be kept up with.
pub async fn at_a_slow_provider(table: &mut Table, scale: Scale) {
    let server = TestServer::for_benches().start().await;
    let (provider, keys) = (Arc::new(Slow::default()), Keys::random());
    let connections = contestants::replica(&server, &keys).await.connections(config(&provider));
    let other = contestants::replica(&server, &keys).await.connections(config(&provider));
    let due = scale.count(100_000);
    let ids = store_due(&connections, &provider, due, |_| 24 * HOUR).await;
    let moment_ms = all_due_at_once(&server, &provider, &ids).await;
    // Two that could ask the provider twice as much as it takes. They wait for it already.
    tokio::join!(sweep_until(&connections, &provider, due), sweep_until(&other, &provider, due));
    let took = (provider.last_ms() - moment_ms) / 1000.0;
    let all = format!("{due} due at once");
    table.judge(
        ["connections", &format!("{all}, peak of calls"), &format!("the cap of {CAP}")],
        provider.peak.load(Ordering::SeqCst) as f64 / CAP as f64,
        AtMost(1.0),
        &format!("two workers at a provider that answers in {} ms", ANSWERS_IN.as_millis()),
    );
    let per_second = due as f64 / took;
    let at_best = CAP as f64 / ANSWERS_IN.as_secs_f64();
    let full = provider.held_us.load(Ordering::SeqCst) as f64 / 1e6 / took / CAP as f64;
    table.compare(
        [
            "connections",
            &format!("{all}, refreshes/s"),
            &format!("{at_best:.0}, were all {CAP} places full"),
        ],
        per_second / at_best,
        &format!(
            "{per_second:.0} refreshes/s, places {:.0} % full on average; {}",
            full * 100.0,
            provider.lateness()
        ),
    );

    let (more, over) = (scale.count(10_000), scale.time(10_000));
    let provider = Arc::new(Slow::default());
    let connections = contestants::replica(&server, &keys).await.connections(config(&provider));
    let spread = |number: usize| over.mul_f64(number as f64 / more as f64);
    store_due(&connections, &provider, more, |number| Duration::from_secs(2) + spread(number))
        .await;
    sweep_until(&connections, &provider, more).await;
    table.tell(
        ["connections", &format!("{more} that become due over {:.0} s", over.as_secs_f64()), ""],
        &format!("{}, by one worker that looks every 250 ms", provider.lateness()),
    );
}

/// All of them a moment from now, by the clock of Redis, which runs beside it; returns which.
async fn all_due_at_once(server: &TestServer, provider: &Slow, ids: &[ConnectionId]) -> f64 {
    let at_ms = (now_ms() + 5_000.0).round();
    let mut raw = server.raw().await;
    for ids in ids.chunks(1_000) {
        let mut batch = pipe();
        for id in ids {
            let shard = id.shard();
            let conn = format!("vst:{{{shard}}}:conn:{id}");
            batch.cmd("HSET").arg(conn).arg("next_at").arg(at_ms as u64).ignore();
            let due = format!("vst:{{{shard}}}:due");
            batch.cmd("ZADD").arg(due).arg(at_ms as u64).arg(id.as_str()).ignore();
        }
        batch.query_async::<()>(&mut raw).await.unwrap();
    }
    assert!(now_ms() < at_ms, "some were due before all were");
    provider.due_ms.lock().unwrap().fill(at_ms);
    at_ms
}

fn config(provider: &Arc<Slow>) -> ConnectionsConfig {
    let url = |path| Url::parse(&format!("https://provider.example/{path}")).unwrap();
    let mut connector = Connector::new("github", url("authorize"), url("token"), "client").unwrap();
    connector.concurrency = Some(u16::try_from(CAP).unwrap().try_into().unwrap());
    (connector.refresh_lead, connector.serve_margin) = (Duration::ZERO, Duration::ZERO);
    ConnectionsConfig::new(Registry::new([connector]).unwrap(), provider.clone())
}

/// The provider knows when each is due.
async fn store_due(
    connections: &Connections,
    provider: &Slow,
    count: usize,
    due_in: impl Fn(usize) -> Duration,
) -> Vec<ConnectionId> {
    let mut ids = Vec::with_capacity(count);
    for first in (0..count).step_by(64) {
        let all = (first..(first + 64).min(count)).map(|number| {
            let answer = TokenAnswer {
                access_token: AccessToken::new("a".repeat(200)),
                refresh_token: Some(RefreshToken::new(number.to_string())),
                expires_in: Some(due_in(number)),
                refresh_expires_in: None,
                scope: None,
            };
            async move {
                let id = connections.store("owner", "github", None, &answer).await.unwrap();
                let due_ms = connections.get("owner", &id).await.unwrap().next_at_ms.unwrap();
                (id, due_ms as f64)
            }
        });
        for (id, due_ms) in futures_util::future::join_all(all).await {
            ids.push(id);
            provider.due_ms.lock().unwrap().push(due_ms);
        }
    }
    ids
}

/// As a worker does it, with as many slots as the provider has.
async fn sweep_until(connections: &Connections, provider: &Slow, count: usize) {
    let sweep = RefreshDue { parallel: CAP, ..RefreshDue::default() };
    while provider.answered.load(Ordering::SeqCst) < count {
        if !sweep.pass(connections, &CancellationToken::new()).await.is_full(&sweep) {
            sleep(Duration::from_millis(250)).await;
        }
    }
}

#[derive(Debug, Default)]
struct Slow {
    at_once: AtomicUsize,
    peak: AtomicUsize,
    answered: AtomicUsize,
    /// All the time that its places were taken.
    held_us: AtomicU64,
    due_ms: Mutex<Vec<f64>>,
    asked: Mutex<Vec<Asked>>,
}

/// When it was asked, and how long after that was due.
#[derive(Debug, Clone, Copy)]
struct Asked {
    at_ms: f64,
    late_ms: f64,
}

impl Slow {
    /// When the last answer was there.
    fn last_ms(&self) -> f64 {
        let asked = self.asked.lock().unwrap();
        let last = asked.iter().map(|asked| asked.at_ms).max_by(f64::total_cmp);
        last.unwrap() + ANSWERS_IN.as_secs_f64() * 1000.0
    }

    fn lateness(&self) -> String {
        let late: Vec<_> = self.asked.lock().unwrap().iter().map(|asked| asked.late_ms).collect();
        format!(
            "asked for p50 {:.0}, p99 {:.0} ms after they are due",
            quantile(late.clone(), 0.5).unwrap_or_default(),
            quantile(late, 0.99).unwrap_or_default()
        )
    }
}

fn now_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() * 1000.0
}

#[async_trait]
impl TokenExchange for Slow {
    async fn exchange_code(
        &self,
        _: &Connector,
        _: CodeGrant<'_>,
    ) -> Result<TokenAnswer, ExchangeError> {
        panic!("no code is exchanged here")
    }

    async fn exchange_refresh_token(
        &self,
        _: &Connector,
        refresh_token: &RefreshToken,
    ) -> Result<TokenAnswer, ExchangeError> {
        let number: usize = refresh_token.secret().parse().unwrap();
        let due_ms = self.due_ms.lock().unwrap()[number];
        let (at_ms, asked_at) = (now_ms(), Instant::now());
        self.asked.lock().unwrap().push(Asked { at_ms, late_ms: at_ms - due_ms });
        self.peak.fetch_max(self.at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        sleep(ANSWERS_IN).await;
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        self.held_us.fetch_add(asked_at.elapsed().as_micros() as u64, Ordering::SeqCst);
        self.answered.fetch_add(1, Ordering::SeqCst);
        Ok(TokenAnswer {
            access_token: AccessToken::new("b".repeat(200)),
            refresh_token: Some(RefreshToken::new("the next")),
            expires_in: Some(24 * HOUR),
            refresh_expires_in: None,
            scope: None,
        })
    }
}
