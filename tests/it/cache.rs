//! Vended tokens in memory (X-14, H-11): what another replica changes is served no longer. How one
//! cache behaves by itself is in its own unit tests.

mod told;

use std::time::Duration;

use tokio::time::{Instant, sleep};
use vestibule::{
    Vestibule,
    connection::{
        AccessToken, CacheConfig, ConnectionError, Connections, ConnectionsConfig, RefreshToken,
        Registry, ReplayPolicy, TokenAnswer, VendPath,
    },
    store::ConnectionId,
};

use crate::{
    properties::connect,
    support::{
        ageing::age,
        provider::Scripted,
        proxy::Proxy,
        server::{self, TestServer},
        sign_in::connector,
        stopwatch::Stopwatch,
        stores::fresh_prefix,
    },
};

/// How long a message may take here: far less than what is kept is kept for.
const SOON: Duration = Duration::from_secs(10);

fn answer(access_token: &str) -> TokenAnswer {
    TokenAnswer {
        access_token: AccessToken::new(access_token),
        refresh_token: Some(RefreshToken::new(format!("to renew {access_token}"))),
        expires_in: Some(Duration::from_secs(3600)),
        scope: None,
        refresh_expires_in: None,
    }
}

async fn replica(url: &str, prefix: &str, cache: Option<CacheConfig>) -> Connections {
    connections(&connect(url, prefix).await, cache)
}

fn connections(vestibule: &Vestibule, cache: Option<CacheConfig>) -> Connections {
    let connector = connector("http://127.0.0.1:9", ReplayPolicy::Strict);
    let registry = Registry::new([connector]).unwrap();
    let mut config = ConnectionsConfig::new(registry, Scripted::new(async |_| Ok(answer("third"))));
    config.cache = cache;
    vestibule.connections(config)
}

