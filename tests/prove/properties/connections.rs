//! Credentials under SIGKILL: refreshed by whoever is left, and never lost.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use vestibule::{
    connection::{Connections, ReplayPolicy},
    store::ConnectionId,
    sweep::RefreshDue,
};
use vestibule_worker::provider::{Provider, Settings};

use super::{Progress, Verdict, connect, verdict};
pub use crate::support::sign_in::{connections_of, connector, install_tls, sign_in};
use crate::support::{
    ageing::age,
    children::{self, Parent},
    server::{TestServer, random},
    stores::fresh_prefix,
};

const CREDENTIALS: usize = 8;
/// The grace of the usual provider.
pub const GRACE: Duration = Duration::from_secs(30);

pub async fn connections(url: &str, prefix: &str, issuer: &str) -> Connections {
    let vestibule = connect(url, prefix).await;
    connections_of(&vestibule, connector(issuer, ReplayPolicy::Grace(GRACE)))
}

/// A process that refreshes is killed anywhere in it; the next one takes over, and every
/// credential ends with a token that the provider accepts. Unless the provider has no grace: then
/// a kill between its answer and the commit costs the credential.
pub async fn survive_kills(
    server: &TestServer,
    grace: Duration,
    kills: u64,
    progress: Progress,
) -> Verdict {
    let (seed, prefix) = (random(), fresh_prefix());
    let provider = Provider::start(Settings { reuse_grace: grace, ..Settings::default() });
    let provider = provider.await.unwrap();
    provider.set_answer_delay(Duration::from_millis(30));
    let connections = connections(&server.url(), &prefix, &provider.issuer()).await;
    let mut ids = Vec::new();
    for owner in 0..CREDENTIALS {
        let owner = format!("owner-{owner}");
        ids.push((sign_in(&connections, &owner).await, owner));
    }

    let mut raw = server.raw().await;
    let args = json!({ "url": server.url(), "prefix": prefix, "issuer": provider.issuer() });
    let (mut hit, mut stuck, mut dead) = (0, 0, 0);
    let mut slowest = Duration::ZERO;
    for kill in 0..kills {
        age(&mut raw, &prefix, Duration::from_secs(300)).await;
        let mut victim = children::spawn("refresh", &args).await;
        assert_eq!(victim.next().await, Some(Value::from("READY")));
        let calls = provider.counts().token_calls;
        victim.tell("GO").await;
        // Half of the kills are anywhere, half are where they hurt: once the provider was asked.
        let asked = Instant::now() + Duration::from_secs(10);
        while kill % 2 == 1
            && dead == 0
            && provider.counts().token_calls == calls
            && Instant::now() < asked
        {
            sleep(Duration::from_micros(200)).await;
        }
        let within = if kill % 2 == 1 { 30_000 } else { 60_000 };
        sleep(Duration::from_micros(random() % within)).await;
        victim.kill9().await;
        let in_flight = leased(&mut raw, &prefix, &ids).await;
        hit += u64::from(in_flight > 0);

        // Past the dead process's lease, without waiting for it.
        age(&mut raw, &prefix, Duration::from_secs(13)).await;
        let started = Instant::now();
        let stop = CancellationToken::new();
        RefreshDue::default().pass(&connections, &stop).await;
        slowest = slowest.max(started.elapsed());
        stuck += leased(&mut raw, &prefix, &ids).await;
        for (id, owner) in &ids {
            let live = match connections.vend(owner, id).await {
                Ok(vended) => provider.is_access_token_live(vended.access_token.secret()),
                Err(_) => false,
            };
            dead += u64::from(!live);
        }
        progress(1);
    }
    let counts = provider.counts();
    verdict(
        format!(
            "{kills} kills, {hit} inside an exchange; {} refreshes, {} second presentations inside \
             the grace, slowest takeover pass {} ms; seed {seed}",
            counts.refreshes,
            counts.reused_presentations,
            slowest.as_millis()
        ),
        &[
            ("credentials without a live token", dead),
            ("leases left behind", stuck),
            ("families revoked", counts.family_revocations),
            ("runs in which no kill hit an exchange", u64::from(kills > 10 && hit == 0)),
        ],
    )
}

/// How many of these have a lease.
async fn leased(
    raw: &mut redis::aio::MultiplexedConnection,
    prefix: &str,
    ids: &[(ConnectionId, String)],
) -> u64 {
    let mut leased = 0;
    for (id, _) in ids {
        let key = format!("{prefix}:{{{}}}:conn:{id}", id.shard());
        let holder: Option<String> =
            redis::cmd("HGET").arg(key).arg("lease").query_async(raw).await.unwrap();
        leased += u64::from(holder.is_some());
    }
    leased
}

/// Refreshes until it is killed; see [`survive_kills`].
pub async fn refresher(args: Value, mut parent: Parent) {
    let text = |name: &str| args[name].as_str().unwrap().to_owned();
    let connections = connections(&text("url"), &text("prefix"), &text("issuer")).await;
    parent.ready().await;
    loop {
        RefreshDue::default().pass(&connections, &CancellationToken::new()).await;
    }
}
