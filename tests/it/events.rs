//! What is told of a change: in the same step, once for each transition, and with why.

mod faults;
mod features;

use std::{sync::Arc, time::Duration};

use vestibule::{
    Digest,
    store::{
        Begun, By, Commit, CommitOutcome, ConnectionId, ConnectorName, Event, Fail, FailureKind,
        NewConnection, NewCredential, Pause, ReadHistory, Revoke, Shard, Store,
    },
};

use crate::support::{
    side::Side,
    verbs::{self, BY, request},
};

/// A connection, what is done to it, and what was told of it.
struct Scene {
    store: Arc<dyn Store>,
    id: ConnectionId,
    owner: Digest,
    seen: usize,
}

impl Scene {
    fn new(store: Arc<dyn Store>) -> Self {
        let id = verbs::connection();
        let owner = verbs::owner_of(&id);
        Self { store, id, owner, seen: 0 }
    }

    /// On each of the stores.
    async fn on_both() -> [Self; 2] {
        Side::both().await.map(|side| Self::new(side.store))
    }

    async fn events(&self) -> Vec<Event> {
        history(&*self.store, self.id.shard()).await
    }

    /// What was told since the last look, in words: times are left out.
    async fn told(&mut self) -> Vec<String> {
        let events = self.events().await;
        let new = events[self.seen..].iter().map(said).collect();
        self.seen = events.len();
        new
    }

    fn new_credential(&self, request: Digest, refresh_token: u8) -> NewCredential<'_> {
        let refresh_token = token(refresh_token);
        NewCredential { refresh_token, ..verbs::credential(&self.id, request) }
    }

    async fn stored(&self, request: Digest, refresh_token: u8) {
        self.store.store_credential(self.new_credential(request, refresh_token)).await.unwrap();
    }

    async fn begun(&self) -> Begun {
        verbs::begin_as(&*self.store, verbs::attempt(&self.id, request())).await
    }

    /// `ago`: ms since the exchange began; of two answers the later is current.
    async fn commit(
        &self,
        begun: &Begun,
        request: Digest,
        refresh_token: u8,
        ago: u64,
    ) -> CommitOutcome {
        let commit = Commit {
            refresh_token: token(refresh_token),
            expires_in: None,
            next_in: Some(Duration::ZERO),
            answered_ago: Duration::from_millis(ago),
            ..verbs::answer(&self.id, begun, request)
        };
        self.store.commit(commit).await.unwrap()
    }

    async fn fail(&self, begun: &Begun, request: Digest, kind: FailureKind, given_up: bool) {
        let fail = Fail {
            kind,
            reason: "try\u{7f}later",
            backoff: Duration::ZERO,
            horizon: given_up.then_some(Duration::ZERO),
            ..verbs::failure(&self.id, begun, request)
        };
        self.store.fail(fail).await.unwrap();
    }

    async fn revoke(&self, request: Digest) {
        let revoke =
            Revoke { id: &self.id, request, owner: self.owner, reason: "left the team", by: BY };
        self.store.revoke_connection(revoke).await.unwrap();
    }
}

async fn history(store: &dyn Store, shard: Shard) -> Vec<Event> {
    let page = ReadHistory { shard, before: None, since_ms: 0, limit: 1000 };
    let page = store.read_history(page).await.unwrap();
    assert!(page.damaged.is_empty(), "{:?}", page.damaged);
    page.events.into_iter().rev().collect()
}

/// `kind detail`, with `T` for each time.
fn said(event: &Event) -> String {
    let mut said = event.kind.as_str().to_owned();
    for word in event.detail.split(' ').filter(|word| !word.is_empty()) {
        let (name, value) = word.split_once('=').unwrap();
        let time = value.len() == 13 && value.bytes().all(|b| b.is_ascii_digit());
        said += &format!(" {name}={}", if time { "T" } else { value });
    }
    said
}

fn token(number: u8) -> Option<Digest> {
    Digest::from_bytes(&[number; 16])
}

