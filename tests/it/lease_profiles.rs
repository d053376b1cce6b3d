//! The two lease profiles: where a successor that comes soon is forgiven, and where it is not.
//! In memory and in paused time, so that half a minute takes none; the store's time, which does not
//! pause, is moved along.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::{Instant, sleep};
use vestibule::{
    Keys, Vestibule,
    connection::{
        ConnectionError, Connections, ConnectionsConfig, ExchangeClass, Refreshed, Registry,
        ReplayPolicy, VendPath,
    },
    seal::{Binding, DataKey, KeyRing, Seal, SealError, Sealer},
    store::{Attempt, Begin, ConnectionId, Status, Store, memory::MemoryStore},
};

use crate::support::{
    provider::{Scripted, connections_at, connector, tokens},
    verbs,
};

const LIFE: Duration = Duration::from_secs(300);
const GRACE: ReplayPolicy = ReplayPolicy::Grace(Duration::from_secs(30));
const SHORT_GRACE: ReplayPolicy = ReplayPolicy::Grace(Duration::from_secs(20));

/// Without a grace to come back in, a lease is not renewed, and the exchange ends before it does.
#[tokio::test(start_paused = true)]
async fn a_strict_exchange_ends_before_its_lease() {
    for replay in [ReplayPolicy::Strict, SHORT_GRACE] {
        let scene = Scene::new(replay, Duration::MAX, Duration::ZERO).await;
        let started = Instant::now();
        let outcome = scene.connections.refresh(&scene.id).await.unwrap();
        let Refreshed::Failed(error) = outcome else { panic!("{outcome:?}") };
        assert_eq!(error.class, ExchangeClass::Undecided);
        assert!(started.elapsed() <= Duration::from_secs(28), "{:?}", started.elapsed());
        let leases = scene.leases.lock().unwrap().clone();
        assert!(leases[0] > 29_000 && leases.iter().all(|ends| *ends == leases[0]), "{leases:?}");
    }
}

/// With one, it is short, and renewed as long as the provider takes.
#[tokio::test(start_paused = true)]
async fn a_forgiving_exchange_keeps_its_lease() {
    let scene = Scene::new(GRACE, Duration::from_secs(14), Duration::ZERO).await;
    let outcome = scene.connections.refresh(&scene.id).await.unwrap();
    assert!(matches!(outcome, Refreshed::Fresh { .. }), "{outcome:?}");
    let leases = scene.leases.lock().unwrap().clone();
    assert!(leases[0] <= 12_000, "{leases:?}");
    assert!(leases.iter().any(|ends| *ends > leases[0]), "renewed: {leases:?}");
}

/// A process that was held up between its begin and the request sends nothing: by the time of the
/// answer its lease would be another's.
#[tokio::test(start_paused = true)]
async fn nothing_is_sent_when_too_little_of_the_lease_is_left() {
    for (replay, held_up, sent) in [
        (ReplayPolicy::Strict, 4, 0),
        (ReplayPolicy::Strict, 2, 1),
        // Renewed: an overlap is forgiven.
        (GRACE, 4, 1),
    ] {
        let scene = Scene::new(replay, Duration::ZERO, Duration::from_secs(held_up)).await;
        let outcome = scene.connections.refresh(&scene.id).await.unwrap();
        assert_eq!(scene.provider.calls(), sent, "{replay:?} {held_up}");
        if sent == 0 {
            let Refreshed::Failed(error) = outcome else { panic!("{outcome:?}") };
            assert_eq!(error.class, ExchangeClass::Transient);
            // The attempt is not left undecided: the next one need not wait.
            scene.store.advance(Duration::from_secs(10));
            let next = scene.begin(replay).await;
            assert!(matches!(&next, Begin::Begun(b) if b.undecided_since.is_none()), "{next:?}");
        }
    }
}

/// After a crash inside a strict exchange: nothing is presented while a journal may still bring its
/// answer, what lives is served meanwhile, and then there is one try.
#[tokio::test(start_paused = true)]
async fn a_crash_under_a_strict_provider_is_waited_out() {
    for accepts in [true, false] {
        let scene = Scene::new(ReplayPolicy::Strict, Duration::ZERO, Duration::ZERO).await;
        if !accepts {
            scene.provider.will_fail(ExchangeClass::Rejected, "invalid_grant");
        }
        // The holder dies here.
        assert!(matches!(scene.begin(ReplayPolicy::Strict).await, Begin::Begun(_)));
        scene.store.advance(Duration::from_secs(31));

        let outcome = scene.connections.refresh(&scene.id).await.unwrap();
        let Refreshed::Undecided { remaining } = outcome else { panic!("{outcome:?}") };
        assert!(remaining > Duration::from_secs(58) && remaining < Duration::from_secs(60));
        let served = scene.connections.vend("alice", &scene.id).await.unwrap();
        assert_eq!(served.path, VendPath::StaleServed);
        scene.connections.drained().await;
        assert_eq!(scene.provider.calls(), 0);

        scene.store.advance(Duration::from_secs(60));
        let outcome = scene.connections.refresh(&scene.id).await.unwrap();
        assert_eq!(scene.provider.calls(), 1);
        let row = scene.store.read_credential(&scene.id).await.unwrap().unwrap();
        if accepts {
            assert!(matches!(outcome, Refreshed::Fresh { .. }), "{outcome:?}");
            assert_eq!(row.status, Status::Active);
        } else {
            assert!(matches!(outcome, Refreshed::Failed(_)), "{outcome:?}");
            assert_eq!(row.status, Status::NeedsReauth);
            assert_eq!(row.reason.as_deref(), Some("rotation_lost"));
        }
    }
}

