//! Who polls dies, in each of the places where that makes a difference.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use vestibule::{
    device::{DeviceError, DeviceOutcome, DeviceSignIn, StartedDevice},
    pending::Namespace,
};

use super::{INTERVAL, SLOWLY, Scene, until};
use crate::{
    properties::{
        connections,
        devices::{PATIENCE, POLL_TIMEOUT, Replica, sign_in},
    },
    support::{
        children::{self, Child},
        proxy::Proxy,
        server,
    },
};

/// What a poller that dies costs at the most: its lease, and an interval.
const TAKEN_OVER: Duration =
    POLL_TIMEOUT.saturating_add(Duration::from_secs(2)).saturating_add(INTERVAL);
/// A busy machine; far less than a wait that nobody ends.
const SLACK: Duration = Duration::from_secs(8);

/// A process that is in the middle of a poll: the provider has decided, and holds the answer back.
async fn in_a_poll(scene: &Scene, started: &StartedDevice) -> Child {
    let id = started.id.to_string();
    let issuer = scene.provider.issuer();
    let args = json!({ "url": scene.url, "prefix": scene.prefix, "issuer": issuer, "id": id });
    let mut child = children::spawn("poll", &args).await;
    scene.provider.set_answer_delay(Duration::from_secs(600));
    let polls = scene.polls();
    children::start_together(std::slice::from_mut(&mut child)).await;
    until(|| scene.polls() > polls && scene.provider.in_flight() > 0).await;
    child
}

/// SIGKILL in the middle of a poll: the others wait out its lease and an interval, and go on.
/// The provider never sees a poll too soon.
#[tokio::test]
async fn a_killed_poller_is_succeeded_after_its_lease() {
    let scene = Scene::new().await;
    let [a, b, _] = scene.replicas().await;
    let started = a.start().await;
    let mut child = in_a_poll(&scene, &started).await;
    child.kill9().await;
    let killed = Instant::now();
    scene.provider.set_answer_delay(Duration::ZERO);
    scene.approve(&started);

    let (one, two) = tokio::join!(a.wait(started.id), b.wait(started.id));
    let took = killed.elapsed();
    assert!(matches!(one, DeviceOutcome::Connected(_)) && one == two, "{one:?}, {two:?}");
    assert!(took < TAKEN_OVER + SLACK, "{took:?}");
    assert_eq!((scene.polls(), scene.too_fast()), (2, 0));
}

/// SIGKILL between the provider's yes and the store: the tokens are lost with the process. All
/// are told, once it is certain, and nobody polls for ever.
#[tokio::test]
async fn tokens_that_died_with_their_poller_are_told_as_lost() {
    let scene = Scene::new().await;
    let [a, b, _] = scene.replicas().await;
    let started = a.start().await;
    scene.approve(&started);
    let mut child = in_a_poll(&scene, &started).await;
    assert_eq!(scene.provider.counts().device_grants, 1, "given to the one that dies");
    child.kill9().await;
    scene.provider.set_answer_delay(Duration::ZERO);

    let (one, two) = tokio::join!(a.wait(started.id), b.wait(started.id));
    assert_eq!((one, two), (DeviceOutcome::Lost, DeviceOutcome::Lost));
    // Once for who inherited the turn, once more because the dead one might still have stored it.
    assert_eq!((scene.polls(), scene.too_fast()), (3, 0));
    let again = a.start().await;
    assert!(!again.joined && again.id != started.id, "and the person signs in again");
}

/// the same while its connection is withdrawn, or another sign-in ends there: a grant that is
/// not its own is no sign that it connected.
#[tokio::test]
async fn what_others_did_to_the_connection_is_not_its_own_end() {
    for revoked in [true, false] {
        let scene = Scene::new().await;
        let [a, b, _] = scene.replicas().await;
        let connection = connections::sign_in(&a.connections, "alice").await;
        let namespace = Namespace::default();
        let again = DeviceSignIn { reauthorises: Some(&connection), ..sign_in(&namespace) };
        let started = a.devices.start(again).await.unwrap();
        scene.approve(&started);
        let mut child = in_a_poll(&scene, &started).await;
        child.kill9().await;
        scene.provider.set_answer_delay(Duration::ZERO);
        if revoked {
            b.connections.revoke("alice", &connection, "a device was lost").await.unwrap();
        } else {
            let other = b.devices.start(DeviceSignIn { label: "other", ..again }).await.unwrap();
            scene.approve(&other);
            assert!(matches!(b.wait(other.id).await, DeviceOutcome::Connected(_)));
        }
        assert_eq!(a.wait(started.id).await, DeviceOutcome::Lost, "revoked: {revoked}");
    }
}

