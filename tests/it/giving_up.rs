//! What cannot be refreshed: skipped where it is of no use, given up after a day, and neither is in
//! the way of the others. In memory and in paused time.

use std::{sync::Arc, time::Duration};

use redis::AsyncCommands;
use tokio_util::sync::CancellationToken;
use vestibule::{
    Keys, Vestibule,
    connection::{
        ConnectionError, Connections, ConnectionsConfig, ExchangeClass, Refreshed, Registry,
        ReplayPolicy,
    },
    seal::Seal,
    store::{ConnectionId, Retry, Status, Store, memory::MemoryStore},
    sweep::{RefreshDue, RefreshDuePass},
};

use crate::support::{
    ageing::age,
    logs,
    provider::{Scripted, connector, tokens},
    server,
    stores::{fresh_prefix, naming_key, store},
    verbs,
};

const HOUR: Duration = Duration::from_secs(3600);
const LIFE: Duration = Duration::from_secs(1800);

/// One credential that does not open, among a thousand that are due: these are refreshed in as many
/// passes as without it, and it is told once.
#[tokio::test(start_paused = true)]
async fn a_credential_that_does_not_open_is_in_nobodys_way() {
    let logs = logs::capture();
    let memory = Arc::new(MemoryStore::new());
    let scene = Scene::new(memory.clone());
    for n in 0..1000 {
        scene.connect(&format!("owner-{n}")).await;
    }
    let poison = verbs::due(&*memory).await;
    memory.advance(HOUR);

    let mut refreshed = 0;
    for _ in 0..4 {
        refreshed += scene.pass().await.refreshed;
    }
    assert_eq!(refreshed, 1000, "four passes of 256");
    let mut claimed = 0;
    for _ in 0..10 {
        tokio::time::advance(Duration::from_secs(13)).await;
        let pass = scene.pass().await;
        assert_eq!((pass.claimed, pass.errors), (pass.skipped, 0), "{pass:?}");
        claimed += pass.claimed;
    }
    assert!((1..=4).contains(&claimed), "{claimed} times in 130 s: set aside for a growing while");
    let told = format!("left for those who can, and skipped for a while connection={poison}");
    assert_eq!(logs.text().matches(&told).count(), 1);
    let row = memory.read_credential(&poison).await.unwrap().unwrap();
    assert_eq!((row.status, row.attempts), (Status::Active, 0), "nothing is written on it");
}

/// V-10: nor are a thousand of them in the way of the next that is due.
#[tokio::test(start_paused = true)]
async fn a_thousand_that_do_not_open_are_claimed_once_and_set_aside() {
    let memory = Arc::new(MemoryStore::new());
    let scene = Scene::new(memory.clone());
    for _ in 0..1000 {
        verbs::due(&*memory).await;
    }
    let (mut claimed, mut passes) = (0, 0);
    loop {
        let pass = scene.pass().await;
        (claimed, passes) = (claimed + pass.claimed, passes + 1);
        if !pass.is_full(&RefreshDue::default()) {
            break;
        }
    }
    assert_eq!((claimed, passes), (1000, 4), "four passes of 256, one after the other");
    // Past the time that what was claimed is hidden; and past the time that it is set aside.
    for (seconds, claimed) in [(13, 0), (20, 256)] {
        tokio::time::advance(Duration::from_secs(seconds)).await;
        let pass = scene.pass().await;
        assert_eq!((pass.claimed, pass.skipped), (claimed, claimed), "after {seconds} s more");
    }
}

/// C-10: an owner with thousands that are due leaves all others their turn in the same pass.
#[tokio::test(start_paused = true)]
async fn a_shard_with_a_backlog_leaves_the_others_their_turn() {
    let memory = Arc::new(MemoryStore::new());
    let scene = Scene::new(memory.clone());
    let mut big = scene.connect("big").await;
    for _ in 0..3000 {
        big = scene.connect("big").await;
    }
    let mut others = Vec::new();
    for n in 0..100 {
        others.push(scene.connect(&format!("owner-{n}")).await);
    }
    memory.advance(HOUR);
    let pass = scene.pass().await;
    assert_eq!((pass.claimed, pass.refreshed), (256, 256), "{pass:?}");
    for id in others.iter().filter(|id| id.shard() != big.shard()) {
        let row = memory.read_credential(id).await.unwrap().unwrap();
        assert_eq!(row.ver, 2, "{id} waits for another pass");
    }
}

