//! Vending and claiming.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use redis::{aio::MultiplexedConnection, cmd, pipe};
use url::Url;
use vestibule::{
    NamingKey, RequestId,
    connection::{
        AccessToken, CodeGrant, ConnectionsConfig, Connector, ExchangeError, RefreshToken,
        Registry, TokenAnswer, TokenExchange, VendPath,
    },
    store::{
        Claim, Shard, Store,
        redis::{RedisConfig, RedisStore},
    },
};

use crate::{
    Scale, contestants,
    rounds::{Work, median, take_turns, work},
    support::server::TestServer,
    table::{Reach::AtMost, Table},
};

/// The fields that a vend reads.
const FIELDS: [&str; 14] = [
    "owner",
    "connector",
    "status",
    "reason",
    "grant",
    "ver",
    "secret",
    "expires_at",
    "next_at",
    "lease_ends_at",
    "attempts",
    "last_error",
    "alt_token",
    "alt2_token",
];

pub async fn warm_vend(table: &mut Table, scale: Scale) {
    let server = TestServer::for_benches().start().await;
    let connections = contestants::vestibule(&server).await.connections(config());
    let id = connections.store("owner", "github", None, &answer()).await.unwrap();
    let key = format!("vst:{{{}}}:conn:{id}", id.shard());
    let mut bare = contestants::shared(&server).await;

    let (mut ratios, mut ours, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=9 {
        let (mut vends, mut reads) = (Vec::new(), Vec::new());
        let end = Instant::now() + scale.time(600);
        while Instant::now() < end {
            for _ in 0..50 {
                let started = Instant::now();
                let vended = connections.vend("owner", &id).await.unwrap();
                vends.push(started.elapsed().as_secs_f64() * 1e6);
                assert_eq!(vended.path, VendPath::Warm);
            }
            for _ in 0..50 {
                let started = Instant::now();
                let row: Vec<Option<Vec<u8>>> =
                    cmd("HMGET").arg(&key).arg(&FIELDS).query_async(&mut bare).await.unwrap();
                reads.push(started.elapsed().as_secs_f64() * 1e6);
                assert!(row[6].is_some());
            }
        }
        let (vend, read) = (median(vends).unwrap(), median(reads).unwrap());
        if round > 0 {
            ratios.push(vend / read);
            ours.push(vend);
            plain.push(read);
        }
    }
    table.judge(
        ["connections", "warm vend, opened, p50", "bare HMGET of the same fields, p50"],
        median(ratios).unwrap(),
        AtMost(1.3),
        &format!(
            "{:.0} against {:.0} µs, one at a time",
            median(ours).unwrap(),
            median(plain).unwrap()
        ),
    );
}

pub fn config() -> ConnectionsConfig {
    let url = |path| Url::parse(&format!("https://provider.example/{path}")).unwrap();
    let connector = Connector::new("github", url("authorize"), url("token"), "client").unwrap();
    ConnectionsConfig::new(Registry::new([connector]).unwrap(), Arc::new(NoProvider))
}

pub fn answer() -> TokenAnswer {
    TokenAnswer {
        access_token: AccessToken::new("a".repeat(200)),
        refresh_token: Some(RefreshToken::new("r".repeat(100))),
        expires_in: Some(Duration::from_secs(3600)),
        scope: Some("repo user".to_owned()),
        refresh_expires_in: None,
    }
}

pub async fn due_claims(table: &mut Table, scale: Scale) {
    for members in [10_000, 1_000_000] {
        claims_of(table, scale, scale.count(members).max(39 * Shard::COUNT)).await;
    }
}

async fn claims_of(table: &mut Table, scale: Scale, members: usize) {
    let server = TestServer::for_benches().start().await;
    preload_due_everywhere(&server, members).await;
    let store = redis_store(&server).await;
    // No shard has fewer than are asked for.
    for limit in
        [1, 32, 100].into_iter().filter(|limit| usize::from(*limit) <= members / Shard::COUNT)
    {
        let rounds = take_turns(16, scale.time(500), 3, &[due_claim(&store, limit)]).await;
        table.tell(
            ["connections", &format!("due claim, N = {limit}, of {members} in all shards"), ""],
            &format!("{:.0} k ids/s", rounds.per_second(0) / 1000.0),
        );
    }
}

/// Claims so many ids of one shard after the other, for a moment: none runs out. Each id counts.
pub fn due_claim(store: &Arc<RedisStore>, limit: u16) -> Work {
    let store = store.clone();
    work(move |number| {
        let store = store.clone();
        async move {
            let (shard, request) = (Shard::new(number as u8), RequestId::random().digest());
            let claim = Claim { shard, request, limit, hide: Duration::from_millis(1) };
            let claimed = store.claim_due(claim).await.unwrap().len();
            assert_eq!(claimed, usize::from(limit), "of shard {shard}");
            claimed
        }
    })
}

pub async fn redis_store(server: &TestServer) -> Arc<RedisStore> {
    let config = RedisConfig::new(&server.url()).unwrap();
    let naming = NamingKey::new([7; 32]);
    let prefixed = config.with_prefix("due").unwrap();
    Arc::new(RedisStore::connect(prefixed, &naming).await.unwrap())
}

/// As many in every shard.
pub async fn preload_due_everywhere(server: &TestServer, count: usize) {
    let mut raw = server.raw().await;
    for shard in Shard::all() {
        preload_due(&mut raw, shard, count / Shard::COUNT).await;
    }
}

/// Ids that are all due already, under the prefix of [`redis_store`].
pub async fn preload_due(raw: &mut MultiplexedConnection, shard: Shard, count: usize) {
    for first in (0..count).step_by(1_000) {
        let mut batch = pipe();
        for number in first..(first + 1_000).min(count) {
            let id = format!("{shard}{number:032x}");
            batch.cmd("ZADD").arg(format!("due:{{{shard}}}:due")).arg(number).arg(id).ignore();
        }
        let _: () = batch.query_async(raw).await.unwrap();
    }
}

/// Nothing is exchanged here.
#[derive(Debug)]
struct NoProvider;

#[async_trait]
impl TokenExchange for NoProvider {
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
        _: &RefreshToken,
    ) -> Result<TokenAnswer, ExchangeError> {
        panic!("nothing is due here")
    }
}
