//! What a vend finds when its refresh goes wrong, or when this replica is what goes wrong.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use vestibule::{
    Keys, Vestibule,
    connection::{
        ConnectionError, Connections, ConnectionsConfig, ExchangeClass, ExchangeError, Refreshed,
        Registry, ReplayPolicy, VendPath,
    },
    seal::{Binding, DataKey, KeyRing, Seal, SealError, Sealer},
    store::{ConnectionId, Status, Store, memory::MemoryStore},
    sweep::RefreshDue,
};

use crate::support::{
    provider::{Scripted, connector, tokens},
    stores::naming_key,
};

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);
const GRACE: ReplayPolicy = ReplayPolicy::Grace(Duration::from_secs(30));

struct Scene {
    memory: Arc<MemoryStore>,
    provider: Arc<Scripted>,
    keys: Keys,
    replay: ReplayPolicy,
    lead: Duration,
    horizon: Duration,
}

impl Scene {
    fn new(replay: ReplayPolicy) -> Self {
        let keys = Keys { naming: naming_key(), ..Keys::random() };
        let (memory, provider) = (Arc::default(), Scripted::giving(HOUR));
        Self { memory, provider, keys, replay, lead: 5 * MINUTE, horizon: 24 * HOUR }
    }

    fn replica(&self) -> Connections {
        self.sealing(Seal::new(self.keys.ring.clone()))
    }

    fn sealing(&self, seal: Seal) -> Connections {
        let vestibule = Vestibule::assemble(self.memory.clone(), seal, &self.keys);
        let mut connector = connector("demo", self.replay);
        connector.refresh_lead = self.lead;
        let registry = Registry::new([connector]).unwrap();
        let mut config = ConnectionsConfig::new(registry, self.provider.clone());
        config.horizon = self.horizon;
        vestibule.connections(config)
    }

    async fn status(&self, id: &ConnectionId) -> Status {
        self.memory.read_credential(id).await.unwrap().unwrap().status
    }
}

async fn store(all: &Connections) -> ConnectionId {
    all.store("alice", "demo", None, &tokens(0, HOUR)).await.unwrap()
}

async fn pass(all: &Connections) -> vestibule::sweep::RefreshDuePass {
    RefreshDue::default().pass(all, &CancellationToken::new()).await
}

/// V-6: the caller whose vend finds out is told what all after it are told; those who wait for it
/// too.
#[tokio::test(start_paused = true)]
async fn who_finds_out_is_told_what_it_means() {
    for ago in [HOUR, HOUR - 10 * SECOND] {
        let scene = Scene::new(GRACE);
        let all = scene.replica();
        let id = store(&all).await;
        scene.memory.advance(ago);
        scene.provider.will(|_| async {
            sleep(SECOND).await;
            Err(ExchangeError::new(ExchangeClass::Rejected, "invalid_grant"))
        });
        for vended in join_all((0..5).map(|_| all.vend("alice", &id))).await {
            let Err(ConnectionError::NeedsReauth { reason }) = vended else { panic!("{vended:?}") };
            assert_eq!(reason, "invalid_grant");
        }
        assert_eq!(scene.provider.calls(), 1);
    }
}

/// a refusal inside the grace, after an answer that was lost, is not the last word: what still
/// lives is served.
#[tokio::test(start_paused = true)]
async fn a_refusal_that_is_not_the_last_word_withholds_nothing() {
    let scene = Scene::new(GRACE);
    let all = scene.replica();
    let id = store(&all).await;
    scene.memory.advance(HOUR - 10 * SECOND);
    scene.provider.will_fail(ExchangeClass::Undecided, "no answer");
    assert!(matches!(all.refresh(&id).await, Ok(Refreshed::Failed(_))));
    scene.memory.advance(2 * SECOND);
    scene.provider.will_fail(ExchangeClass::Rejected, "invalid_grant");
    let vended = all.vend("alice", &id).await.unwrap();
    assert_eq!((vended.path, vended.access_token.secret()), (VendPath::StaleServed, "access-0"));
    assert_eq!((scene.status(&id).await, scene.provider.calls()), (Status::Active, 2));
}

