//! What happened is told: to each receiver, once, in order, whatever fails.

mod alone;
mod failures;
mod history;
mod processes;
mod slow;
mod webhook;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::join_all;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use vestibule::{
    Digest, Vestibule,
    event::{Delivery, DeliveryConfig, DeliveryPass, Event, Notifier, NotifyError, OutboxGroup},
    seal::Seal,
    store::{
        Actor, EventId, EventKind, EventStore, NewEvent, Shard, Store, Subject, redis::RedisStore,
    },
    sweep::TrimEvents,
};

use crate::{
    properties::pkce::shared_keys,
    support::{
        ageing::age,
        server::{self, TestServer},
        stores::{fresh_prefix, store_with},
        verbs::request,
    },
};

/// A store, and what a host makes of it.
struct Scene {
    prefix: String,
    store: Arc<RedisStore>,
    vestibule: Vestibule,
}

impl Scene {
    async fn new() -> Self {
        Self::on(server::shared().await, &fresh_prefix()).await
    }

    async fn on(server: &TestServer, prefix: &str) -> Self {
        let keys = shared_keys();
        let store = store_with(&server.url(), prefix, &keys.naming).await.unwrap();
        let seal = Seal::new(keys.ring.clone());
        let vestibule = Vestibule::assemble(store.clone(), seal, &keys);
        Self { prefix: prefix.to_owned(), store, vestibule }
    }

    fn delivery(&self, group: &str, notifier: Arc<dyn Notifier>) -> Delivery {
        self.delivery_with(group, notifier, brisk())
    }

    fn delivery_with(
        &self,
        group: &str,
        notifier: Arc<dyn Notifier>,
        config: DeliveryConfig,
    ) -> Delivery {
        let group = OutboxGroup::new(group).unwrap();
        Delivery::new(&self.vestibule.events(), group, notifier, "test", config)
    }

    /// The `nth` thing that happens to a record.
    async fn happens(&self, record: u8, nth: usize) {
        append(&*self.store, record, EventKind::NeedsReauth, &format!("nth={nth}")).await;
    }

    async fn age(&self, by: Duration) {
        age(&mut server::shared().await.raw().await, &self.prefix, by).await;
    }

    /// How many entries all outboxes have.
    async fn kept(&self) -> u64 {
        self.store.outbox_backlog().await.unwrap().iter().map(|(_, length)| length).sum()
    }
}

/// The shard of a record; several share one.
fn shard(record: u8) -> Shard {
    Shard::new(record % 7)
}

async fn append(store: &dyn Store, record: u8, kind: EventKind, detail: &str) {
    let event = NewEvent {
        kind,
        subject: Subject::Connection,
        subject_id: &format!("{}{:032x}", shard(record), record),
        name: "github",
        owner: Digest::from_bytes(&[record; 16]),
        actor: Actor::BackgroundRefresh,
        idp_host: "github.com",
        detail,
    };
    store.append_event(shard(record), event, request()).await.unwrap();
}

/// Pauses that a test can wait for.
fn brisk() -> DeliveryConfig {
    DeliveryConfig {
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(20),
        timeout: Duration::from_secs(5),
        ..DeliveryConfig::default()
    }
}

async fn pass(delivery: &Delivery) -> DeliveryPass {
    delivery.pass(&CancellationToken::new()).await
}

/// Passes until nothing is left for the receiver, at most for a while.
async fn deliver_all(scene: &Scene, delivery: &Delivery) {
    let all = async {
        while scene.kept().await > 0 {
            pass(delivery).await;
            trim(scene).await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(Duration::from_secs(30), all).await.expect("all is delivered");
}

async fn trim(scene: &Scene) -> u64 {
    let sweep = TrimEvents::default();
    sweep.pass(&scene.vestibule, &CancellationToken::new()).await.done
}

type Fails = Box<dyn Fn(&Event, usize) -> Option<NotifyError> + Send + Sync>;

/// Remembers what it was told; fails as it is told to, given how often it was called before.
struct Receiver {
    told: Mutex<Vec<Event>>,
    calls: Mutex<usize>,
    fails: Mutex<Fails>,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Receiver")
    }
}

impl Receiver {
    fn new() -> Arc<Self> {
        Self::failing(|_, _| None)
    }

    fn failing(
        fails: impl Fn(&Event, usize) -> Option<NotifyError> + Send + Sync + 'static,
    ) -> Arc<Self> {
        let fails: Fails = Box::new(fails);
        Arc::new(Self { told: Mutex::default(), calls: Mutex::default(), fails: Mutex::new(fails) })
    }

    fn mend(&self) {
        *self.fails.lock().unwrap() = Box::new(|_, _| None);
    }

    fn calls(&self) -> usize {
        *self.calls.lock().unwrap()
    }

    fn told(&self) -> Vec<Event> {
        self.told.lock().unwrap().clone()
    }

    fn ids(&self) -> Vec<EventId> {
        self.told().iter().map(|event| event.id).collect()
    }

    /// Each event once, and those of each record in order.
    fn expect_once_and_in_order(&self, count: usize) {
        let mut ids = self.ids();
        assert_eq!(ids.len(), count, "told so often");
        let mut last: HashMap<String, EventId> = HashMap::new();
        for event in self.told() {
            if let Some(before) = last.insert(event.subject_id.clone(), event.id) {
                assert!(before < event.id, "{} was told after {before}", event.id);
            }
        }
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), count, "some were told twice");
    }
}