/// A host that restarts faster or slower than in a minute says so.
#[tokio::test(start_paused = true)]
async fn the_window_is_the_hosts() {
    for (window, after, waits) in
        [(0, 31, false), (5, 34, true), (5, 36, false), (600, 91, true), (600, 631, false)]
    {
        let scene = Scene::new(ReplayPolicy::Strict, Duration::ZERO, Duration::ZERO).await;
        let connections = scene.with_window(Duration::from_secs(window));
        assert!(matches!(scene.begin(ReplayPolicy::Strict).await, Begin::Begun(_)));
        scene.store.advance(Duration::from_secs(after));
        let outcome = connections.refresh(&scene.id).await.unwrap();
        let waited = matches!(outcome, Refreshed::Undecided { .. });
        assert_eq!(waited, waits, "{window} {after}: {outcome:?}");
        assert_eq!(scene.provider.calls(), usize::from(!waits));
    }
}

/// A caller whose token ran out meanwhile is told how long, and does not wait in vain.
#[tokio::test(start_paused = true)]
async fn a_caller_is_told_of_the_wait() {
    let scene = Scene::new(ReplayPolicy::Strict, Duration::ZERO, Duration::ZERO).await;
    assert!(matches!(scene.begin(ReplayPolicy::Strict).await, Begin::Begun(_)));
    scene.store.advance(Duration::from_secs(70));
    let error = scene.connections.vend("alice", &scene.id).await.unwrap_err();
    let ConnectionError::BackingOff { retry_in, .. } = error else { panic!("{error:?}") };
    assert!(retry_in > Duration::from_secs(15) && retry_in < Duration::from_secs(21));
}

/// Inside a grace the successor asks again at once; past it, it waits like anybody else.
#[tokio::test(start_paused = true)]
async fn inside_the_grace_nobody_waits() {
    for (after, waits) in [(13, false), (29, false), (31, true), (73, false)] {
        let scene = Scene::new(GRACE, Duration::ZERO, Duration::ZERO).await;
        assert!(matches!(scene.begin(GRACE).await, Begin::Begun(_)));
        scene.store.advance(Duration::from_secs(after));
        let outcome = scene.connections.refresh(&scene.id).await.unwrap();
        assert_eq!(matches!(outcome, Refreshed::Undecided { .. }), waits, "{after}: {outcome:?}");
    }
}

/// One due connection that lives for another minute, and its provider.
struct Scene {
    store: Arc<MemoryStore>,
    vestibule: Vestibule,
    provider: Arc<Scripted>,
    connections: Connections,
    id: ConnectionId,
    /// When the lease would end, from the beginning on, looked at every second.
    leases: Arc<Mutex<Vec<u64>>>,
}

impl Scene {
    /// The provider answers after `answers_in`; opening a credential takes `opens_in`.
    async fn new(replay: ReplayPolicy, answers_in: Duration, opens_in: Duration) -> Self {
        let (store, keys) = (Arc::new(MemoryStore::new()), Keys::random());
        let kms = Arc::new(SlowKms { ring: keys.ring.clone(), opens_in });
        let seal = Seal::new(keys.ring.clone()).with_sealer(kms);
        let vestibule = Vestibule::assemble(store.clone(), seal, &keys);
        let provider = Scripted::giving(LIFE);
        let connections = connections_at(&provider, &vestibule, [connector("demo", replay)]);
        let id = connections.store("alice", "demo", None, &tokens(0, LIFE)).await.unwrap();
        store.advance(Duration::from_secs(240));
        let leases = Arc::<Mutex<Vec<u64>>>::default();
        let (watched, seen, of) = (store.clone(), leases.clone(), id.clone());
        provider.will(move |asked| {
            let (store, leases, id) = (watched.clone(), seen.clone(), of.clone());
            async move {
                let (now, started) = (store.now_ms(), Instant::now());
                while started.elapsed() < answers_in {
                    let row = store.read_credential(&id).await.unwrap().unwrap();
                    leases.lock().unwrap().push(row.lease_ends_at_ms.unwrap() - now);
                    sleep(Duration::from_secs(1)).await; // the store's clock goes with it
                }
                Ok(tokens(asked.number, LIFE))
            }
        });
        Self { store, vestibule, provider, connections, id, leases }
    }

    /// Another host, at the same strict provider.
    fn with_window(&self, window: Duration) -> Connections {
        let registry = Registry::new([connector("demo", ReplayPolicy::Strict)]).unwrap();
        let mut config = ConnectionsConfig::new(registry, self.provider.clone());
        config.journal_window = window;
        self.vestibule.connections(config)
    }

    /// What a process does that dies then.
    async fn begin(&self, replay: ReplayPolicy) -> Begin {
        let (lease, forgiven) = match replay {
            ReplayPolicy::Grace(grace) => (Duration::from_secs(12), grace),
            _ => (Duration::from_secs(30), Duration::ZERO),
        };
        let settled = lease + Duration::from_secs(60);
        let attempt = verbs::attempt(&self.id, verbs::request());
        let attempt = Attempt { lease, forgiven, settled, ..attempt };
        self.store.begin(attempt).await.unwrap()
    }
}

/// A ring that takes its time, as a KMS does.
struct SlowKms {
    ring: KeyRing,
    opens_in: Duration,
}

#[async_trait]
impl Sealer for SlowKms {
    fn key_id(&self) -> String {
        Sealer::key_id(&self.ring)
    }

    async fn wrap(&self, key: &DataKey, binding: Binding<'_>) -> Result<Vec<u8>, SealError> {
        self.ring.wrap(key, binding).await
    }

    async fn unwrap(&self, wrapped: &[u8], binding: Binding<'_>) -> Result<DataKey, SealError> {
        sleep(self.opens_in).await;
        self.ring.unwrap(wrapped, binding).await
    }
}