/// H-12: what is not refreshed any more is served for as long as it lives.
#[tokio::test(start_paused = true)]
async fn what_was_given_up_is_served_to_its_end() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let scene = Scene { lead: 12 * HOUR, horizon: HOUR, ..Scene::new(GRACE) };
    let all = scene.replica();
    let id = all.store("alice", "demo", None, &tokens(0, 30 * DAY)).await.unwrap();
    scene.provider.will_fail(ExchangeClass::Transient, "out of order");
    scene.memory.advance(26 * DAY);
    while scene.status(&id).await == Status::Active {
        pass(&all).await;
        scene.memory.advance(10 * MINUTE);
    }
    assert_eq!(scene.status(&id).await, Status::Exhausted);
    assert_eq!(all.vend("alice", &id).await.unwrap().access_token.secret(), "access-0");
    scene.memory.advance(4 * DAY);
    let over = all.vend("alice", &id).await.unwrap_err();
    assert!(matches!(over, ConnectionError::Exhausted { .. }), "{over:?}");
}

/// A provider whose tokens are dead when they arrive: whoever waits gets one all the same, and it is
/// not asked for another each second.
#[tokio::test(start_paused = true)]
async fn tokens_that_arrive_dead_are_shared_and_not_asked_for_again_at_once() {
    let scene = Scene::new(GRACE);
    let all = scene.replica();
    let id = store(&all).await;
    scene.memory.advance(HOUR);
    scene.provider.will(|asked| async move {
        sleep(SECOND).await;
        Ok(tokens(asked.number, Duration::ZERO))
    });
    for vended in join_all((0..20).map(|_| all.vend("alice", &id))).await {
        assert_eq!(vended.unwrap().access_token.secret(), "access-1");
    }
    let early = all.vend("alice", &id).await.unwrap_err();
    assert!(matches!(early, ConnectionError::BackingOff { .. }), "{early:?}");
    for _ in 0..600 {
        scene.memory.advance(SECOND);
        pass(&all).await;
    }
    let calls = scene.provider.calls();
    assert!((10..=11).contains(&calls), "{calls} in ten minutes");
}

/// An answer that is lost again and again is asked for less and less often, whatever the policy, and
/// given up after a day.
#[tokio::test(start_paused = true)]
async fn an_answer_that_is_always_lost_is_given_up() {
    for replay in [ReplayPolicy::Strict, GRACE, ReplayPolicy::Grace(HOUR)] {
        let scene = Scene::new(replay);
        let all = scene.replica();
        let id = store(&all).await;
        scene.provider.will_fail(ExchangeClass::Undecided, "a page that says maintenance");
        scene.memory.advance(HOUR);
        let mut hours = 0.0;
        while scene.status(&id).await == Status::Active {
            pass(&all).await;
            scene.memory.advance(MINUTE);
            hours += 1.0 / 60.0;
        }
        assert!((24.0..25.0).contains(&hours), "{replay:?}: {hours}");
        let calls = scene.provider.calls();
        assert!((80..150).contains(&calls), "{replay:?}: {calls} calls");
    }
}

/// A provider may ask to be left alone for a day, and not for longer.
#[tokio::test(start_paused = true)]
async fn an_absurd_retry_after_parks_nothing() {
    let scene = Scene::new(GRACE);
    let all = scene.replica();
    let id = store(&all).await;
    scene.memory.advance(HOUR);
    scene.provider.will(|_| async {
        let error = ExchangeError::new(ExchangeClass::Config, "invalid_scope");
        Err(error.retry_after(Some(Duration::from_secs(999_999_999))))
    });
    pass(&all).await;
    scene.provider.will_give(HOUR);
    scene.memory.advance(24 * HOUR - SECOND);
    assert_eq!(pass(&all).await.claimed, 0);
    scene.memory.advance(2 * SECOND);
    assert_eq!(pass(&all).await.refreshed, 1);
    assert!(all.vend("alice", &id).await.is_ok());
}

/// A replica with the wrong keys says so, and leaves no word that holds up those with the right ones.
#[tokio::test(start_paused = true)]
async fn what_does_not_open_here_is_refreshed_elsewhere_at_once() {
    let scene = Scene::new(ReplayPolicy::Strict);
    let all = scene.replica();
    let stranger = scene.sealing(Seal::new(Keys::random().ring));
    let id = store(&all).await;
    // Due and alive, due and dead, and by hand.
    scene.memory.advance(HOUR - 10 * SECOND);
    for ago in [Duration::ZERO, HOUR] {
        scene.memory.advance(ago);
        let failed = stranger.vend("alice", &id).await;
        assert!(matches!(failed, Err(ConnectionError::Seal(_))), "{failed:?}");
        let left = stranger.refresh(&id).await;
        assert!(matches!(left, Ok(Refreshed::Not("does_not_open"))), "{left:?}");
        let row = scene.memory.read_credential(&id).await.unwrap().unwrap();
        assert_eq!((row.attempts, row.last_error, row.lease_ends_at_ms), (0, None, None));
        assert!(matches!(all.refresh(&id).await, Ok(Refreshed::Fresh { .. })));
    }
    assert_eq!(scene.provider.calls(), 2);
}

