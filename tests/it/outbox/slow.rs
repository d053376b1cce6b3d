//! Receivers that take their time.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// Takes so long for each event.
#[derive(Debug)]
struct Slow {
    takes: Duration,
    receiver: Arc<Receiver>,
}

#[async_trait::async_trait]
impl Notifier for Slow {
    async fn notify(&self, event: &Event) -> Result<(), NotifyError> {
        tokio::time::sleep(self.takes).await;
        self.receiver.notify(event).await
    }
}

/// As if its process was stopped for a while after it told the first, and went on: no timer fires.
#[derive(Debug)]
struct Stops(Arc<Receiver>, AtomicBool);

#[async_trait::async_trait]
impl Notifier for Stops {
    async fn notify(&self, event: &Event) -> Result<(), NotifyError> {
        let told = self.0.notify(event).await;
        if !self.1.swap(true, Ordering::SeqCst) {
            std::thread::sleep(Duration::from_secs(4));
        }
        told
    }
}

/// Three times `timeout` is the least that a replica waits for another one.
fn impatient() -> DeliveryConfig {
    let timeout = Duration::from_millis(500);
    DeliveryConfig { timeout, idle: timeout * 3, ..brisk() }
}

/// Two replicas deliver to a receiver that takes so long for each event, until nothing is left.
async fn deliver_slowly(scene: &Scene, receiver: &Arc<Receiver>, takes: Duration) {
    let slow = Arc::new(Slow { takes, receiver: receiver.clone() });
    let one = scene.delivery_with("one", slow.clone(), impatient());
    let other = scene.delivery_with("one", slow, impatient());
    tokio::join!(deliver_all(scene, &one), deliver_all(scene, &other));
}

/// a page that takes far longer than `idle` is told by the replica that has it, and by no other.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_receiver_is_told_once() {
    let (scene, receiver) = (Scene::new().await, Receiver::new());
    scene.delivery("one", receiver.clone()).open().await.unwrap();
    for nth in 0..40 {
        scene.happens(1, nth).await;
    }
    deliver_slowly(&scene, &receiver, Duration::from_millis(100)).await;
    receiver.expect_once_and_in_order(40);
}

/// so is what is behind an event that is refused: the lowest of what is held stays the same.
#[tokio::test(flavor = "multi_thread")]
async fn what_follows_a_refused_event_is_told_once() {
    let scene = Scene::new().await;
    let receiver =
        Receiver::failing(|event, nth| (event.detail == "nth=0" && nth < 3).then(refused));
    scene.delivery("one", receiver.clone()).open().await.unwrap();
    scene.happens(1, 0).await;
    for nth in 1..40 {
        scene.happens(8, nth).await; // of the same shard
    }
    deliver_slowly(&scene, &receiver, Duration::from_millis(100)).await;
    receiver.expect_once_and_in_order(40);
}

/// a replica that stood still for too long, in the midst of a telling, tells nothing more of what
/// another one has told since.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_stood_still_goes_on_with_nothing() {
    let (scene, receiver) = (Scene::new().await, Receiver::new());
    let stops = Arc::new(Stops(receiver.clone(), AtomicBool::default()));
    let first = scene.delivery_with("one", stops.clone(), impatient());
    let second = scene.delivery_with("one", receiver.clone(), impatient());
    first.open().await.unwrap();
    for nth in 0..10 {
        scene.happens(1, nth).await;
    }
    let first = tokio::spawn(async move { pass(&first).await });
    while !stops.1.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
    while receiver.ids().len() < 11 {
        pass(&second).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(receiver.ids().len(), 11, "taken over: what was in its hand is told twice");
    assert_eq!(first.await.unwrap().delivered, 1);
    assert_eq!(receiver.ids().len(), 11, "and nothing else is");
}

/// a receiver that is slow, or hangs, holds up no other one.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_receiver_holds_up_no_other() {
    let scene = Scene::new().await;
    let (slow, fast) = (Receiver::new(), Receiver::new());
    let takes = Duration::from_millis(250);
    let slowly = Arc::new(Slow { takes, receiver: slow.clone() });
    let slowly = scene.delivery("slow", slowly);
    let quickly = scene.delivery("fast", fast.clone());
    for delivery in [&slowly, &quickly] {
        delivery.open().await.unwrap();
    }
    for nth in 0..4 {
        for record in 0..14 {
            scene.happens(record, nth).await;
        }
    }
    let all = pass(&slowly);
    tokio::pin!(all);
    tokio::select! {
        biased;
        pass = pass(&quickly) => assert_eq!(pass.delivered, 56),
        _ = &mut all => panic!("the slow one was told before the fast one"),
    }
    fast.expect_once_and_in_order(56);
    assert!(slow.told().len() < 56, "it is not at its end yet");
    assert_eq!(trim(&scene).await, 0, "all is kept for the slow one");
    all.await;
    slow.expect_once_and_in_order(56);
}
