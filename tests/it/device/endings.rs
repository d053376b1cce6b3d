//! How a sign-in by device code ends, besides well; and what does not end it.

use std::time::Duration;

use redis::AsyncCommands;
use tokio::time::timeout;
use vestibule::{
    Vestibule,
    connection::{AuthType, ConnectionError, Connector, VendPath},
    device::{DeviceError, DeviceOutcome, DeviceSignIn},
    pending::{Completion, Namespace, PendingsConfig, Spec},
    store::PendingId,
};
use vestibule_worker::provider::{Answer, Failure};

use super::{INTERVAL, SLOWLY, SOON, Scene, all_wait, until};
use crate::{
    properties::{
        connections,
        devices::{Replica, device_connector, sign_in},
    },
    support::server,
};

/// the person says no, and all who wait are told so: not what a cancellation tells them.
#[tokio::test]
async fn a_denial_is_told_to_all() {
    let scene = Scene::new().await;
    let replicas = scene.replicas().await;
    let started = replicas[0].start().await;
    let waiting = all_wait(&replicas, started.id);
    scene.polled(1).await;
    assert!(scene.provider.deny_device(started.prompt.user_code.secret()));
    let outcomes = timeout(SOON, waiting.join_all()).await.unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome == DeviceOutcome::Denied), "{outcomes:?}");
}

/// nobody decides in time. The provider's clock ends it, or ours.
#[tokio::test]
async fn a_code_runs_out() {
    let life = Duration::from_secs(2);
    let scene = Scene::with(|s| s.device_code_lifetime = life).await;
    let replicas = scene.replicas().await;
    let started = replicas[0].start().await;
    assert!(started.expires_in <= life);
    let outcomes = timeout(SOON, all_wait(&replicas, started.id).join_all()).await.unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome == DeviceOutcome::Expired), "{outcomes:?}");
}

/// RFC 8628 section 3.5: what each error code means.
#[tokio::test]
async fn every_error_code_ends_it_but_two() {
    let refused = |code: &str| DeviceOutcome::Refused { code: code.to_owned() };
    for (code, outcome) in [
        ("expired_token", DeviceOutcome::Expired),
        ("access_denied", DeviceOutcome::Denied),
        ("invalid_grant", DeviceOutcome::Lost),
        ("invalid_client", refused("invalid_client")),
        ("unheard_of", refused("unheard_of")),
    ] {
        for status in [400, 200] {
            let scene = Scene::new().await;
            let replica = scene.replica().await;
            let id = replica.start().await.id;
            scene.provider.set_failure(Some(Failure::always(Answer::Error(status, code.into()))));
            assert_eq!(timeout(SOON, replica.wait(id)).await.unwrap(), outcome, "{code}");
            assert_eq!(scene.provider.counts().token_calls, 1, "{code} stops the polling");
        }
    }
    let scene = Scene::new().await;
    let (replica, pending) = (scene.replica().await, "authorization_pending".to_owned());
    let started = replica.start().await;
    // GitHub says it with a 200.
    scene.provider.set_failure(Some(Failure::next(2, Answer::Error(200, pending))));
    scene.approve(&started);
    let outcome = timeout(SOON, replica.wait(started.id)).await.unwrap();
    assert!(matches!(outcome, DeviceOutcome::Connected(_)), "{outcome:?}");
}

/// the provider is out of order for a while: polls become rarer, on whichever replica, and go
/// on.
#[tokio::test]
async fn a_provider_in_trouble_is_polled_less_and_then_again() {
    for trouble in [Answer::Status(503), Answer::HangUp, Answer::Html, Answer::Hang] {
        let scene = Scene::new().await;
        let replicas = scene.replicas().await;
        let started = replicas[0].start().await;
        let waiting = all_wait(&replicas, started.id);
        let what = format!("{trouble:?}");
        scene.provider.set_failure(Some(Failure::next(2, trouble)));
        scene.polled(1).await;
        // Twice the interval after the first, four times after the second.
        let [first, second, third] = scene.provider.arrivals()[..3] else { unreachable!() };
        assert!(second - first >= 2 * INTERVAL, "{what}: {:?}", second - first);
        assert!(third - second >= 4 * INTERVAL, "{what}: {:?}", third - second);
        scene.approve(&started);
        let outcomes = timeout(SOON, waiting.join_all()).await.unwrap();
        assert!(matches!(outcomes[0], DeviceOutcome::Connected(_)), "{what}: {outcomes:?}");
        assert_eq!(scene.too_fast(), 0, "{what}");
    }
}