/// A key service that can be taken away, and be slow.
struct Kms {
    ring: KeyRing,
    away: AtomicBool,
    opens_in: Duration,
}

impl Kms {
    fn of(scene: &Scene, opens_in: Duration) -> Arc<Self> {
        Arc::new(Self { ring: scene.keys.ring.clone(), away: AtomicBool::new(false), opens_in })
    }

    fn seal(self: &Arc<Self>) -> Seal {
        Seal::new(self.ring.clone()).with_sealer(self.clone())
    }
}

#[async_trait]
impl Sealer for Kms {
    fn key_id(&self) -> String {
        Sealer::key_id(&self.ring)
    }

    async fn wrap(&self, key: &DataKey, binding: Binding<'_>) -> Result<Vec<u8>, SealError> {
        if self.away.load(SeqCst) {
            return Err(SealError::KeyService("away".to_owned()));
        }
        self.ring.wrap(key, binding).await
    }

    async fn unwrap(&self, wrapped: &[u8], binding: Binding<'_>) -> Result<DataKey, SealError> {
        sleep(self.opens_in).await;
        self.ring.unwrap(wrapped, binding).await
    }
}

/// What an answer is sealed with is there before the request is sent: a key service that goes away
/// costs no token, and one that is away has nothing sent.
#[tokio::test(start_paused = true)]
async fn a_key_service_that_goes_away_costs_no_token() {
    let scene = Scene::new(ReplayPolicy::Strict);
    let kms = Kms::of(&scene, Duration::ZERO);
    let all = scene.sealing(kms.seal());
    let id = store(&all).await;
    scene.memory.advance(HOUR);
    let taken = kms.clone();
    scene.provider.will(move |asked| {
        taken.away.store(true, SeqCst);
        async move { Ok(tokens(asked.number, HOUR)) }
    });
    assert!(matches!(all.refresh(&id).await, Ok(Refreshed::Fresh { .. })));
    assert_eq!(all.vend("alice", &id).await.unwrap().access_token.secret(), "access-1");

    scene.memory.advance(HOUR);
    let failed = all.refresh(&id).await.unwrap();
    assert!(matches!(failed, Refreshed::Failed(_)), "{failed:?}");
    assert_eq!(scene.provider.calls(), 1, "nothing is sent that could not be kept");
    kms.away.store(false, SeqCst);
    assert_eq!(pass(&all).await.claimed, 0);
    scene.memory.advance(7 * SECOND);
    assert_eq!(pass(&all).await.refreshed, 1, "a moment later");
}

/// whoever was held up past its lease, or past what the provider forgives, sends nothing.
#[tokio::test(start_paused = true)]
async fn who_comes_too_late_sends_nothing() {
    for (replay, held_up, after_a_loss) in [
        (GRACE, 13 * SECOND, None),
        (ReplayPolicy::Strict, 4 * SECOND, None),
        // It opens twice: begun inside the grace, and late by its end.
        (GRACE, 5 * SECOND, Some(21 * SECOND)),
    ] {
        let scene = Scene::new(replay);
        let (prompt, late) = (scene.replica(), scene.sealing(Kms::of(&scene, held_up).seal()));
        let id = store(&prompt).await;
        scene.memory.advance(HOUR);
        if let Some(ago) = after_a_loss {
            scene.provider.will_fail(ExchangeClass::Undecided, "no answer");
            let lost = Instant::now();
            assert!(matches!(prompt.refresh(&id).await, Ok(Refreshed::Failed(_))));
            scene.memory.advance(ago - lost.elapsed());
            scene.provider.will_give(HOUR);
        }
        let before = scene.provider.calls();
        let failed = late.refresh(&id).await.unwrap();
        let Refreshed::Failed(error) = failed else { panic!("{replay:?}: {failed:?}") };
        assert_eq!(error.class, ExchangeClass::Transient, "{error}");
        assert_eq!(scene.provider.calls(), before, "{replay:?}");
        assert_eq!(scene.status(&id).await, Status::Active);
    }
}
