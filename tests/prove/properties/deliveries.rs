//! Delivery by many processes, some of which are killed.

use std::{collections::HashMap, time::Duration};

use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use vestibule::{
    Vestibule,
    event::{Delivery, DeliveryConfig, Event, Notifier, NotifyError, OutboxGroup},
    seal::Seal,
    store::{Actor, EventKind, EventStore, NewEvent, Shard, Subject},
    sweep::TrimEvents,
};

use super::pkce::shared_keys;
use crate::support::{
    children::{self, Parent},
    server::{TestServer, with_every_right},
    stores::{fresh_prefix, store_with},
    verbs::request,
};

/// What came of so many events.
#[derive(Debug, Default)]
pub struct Told {
    pub events: u64,
    /// Never told.
    pub missing: u64,
    /// Told more often than once.
    pub twice: u64,
    /// Told after a later one of the same record, first tellings only.
    pub out_of_order: u64,
}

/// Three processes deliver so many events of 50 records; so many of them are killed between a telling
/// and its acknowledgement.
pub async fn delivered(server: &TestServer, events: u64, kills: usize) -> Told {
    let prefix = fresh_prefix();
    let keys = shared_keys();
    let store = store_with(&server.url(), &prefix, &keys.naming).await.unwrap();
    let vestibule = Vestibule::assemble(store.clone(), Seal::new(keys.ring.clone()), &keys);
    store.open_outbox(&group()).await.unwrap();

    let args = |dies_at| json!({ "url": server.url(), "prefix": prefix, "dies_at": dies_at });
    let mut replicas = Vec::with_capacity(3);
    for nth in 0..3 {
        // Each of those that are killed has told some before.
        let dies_at = if nth < kills { Some(10 + 7 * nth) } else { None };
        replicas.push(children::spawn("deliver", &args(dies_at)).await);
    }
    children::start_together(&mut replicas).await;
    for nth in 0..events {
        let record = (nth % 50) as u8;
        let event = NewEvent {
            kind: EventKind::NeedsReauth,
            subject: Subject::Connection,
            subject_id: &format!("record-{record}"),
            name: "github",
            owner: None,
            actor: Actor::BackgroundRefresh,
            idp_host: "",
            detail: &format!("nth={nth}"),
        };
        store.append_event(Shard::new(record), event, request()).await.unwrap();
    }
    let trim = TrimEvents::default();
    let never = CancellationToken::new();
    for _ in 0..600 {
        trim.pass(&vestibule, &never).await;
        if store.outbox_backlog().await.unwrap().is_empty() {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    for replica in &mut replicas[kills..] {
        replica.tell("END").await;
    }
    for (nth, replica) in replicas.iter_mut().enumerate() {
        replica.rest().await;
        assert_eq!(replica.wait().await, nth >= kills, "replica {nth} ended as it should");
    }
    account(&heard(server, &prefix).await, events)
}

/// What the receiver heard, in its order: a list beside the records, which each telling pushes to.
async fn heard(server: &TestServer, prefix: &str) -> Vec<String> {
    let mut raw = server.raw().await;
    redis::cmd("LRANGE").arg(list(prefix)).arg(0).arg(-1).query_async(&mut raw).await.unwrap()
}

fn account(heard: &[String], events: u64) -> Told {
    let mut told = Told { events, ..Told::default() };
    let mut seen: HashMap<u64, u64> = HashMap::new();
    let mut last: HashMap<&str, u64> = HashMap::new();
    for line in heard {
        let (record, nth) = line.split_once(" nth=").unwrap();
        let nth: u64 = nth.parse().unwrap();
        let times = seen.entry(nth).or_default();
        *times += 1;
        if *times == 1 && last.insert(record, nth).is_some_and(|before| before > nth) {
            told.out_of_order += 1;
        }
    }
    told.missing = events - seen.len() as u64;
    told.twice = seen.values().filter(|times| **times > 1).count() as u64;
    told
}

/// A replica that delivers until it hears END, or dies between telling and acknowledging; see
/// [`delivered`].
pub async fn deliverer(args: Value, mut parent: Parent) {
    let text = |name: &str| args[name].as_str().unwrap().to_owned();
    let (url, prefix) = (text("url"), text("prefix"));
    let keys = shared_keys();
    let store = store_with(&url, &prefix, &keys.naming).await.unwrap();
    let vestibule = Vestibule::assemble(store, Seal::new(keys.ring.clone()), &keys);
    let client = redis::Client::open(with_every_right(&url)).unwrap();
    let raw = client.get_multiplexed_async_connection().await.unwrap();
    let (told, dies_at) = (Default::default(), args["dies_at"].as_u64());
    let notifier = std::sync::Arc::new(Pushes { raw, list: list(&prefix), told, dies_at });
    let config = DeliveryConfig {
        timeout: Duration::from_secs(1),
        idle: Duration::from_secs(3),
        ..DeliveryConfig::default()
    };
    let delivery = Delivery::new(&vestibule.events(), group(), notifier, "replica", config);
    parent.ready().await;
    let stop = CancellationToken::new();
    let passes = async {
        loop {
            delivery.pass(&stop).await;
            sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = passes => {}
        _ = parent.hear() => {}
    }
}

#[derive(Debug)]
struct Pushes {
    raw: redis::aio::MultiplexedConnection,
    list: String,
    told: std::sync::atomic::AtomicU64,
    dies_at: Option<u64>,
}

#[async_trait::async_trait]
impl Notifier for Pushes {
    async fn notify(&self, event: &Event) -> Result<(), NotifyError> {
        let line = format!("{} {}", event.subject_id, event.detail);
        let mut raw = self.raw.clone();
        let pushed: redis::RedisResult<u64> =
            redis::cmd("RPUSH").arg(&self.list).arg(line).query_async(&mut raw).await;
        pushed.unwrap();
        let told = self.told.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        if self.dies_at.is_some_and(|at| told >= at) {
            let me = std::process::id().to_string();
            std::process::Command::new("kill").args(["-9", &me]).status().unwrap();
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

fn group() -> OutboxGroup {
    OutboxGroup::new("test").unwrap()
}

/// Under no prefix of the library's.
fn list(prefix: &str) -> String {
    format!("heard-{prefix}")
}
