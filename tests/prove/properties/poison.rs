//! A few records that cannot be refreshed, among thousands that are due: they hold nobody up.

use std::{sync::Arc, time::Duration};

use redis::cmd;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use vestibule::{
    Keys, RequestId, Vestibule,
    connection::{Connections, Refreshed, ReplayPolicy},
    seal::Seal,
    store::{Claim, ConnectionId, Shard, Store},
    sweep::RefreshDue,
};

use super::{Progress, Verdict, pkce::shared_keys, verdict};
use crate::support::{
    ageing::age,
    provider::{Scripted, connections_at, connector, tokens},
    server::TestServer,
    stores::{fresh_prefix, store},
};

const HOUR: Duration = Duration::from_secs(3600);

/// Who sweeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sweep {
    Vestibule,
    /// A plain loop: claims, and ends at the first that fails, to try again.
    EndsAtAnError,
}

/// What was done to a record; the last is no record at all.
pub const DAMAGES: [&str; 4] =
    ["a secret that does not open", "no hash", "no owner", "a due id that is none"];

/// All but the damaged are refreshed, once, in as many passes as their number takes. Returns the
/// figure, and which ones are damaged.
pub async fn among_many(
    server: &TestServer,
    sweep: Sweep,
    credentials: u64,
    progress: Progress,
) -> (Verdict, Vec<ConnectionId>) {
    let (prefix, keys, provider) = (fresh_prefix(), shared_keys(), Scripted::giving(HOUR));
    let redis = store(server, &prefix).await;
    let replica = replica(redis.clone(), &keys, &provider);
    let mut ids = Vec::new();
    for number in 0..credentials {
        let (owner, answer) =
            (format!("owner-{number}"), tokens(1_000_000_000 + number as usize, HOUR));
        ids.push(replica.store(&owner, "demo", None, &answer).await.unwrap());
    }
    let mut raw = server.raw().await;
    age(&mut raw, &prefix, Duration::from_secs(3590)).await;
    let damaged = ids[..3].to_vec();
    let key = |id: &ConnectionId| format!("{prefix}:{{{}}}:conn:{id}", id.shard());
    let due = |shard: Shard| format!("{prefix}:{{{shard}}}:due");
    let mut all = redis::pipe();
    all.hset(key(&damaged[0]), "secret", "garbage").ignore();
    all.del(key(&damaged[1])).ignore().set(key(&damaged[1]), "v1 of something else").ignore();
    all.hdel(key(&damaged[2]), "owner").ignore();
    all.zadd(due(damaged[0].shard()), "not an id", 1).ignore();
    // Before all others.
    for id in &damaged {
        all.zadd(due(id.shard()), id.as_str(), 1).ignore();
    }
    all.query_async::<()>(&mut raw).await.unwrap();

    let good = credentials - damaged.len() as u64;
    let (limit, started) = (256, Instant::now());
    // Each pass goes on where there is room; the damaged take theirs once or twice.
    let enough = good.div_ceil(limit as u64) + 3;
    let mut passes = 0;
    while (provider.calls() as u64) < good && passes < enough {
        let before = provider.calls() as u64;
        match sweep {
            Sweep::Vestibule => {
                let pass = RefreshDue { limit, ..RefreshDue::default() };
                pass.pass(&replica, &CancellationToken::new()).await;
            }
            Sweep::EndsAtAnError => ends_at_an_error(&*redis, &replica, limit).await,
        }
        passes += 1;
        progress(provider.calls() as u64 - before);
    }
    let done = provider.calls() as u64;
    let mut left = 0;
    for id in &damaged {
        left += cmd("EXISTS").arg(key(id)).query_async::<u64>(&mut raw).await.unwrap();
    }
    let figure = format!(
        "{done} of {good} refreshed beside {} of no use, in {passes} passes of {limit}, {:.1} s",
        DAMAGES.len(),
        started.elapsed().as_secs_f64()
    );
    let found = [
        ("not refreshed in time", good.saturating_sub(done)),
        ("exchanges too many", done.saturating_sub(good)),
        ("damaged records that are gone", damaged.len() as u64 - left),
    ];
    (verdict(figure, &found), damaged)
}

fn replica(redis: Arc<dyn Store>, keys: &Keys, provider: &Arc<Scripted>) -> Connections {
    let vestibule = Vestibule::assemble(redis, Seal::new(keys.ring.clone()), keys);
    connections_at(provider, &vestibule, [connector("demo", ReplayPolicy::Strict)])
}

async fn ends_at_an_error(store: &dyn Store, replica: &Connections, limit: usize) {
    let mut refreshed = 0;
    for shard in Shard::all() {
        let request = RequestId::random().digest();
        let claim = Claim { shard, request, limit: 100, hide: Duration::ZERO };
        for id in store.claim_due(claim).await.unwrap() {
            if refreshed == limit
                || !matches!(replica.refresh(&id).await, Ok(Refreshed::Fresh { .. }))
            {
                return;
            }
            refreshed += 1;
        }
    }
}