/// A record that is damaged on Redis: the same.
#[tokio::test]
async fn a_damaged_record_is_in_nobodys_way() {
    let prefix = fresh_prefix();
    let redis = store(server::shared().await, &prefix).await;
    let scene = Scene::new(redis.clone());
    for n in 0..20 {
        scene.connect(&format!("owner-{n}")).await;
    }
    let damaged = verbs::due(&*redis).await;
    let mut raw = server::shared().await.raw().await;
    age(&mut raw, &prefix, HOUR).await;
    let key = format!("{prefix}:{{{}}}:conn:{damaged}", damaged.shard());
    let _: () = raw.hset(&key, "status", "\u{1f480}").await.unwrap();
    let (mut refreshed, mut errors) = (0, 0);
    while refreshed < 20 {
        let pass = scene.pass().await;
        refreshed += pass.refreshed;
        errors += pass.errors;
    }
    assert_eq!(errors, 0, "it is no fault of the shard's");
}

/// X-7 and the horizon: a refresh that fails for a day is given up, with its last error; what an
/// operator or a caller mends is retried by hand.
#[tokio::test(start_paused = true)]
async fn what_fails_for_a_day_is_given_up() {
    let memory = Arc::new(MemoryStore::new());
    let scene = Scene::new(memory.clone());
    let id = scene.connect("alice").await;
    memory.advance(HOUR);
    scene.provider.will_fail(ExchangeClass::Transient, "out of order");
    let mut tries = 0;
    let mut failed_for = Duration::ZERO;
    let row = loop {
        tries += usize::from(scene.pass().await.failed == 1);
        let row = memory.read_credential(&id).await.unwrap().unwrap();
        if row.status != Status::Active {
            break row;
        }
        assert_eq!(row.attempts as usize, tries);
        memory.advance(Duration::from_secs(60));
        failed_for += Duration::from_secs(60);
    };
    assert_eq!((row.status, row.reason.as_deref()), (Status::Exhausted, Some("out of order")));
    assert!(failed_for >= 24 * HOUR && failed_for < 25 * HOUR, "{failed_for:?}");
    // Doubling up to a quarter of an hour: some hundred tries in a day, not thousands.
    assert!((90..140).contains(&tries), "{tries}");
    let error = scene.connections.vend("alice", &id).await.unwrap_err();
    assert!(
        matches!(&error, ConnectionError::Exhausted { last_error } if last_error == "out of order")
    );
    memory.advance(HOUR * 100);
    assert_eq!(scene.pass().await.claimed, 0, "it is not tried any more");

    scene.provider.will_give(LIFE);
    assert_eq!(scene.connections.retry(&id).await.unwrap(), Retry::Retried);
    assert_eq!(scene.pass().await.refreshed, 1);
    assert!(scene.connections.vend("alice", &id).await.is_ok());
    assert_eq!(scene.connections.retry(&id).await.unwrap(), Retry::NotFailing);
}

/// A host may give up sooner, or later.
#[tokio::test(start_paused = true)]
async fn the_horizon_is_the_hosts() {
    for horizon in [HOUR, 48 * HOUR] {
        let memory = Arc::new(MemoryStore::new());
        let scene = Scene::with(memory.clone(), |config| config.horizon = horizon);
        let id = scene.connect("alice").await;
        memory.advance(HOUR);
        scene.provider.will_fail(ExchangeClass::Transient, "out of order");
        let mut failed_for = Duration::ZERO;
        while memory.read_credential(&id).await.unwrap().unwrap().status == Status::Active {
            scene.pass().await;
            memory.advance(Duration::from_secs(60));
            failed_for += Duration::from_secs(60);
        }
        assert!(failed_for >= horizon && failed_for < horizon + HOUR, "{failed_for:?}");
    }
}

