//! Who polls dies, in each of the places where that makes a difference.

use std::time::Duration;

use redis::AsyncCommands;
use serde_json::json;
use tokio::time::{Instant, timeout};
use vestibule::device::{DeviceOutcome, StartedDevice};

use super::{INTERVAL, SOON, Scene, until};
use crate::{
    properties::devices::{POLL_TIMEOUT, Replica},
    support::{
        children::{self, Child},
        server,
    },
};

/// What a poller that dies costs at the most: its lease, and an interval.
const TAKEN_OVER: Duration =
    POLL_TIMEOUT.saturating_add(Duration::from_secs(2)).saturating_add(INTERVAL);
/// A busy machine.
const SLACK: Duration = Duration::from_secs(2);

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

/// a crash between the store and the completion costs nothing: the next poller finds the
/// connection where the start had said that it would be.
#[tokio::test]
async fn a_stored_connection_is_found_by_the_next_poller() {
    let scene = Scene::new().await;
    let [a, b, _] = scene.replicas().await;
    let started = a.start().await;
    // The outcome cannot be written: its key is of another type.
    let mut raw = server::shared().await.raw().await;
    let outcome = scene.key("outcome", started.id);
    let _: () = raw.zadd(&outcome, "in the way", 1).await.unwrap();
    scene.approve(&started);
    let _ = a.devices.wait("alice", started.id, Duration::from_secs(1)).await;
    assert_eq!(scene.provider.counts().device_grants, 1);
    a.devices.drained().await;
    let _: () = raw.del(&outcome).await.unwrap();

    let found = timeout(SOON, b.wait(started.id)).await.unwrap();
    let DeviceOutcome::Connected(connection) = found else { panic!("{found:?}") };
    let vended = b.connections.vend("alice", &connection).await.unwrap();
    assert!(scene.provider.is_access_token_live(vended.access_token.secret()));
    assert_eq!((scene.provider.counts().device_grants, scene.too_fast()), (1, 0));
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
