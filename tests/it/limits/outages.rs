//! Providers that do not accept the host, and those that never answer.

use std::{
    collections::BTreeMap,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use redis::AsyncCommands;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use vestibule::{
    Keys, Vestibule,
    connection::{ConnectionError, Connections, ExchangeClass, Refreshed, ReplayPolicy, VendPath},
    seal::Seal,
    store::{ConnectionId, Resumed, Status, Store, memory::MemoryStore},
    sweep::{RefreshDue, RefreshDuePass},
};

use crate::{
    properties::pkce::shared_keys,
    support::{
        ageing::age,
        logs,
        provider::{Scripted, connections_at, connector, tokens},
        server,
        stores::{fresh_prefix, store},
    },
};

const LIFE: Duration = Duration::from_secs(3600);

/// V-8, H-12: a thousand credentials are due when a provider stops to accept the host. It is asked
/// a handful of times, no credential is touched, and after the fix each is refreshed once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_refused_pauses_its_connector_and_touches_no_credential() {
    const CREDENTIALS: usize = 1000;
    let logs = logs::capture();
    let (server, prefix, provider) =
        (server::shared().await, fresh_prefix(), Scripted::giving(LIFE));
    let slug = format!("slug-{:x}", server::random());
    let mut replicas = Vec::new();
    for _ in 0..3 {
        let redis = store(server, &prefix).await;
        replicas.push(replica(redis, &shared_keys(), &provider, &[&slug]));
    }
    let mut ids = Vec::new();
    for n in 0..CREDENTIALS {
        ids.push(connect(&replicas[n % 3], &format!("owner-{n}"), &slug).await);
    }
    let mut raw = server.raw().await;
    age(&mut raw, &prefix, LIFE - Duration::from_secs(120)).await;
    let before = records(&mut raw, &prefix, &ids).await;

    provider.will_fail(ExchangeClass::Client, "invalid_client");
    let mut put_off = 0;
    while put_off < CREDENTIALS {
        for replica in &replicas {
            let pass = pass(replica).await;
            assert_eq!((pass.refreshed, pass.errors), (0, 0), "{pass:?}");
            put_off += pass.put_off + pass.failed;
        }
    }
    let asked = provider.calls();
    println!("asked {asked} times of {CREDENTIALS} due");
    assert!(asked <= 16, "one replica's slots at the most: {asked}");
    let paused = replicas[2].paused(&slug).await.unwrap().unwrap();
    assert_eq!((&*paused.reason, paused.times), ("invalid_client", 1));
    let served = replicas[1].vend("owner-1", &ids[1]).await.unwrap();
    assert_eq!(served.path, VendPath::StaleServed, "it still lives");

    // One asks after each pause, and it is twice as long then.
    for (number, seconds) in [(1, 61), (2, 121), (3, 241)] {
        age(&mut raw, &prefix, Duration::from_secs(seconds * 5 / 4)).await;
        for replica in replicas.iter().cycle().take(6) {
            pass(replica).await;
        }
        assert_eq!(provider.calls(), asked + number, "one probe a pause");
    }
    let error = replicas[0].vend("owner-3", &ids[3]).await.unwrap_err();
    let ConnectionError::ConnectorPaused { reason, remaining, .. } = error else {
        panic!("its token ran out: {error:?}")
    };
    assert!(reason == "invalid_client" && remaining <= Duration::from_secs(480), "{remaining:?}");

    // What was asked with has a new fence; apart from that and from time, nothing has changed.
    let after = records(&mut raw, &prefix, &ids).await;
    let touched = before.iter().filter(|(id, record)| after[*id] != **record).count();
    assert_eq!(touched, 0);
    assert_eq!(provider.answers(), 0);

    provider.will_give(LIFE);
    age(&mut raw, &prefix, Duration::from_secs(600)).await;
    let mut refreshed = 0;
    for replica in replicas.iter().cycle().take(60) {
        refreshed += pass(replica).await.refreshed;
        if refreshed == CREDENTIALS {
            break;
        }
        age(&mut raw, &prefix, Duration::from_secs(30)).await;
    }
    assert_eq!(refreshed, CREDENTIALS);
    assert_eq!(provider.answers(), CREDENTIALS, "each once");
    assert_eq!(replicas[0].paused(&slug).await.unwrap(), None);
    let text = logs.text();
    for event in ["connector_paused", "connector_resumed"] {
        let told = text.lines().filter(|line| line.contains(event) && line.contains(&slug));
        assert_eq!(told.count(), 1, "{event}, once per transition");
    }
}

/// An operator need not wait for the probe.
#[tokio::test(start_paused = true)]
async fn a_pause_is_ended_by_hand() {
    let (memory, provider) = (Arc::new(MemoryStore::new()), Scripted::giving(LIFE));
    let replica = replica(memory.clone(), &Keys::random(), &provider, &["demo"]);
    let id = connect(&replica, "alice", "demo").await;
    memory.advance(LIFE);
    provider.will_fail(ExchangeClass::Client, "unauthorized_client");
    assert_eq!(pass(&replica).await.failed, 1);
    provider.will_give(LIFE);
    let told = replica.refresh(&id).await.unwrap();
    assert!(matches!(told, Refreshed::Paused { .. }), "{told:?}");
    assert_eq!(replica.resume("demo").await.unwrap(), Resumed::Resumed);
    assert_eq!(replica.resume("demo").await.unwrap(), Resumed::Running);
    // Its turn in the sweep is later; a caller is not held up by that.
    let vended = replica.vend("alice", &id).await.unwrap();
    assert_eq!(vended.path, VendPath::Refreshed);
    let unknown = replica.resume("unknown").await.unwrap_err();
    assert!(matches!(unknown, ConnectionError::UnknownConnector { .. }));
}