/// the poller is cut off from Redis with the tokens in its hand; its successor says that they
/// are lost. They are, also once the poller is back: nobody has a connection that nobody was told of.
#[tokio::test]
async fn a_poller_that_comes_back_too_late_stores_nothing() {
    let scene = Scene::new().await;
    let proxy = Proxy::start(server::shared().await.port());
    let late = scene.patient(&proxy.url()).await;
    let successor = scene.replica().await;
    let started = late.start().await;
    scene.approve(&started);
    scene.provider.set_answer_delay(SLOWLY);
    let polling = tokio::spawn({
        let (late, id) = (late.clone(), started.id);
        async move { late.devices.wait("alice", id, PATIENCE).await }
    });
    until(|| scene.provider.in_flight() > 0).await;
    proxy.black_hole();
    until(|| scene.provider.in_flight() == 0).await;
    scene.provider.set_answer_delay(Duration::ZERO);
    assert_eq!(scene.provider.counts().device_grants, 1);

    assert_eq!(successor.wait(started.id).await, DeviceOutcome::Lost);
    proxy.pass();
    proxy.cut();
    assert_eq!(polling.await.unwrap().unwrap(), DeviceOutcome::Lost, "it is told the same");
    late.devices.drained().await;
    assert_eq!(scene.connections_of("alice").await, []);
}

/// who was told the tokens cannot store them: they are in how the sign-in ended, and any who
/// waits stores them.
#[tokio::test]
async fn tokens_outlive_who_was_told_them() {
    let scene = Scene::new().await;
    let mut raw = server::shared().await.raw().await;
    let (user, prefix) = (scene.prefix.clone(), &scene.prefix);
    let kinds =
        ["pending", "pendings", "outcome", "dedup", "waiters", "lease", "places", "limit", "pause"];
    let keys = kinds.map(|kind| format!("~{prefix}:*:{kind}:*")).join(" ");
    let rule = format!("ACL SETUSER {user} on >narrow ~{prefix}:meta {keys} &* +@all");
    let mut words = rule.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    let _: () = command.arg(words.collect::<Vec<_>>()).query_async(&mut raw).await.unwrap();
    let url = server::shared().await.url_as(&user, "narrow");
    let told = Replica::connect(&url, &scene.prefix, &scene.provider.issuer()).await;
    let stores = scene.replica().await;

    let started = told.start().await;
    scene.approve(&started);
    let short = Duration::from_secs(3);
    let error = told.devices.wait("alice", started.id, short).await.unwrap_err();
    assert!(matches!(error, DeviceError::Connection(_)), "{error}");
    assert_eq!(scene.connections_of("alice").await, []);

    let DeviceOutcome::Connected(connection) = stores.wait(started.id).await else {
        panic!("it has the tokens")
    };
    let vended = stores.connections.vend("alice", &connection).await.unwrap();
    assert!(scene.provider.is_access_token_live(vended.access_token.secret()));
    assert_eq!((scene.polls(), scene.too_fast()), (1, 0));
}

/// a caller that stops waiting in the middle of a poll loses nothing: the turn runs to its
/// end, and the sign-in with it.
#[tokio::test]
async fn a_poll_outlives_its_caller() {
    let scene = Scene::new().await;
    let replica: Replica = scene.replica().await;
    let started = replica.start().await;
    scene.approve(&started);
    scene.provider.set_answer_delay(Duration::from_millis(500));
    let caller = tokio::spawn({
        let (replica, id) = (replica.clone(), started.id);
        async move { replica.wait(id).await }
    });
    until(|| scene.provider.in_flight() > 0).await;
    caller.abort();
    replica.devices.drained().await;
    let outcome = replica.wait_for(started.id, Duration::ZERO).await;
    assert!(matches!(outcome, DeviceOutcome::Connected(_)), "{outcome:?}");
    assert_eq!(scene.polls(), 1);
}
