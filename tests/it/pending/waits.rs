//! Waiting for a pending: woken from anywhere, and nothing is lost.

use std::time::Duration;

use tokio::time::timeout;
use vestibule::{
    pending::{Life, PendingError, Pendings, Spec, Waited},
    store::PendingId,
};

use super::{Device, PATIENCE, config, device, namespace, replicas};
use crate::{
    properties::connect,
    support::{proxy::Proxy, server::TestServer},
};

/// whichever replica ends it, whoever waits learns how, with the answer; also afterwards.
#[tokio::test]
async fn a_wait_learns_how_it_ended() {
    for [a, b] in replicas().await {
        let spec = Spec::new("device_code", device());
        let id = a.create(&namespace(), &spec).await.unwrap().id;
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let a = a.clone();
                tokio::spawn(async move { a.wait::<String>(id, PATIENCE).await.unwrap() })
            })
            .collect();
        while b.waiters(id).await.unwrap() != ["a"] {
            tokio::task::yield_now().await;
        }
        b.complete(id, None, &"the token").await.unwrap();
        for waiter in waiters {
            let told = timeout(Duration::from_secs(3), waiter).await.expect("woken, not by a poll");
            let Waited::Completed { answer, by, at_ms } = told.unwrap() else { panic!() };
            assert_eq!((answer.as_str(), by.as_str()), ("the token", "b"));
            assert!(at_ms > 0);
        }
        // A wait that begins late still learns it.
        let late = a.wait::<String>(id, Duration::ZERO).await.unwrap();
        assert!(matches!(late, Waited::Completed { .. }));

        let cancelled = a.create(&namespace(), &spec).await.unwrap().id;
        b.cancel(cancelled, None).await.unwrap();
        assert_eq!(a.wait::<()>(cancelled, PATIENCE).await.unwrap(), Waited::Cancelled);
        let living = a.create(&namespace(), &spec).await.unwrap().id;
        let waited = a.wait::<()>(living, Duration::from_millis(50)).await.unwrap();
        assert_eq!(waited, Waited::TimedOut);
        let unknown = PendingId::random(living.namespace());
        assert_eq!(a.wait::<()>(unknown, PATIENCE).await.unwrap(), Waited::Unknown);

        let mut short = spec.clone();
        short.life = Life::For(Duration::from_millis(300));
        let short = a.create(&namespace(), &short).await.unwrap().id;
        let expired = timeout(Duration::from_secs(3), b.wait::<()>(short, PATIENCE)).await;
        assert_eq!(expired.expect("expiry tells nobody, and is noticed").unwrap(), Waited::Expired);
    }
}

/// a completion while the subscription is down is learnt when it is back.
#[tokio::test]
async fn a_wake_up_is_not_lost_with_the_subscription() {
    let server = TestServer::builder().start().await;
    let proxy = Proxy::start(server.port());
    let waiting: Pendings<Device> = connect(&proxy.url(), "vst").await.pendings(config("a"));
    let ending: Pendings<Device> = connect(&server.url(), "vst").await.pendings(config("b"));
    for _ in 0..5 {
        let id = waiting.create(&namespace(), &Spec::new("form", device())).await.unwrap().id;
        let waiter = tokio::spawn({
            let waiting = waiting.clone();
            async move { waiting.wait::<u8>(id, PATIENCE).await.unwrap() }
        });
        while ending.waiters(id).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        proxy.cut();
        ending.complete(id, None, &7).await.unwrap();
        let told = timeout(Duration::from_secs(4), waiter).await.expect("by the next subscription");
        assert!(matches!(told.unwrap(), Waited::Completed { answer: 7, .. }));
    }
}

/// on a Cluster, and through a restart of Redis (with AOF, so that it remembers).
#[tokio::test]
async fn a_wait_outlives_a_restart_of_redis() {
    let server = TestServer::builder()
        .arg("--appendonly", "yes")
        .arg("--appendfsync", "always")
        .start()
        .await;
    let waiting: Pendings<Device> =
        connect(&server.cluster_url(), "vst").await.pendings(config("a"));
    let ending: Pendings<Device> = connect(&server.url(), "vst").await.pendings(config("b"));
    let id = waiting.create(&namespace(), &Spec::new("form", device())).await.unwrap().id;
    let waiter = tokio::spawn({
        let waiting = waiting.clone();
        async move { waiting.wait::<u8>(id, PATIENCE).await }
    });
    while ending.waiters(id).await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    server.kill9();
    server.restart().await;
    ending.complete(id, None, &7).await.unwrap();
    let told = waiter.await.unwrap().unwrap();
    assert!(matches!(told, Waited::Completed { answer: 7, .. }), "{told:?}");
}

/// P-13, X-2: whoever waits goes on waiting through a replacement, and to its new end.
#[tokio::test]
async fn a_wait_follows_a_replacement() {
    for [a, b] in replicas().await {
        let mut spec = Spec::new("form", device());
        spec.life = Life::For(Duration::from_secs(3));
        let id = a.create(&namespace(), &spec).await.unwrap().id;
        let waiter = tokio::spawn({
            let a = a.clone();
            async move { a.wait::<u8>(id, PATIENCE).await.unwrap() }
        });
        while b.waiters(id).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        let pending = b.get(id).await.unwrap().unwrap();
        spec.life = Life::For(Duration::from_secs(600));
        b.replace(&pending, &spec).await.unwrap();
        tokio::time::sleep(pending.expires_in).await; // past what was its end
        b.complete(id, None, &7).await.unwrap();
        assert!(matches!(waiter.await.unwrap(), Waited::Completed { answer: 7, .. }));
    }
}

/// patience bounds a wait also while Redis does not answer, and says why nothing is known.
#[tokio::test]
async fn patience_bounds_a_wait_on_a_silent_redis() {
    let server = TestServer::builder().start().await;
    let pendings: Pendings<Device> = connect(&server.url(), "vst").await.pendings(config("a"));
    let id = pendings.create(&namespace(), &Spec::new("form", device())).await.unwrap().id;
    server.kill9();
    let waiting = pendings.wait::<u8>(id, Duration::from_secs(1));
    let error = timeout(Duration::from_secs(8), waiting).await.expect("in time").unwrap_err();
    assert!(matches!(error, PendingError::Store(_)), "{error}");
}
