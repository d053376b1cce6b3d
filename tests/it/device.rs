//! Sign-ins by device code on Redis, against a real provider over HTTP that counts how it is polled.

mod died;
mod endings;
mod turns;

use std::{sync::Arc, time::Duration};

use redis::AsyncCommands;
use tokio::{task::JoinSet, time::timeout};
use vestibule::{
    Vestibule,
    device::{DeviceOutcome, DeviceSignIn, StartedDevice},
    pending::Namespace,
    seal::Seal,
    store::{ConnectionRow, PendingId, memory::MemoryStore},
};
use vestibule_worker::provider::{Provider, Settings};

use crate::{
    agreement::without_turns,
    properties::{
        connect,
        devices::{Replica, device_connector, sign_in},
        pkce::shared_keys,
    },
    support::{server, stores::fresh_prefix},
};

const INTERVAL: Duration = Duration::from_millis(200);
const SOON: Duration = Duration::from_secs(20);
/// So long a provider takes while which something happens, on a busy machine too.
const SLOWLY: Duration = Duration::from_secs(2);

/// A provider that wants five polls a second at the most, and a prefix of its own.
struct Scene {
    provider: Provider,
    url: String,
    prefix: String,
}

impl Scene {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings { device_interval: INTERVAL, ..Settings::default() };
        change(&mut settings);
        let provider = Provider::start(settings).await.unwrap();
        let url = server::shared().await.url();
        Self { provider, url, prefix: fresh_prefix() }
    }

    async fn replica(&self) -> Replica {
        Replica::connect(&self.url, &self.prefix, &self.provider.issuer()).await
    }

    /// One that has the time for a provider that takes [`SLOWLY`].
    async fn patient(&self, url: &str) -> Replica {
        let vestibule = connect(url, &self.prefix).await;
        Replica::polling(&vestibule, device_connector(&self.provider.issuer()), SLOWLY * 2)
    }

    async fn replicas(&self) -> [Replica; 3] {
        [self.replica().await, self.replica().await, self.replica().await]
    }

    /// What this person has, as another process sees it.
    async fn connections_of(&self, owner: &str) -> Vec<ConnectionRow> {
        let page = self.replica().await.connections.list(owner, None, 100).await.unwrap();
        page.connections
    }

    fn key(&self, kind: &str, id: PendingId) -> String {
        format!("{}:{{{}}}:{kind}:{id}", self.prefix, id.shard())
    }

    fn polls(&self) -> u64 {
        self.provider.counts().device_polls
    }

    fn too_fast(&self) -> u64 {
        self.provider.counts().device_polls_too_fast
    }

    async fn polled(&self, times: u64) {
        until(|| self.polls() >= times).await;
    }

    fn approve(&self, started: &StartedDevice) {
        assert!(self.provider.approve_device(started.prompt.user_code.secret(), "alice"));
    }
}

async fn until(holds: impl Fn() -> bool) {
    let holds = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(SOON, holds).await.expect("it happens");
}

/// All that wait, on their replicas, several on each.
fn all_wait(replicas: &[Replica], id: PendingId) -> JoinSet<DeviceOutcome> {
    let mut waiting = JoinSet::new();
    for at in 0..2 * replicas.len() {
        let replica = replicas[at % replicas.len()].clone();
        waiting.spawn(async move { replica.wait(id).await });
    }
    waiting
}

/// three replicas wait, one polls at a time and never too soon; the person's yes reaches
/// all of them as one connection, and each vends its token.
#[tokio::test]
async fn three_replicas_wait_and_one_polls_at_a_time() {
    let memory = Vestibule::in_memory();
    for on_redis in [true, false] {
        let scene = Scene::new().await;
        let replicas = if on_redis {
            scene.replicas().await
        } else {
            [(); 3].map(|()| Replica::of(&memory, &scene.provider.issuer()))
        };
        one_polls_at_a_time(&scene, &replicas).await;
    }
}

async fn one_polls_at_a_time(scene: &Scene, replicas: &[Replica; 3]) {
    let started = replicas[0].start().await;
    let waiting = all_wait(replicas, started.id);
    scene.polled(5).await;
    scene.approve(&started);

    let outcomes = timeout(SOON, waiting.join_all()).await.expect("all are woken");
    let DeviceOutcome::Connected(connection) = outcomes[0].clone() else { panic!("{outcomes:?}") };
    assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]), "{outcomes:?}");
    for replica in replicas {
        let vended = replica.connections.vend("alice", &connection).await.unwrap();
        assert!(scene.provider.is_access_token_live(vended.access_token.secret()));
    }
    let row = replicas[0].connections.get("alice", &connection).await.unwrap();
    assert_eq!((row.grant, row.ver), (1, 1), "six stored it, once");
    let counts = scene.provider.counts();
    assert_eq!((counts.device_authorizations, counts.device_grants), (1, 1));
    assert_eq!(counts.device_polls_too_fast, 0, "of {} polls", counts.device_polls);

    // Who waits late is told the same, and polls nothing.
    assert_eq!(replicas[1].wait(started.id).await, outcomes[0]);
    assert_eq!(scene.polls(), counts.device_polls);
}