/// E-1, X-11: each transition is told once, with why; a retry of its verb tells nothing more.
#[tokio::test]
async fn each_transition_is_told_once() {
    for mut scene in Scene::on_both().await {
        let (id, owner) = (scene.id.clone(), scene.owner);
        let new = NewConnection {
            id: &id,
            request: request(),
            owner,
            connector: "demo",
            reason: "not_signed_in",
        };
        scene.store.create_connection(new).await.unwrap();
        assert!(scene.told().await.is_empty(), "a place is none");

        // The first sign-in brings nothing back.
        let by = request();
        for _ in 0..2 {
            scene.stored(by, 1).await;
        }
        assert_eq!(scene.told().await, ["connect_completed grant=1 ver=1 after=T"]);

        let (begun, by) = (scene.begun().await, request());
        for _ in 0..2 {
            scene.commit(&begun, by, 2, 40).await;
        }
        let refreshed = "refresh_succeeded ver=2 rotated=yes before=T duration_ms=40";
        assert_eq!(scene.told().await, [refreshed]);
        let begun = scene.begun().await;
        scene.commit(&begun, request(), 2, 10).await;
        assert_eq!(scene.told().await, ["refresh_succeeded ver=3 rotated=no duration_ms=10"]);

        let (begun, by) = (scene.begun().await, request());
        for _ in 0..2 {
            scene.fail(&begun, by, FailureKind::Transient, false).await;
        }
        let failed = "refresh_failed_transient attempts=1 class=transient reason=try_later";
        assert_eq!(scene.told().await, [failed]);
        let begun = scene.begun().await;
        scene.fail(&begun, request(), FailureKind::Host, false).await;
        assert!(scene.told().await.is_empty(), "that is told of the connector");

        let (begun, by) = (scene.begun().await, request());
        for _ in 0..2 {
            scene.fail(&begun, by, FailureKind::Undecided, true).await;
        }
        let failed = "refresh_failed_transient attempts=2 class=undecided reason=try_later";
        let given_up = "needs_reauth reason=exhausted last_error=try_later";
        assert_eq!(scene.told().await, [failed, given_up]);
        let by = request();
        for _ in 0..2 {
            scene.store.retry(&id, by, BY.actor).await.unwrap();
        }
        assert_eq!(scene.told().await, ["recovered from=exhausted reason=retried"]);

        let (begun, by) = (scene.begun().await, request());
        for _ in 0..2 {
            scene.fail(&begun, by, FailureKind::NeedsReauth, false).await;
        }
        let rejected = "refresh_failed_revoked attempts=1 class=needs_reauth reason=try_later";
        assert_eq!(scene.told().await, [rejected, "needs_reauth reason=try_later"]);
        // An answer that still comes saves it.
        scene.commit(&begun, request(), 3, 40).await;
        let refreshed = "refresh_succeeded ver=4 rotated=yes duration_ms=40";
        let recovered = "recovered from=needs_reauth reason=try_later";
        assert_eq!(scene.told().await, [refreshed, recovered]);

        let begun = scene.begun().await;
        scene.fail(&begun, request(), FailureKind::NeedsReauth, false).await;
        scene.told().await;
        scene.stored(request(), 1).await;
        let completed = "connect_completed grant=2 ver=5 after=T";
        assert_eq!(scene.told().await, [completed, recovered], "a sign-in does as well");

        let by = request();
        for _ in 0..2 {
            scene.revoke(by).await;
        }
        let revoked = "token_deleted_revoked from=active reason=left_the_team";
        assert_eq!(scene.told().await, [revoked]);
        scene.stored(request(), 1).await;
        let completed = "connect_completed grant=4 ver=6 after=T";
        assert_eq!(scene.told().await, [completed], "it was not lost, but withdrawn");

        let by = request();
        for _ in 0..2 {
            scene.store.delete_connection(owner, &id, by, BY).await.unwrap();
        }
        scene.store.delete_connection(owner, &id, request(), BY).await.unwrap();
        assert_eq!(scene.told().await, ["token_deleted_admin from=active"]);
    }
}