/// A probe that proves nothing is followed by another; a refresh token that is refused proves that
/// the host is not.
#[tokio::test(start_paused = true)]
async fn what_a_probe_is_told_decides() {
    for (told, resumed) in [
        (Some((ExchangeClass::Transient, "server_error")), false),
        (Some((ExchangeClass::Client, "invalid_client")), false),
        (Some((ExchangeClass::Rejected, "invalid_grant")), true),
        (None, true),
    ] {
        let (memory, provider) = (Arc::new(MemoryStore::new()), Scripted::giving(LIFE));
        let replica = replica(memory.clone(), &Keys::random(), &provider, &["demo"]);
        connect(&replica, "alice", "demo").await;
        connect(&replica, "bob", "demo").await;
        memory.advance(LIFE);
        provider.will_fail(ExchangeClass::Client, "invalid_client");
        let failed = pass(&replica).await;
        assert_eq!(failed.failed + failed.put_off, 2, "{failed:?}");
        let asked = provider.calls();
        memory.advance(Duration::from_secs(80));
        match told {
            Some((class, reason)) => provider.will_fail(class, reason),
            None => provider.will_give(LIFE),
        }
        let probed = pass(&replica).await;
        assert_eq!(replica.paused("demo").await.unwrap().is_none(), resumed, "{told:?}");
        if !resumed {
            assert_eq!((provider.calls(), probed.put_off), (asked + 1, 1), "one probe: {told:?}");
        }
    }
}

/// One credential that a provider finds malformed is its own fault; three in a row are not.
#[tokio::test(start_paused = true)]
async fn three_malformed_requests_in_a_row_pause_the_connector() {
    let (memory, provider) = (Arc::new(MemoryStore::new()), Scripted::giving(LIFE));
    let replica = replica(memory.clone(), &Keys::random(), &provider, &["demo"]);
    let ids = [
        connect(&replica, "alice", "demo").await,
        connect(&replica, "bob", "demo").await,
        connect(&replica, "carol", "demo").await,
    ];
    memory.advance(LIFE);
    provider.will_fail(ExchangeClass::Config, "invalid_request");
    for (id, paused) in ids.iter().zip([false, false, true]) {
        let failed = replica.refresh(id).await.unwrap();
        assert!(matches!(failed, Refreshed::Failed(_)), "{failed:?}");
        assert_eq!(replica.paused("demo").await.unwrap().is_some(), paused);
        let row = memory.read_credential(id).await.unwrap().unwrap();
        assert_eq!((row.status, row.attempts), (Status::Active, u32::from(!paused)));
    }
}

/// a provider that never answers holds up its own credentials, and nobody else's.
#[tokio::test(start_paused = true)]
async fn a_provider_that_hangs_starves_nobody() {
    let (memory, hung) = (Arc::new(MemoryStore::new()), Arc::new(AtomicUsize::new(0)));
    let hangs = hung.clone();
    let provider = Scripted::new(move |asked| {
        let hangs = hangs.clone();
        async move {
            if asked.connector.slug == "hung" {
                hangs.fetch_add(1, Ordering::SeqCst);
                pending::<()>().await;
            }
            Ok(tokens(asked.number, LIFE))
        }
    });
    let replica = replica(memory.clone(), &Keys::random(), &provider, &["hung", "well"]);
    let mut well = Vec::new();
    for n in 0..500 {
        connect(&replica, &format!("owner-{n}"), "hung").await;
        well.push(connect(&replica, &format!("owner-{n}"), "well").await);
    }
    // Each has two minutes left.
    memory.advance(LIFE - Duration::from_secs(120));
    let started = Instant::now();
    let mut refreshed = 0;
    while refreshed < well.len() && started.elapsed() < Duration::from_secs(100) {
        refreshed += pass(&replica).await.refreshed;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let hung = hung.load(Ordering::SeqCst);
    println!("all well after {:?}, {hung} hung", started.elapsed());
    assert_eq!(refreshed, well.len());
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    assert!(hung <= 24, "so many tasks hang at the most: {hung}");
}

async fn connect(replica: &Connections, owner: &str, slug: &str) -> ConnectionId {
    replica.store(owner, slug, None, &tokens(0, LIFE)).await.unwrap()
}

async fn pass(replica: &Connections) -> RefreshDuePass {
    RefreshDue::default().pass(replica, &CancellationToken::new()).await
}

/// What is on record, without what an attempt counts, and without times.
async fn records(
    raw: &mut redis::aio::MultiplexedConnection,
    prefix: &str,
    ids: &[ConnectionId],
) -> BTreeMap<String, BTreeMap<String, Vec<u8>>> {
    let mut records = BTreeMap::new();
    for id in ids {
        let key = format!("{prefix}:{{{}}}:conn:{id}", id.shard());
        let mut record: BTreeMap<String, Vec<u8>> = raw.hgetall(key).await.unwrap();
        record.retain(|field, _| {
            !field.ends_with("_at") && !["fence", "failed"].contains(&field.as_str())
        });
        records.insert(id.to_string(), record);
    }
    records
}

fn replica(
    store: Arc<dyn Store>,
    keys: &Keys,
    provider: &Arc<Scripted>,
    slugs: &[&str],
) -> Connections {
    let vestibule = Vestibule::assemble(store, Seal::new(keys.ring.clone()), keys);
    let grace = ReplayPolicy::Grace(Duration::from_secs(30));
    connections_at(provider, &vestibule, slugs.iter().map(|slug| connector(slug, grace)))
}
