//! An event that the receiver falls over, while it takes others.

use super::*;

/// What happened first to this record is answered as if the receiver was away.
fn falls_over(record: u8) -> Arc<Receiver> {
    let id = format!("{record:032x}");
    Receiver::failing(move |event, _| {
        (event.subject_id.ends_with(&id) && event.detail == "nth=0").then(away)
    })
}

/// Three things happen to each: the first two share a shard.
async fn three_each(scene: &Scene) {
    for nth in 0..3 {
        for record in [1, 8, 2] {
            scene.happens(record, nth).await;
        }
    }
}

/// Passes until this many are told.
async fn deliver_until(delivery: &Delivery, receiver: &Receiver, told: usize) -> DeliveryPass {
    let mut sum = DeliveryPass::default();
    let until = async {
        while receiver.told().len() < told {
            let pass = pass(delivery).await;
            sum.given_up += pass.given_up;
            sum.refused += pass.refused;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(Duration::from_secs(30), until).await.expect("the others are told");
    sum
}

/// what a receiver falls over holds up its record only, and is told when it is mended.
#[tokio::test]
async fn what_a_receiver_falls_over_holds_up_its_record_only() {
    let (scene, receiver) = (Scene::new().await, falls_over(1));
    let config = DeliveryConfig { tries: 2, ..brisk() };
    let delivery = scene.delivery_with("one", receiver.clone(), config);
    delivery.open().await.unwrap();
    three_each(&scene).await;
    deliver_until(&delivery, &receiver, 6).await;
    // Others go on, at once: it is known whose fault it is.
    for nth in 3..50 {
        scene.happens(8, nth).await;
        let told = deliver_until(&delivery, &receiver, 4 + nth).await;
        assert_eq!(told.given_up, 0, "an hour is not over");
    }
    receiver.mend();
    deliver_all(&scene, &delivery).await;
    receiver.expect_once_and_in_order(56);
}

/// also where nothing else is to be told: the others of its shard have their turn before it is
/// tried again.
#[tokio::test]
async fn the_others_of_its_shard_are_told() {
    let (scene, receiver) = (Scene::new().await, falls_over(1));
    let delivery = scene.delivery("one", receiver.clone());
    delivery.open().await.unwrap();
    for nth in 0..3 {
        for record in [1, 8] {
            scene.happens(record, nth).await;
        }
    }
    assert!(pass(&delivery).await.away.is_some());
    deliver_until(&delivery, &receiver, 3).await;
    assert!(receiver.calls() <= 5, "it is tried once before: {}", receiver.calls());
    receiver.mend();
    deliver_all(&scene, &delivery).await;
    receiver.expect_once_and_in_order(6);
}

/// in the end it is given up, and counted, and what follows is told.
#[tokio::test]
async fn what_a_receiver_falls_over_is_given_up_in_the_end() {
    let (scene, receiver) = (Scene::new().await, falls_over(1));
    let config = DeliveryConfig { tries: 3, patience: Duration::from_millis(100), ..brisk() };
    let delivery = scene.delivery_with("one", receiver.clone(), config);
    delivery.open().await.unwrap();
    three_each(&scene).await;
    // Each try that counts is one that another event was told since.
    let mut sum = DeliveryPass::default();
    for nth in 3..400 {
        scene.happens(2, nth).await;
        let seen = deliver_until(&delivery, &receiver, receiver.told().len() + 1).await;
        sum.given_up += seen.given_up;
        sum.refused += seen.refused;
        if sum.given_up > 0 {
            break;
        }
    }
    assert!(sum.given_up == 1 && sum.refused >= 2, "{sum:?}");
    deliver_all(&scene, &delivery).await;
    let of_one = receiver.told().into_iter().filter(|event| event.subject_id.ends_with("01"));
    assert_eq!(of_one.map(|event| event.detail).collect::<Vec<_>>(), ["nth=1", "nth=2"]);
}

/// while nothing gets through nothing is given up, however few tries an event has, and however
/// often it is tried; nor is what a receiver says it has no time for.
#[tokio::test]
async fn a_receiver_that_takes_nothing_costs_no_event() {
    let scene = Scene::new().await;
    let receiver = Receiver::failing(|_, _| Some(away()));
    let config = DeliveryConfig { tries: 1, patience: Duration::ZERO, ..brisk() };
    let delivery = scene.delivery_with("one", receiver.clone(), config);
    delivery.open().await.unwrap();
    three_each(&scene).await;
    while receiver.calls() < 30 {
        assert_eq!(pass(&delivery).await.given_up, 0);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    *receiver.fails.lock().unwrap() = Box::new(|event, _| {
        let busy = NotifyError::Away {
            reason: "a test".to_owned(),
            retry_after: Some(Duration::from_millis(1)),
        };
        event.subject_id.ends_with("01").then_some(busy)
    });
    for nth in 3..20 {
        scene.happens(2, nth).await;
        let told = deliver_until(&delivery, &receiver, 4 + nth).await;
        assert_eq!((told.given_up, told.refused), (0, 0), "{told:?}");
    }
    receiver.mend();
    deliver_all(&scene, &delivery).await;
    receiver.expect_once_and_in_order(26);
}