/// E-2: whose it is, who did it, where and when; the owner as a digest.
#[tokio::test]
async fn an_event_says_whose_it_is_and_who_did_it() {
    for scene in Scene::on_both().await {
        scene.stored(request(), 1).await;
        let begun = scene.begun().await;
        scene.fail(&begun, request(), FailureKind::NeedsReauth, false).await;
        let (now, events) = (scene.store.now_ms(), scene.events().await);
        assert_eq!(events.len(), 3);
        for event in events {
            assert_eq!((&*event.subject_id, &*event.name), (scene.id.as_str(), "demo"));
            assert_eq!((event.owner, event.subject.as_str()), (Some(scene.owner), "connection"));
            assert_eq!((event.actor, &*event.idp_host), (BY.actor, BY.idp_host));
            assert!(now.abs_diff(event.at_ms) < 5_000, "{event:?}");
        }
    }
}

/// What is refused, stale or superseded changes nothing, and nothing is told.
#[tokio::test]
async fn what_changes_nothing_tells_nothing() {
    for mut scene in Scene::on_both().await {
        scene.stored(request(), 1).await;
        let (first, second) = (scene.begun().await, request());
        scene.commit(&first, second, 2, 40).await;
        scene.told().await;
        // The same answer again, by another: superseded. Of another grant, of another owner.
        scene.commit(&first, request(), 2, 1000).await;
        scene.fail(&first, request(), FailureKind::NeedsReauth, false).await;
        let mut other = first.clone();
        other.grant += 1;
        assert_eq!(scene.commit(&other, request(), 9, 40).await, CommitOutcome::Refused);
        let mut foreign = scene.new_credential(request(), 9);
        foreign.connector = "other";
        scene.store.store_credential(foreign).await.unwrap();
        let stranger = verbs::owner_of(&verbs::connection());
        scene.store.delete_connection(stranger, &scene.id, request(), BY).await.unwrap();
        assert!(scene.told().await.is_empty());

        // A sibling is kept for later: the other answer was told.
        let mut again = first;
        again.fence += 1;
        assert_eq!(
            scene.commit(&again, request(), 7, 0).await,
            CommitOutcome::Committed { ver: 3, recovered: false }
        );
        assert_eq!(scene.told().await.len(), 1, "the later one is current");
    }
}

/// V-6, X-11: a refused token whose sibling takes its place is told, and needs nobody.
#[tokio::test]
async fn a_sibling_that_takes_over_needs_nobody() {
    for mut scene in Scene::on_both().await {
        scene.stored(request(), 1).await;
        let one = scene.begun().await;
        scene.commit(&one, request(), 2, 40).await;
        scene.commit(&one, request(), 3, 0).await;
        scene.told().await;
        let begun = scene.begun().await;
        scene.fail(&begun, request(), FailureKind::NeedsReauth, false).await;
        let told = scene.told().await;
        assert_eq!(
            told,
            ["refresh_failed_revoked attempts=1 class=needs_reauth sibling=yes reason=try_later"]
        );
    }
}

/// V-8, X-11: a pause is told when it begins and when it ends, however many calls fail or succeed.
#[tokio::test]
async fn a_pause_is_told_when_it_begins_and_when_it_ends() {
    for scene in Scene::on_both().await {
        let connector = ConnectorName { shard: scene.id.shard(), slug: "demo" };
        let by = By { idp_host: "login.example", ..BY };
        let pause = |request| Pause {
            connector,
            request,
            reason: "invalid_client",
            first: Duration::from_secs(60),
            longest: Duration::from_secs(600),
            by,
        };
        let first = request();
        for request in [first, first, request(), request()] {
            scene.store.pause_connector(pause(request)).await.unwrap();
        }
        let last = request();
        for request in [last, last, request()] {
            scene.store.resume_connector(connector, request, by).await.unwrap();
        }
        let events = scene.events().await;
        let said: Vec<_> = events.iter().map(said).collect();
        let paused = "connector_paused until=T reason=invalid_client";
        assert_eq!(said, [paused, "connector_resumed reason=invalid_client"]);
        for event in events {
            assert_eq!((&*event.subject_id, event.subject.as_str()), ("demo", "connector"));
            assert_eq!((event.owner, &*event.idp_host), (None, "login.example"));
        }
    }
}