/// The days do not add up: what succeeds in between begins anew.
#[tokio::test(start_paused = true)]
async fn a_success_begins_the_horizon_anew() {
    let memory = Arc::new(MemoryStore::new());
    let scene = Scene::new(memory.clone());
    let id = scene.connect("alice").await;
    for _ in 0..3 {
        memory.advance(HOUR);
        scene.provider.will_fail(ExchangeClass::Transient, "out of order");
        assert_eq!(scene.pass().await.failed, 1);
        memory.advance(HOUR * 23);
        assert_eq!(scene.pass().await.failed, 1);
        scene.provider.will_give(LIFE);
        memory.advance(HOUR);
        assert_eq!(scene.pass().await.refreshed, 1);
    }
    let row = memory.read_credential(&id).await.unwrap().unwrap();
    assert_eq!((row.status, row.attempts), (Status::Active, 0));
}

/// H-12: a client that is not accepted is the operator's to mend, and costs no user a credential.
#[tokio::test(start_paused = true)]
async fn an_operators_fault_gives_nothing_up() {
    for class in [ExchangeClass::Client, ExchangeClass::Config] {
        let memory = Arc::new(MemoryStore::new());
        let scene = Scene::new(memory.clone());
        let id = scene.connect("alice").await;
        scene.provider.will_fail(class, "out of order");
        for _ in 0..10 {
            memory.advance(HOUR * 12);
            assert_eq!(scene.pass().await.failed, 1);
        }
        let row = memory.read_credential(&id).await.unwrap().unwrap();
        assert_eq!(row.status, Status::Active);
    }
}

/// While it backs off, a retry by hand does not wait.
#[tokio::test(start_paused = true)]
async fn a_backoff_is_cut_short_by_hand() {
    let memory = Arc::new(MemoryStore::new());
    let scene = Scene::new(memory.clone());
    let id = scene.connect("alice").await;
    memory.advance(HOUR);
    scene.provider.will_fail(ExchangeClass::Config, "out of order");
    assert_eq!(scene.pass().await.failed, 1);
    scene.provider.will_give(LIFE);
    let early = scene.connections.refresh(&id).await.unwrap();
    assert!(matches!(early, Refreshed::NotDue { .. }), "{early:?}");
    assert_eq!(scene.connections.retry(&id).await.unwrap(), Retry::Retried);
    assert_eq!(scene.pass().await.refreshed, 1);
    let nobody = verbs::connection();
    assert_eq!(scene.connections.retry(&nobody).await.unwrap(), Retry::Absent);
}

struct Scene {
    provider: Arc<Scripted>,
    connections: Connections,
}

impl Scene {
    fn new(store: Arc<dyn Store>) -> Self {
        Self::with(store, |_| ())
    }

    fn with(store: Arc<dyn Store>, change: impl FnOnce(&mut ConnectionsConfig)) -> Self {
        let keys = Keys { naming: naming_key(), ..Keys::random() };
        let vestibule = Vestibule::assemble(store, Seal::new(keys.ring.clone()), &keys);
        let provider = Scripted::giving(LIFE);
        let connector = connector("demo", ReplayPolicy::Grace(Duration::from_secs(30)));
        let registry = Registry::new([connector]).unwrap();
        let mut config = ConnectionsConfig::new(registry, provider.clone());
        change(&mut config);
        Self { connections: vestibule.connections(config), provider }
    }

    async fn connect(&self, owner: &str) -> ConnectionId {
        self.connections.store(owner, "demo", None, &tokens(0, LIFE)).await.unwrap()
    }

    async fn pass(&self) -> RefreshDuePass {
        RefreshDue::default().pass(&self.connections, &CancellationToken::new()).await
    }
}