#[async_trait::async_trait]
impl Notifier for Receiver {
    async fn notify(&self, event: &Event) -> Result<(), NotifyError> {
        let nth = {
            let mut calls = self.calls.lock().unwrap();
            *calls += 1;
            *calls - 1
        };
        tokio::task::yield_now().await;
        if let Some(error) = (self.fails.lock().unwrap())(event, nth) {
            return Err(error);
        }
        self.told.lock().unwrap().push(event.clone());
        Ok(())
    }
}

fn away() -> NotifyError {
    NotifyError::Away { reason: "a test".to_owned(), retry_after: None }
}

fn refused() -> NotifyError {
    NotifyError::Refused { reason: "a test".to_owned() }
}

/// three replicas, many records: each event once, in the order of its record, to each of two
/// receivers.
#[tokio::test(flavor = "multi_thread")]
async fn each_receiver_is_told_once_and_in_order() {
    let scene = Scene::new().await;
    let receivers = [Receiver::new(), Receiver::new()];
    let deliveries: Vec<_> = (0..6)
        .map(|nth| scene.delivery(["one", "two"][nth % 2], receivers[nth % 2].clone()))
        .collect();
    for delivery in &deliveries[..2] {
        delivery.open().await.unwrap();
    }
    let happening = async {
        for nth in 0..20 {
            for record in 0..20 {
                scene.happens(record, nth).await;
            }
        }
    };
    let telling = join_all(deliveries.iter().map(async |delivery| {
        for _ in 0..40 {
            pass(delivery).await;
            trim(&scene).await;
        }
    }));
    tokio::join!(happening, telling);
    deliver_all(&scene, &deliveries[0]).await;
    deliver_all(&scene, &deliveries[1]).await;
    for receiver in &receivers {
        receiver.expect_once_and_in_order(400);
    }
    assert_eq!(scene.kept().await, 0, "what all were told is not kept");
}

/// only transitions are told by default; the rest is acknowledged, and so not kept.
#[tokio::test]
async fn what_is_no_transition_is_not_told() {
    let scene = Scene::new().await;
    let receiver = Receiver::new();
    let delivery = scene.delivery("one", receiver.clone());
    delivery.open().await.unwrap();
    for kind in EventKind::ALL {
        append(&*scene.store, 1, kind, "").await;
    }
    let first = pass(&delivery).await;
    assert_eq!((first.delivered, first.unwanted), (11, 7));
    assert_eq!(pass(&delivery).await, DeliveryPass::default());
    assert_eq!(trim(&scene).await, 18);
    receiver.expect_once_and_in_order(11);
}

/// each receiver is told of the kinds that it wants, and of no others, whatever they are.
#[tokio::test]
async fn each_receiver_is_told_what_it_wants() {
    let scene = Scene::new().await;
    let wanted: [&[EventKind]; 4] = [
        &[EventKind::RefreshSucceeded],
        &[EventKind::NeedsReauth, EventKind::ConnectStarted],
        &EventKind::ALL,
        &[],
    ];
    let mut receivers = Vec::new();
    for (nth, kinds) in wanted.iter().enumerate() {
        let (receiver, config) =
            (Receiver::new(), DeliveryConfig { kinds: kinds.to_vec(), ..brisk() });
        let delivery = scene.delivery_with(&format!("of-{nth}"), receiver.clone(), config);
        delivery.open().await.unwrap();
        receivers.push((delivery, receiver));
    }
    for kind in EventKind::ALL {
        append(&*scene.store, 1, kind, "").await;
    }
    for (kinds, (delivery, receiver)) in wanted.iter().zip(&receivers) {
        let seen = pass(delivery).await;
        assert_eq!((seen.delivered, seen.unwanted), (kinds.len(), 18 - kinds.len()));
        let mut told: Vec<_> = receiver.told().iter().map(|event| event.kind).collect();
        let mut kinds = kinds.to_vec();
        told.sort();
        kinds.sort();
        assert_eq!(told, kinds);
    }
    assert_eq!(trim(&scene).await, 18, "what is not wanted is not kept");
}

/// without a receiver nothing is kept for delivery; one that comes is told from then on, and
/// one that goes leaves nothing.
#[tokio::test]
async fn nothing_is_kept_for_nobody() {
    let scene = Scene::new().await;
    scene.happens(1, 0).await;
    assert_eq!(scene.kept().await, 0);

    let (receiver, silent) = (Receiver::new(), Receiver::new());
    let delivery = scene.delivery("one", receiver.clone());
    delivery.open().await.unwrap();
    scene.delivery("silent", silent).open().await.unwrap();
    scene.happens(1, 1).await;
    assert_eq!(pass(&delivery).await.delivered, 1);
    assert_eq!(trim(&scene).await, 0, "another has not been told yet");

    let events = scene.vestibule.events();
    events.remove_receiver(&OutboxGroup::new("silent").unwrap()).await.unwrap();
    assert_eq!(trim(&scene).await, 1);
    events.remove_receiver(&OutboxGroup::new("one").unwrap()).await.unwrap();
    scene.happens(1, 2).await;
    assert_eq!(scene.kept().await, 0);
    let mut raw = server::shared().await.raw().await;
    let left: Vec<String> = redis::cmd("KEYS")
        .arg(format!("{}:*:outbox", scene.prefix))
        .query_async(&mut raw)
        .await
        .unwrap();
    assert_eq!(left, [] as [String; 0]);
}
