//! When a credential is due by the ends of its grant, and what becomes of one that is past them (C-9).

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use vestibule::{
    Keys, Vestibule,
    connection::{ConnectionError, Connections, ReplayPolicy, TokenAnswer, VendPath},
    seal::Seal,
    store::{ConnectionId, ReadHistory, Status},
    sweep::{RefreshDue, RefreshDuePass},
};

use crate::support::{
    provider::{Scripted, connections_at, connector, tokens},
    side::Side,
    stores::naming_key,
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The jitter ahead of the last hour is at most this.
const EARLY: Duration = Duration::from_secs(360);

/// One connection of a provider that says what the test wants.
struct Scene {
    side: Side,
    provider: Arc<Scripted>,
    connections: Connections,
    id: ConnectionId,
}

/// What a provider gives: how long the two tokens live; a refresh token or none.
#[derive(Debug, Clone, Copy)]
struct Gives {
    access: Option<Duration>,
    refresh: Option<Duration>,
    rotates: bool,
}

/// Access tokens of a day, and no word about the refresh token.
const USUAL: Gives = Gives { access: Some(DAY), refresh: None, rotates: true };

impl Gives {
    fn answer(self, number: usize) -> TokenAnswer {
        let answer = tokens(number, DAY);
        TokenAnswer {
            refresh_token: answer.refresh_token.filter(|_| self.rotates),
            expires_in: self.access,
            refresh_expires_in: self.refresh,
            ..answer
        }
    }
}

impl Scene {
    /// On each of the stores.
    async fn on_both(gives: Gives, max_lifetime: Option<Duration>) -> [Self; 2] {
        let [memory, redis] = Side::both().await;
        [Self::new(memory, gives, max_lifetime).await, Self::new(redis, gives, max_lifetime).await]
    }

    async fn new(side: Side, gives: Gives, max_lifetime: Option<Duration>) -> Self {
        let keys = Keys { naming: naming_key(), ..Keys::random() };
        let vestibule =
            Vestibule::assemble(side.store.clone(), Seal::new(keys.ring.clone()), &keys);
        let provider = Scripted::new(async |asked| Ok(USUAL.answer(asked.number)));
        let mut connector = connector("demo", ReplayPolicy::Grace(Duration::from_secs(30)));
        connector.max_lifetime = max_lifetime;
        let connections = connections_at(&provider, &vestibule, [connector]);
        let answer = Gives { rotates: true, ..gives }.answer(0);
        let id = connections.store("alice", "demo", None, &answer).await.unwrap();
        Self { side, provider, connections, id }
    }

    async fn pass(&self) -> RefreshDuePass {
        RefreshDue::default().pass(&self.connections, &CancellationToken::new()).await
    }

    /// Passes at every tick of five minutes for so long: how many refreshed something.
    async fn ticks(&self, span: Duration) -> usize {
        let (tick, mut refreshed) = (5 * MINUTE, 0);
        for _ in 0..(span.as_secs() / tick.as_secs()) {
            self.side.pass(tick).await;
            refreshed += self.pass().await.refreshed;
        }
        refreshed
    }

    /// What the provider gives from now on.
    fn will_give(&self, gives: Gives) {
        self.provider.will(move |asked| async move { Ok(gives.answer(asked.number)) });
    }

    async fn due_in(&self) -> Option<Duration> {
        let row = self.connections.get("alice", &self.id).await.unwrap();
        let now = self.side.store.now_ms();
        row.next_at_ms.map(|at| Duration::from_millis(at.saturating_sub(now)))
    }

    async fn standing(&self) -> (Status, Option<String>) {
        let row = self.connections.get("alice", &self.id).await.unwrap();
        (row.status, row.reason)
    }

    async fn told(&self) -> Vec<String> {
        let page = ReadHistory { shard: self.id.shard(), before: None, since_ms: 0, limit: 1000 };
        let events = self.side.store.read_history(page).await.unwrap().events;
        events.iter().rev().map(|event| event.kind.as_str().to_owned()).collect()
    }
}

fn assert_near(found: Option<Duration>, from: Duration, to: Duration) {
    let slack = Duration::from_secs(20);
    let found = found.expect("it is due");
    assert!(found + slack >= from && found <= to + slack, "{found:?}: not {from:?} to {to:?}");
}

/// C-9, C-10: an hour before its refresh token ends it is refreshed once more, not at every tick;
/// then at that end it is looked at, and needs its owner once nothing lives.
#[tokio::test]
async fn a_refresh_token_that_ends_is_refreshed_once_more_in_its_last_hour() {
    let gives = Gives { refresh: Some(8 * HOUR), ..USUAL };
    for scene in Scene::on_both(gives, None).await {
        assert_near(scene.due_in().await, 7 * HOUR - EARLY, 7 * HOUR);
        // The provider does not rotate: the deadline stays.
        scene.will_give(Gives { rotates: false, ..USUAL });
        assert_eq!(scene.ticks(6 * HOUR + 50 * MINUTE).await, 0);
        assert_eq!(scene.ticks(15 * MINUTE).await, 1, "on the way in");
        assert_near(scene.due_in().await, 50 * MINUTE, HOUR);
        assert_eq!(scene.ticks(50 * MINUTE).await, 0, "not again and again");
        // Past the deadline what lives is served to its end.
        assert_eq!(scene.ticks(3 * HOUR).await, 0);
        assert_eq!(scene.standing().await.0, Status::Active);
        let vended = scene.connections.vend("alice", &scene.id).await.unwrap();
        assert_eq!(vended.path, VendPath::Warm);
        scene.side.pass(DAY).await;
        scene.pass().await;
        let expired = (Status::NeedsReauth, Some("refresh_expired".to_owned()));
        assert_eq!(scene.standing().await, expired);
        assert_eq!(scene.ticks(HOUR).await, 0);
        assert_eq!(scene.provider.calls(), 1);
        let told =
            ["connect_completed", "refresh_succeeded", "refresh_skipped_expired", "needs_reauth"];
        assert_eq!(scene.told().await, told, "once");
    }
}

/// C-4, C-9: a rotated token brings its own deadline, or none that is known; zero is none.
#[tokio::test]
async fn a_rotated_token_brings_its_own_deadline() {
    let gives = Gives { refresh: Some(8 * HOUR), ..USUAL };
    for (refresh, due) in [
        (Some(30 * HOUR), DAY),
        (None, DAY),
        (Some(Duration::ZERO), DAY),
        (Some(8 * HOUR), 7 * HOUR),
    ] {
        for scene in Scene::on_both(gives, None).await {
            scene.will_give(Gives { refresh, ..USUAL });
            scene.side.pass(7 * HOUR).await;
            assert_eq!(scene.pass().await.refreshed, 1);
            let early = if due == DAY { DAY / 10 + 5 * MINUTE } else { EARLY };
            assert_near(scene.due_in().await, due - early, due);
        }
    }
}

/// C-9: a connector whose grants have an end: an hour before it once more, whatever is refreshed
/// meanwhile; a sign-in begins it anew.
#[tokio::test]
async fn a_grant_that_ends_is_refreshed_once_more_in_its_last_hour() {
    let hourly = Gives { access: Some(2 * HOUR), ..USUAL };
    for scene in Scene::on_both(hourly, Some(10 * HOUR)).await {
        scene.will_give(hourly);
        let refreshed = scene.ticks(8 * HOUR).await;
        assert!((4..=5).contains(&refreshed), "{refreshed}");
        let before = scene.provider.calls();
        scene.ticks(HOUR).await;
        assert!(scene.provider.calls() - before <= 2);
        // Into the last hour, and no more than once in it.
        assert!(scene.ticks(50 * MINUTE).await <= 1);
        scene.ticks(4 * HOUR).await;
        let expired = (Status::NeedsReauth, Some("refresh_expired".to_owned()));
        assert_eq!(scene.standing().await, expired);
        let error = scene.connections.vend("alice", &scene.id).await.unwrap_err();
        assert!(
            matches!(error, ConnectionError::NeedsReauth { reason } if reason == "refresh_expired")
        );

        let answer = hourly.answer(1000);
        scene.connections.store("alice", "demo", Some(&scene.id), &answer).await.unwrap();
        let refreshed = scene.ticks(8 * HOUR).await;
        assert!((4..=5).contains(&refreshed), "{refreshed}: signed in anew");
        assert_eq!(scene.told().await.iter().filter(|kind| *kind == "recovered").count(), 1);
    }
}

/// C-9, C-11: past its end nobody asks the provider, whoever finds it first: a vend too.
#[tokio::test]
async fn a_vend_finds_what_has_ended() {
    let gives = Gives { access: Some(HOUR), refresh: Some(2 * HOUR), rotates: true };
    for scene in Scene::on_both(gives, None).await {
        scene.side.pass(3 * HOUR).await;
        for _ in 0..3 {
            let error = scene.connections.vend("alice", &scene.id).await.unwrap_err();
            let ConnectionError::NeedsReauth { reason } = error else { panic!("{error}") };
            assert_eq!(reason, "refresh_expired");
        }
        assert_eq!(scene.provider.calls(), 0);
        let told = ["connect_completed", "refresh_skipped_expired", "needs_reauth"];
        assert_eq!(scene.told().await, told);
    }
}

/// C-6, C-9: without a refresh token it needs its owner when its access token is dead, as a pass or
/// a vend finds; not before.
#[tokio::test]
async fn what_has_nothing_to_be_refreshed_with_needs_its_owner_at_its_end() {
    for by_vend in [false, true] {
        let gives = Gives { access: Some(HOUR), ..USUAL };
        for mut scene in Scene::on_both(gives, None).await {
            let bare = TokenAnswer { refresh_token: None, ..gives.answer(1000) };
            scene.id = scene.connections.store("alice", "demo", None, &bare).await.unwrap();
            scene.side.pass(55 * MINUTE).await;
            scene.pass().await;
            assert_eq!(scene.standing().await.0, Status::Active);
            scene.connections.vend("alice", &scene.id).await.unwrap();
            scene.side.pass(6 * MINUTE).await;
            if by_vend {
                let error = scene.connections.vend("alice", &scene.id).await.unwrap_err();
                assert!(matches!(error, ConnectionError::NeedsReauth { .. }), "{error}");
            } else {
                scene.pass().await;
            }
            let bare = (Status::NeedsReauth, Some("no_refresh_token".to_owned()));
            assert_eq!(scene.standing().await, bare);
            let told = scene.told().await;
            assert_eq!(told[told.len() - 2..], ["refresh_skipped_no_token", "needs_reauth"]);
            assert_eq!(scene.pass().await.claimed, 0, "looked at once");
        }
    }
}

/// C-9: due at the very millisecond, and not one before.
#[tokio::test(start_paused = true)]
async fn a_credential_is_due_at_its_moment() {
    let scene = Scene::new(Side::memory(), Gives { access: Some(HOUR), ..USUAL }, None).await;
    let due_in = scene.due_in().await.unwrap();
    assert!(due_in <= 55 * MINUTE, "{due_in:?}");
    scene.side.pass(due_in - Duration::from_millis(1)).await;
    assert_eq!(scene.pass().await.claimed, 0);
    scene.side.pass(Duration::from_millis(1)).await;
    assert_eq!(scene.pass().await.refreshed, 1);
}

/// H-12: what has no known end is never due, and is served.
#[tokio::test]
async fn what_has_no_known_end_is_never_due() {
    for scene in Scene::on_both(Gives { access: None, ..USUAL }, None).await {
        assert_eq!(scene.due_in().await, None);
        scene.side.pass(400 * DAY).await;
        assert_eq!(scene.pass().await, RefreshDuePass::default());
        let vended = scene.connections.vend("alice", &scene.id).await.unwrap();
        assert_eq!((vended.path, vended.expires_in), (VendPath::Warm, None));
        assert_eq!(scene.provider.calls(), 0);
    }
}
