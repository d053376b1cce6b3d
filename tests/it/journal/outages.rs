//! An outage that is longer than what is waited for: no answer is lost by it.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, pause, resume, sleep};
use tokio_util::sync::CancellationToken;
use vestibule::{
    connection::{Connections, ExchangeClass, Refreshed, ReplayPolicy, journal::NoJournal},
    store::ConnectionId,
    sweep::RefreshDue,
};

use crate::{
    properties::{
        connect,
        journal::{Kill, Scene, strict},
    },
    support::{
        ageing::age,
        provider::{Scripted, connections_at, connector, tokens},
        server::TestServer,
    },
};

const LIFE: Duration = Duration::from_secs(300);

async fn durable() -> TestServer {
    let always = ["--appendonly", "yes", "--appendfsync", "always"];
    TestServer::builder().arg(always[0], always[1]).arg(always[2], always[3]).start().await
}

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < Duration::from_secs(20), "not in time: {what}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Redis was away for as long as a journal is waited for, and is back. Who saw that leaves the time
/// to whoever has the answer, and does not present a refresh token again that may be dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_saw_an_outage_leaves_time_for_a_journal() {
    let server = durable().await;
    let mut scene = Scene::reach(&server, Kill::AfterTheJournal, 3).await;
    // Of another machine: it has no part in that journal.
    let (url, issuer) = (server.url(), scene.provider.issuer());
    let other = strict(&url, &scene.prefix, &issuer, Arc::new(NoJournal)).await;
    server.kill9();
    scene.kill().await;
    sleep(Duration::from_secs(2)).await;
    let (id, _) = &scene.ids[0];
    other.refresh(id).await.unwrap_err();
    server.restart().await;
    until("it is back", async || other.refresh(id).await.is_ok()).await;
    // With the seconds of the outage it is more than 90 s.
    scene.age(&server, 89).await;

    let pass = RefreshDue::default().pass(&other, &CancellationToken::new()).await;
    assert_eq!((pass.claimed, pass.skipped), (3, 3), "{pass:?}");
    let asked = other.refresh(id).await.unwrap();
    let Refreshed::Undecided { remaining } = asked else { panic!("{asked:?}") };
    assert!(remaining <= Duration::from_secs(90), "{remaining:?}");
    assert_eq!(scene.provider.counts().reused_presentations, 0);
    let replica = scene.replica(&server).await;
    let pass = replica.replay_journal().await.unwrap();
    assert_eq!((pass.recovered, pass.left), (3, 0), "{pass:?}");
    assert_eq!(scene.live(&other).await, 3);
    assert_eq!(scene.provider.counts().family_revocations, 0);
}

/// What began after the outage waits as long as ever, however long that was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_began_after_an_outage_waits_no_longer_for_it() {
    let server = durable().await;
    let (connections, id) = credential(&server, &Scripted::nobody()).await;
    server.kill9();
    sleep(Duration::from_secs(3)).await;
    connections.vend("alice", &id).await.unwrap_err();
    server.restart().await;
    let provider = Scripted::nobody();
    provider.will_fail(ExchangeClass::Undecided, "the answer was lost");
    let crashed = connections_at(
        &provider,
        &connect(&server.url(), "vst").await,
        [connector("demo", ReplayPolicy::Strict)],
    );
    until("it is back", async || connections.vend("alice", &id).await.is_ok()).await;
    age(&mut server.raw().await, "vst", LIFE).await;
    let failed = crashed.refresh(&id).await.unwrap();
    assert!(matches!(failed, Refreshed::Failed(_)), "{failed:?}");
    // A failure hides it for as long; a crash does not.
    let due = format!("vst:{{{}}}:due", id.shard());
    let key = format!("vst:{{{}}}:conn:{id}", id.shard());
    let mut raw = server.raw().await;
    redis::cmd("HSET").arg(&[&*key, "next_at", "1"]).query_async::<()>(&mut raw).await.unwrap();
    let asked = connections.refresh(&id).await.unwrap();
    let Refreshed::Undecided { remaining } = asked else { panic!("{asked:?}") };
    assert_eq!(remaining, Duration::from_secs(90));
    let (now, _): (u64, u64) = redis::cmd("TIME").query_async(&mut raw).await.unwrap();
    let mut score = redis::cmd("ZSCORE");
    let at: f64 = score.arg(&[&*due, id.as_str()]).query_async(&mut raw).await.unwrap();
    assert!(at <= (now as f64 + 91.0) * 1000.0, "{at} {now}");
}

/// Redis dies while it answers; from then on time passes by itself.
fn will_take_redis_away(provider: &Scripted, server: &Arc<TestServer>) {
    let server = server.clone();
    provider.will(move |asked| {
        let server = server.clone();
        async move {
            server.kill9();
            pause();
            Ok(tokens(asked.number, LIFE))
        }
    });
}

/// A host without a journal, and a Redis that is away for more than a minute: the caller has the token by
/// then, and Redis has it when it is back.
#[tokio::test]
async fn an_answer_outlasts_the_patience_of_its_caller() {
    let server = Arc::new(durable().await);
    let provider = Scripted::nobody();
    let (connections, id) = credential(&server, &provider).await;
    age(&mut server.raw().await, "vst", LIFE).await;
    will_take_redis_away(&provider, &server);
    let asked = Instant::now();
    let refreshed = connections.refresh(&id).await.unwrap();
    assert!(matches!(refreshed, Refreshed::Fresh { .. }), "{refreshed:?}");
    assert!(asked.elapsed() >= Duration::from_secs(60), "{:?}", asked.elapsed());
    // A graceful stop does not wait for a Redis that is away.
    connections.drained().await;
    assert!(asked.elapsed() < Duration::from_secs(90), "{:?}", asked.elapsed());
    sleep(Duration::from_secs(100)).await;
    resume();
    server.restart().await;
    until("it is stored", async || {
        let vended = connections.vend("alice", &id).await;
        vended.is_ok_and(|vended| vended.access_token.secret() == "access-1")
    })
    .await;
    assert_eq!(provider.calls(), 1, "nobody asked again");
}

/// What a graceful stop can still store it stores.
#[tokio::test]
async fn a_stop_stores_what_can_be_stored() {
    let server = Arc::new(durable().await);
    let provider = Scripted::nobody();
    let (connections, id) = credential(&server, &provider).await;
    age(&mut server.raw().await, "vst", LIFE).await;
    will_take_redis_away(&provider, &server);
    connections.refresh(&id).await.unwrap();
    resume();
    server.restart().await;
    connections.drained().await;
    let key = format!("vst:{{{}}}:conn:{id}", id.shard());
    let mut ver = redis::cmd("HGET");
    let ver: u64 = ver.arg(&[&*key, "ver"]).query_async(&mut server.raw().await).await.unwrap();
    assert_eq!(ver, 2);
}

/// One that is fresh, of `alice`.
async fn credential(server: &TestServer, provider: &Arc<Scripted>) -> (Connections, ConnectionId) {
    let vestibule = connect(&server.url(), "vst").await;
    let connector = connector("demo", ReplayPolicy::Strict);
    let connections = connections_at(provider, &vestibule, [connector]);
    let id = connections.store("alice", "demo", None, &tokens(0, LIFE)).await.unwrap();
    (connections, id)
}