/// it is its owner's: nobody else waits for it, withdraws it, or makes anybody poll.
#[tokio::test]
async fn a_sign_in_is_its_owners() {
    let scene = Scene::new().await;
    let [a, b, _] = scene.replicas().await;
    let started = a.start().await;
    let (id, short) = (started.id, Duration::from_millis(700));
    let foreign = b.devices.wait("mallory", id, short).await.unwrap();
    assert_eq!((foreign, scene.polls()), (DeviceOutcome::Unknown, 0));
    let refused = b.devices.cancel("mallory", id).await.unwrap();
    assert!(matches!(refused, Completion::Absent), "{refused:?}");

    let waiting = all_wait(&[a.clone(), b.clone()], id);
    scene.polled(1).await;
    let won = b.devices.cancel("alice", id).await.unwrap();
    assert!(matches!(won, Completion::Won(_)), "{won:?}");
    let outcomes = timeout(SOON, waiting.join_all()).await.unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome == DeviceOutcome::Cancelled), "{outcomes:?}");

    let foreign = b.devices.wait("mallory", id, short).await.unwrap();
    assert_eq!(foreign, DeviceOutcome::Unknown, "nor how it ended");

    let started = a.start().await;
    let waiting = all_wait(std::slice::from_ref(&b), started.id);
    let polls = scene.polls();
    scene.polled(polls + 1).await;
    a.devices.pendings().clear(&Namespace::default()).await.unwrap();
    let outcomes = timeout(SOON, waiting.join_all()).await.unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome == DeviceOutcome::Cleared), "{outcomes:?}");
    let foreign = b.devices.wait("mallory", started.id, short).await.unwrap();
    assert_eq!(foreign, DeviceOutcome::Unknown, "nor how that ended");

    let connected = a.start().await;
    scene.approve(&connected);
    assert!(matches!(a.wait(connected.id).await, DeviceOutcome::Connected(_)));
    let foreign = b.devices.wait("mallory", connected.id, short).await.unwrap();
    assert_eq!(foreign, DeviceOutcome::Unknown, "also afterwards");
}

/// what is not a sign-in by device code is unknown as one, waiting and answered.
#[tokio::test]
async fn a_pending_of_another_kind_is_unknown() {
    let vestibule = Vestibule::in_memory();
    let replica = Replica::of(&vestibule, "http://127.0.0.1:9");
    let forms = vestibule.pendings::<String>(PendingsConfig::default());
    let spec = Spec::new("form", "which colour?".to_owned());
    let id = forms.create(&Namespace::default(), &spec).await.unwrap().id;
    assert_eq!(replica.wait_for(id, SOON).await, DeviceOutcome::Unknown);
    forms.complete(id, None, &"blue").await.unwrap();
    assert_eq!(replica.wait_for(id, SOON).await, DeviceOutcome::Unknown);
}

/// it is cancelled in the middle of a poll that the provider answers with tokens: there is no
/// connection, not even for a moment.
#[tokio::test]
async fn what_is_cancelled_makes_no_connection() {
    let scene = Scene::new().await;
    let replica = scene.patient(&scene.url).await;
    let started = replica.start().await;
    scene.approve(&started);
    scene.provider.set_answer_delay(SLOWLY);
    let waiting = all_wait(std::slice::from_ref(&replica), started.id);
    until(|| scene.provider.in_flight() > 0).await;
    let won = replica.devices.cancel("alice", started.id).await.unwrap();
    assert!(matches!(won, Completion::Won(_)), "{won:?}");
    let outcomes = timeout(SOON, waiting.join_all()).await.unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome == DeviceOutcome::Cancelled), "{outcomes:?}");
    replica.devices.drained().await;
    assert_eq!(scene.provider.counts().device_grants, 1);
    assert_eq!(scene.connections_of("alice").await, []);
}

/// A provider without a device flow is told before anybody is asked.
#[tokio::test]
async fn a_connector_without_a_device_flow_is_refused() {
    let mut bare = device_connector("http://127.0.0.1:9");
    bare.device_authorization_url = None;
    let key = Connector::api_key("demo", AuthType::ApiKey).unwrap();
    for connector in [bare, key] {
        let replica = Replica::with(&Vestibule::in_memory(), connector);
        let error = replica.devices.start(sign_in(&Namespace::default())).await.unwrap_err();
        let named =
            matches!(&error, DeviceError::NoDeviceFlow { connector } if connector == "demo");
        assert!(named, "{error}");
    }
}

