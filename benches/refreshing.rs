//! Refreshing what is due: one credential's way through the store, and a hundred thousand at a
//! provider that takes its time.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use redis::cmd;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use url::Url;
use vestibule::{
    Digest, Keys, RequestId,
    connection::{
        AccessToken, CodeGrant, Connections, ConnectionsConfig, Connector, ExchangeError,
        RefreshToken, Registry, TokenAnswer, TokenExchange,
    },
    store::{Actor, Attempt, Begin, By, Claim, Commit, ConnectionId, NewCredential, Shard, Store},
    sweep::RefreshDue,
};

use crate::{
    Scale,
    connections::redis_store,
    contestants,
    rounds::{quantile, take_turns, work},
    support::server::TestServer,
    table::{Reach::AtMost, Table},
};

/// A provider's cap, and how long each of its answers takes.
const CAP: usize = 256;
const ANSWERS_IN: Duration = Duration::from_millis(20);
const HOUR: Duration = Duration::from_secs(3600);
const BY: By<'_> = By { actor: Actor::BackgroundRefresh, idp_host: "idp.example" };

/// Claim, begin and commit of one credential; against taking an element off a plain list and
/// acknowledging it, which keeps neither a lease nor a secret.
pub async fn through_the_store(table: &mut Table, scale: Scale) {
    let server = TestServer::for_benches().start().await;
    let (store, plain) = (redis_store(&server).await, contestants::shared(&server).await);
    for number in 0..scale.count(20_000) {
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
                    let claim = Claim { shard, request, limit: 16, hide: Duration::from_secs(12) };
                    let mut more = store.claim_due(claim).await.unwrap();
                    let Some(id) = more.pop() else { return };
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
            let Begin::Begun(begun) = store.begin(attempt).await.unwrap() else { return };
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
            store.commit(commit).await.unwrap();
        }
    });
    let theirs = work(move |_| {
        let mut plain = plain.clone();
        async move {
            let mut fetch = cmd("LMOVE");
            fetch.arg(&["queue", "taken", "RIGHT", "LEFT"]);
            let Some(item) = fetch.query_async::<Option<Vec<u8>>>(&mut plain).await.unwrap() else {
                return;
            };
            let mut done = redis::pipe();
            done.lrem("taken", 1, &item).ignore().lpush("queue", &item).ignore();
            done.query_async::<()>(&mut plain).await.unwrap();
        }
    });
    let rounds = take_turns(64, scale.time(1_000), 3, &[ours, theirs]).await;
    table.compare(
        ["connections", "claim + begin + commit, 64 tasks", "LMOVE, then LREM + LPUSH"],
        rounds.speed(0, 1),
        &format!(
            "{:.1} k/s against {:.1} k/s",
            rounds.per_second(0) / 1000.0,
            rounds.per_second(1) / 1000.0
        ),
    );
}

/// A hundred thousand are due at once; then as many more become due as can be kept up with.
pub async fn at_a_slow_provider(table: &mut Table, scale: Scale) {
    let server = TestServer::for_benches().start().await;
    let (provider, keys) = (Arc::new(Slow::default()), Keys::random());
    let connections = contestants::replica(&server, &keys).await.connections(config(&provider));
    let other = contestants::replica(&server, &keys).await.connections(config(&provider));
    let due = scale.count(100_000);
    store_due(&connections, &provider, due, |_| Duration::ZERO).await;
    // Even those are due a moment later.
    sleep(Duration::from_secs(2)).await;
    let started = Instant::now();
    // Two that could ask the provider twice as much as it takes.
    tokio::join!(sweep_until(&connections, &provider, due), sweep_until(&other, &provider, due),);
    let per_second = due as f64 / started.elapsed().as_secs_f64();
    table.judge(
        ["connections", &format!("{due} due at once, peak of calls"), &format!("the cap of {CAP}")],
        provider.peak.load(Ordering::SeqCst) as f64 / CAP as f64,
        AtMost(1.0),
        &format!(
            "{per_second:.0} refreshes/s by two workers at a provider that answers in {} ms",
            ANSWERS_IN.as_millis()
        ),
    );

    let (more, over) = (scale.count(10_000), scale.time(10_000));
    let provider = Arc::new(Slow::default());
    let connections = contestants::replica(&server, &keys).await.connections(config(&provider));
    let spread = |number: usize| over.mul_f64(number as f64 / more as f64);
    store_due(&connections, &provider, more, |number| Duration::from_secs(2) + spread(number))
        .await;
    sweep_until(&connections, &provider, more).await;
    let late = provider.late_ms.lock().unwrap().clone();
    table.tell(
        ["connections", &format!("{more} that become due over {:.0} s", over.as_secs_f64()), ""],
        &format!(
            "asked for p50 {:.0}, p99 {:.0} ms after they are due, one worker that looks every 250 ms",
            quantile(late.clone(), 0.5).unwrap_or_default(),
            quantile(late, 0.99).unwrap_or_default()
        ),
    );
}

fn config(provider: &Arc<Slow>) -> ConnectionsConfig {
    let url = |path| Url::parse(&format!("https://provider.example/{path}")).unwrap();
    let mut connector = Connector::new("github", url("authorize"), url("token"), "client").unwrap();
    connector.concurrency = Some(u16::try_from(CAP).unwrap().try_into().unwrap());
    (connector.refresh_lead, connector.serve_margin) = (Duration::ZERO, Duration::ZERO);
    ConnectionsConfig::new(Registry::new([connector]).unwrap(), provider.clone())
}

/// The provider knows when each is due, by the clock of Redis, which runs beside it.
async fn store_due(
    connections: &Connections,
    provider: &Slow,
    count: usize,
    due_in: impl Fn(usize) -> Duration,
) {
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
                connections.get("owner", &id).await.unwrap().next_at_ms.unwrap() as f64
            }
        });
        let due = futures_util::future::join_all(all).await;
        provider.due_ms.lock().unwrap().extend(due);
    }
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
    due_ms: Mutex<Vec<f64>>,
    late_ms: Mutex<Vec<f64>>,
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
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() * 1000.0;
        self.late_ms.lock().unwrap().push(now_ms - due_ms);
        self.peak.fetch_max(self.at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        sleep(ANSWERS_IN).await;
        self.at_once.fetch_sub(1, Ordering::SeqCst);
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
