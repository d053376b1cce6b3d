//! Which verbs tell of a change, on both stores, and to other processes.

use std::{
    collections::HashSet,
    pin::Pin,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use vestibule::store::{
    Attempt, Begun, BindingName, Change, Commit, ConnectionId, Fail, FailureKind, HeadersId,
    Keeper, NewCredential, NewHeaders, Revoke, Shard, Store, WithdrawConnection,
    memory::MemoryStore,
};

use crate::support::{
    server, stores,
    verbs::{
        BY, answer, attempt, begin_as, credential, digest, failure,
        headers::{mark, new_headers},
        request,
    },
};

const HOUR: Duration = Duration::from_secs(3600);

#[derive(Debug, Default)]
struct Ear {
    hears_all: Mutex<bool>,
    changed: Mutex<HashSet<Change>>,
}

impl Keeper for Ear {
    fn hears_all(&self, all: bool) {
        *self.hears_all.lock().unwrap() = all;
    }

    fn changed(&self, change: &Change) {
        self.changed.lock().unwrap().insert(change.clone());
    }
}

/// A store that does things, and whoever listens: of Redis, in another process as it were.
struct Scene {
    store: Arc<dyn Store>,
    ear: Arc<Ear>,
    /// Listens for as long as it lives.
    _other: Arc<dyn Store>,
}

impl Scene {
    async fn both() -> [Self; 2] {
        let (server, prefix) = (server::shared().await, stores::fresh_prefix());
        let memory: Arc<dyn Store> = Arc::new(MemoryStore::new());
        [
            Self::of(memory.clone(), memory).await,
            Self::of(stores::store(server, &prefix).await, stores::store(server, &prefix).await)
                .await,
        ]
    }

    async fn of(store: Arc<dyn Store>, other: Arc<dyn Store>) -> Self {
        let ear = Arc::new(Ear::default());
        let weak: Weak<Ear> = Arc::downgrade(&ear);
        other.tell_changes(weak);
        until("it hears", || *ear.hears_all.lock().unwrap()).await;
        Self { store, ear, _other: other }
    }

    /// Whether that verb told of `id`: everything that is told before the marker is heard before it.
    async fn tells(&self, id: &ConnectionId, verb: impl Future<Output = ()>) -> bool {
        self.heard().await;
        verb.await;
        self.heard().await.contains(&id.into())
    }

    async fn heard(&self) -> HashSet<Change> {
        let marker = self.stored(&ConnectionId::random(digest(9)), 1).await;
        let marker = Change::from(&marker);
        until("the marker", || self.ear.changed.lock().unwrap().contains(&marker)).await;
        std::mem::take(&mut *self.ear.changed.lock().unwrap())
    }

    async fn stored(&self, id: &ConnectionId, token: u8) -> ConnectionId {
        let refresh_token = Some(digest(token));
        let new = NewCredential { refresh_token, ..credential(id, request()) };
        self.store.store_credential(new).await.unwrap();
        id.clone()
    }

    async fn begun(&self, id: &ConnectionId) -> Begun {
        // Nobody renews it: the next one begins.
        let lease = Duration::ZERO;
        begin_as(&*self.store, Attempt { lease, ..attempt(id, request()) }).await
    }

    async fn commit(&self, id: &ConnectionId, begun: &Begun, token: u8, answered_ago: Duration) {
        let commit = Commit {
            refresh_token: Some(digest(token)),
            next_in: Some(Duration::ZERO),
            answered_ago,
            ..answer(id, begun, request())
        };
        self.store.commit(commit).await.unwrap();
    }

    async fn fail(&self, id: &ConnectionId, kind: FailureKind, horizon: Option<Duration>) {
        let begun = self.begun(id).await;
        let fail =
            Fail { kind, backoff: Duration::ZERO, horizon, ..failure(id, &begun, request()) };
        self.store.fail(fail).await.unwrap();
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        sleep(Duration::from_millis(1)).await;
    }
}

/// every change of what would be vended is told, and nothing else is.
#[tokio::test]
async fn every_change_of_a_credential_is_told_and_nothing_else() {
    for scene in Scene::both().await {
        let id = ConnectionId::random(digest(9));
        let store = &scene.store;
        let told = scene.tells(&id, async { drop(scene.stored(&id, 1).await) }).await;
        assert!(told, "store");
        let told = scene.tells(&id, async { drop(scene.begun(&id).await) }).await;
        assert!(!told, "begin");
        let two = [scene.begun(&id).await, scene.begun(&id).await];
        let told = scene.tells(&id, scene.commit(&id, &two[0], 2, Duration::ZERO)).await;
        assert!(told, "commit");
        let told = scene.tells(&id, scene.commit(&id, &two[1], 3, HOUR)).await;
        assert!(!told, "a commit that is kept beside");
        for kind in [FailureKind::Transient, FailureKind::Host] {
            let told = scene.tells(&id, scene.fail(&id, kind, None)).await;
            assert!(!told, "fail: {kind:?}");
        }
        let told = scene.tells(&id, scene.fail(&id, FailureKind::NeedsReauth, None)).await;
        assert!(told, "fail that switches to the sibling");
        let told = scene.tells(&id, scene.fail(&id, FailureKind::NeedsReauth, None)).await;
        assert!(told, "fail that needs its owner");
        scene.stored(&id, 4).await;
        let horizon = Some(Duration::ZERO);
        let told = scene.tells(&id, scene.fail(&id, FailureKind::Transient, horizon)).await;
        assert!(told, "fail that gives up");
        scene.stored(&id, 5).await;
        let withdraw =
            || WithdrawConnection { id: &id, request: request(), owner: digest(9), reason: "test" };
        let withdrawing = async { drop(store.withdraw_connection(withdraw()).await) };
        assert!(scene.tells(&id, withdrawing).await, "withdraw");
        let withdrawing = async { drop(store.withdraw_connection(withdraw()).await) };
        assert!(!scene.tells(&id, withdrawing).await, "withdraw of an orphan");
        let revoke =
            || Revoke { id: &id, request: request(), owner: digest(9), reason: "test", by: BY };
        let told = scene.tells(&id, async { drop(store.revoke_connection(revoke()).await) }).await;
        assert!(told, "revoke");
        let told = scene.tells(&id, async { drop(store.revoke_connection(revoke()).await) }).await;
        assert!(!told, "revoke of what is revoked");
        let delete = async { drop(store.delete_connection(digest(9), &id, request(), BY).await) };
        assert!(scene.tells(&id, delete).await, "delete");
    }
}

/// H-11: and so is every change of a header credential.
#[tokio::test]
async fn every_change_of_a_header_credential_is_told_and_nothing_else() {
    for scene in Scene::both().await {
        let store = &scene.store;
        let binding = BindingName { shard: Shard::new(9), digest: request() };
        let (one, all) = (Change::Headers(binding.digest), Change::AllHeaders);
        let id = HeadersId::of(binding.shard, binding.digest);
        let new = || NewHeaders { id, ..new_headers(binding, request()) };
        let mark = || mark(binding.shard, binding.digest, request());
        let told = async |verb: Pin<Box<dyn Future<Output = ()> + Send + '_>>| {
            scene.heard().await;
            verb.await;
            let heard = scene.heard().await;
            heard.contains(&one) || heard.contains(&all)
        };
        macro_rules! tells {
            ($verb:expr) => {
                told(Box::pin(async {
                    let _ = $verb.await.unwrap();
                }))
                .await
            };
        }
        assert!(tells!(store.upsert_headers(new())), "upsert");
        assert!(!tells!(store.read_headers(binding)), "read");
        assert!(!tells!(store.list_headers(binding.shard, binding.digest, None, 10)), "list");
        assert!(tells!(store.mark_headers(mark())), "mark");
        assert!(tells!(store.withdraw_headers(binding, None, request(), "test")), "withdraw");
        assert!(
            !tells!(store.withdraw_headers(binding, None, request(), "test")),
            "withdraw again"
        );
        assert!(tells!(store.restore_headers(binding, None, request())), "restore");
        assert!(!tells!(store.restore_headers(binding, None, request())), "restore again");
        assert!(!tells!(store.reap_headers(id, Duration::ZERO, request())), "reap what is used");
        assert!(tells!(store.delete_headers(id, request())), "delete");
        assert!(!tells!(store.delete_headers(id, request())), "delete again");
        store.upsert_headers(new()).await.unwrap();
        store.withdraw_headers(binding, None, request(), "test").await.unwrap();
        assert!(tells!(store.reap_headers(id, Duration::ZERO, request())), "reap");
    }
}