/// nobody waits, nobody polls.
#[tokio::test]
async fn nobody_polls_for_nobody() {
    let scene = Scene::new().await;
    let replica = scene.replica().await;
    let id = replica.start().await.id;
    tokio::time::sleep(3 * INTERVAL).await;
    assert_eq!(scene.polls(), 0);
    until_polled(&scene, &replica, id).await;
    let polls = scene.polls();
    tokio::time::sleep(3 * INTERVAL).await;
    assert_eq!(scene.polls(), polls);
}

/// Somebody waits, and leaves again.
async fn until_polled(scene: &Scene, replica: &Replica, id: PendingId) {
    let polled = async {
        while scene.polls() == 0 {
            assert_eq!(replica.wait_for(id, 3 * INTERVAL).await, DeviceOutcome::TimedOut);
            replica.devices.drained().await;
        }
    };
    timeout(SOON, polled).await.unwrap();
}

/// of those who wait in one process one asks for turns; when it leaves, the next one does.
#[tokio::test]
async fn the_next_who_waits_goes_on_polling() {
    let scene = Scene::new().await;
    let replica = scene.replica().await;
    let started = replica.start().await;
    let leaves = tokio::spawn({
        let (replica, id) = (replica.clone(), started.id);
        async move { replica.wait_for(id, 4 * INTERVAL).await }
    });
    scene.polled(1).await;
    let stays = tokio::spawn({
        let (replica, id) = (replica.clone(), started.id);
        async move { replica.wait(id).await }
    });
    assert_eq!(leaves.await.unwrap(), DeviceOutcome::TimedOut);
    scene.approve(&started);
    let outcome = timeout(SOON, stays).await.unwrap().unwrap();
    assert!(matches!(outcome, DeviceOutcome::Connected(_)), "{outcome:?}");
    assert_eq!(scene.too_fast(), 0);
}

/// V-9: a connection that needs it is re-authorised in its place, by its owner alone.
#[tokio::test]
async fn a_connection_is_reauthorised() {
    let scene = Scene::new().await;
    let replica = scene.replica().await;
    let connection = connections::sign_in(&replica.connections, "alice").await;
    let namespace = Namespace::default();
    let mine = DeviceSignIn { reauthorises: Some(&connection), ..sign_in(&namespace) };
    let foreign = replica.devices.start(DeviceSignIn { owner: "mallory", ..mine }).await;
    let foreign = foreign.unwrap_err();
    assert!(matches!(foreign, DeviceError::Connection(ConnectionError::NotFound)), "{foreign}");

    let before = replica.connections.vend("alice", &connection).await.unwrap();
    let started = replica.devices.start(mine).await.unwrap();
    scene.approve(&started);
    let outcome = replica.wait(started.id).await;
    assert_eq!(outcome, DeviceOutcome::Connected(connection.clone()));
    let after = replica.connections.vend("alice", &connection).await.unwrap();
    assert_eq!(after.path, VendPath::Warm);
    assert_ne!(after.access_token.secret(), before.access_token.secret());
}

/// Neither the codes nor the person are anywhere in the open.
#[tokio::test]
async fn nothing_of_it_can_be_read_in_redis() {
    let scene = Scene::new().await;
    let replica = scene.replica().await;
    let started = replica.start().await;
    until_polled(&scene, &replica, started.id).await;
    let code = started.prompt.user_code.secret();
    assert!(!format!("{started:?}").contains(code));

    let mut raw = server::shared().await.raw().await;
    let keys: Vec<String> = raw.keys(format!("{}:*", scene.prefix)).await.unwrap();
    assert!(keys.iter().any(|key| key.contains(":lease:")), "{keys:?}");
    for key in keys {
        let dump: Vec<u8> = redis::cmd("DUMP").arg(&key).query_async(&mut raw).await.unwrap();
        let text = String::from_utf8_lossy(&dump);
        assert!(!key.contains("alice") && !text.contains("alice") && !text.contains(code), "{key}");
        // A history ends when it is trimmed.
        if !key.ends_with(":meta") && !key.ends_with(":history") {
            let life: i64 = raw.pttl(&key).await.unwrap();
            assert!(life > 0, "{key} ends by itself");
        }
    }
}
