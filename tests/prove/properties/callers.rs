//! Callers in two processes want a token that has run out, all at once: the provider is asked once,
//! and all of them get what it said.

use std::{collections::BTreeSet, time::Duration};

use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::sleep};
use vestibule::store::ConnectionId;
use vestibule_worker::provider::{Provider, Settings};

use super::{
    Progress, Verdict,
    connections::{connections, sign_in},
    verdict,
};
use crate::support::{
    ageing::age,
    children::{self, Parent},
    server::TestServer,
    stores::fresh_prefix,
};

const PROCESSES: usize = 2;
const CALLERS: usize = 20;

/// Without leases whoever comes next asks the provider too.
pub async fn ask_once(
    server: &TestServer,
    leases: bool,
    rounds: u64,
    progress: Progress,
) -> Verdict {
    let prefix = fresh_prefix();
    let provider = Provider::start(Settings::default()).await.unwrap();
    let host = connections(&server.url(), &prefix, &provider.issuer()).await;
    let mut raw = server.raw().await;
    let args = json!({ "url": server.url(), "prefix": prefix, "issuer": provider.issuer() });
    let mut processes = children::spawn_many(PROCESSES, "vend", &args).await;
    children::start_together(&mut processes).await;
    // Without leases long enough for others to come meanwhile.
    let answers_in = if leases { 100 } else { 500 };
    provider.set_answer_delay(Duration::from_millis(answers_in));
    let (mut calls, mut split, mut failed) = (0, 0, 0);
    for round in 0..rounds {
        let owner = format!("owner-{round}");
        let id = sign_in(&host, &owner).await;
        age(&mut raw, &prefix, Duration::from_secs(400)).await;
        let before = provider.counts().refreshes;
        let taking = async {
            if leases {
                std::future::pending::<()>().await;
            }
            loop {
                take_lease_away(&mut raw, &prefix, &id).await;
                sleep(Duration::from_millis(5)).await;
            }
        };
        let asking = async {
            for process in &mut processes {
                process.tell(&format!("{id} {owner}")).await;
            }
            let mut tokens = BTreeSet::new();
            for process in &mut processes {
                let told = process.next().await.expect("it answers");
                let told: Vec<Option<String>> = serde_json::from_value(told).unwrap();
                failed += told.iter().filter(|token| token.is_none()).count() as u64;
                tokens.extend(told.into_iter().flatten());
            }
            tokens.len() as u64
        };
        let tokens = tokio::select! {
            tokens = asking => tokens,
            never = taking => never,
        };
        calls += provider.counts().refreshes - before;
        split += u64::from(tokens != 1);
        progress(1);
    }
    verdict(
        format!(
            "{rounds} credentials that had run out, {CALLERS} callers in each of {PROCESSES} \
             processes: {calls} calls"
        ),
        &[
            ("calls too many", calls.saturating_sub(rounds)),
            ("credentials of which not all got one and the same token", split),
            ("callers without a token", failed),
        ],
    )
}

async fn take_lease_away(raw: &mut MultiplexedConnection, prefix: &str, id: &ConnectionId) {
    let key = format!("{prefix}:{{{}}}:conn:{id}", id.shard());
    redis::cmd("HDEL").arg(key).arg(&["lease", "lease_ends_at"]).exec_async(raw).await.unwrap();
}

/// Vends what it is told to, so many times at once; see [`ask_once`].
pub async fn caller(args: Value, mut parent: Parent) {
    let text = |name: &str| args[name].as_str().unwrap().to_owned();
    let all = connections(&text("url"), &text("prefix"), &text("issuer")).await;
    parent.ready().await;
    loop {
        let told = parent.hear().await;
        let (id, owner) = told.split_once(' ').unwrap();
        let id: ConnectionId = id.parse().unwrap();
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let (all, id, owner) = (all.clone(), id.clone(), owner.to_owned());
            callers.spawn(async move {
                let vended = all.vend(&owner, &id).await.ok()?;
                Some(vended.access_token.secret().to_owned())
            });
        }
        parent.say(json!(callers.join_all().await));
    }
}