/// Vends until the token comes from memory: the subscription takes a moment.
async fn warmed_up(replica: &Connections, id: &ConnectionId) -> String {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let vended = replica.vend("alice", id).await.unwrap();
        if vended.path == VendPath::Cached {
            return vended.access_token.secret().to_owned();
        }
        assert!(Instant::now() < deadline, "it is never kept");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Vends until it is not what it was, or for so long.
async fn until_other(
    replica: &Connections,
    id: &ConnectionId,
    was: &str,
    within: Duration,
) -> Result<String, ConnectionError> {
    let deadline = Instant::now() + within;
    loop {
        match replica.vend("alice", id).await {
            Ok(vended) if vended.access_token.secret() == was => {}
            other => return other.map(|vended| vended.access_token.secret().to_owned()),
        }
        assert!(Instant::now() < deadline, "still the old one after {within:?}");
        sleep(Duration::from_millis(2)).await;
    }
}

/// a new grant, a refresh, a revocation and a deletion at another replica.
#[tokio::test]
async fn what_another_replica_changes_is_served_no_longer() {
    let (server, prefix) = (server::shared().await, fresh_prefix());
    let kept = replica(&server.url(), &prefix, Some(CacheConfig::default())).await;
    let other = replica(&server.url(), &prefix, None).await;
    let id = other.store("alice", "demo", None, &answer("first")).await.unwrap();
    assert_eq!(warmed_up(&kept, &id).await, "first");
    let foreign = kept.vend("mallory", &id).await.unwrap_err();
    assert!(matches!(foreign, ConnectionError::NotFound), "{foreign}");

    other.store("alice", "demo", Some(&id), &answer("second")).await.unwrap();
    assert_eq!(until_other(&kept, &id, "first", SOON).await.unwrap(), "second");

    // Redis thinks that it is due; what is kept here does not.
    warmed_up(&kept, &id).await;
    age(&mut server.raw().await, &prefix, Duration::from_secs(3590)).await;
    assert_eq!(kept.vend("alice", &id).await.unwrap().path, VendPath::Cached);
    other.refresh(&id).await.unwrap();
    assert_eq!(until_other(&kept, &id, "second", SOON).await.unwrap(), "third");

    warmed_up(&kept, &id).await;
    other.revoke("alice", &id, "test").await.unwrap();
    let revoked = until_other(&kept, &id, "third", SOON).await.unwrap_err();
    assert!(matches!(revoked, ConnectionError::Revoked), "{revoked}");

    other.store("alice", "demo", Some(&id), &answer("fourth")).await.unwrap();
    assert_eq!(warmed_up(&kept, &id).await, "fourth", "that it was revoked is not kept");
    other.delete("alice", &id).await.unwrap();
    let deleted = until_other(&kept, &id, "fourth", SOON).await.unwrap_err();
    assert!(matches!(deleted, ConnectionError::NotFound), "{deleted}");
}

/// who changes it here reads what was changed, at once; in memory too.
#[tokio::test]
async fn a_process_reads_its_own_changes() {
    let url = server::shared().await.url();
    let on_redis = replica(&url, &fresh_prefix(), Some(CacheConfig::default())).await;
    let in_memory = connections(&Vestibule::in_memory(), Some(CacheConfig::default()));
    for replica in [on_redis, in_memory] {
        let id = replica.store("alice", "demo", None, &answer("first")).await.unwrap();
        for _ in 0..50 {
            warmed_up(&replica, &id).await;
            replica.store("alice", "demo", Some(&id), &answer("next")).await.unwrap();
            let vended = replica.vend("alice", &id).await.unwrap();
            assert_eq!(vended.access_token.secret(), "next");
            warmed_up(&replica, &id).await;
            replica.revoke("alice", &id, "test").await.unwrap();
            let revoked = replica.vend("alice", &id).await.unwrap_err();
            assert!(matches!(revoked, ConnectionError::Revoked), "{revoked}");
            replica.store("alice", "demo", Some(&id), &answer("first")).await.unwrap();
        }
    }
}

/// while the subscription is cut nothing is kept; then it is again.
#[tokio::test]
async fn a_cut_subscription_empties_the_cache() {
    let (server, prefix) = (TestServer::builder().start().await, fresh_prefix());
    let kept = replica(&server.url(), &prefix, Some(CacheConfig::default())).await;
    let id = kept.store("alice", "demo", None, &answer("first")).await.unwrap();
    warmed_up(&kept, &id).await;
    let mut raw = server.raw().await;
    // Nobody can subscribe, so that it stays cut.
    let forbid = format!("ACL SETUSER {} resetchannels", server.user());
    for command in [forbid.as_str(), "CLIENT KILL TYPE pubsub"] {
        let parts: Vec<_> = command.split(' ').collect();
        redis::cmd(parts[0]).arg(&parts[1..]).query_async::<redis::Value>(&mut raw).await.unwrap();
    }
    let deadline = Instant::now() + SOON;
    while kept.vend("alice", &id).await.unwrap().path == VendPath::Cached {
        assert!(Instant::now() < deadline, "it serves what it may have missed a change of");
        sleep(Duration::from_millis(2)).await;
    }
    for _ in 0..20 {
        assert_eq!(kept.vend("alice", &id).await.unwrap().path, VendPath::Warm);
    }
    let allow = redis::cmd("ACL").arg(&["SETUSER", &*server.user(), "allchannels"]).to_owned();
    allow.query_async::<()>(&mut raw).await.unwrap();
    warmed_up(&kept, &id).await;
    let refused = server.refused();
    assert!(refused.iter().all(|it| it.contains(": channel ")), "{refused:?}");
}

/// a subscription that is broken without a word is noticed within 2 s: 1 s until it is asked,
/// 1 s for its answer. The verbs' connection works all the time, so that it is only this that ends
/// what is served from memory.
#[tokio::test]
async fn a_silent_subscription_is_noticed() {
    const PROMISED: Duration = Duration::from_secs(2);
    let (server, prefix) = (server::shared().await, fresh_prefix());
    let proxy = Proxy::start(server.port());
    let kept = replica(&proxy.url(), &prefix, Some(CacheConfig::default())).await;
    let other = replica(&server.url(), &prefix, None).await;
    let id = other.store("alice", "demo", None, &answer("first")).await.unwrap();
    warmed_up(&kept, &id).await;

    proxy.black_hole_subscriptions();
    let silent = Stopwatch::start();
    other.revoke("alice", &id, "test").await.unwrap();
    let mut last_cached = Duration::ZERO;
    let refused = loop {
        match kept.vend("alice", &id).await {
            Ok(vended) => assert_eq!(vended.path, VendPath::Cached),
            Err(refused) => break refused,
        }
        last_cached = silent.took();
        assert!(last_cached < 2 * PROMISED, "it serves what it may have missed a change of");
        sleep(Duration::from_millis(2)).await;
    };
    assert!(matches!(refused, ConnectionError::Revoked), "{refused}");
    assert!(
        last_cached + silent.late() > PROMISED / 4,
        "it was told, {last_cached:?} after the silence began"
    );
    let most = PROMISED + Duration::from_millis(500);
    assert!(last_cached < most, "still served {last_cached:?} after the silence began");
}