/// the same three without turns, each polling by itself at the agreed interval: that the
/// provider counts, it minds, and the test above could fail. One alone keeps to it.
#[tokio::test]
async fn without_turns_the_provider_is_polled_too_fast() {
    let keys = shared_keys();
    for alone in [true, false] {
        let scene = Scene::new().await;
        let memory = Arc::new(MemoryStore::new());
        let replicas = [(); 3].map(|()| {
            let store = without_turns(memory.clone());
            let vestibule = Vestibule::assemble(store, Seal::new(keys.ring.clone()), &keys);
            Replica::of(&vestibule, &scene.provider.issuer())
        });
        let started = replicas[0].start().await;
        let mut waiting = JoinSet::new();
        for replica in replicas.into_iter().take(if alone { 1 } else { 3 }) {
            waiting.spawn(async move { replica.wait(started.id).await });
        }
        scene.polled(4).await;
        assert_eq!(scene.too_fast() == 0, alone, "{} of {}", scene.too_fast(), scene.polls());
    }
}

/// whoever starts the same sign-in, wherever, shows the same code; another person, another
/// label, another namespace do not.
#[tokio::test]
async fn three_replicas_ask_and_one_prompt_is_shown() {
    let scene = Scene::new().await;
    let replicas = scene.replicas().await;
    let mut callers = JoinSet::new();
    for at in 0..12 {
        let replica = replicas[at % 3].clone();
        callers.spawn(async move { replica.start().await });
    }
    let started = callers.join_all().await;
    let code = started[0].prompt.user_code.secret();
    assert!(started.iter().all(|other| other.id == started[0].id));
    assert!(started.iter().all(|other| other.prompt.user_code.secret() == code));
    assert_eq!(started.iter().filter(|started| !started.joined).count(), 1);

    let asked = scene.provider.counts().device_authorizations;
    let late = replicas[1].start().await;
    assert!(late.joined && late.prompt.user_code.secret() == code);
    let page = late.prompt.verification_uri_complete.as_deref().unwrap();
    assert!(page.contains(code) && page.starts_with(&late.prompt.verification_uri));
    assert_eq!(scene.provider.counts().device_authorizations, asked, "found, not asked for");

    let (mine, other) = (Namespace::default(), Namespace::new("other").unwrap());
    for different in [
        DeviceSignIn { label: "second account", ..sign_in(&mine) },
        DeviceSignIn { owner: "bob", ..sign_in(&mine) },
        sign_in(&other),
    ] {
        let started = replicas[0].devices.start(different).await.unwrap();
        assert!(!started.joined && started.prompt.user_code.secret() != code);
    }
}

/// what one replica is told counts for all, for good: after `slow_down` nobody polls before
/// five seconds more have passed.
#[tokio::test]
async fn slow_down_counts_for_all_replicas() {
    let scene = Scene::new().await;
    let [a, b, c] = scene.replicas().await;
    let started = a.start().await;
    let (id, short) = (started.id, Duration::from_millis(600));
    assert!(scene.provider.slow_device_down(started.prompt.user_code.secret()));
    let mut raw = server::shared().await.raw().await;
    // One wait is enough, but for a machine that is late itself.
    for _ in 0..20 {
        assert_eq!(a.wait_for(id, short).await, DeviceOutcome::TimedOut);
        a.devices.drained().await;
        if scene.polls() > 0 {
            break;
        }
    }
    assert_eq!(scene.polls(), 1);
    let interval: u64 = raw.hget(scene.key("lease", id), "interval").await.unwrap();
    assert_eq!(interval, 5200);

    for other in [&b, &c] {
        assert_eq!(other.wait_for(id, short).await, DeviceOutcome::TimedOut);
    }
    assert_eq!(scene.polls(), 1, "the others keep to what one of them was told");
    scene.approve(&started);
    let outcome = timeout(SOON, b.wait(id)).await.unwrap();
    assert!(matches!(outcome, DeviceOutcome::Connected(_)), "{outcome:?}");
    assert_eq!((scene.polls(), scene.too_fast()), (2, 0));
}
