//! The `confirmed` level: a verb is done when replicas have it.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use vestibule::{
    Vestibule,
    connection::{
        ConnectionError, ConnectionsConfig, HttpExchange, Refreshed, Registry, ReplayPolicy,
        journal::{DirectoryJournal, Journal},
    },
    store::{
        Class, Put, Store, StoreError,
        redis::{Confirmation, RedisConfig, RedisStore, Timeouts},
    },
};
use vestibule_worker::provider::{Provider, Settings};

use crate::{
    properties::{
        failover::{Level, failovers},
        pkce::shared_keys,
        unwatched,
    },
    support::{
        ageing::age,
        pair::Pair,
        provider::{self, Scripted, connections_at, tokens},
        sentinel::until,
        server::TestServer,
        sign_in::{connector, install_tls, sign_in},
        stores::naming_key,
        verbs,
    },
};

/// Where nobody confirms, it is known soon.
const SOON: Duration = Duration::from_millis(100);
/// Where a replica is there, it is given time: this machine may be busy.
const PATIENT: Duration = Duration::from_secs(4);
/// Where it is there and then it is not.
const BETWEEN: Duration = Duration::from_secs(1);

fn config(url: &str, replicas: u32, within: Duration) -> RedisConfig {
    RedisConfig::new(url).unwrap().with_confirmation(Confirmation { replicas, within })
}

async fn store(url: &str, replicas: u32, within: Duration) -> RedisStore {
    RedisStore::connect(config(url, replicas, within), &naming_key()).await.unwrap()
}

/// With its replica in step, every verb does what it does.
#[tokio::test]
async fn every_verb_is_confirmed() {
    let pair = Pair::start().await;
    let store = store(&pair.primary.url(), 1, PATIENT).await;
    verbs::every_verb(&store, async || ()).await;
}

/// A replica that gets nothing: executed, and told so. The same request asks again, also where it
/// writes nothing any more; and is told when the replica has it.
#[tokio::test]
async fn without_its_replica_a_verb_is_unconfirmed_until_it_has_it() {
    let mut pair = Pair::start().await;
    let patient = store(&pair.primary.url(), 1, PATIENT).await;
    let hasty = store(&pair.primary.url(), 1, SOON).await;
    let name = verbs::live(&patient).await;
    pair.cut().await;
    let request = verbs::request();
    for _ in 0..3 {
        let started = Instant::now();
        let error = hasty.take(&name, request).await.unwrap_err();
        assert_eq!(error.class(), Class::Unconfirmed, "{error}");
        assert!(matches!(&error, StoreError::Unconfirmed { verb: "pkce/take", .. }), "{error:?}");
        assert!(error.to_string().contains("0 of 1"), "{error}");
        assert!(started.elapsed() >= SOON, "nobody was waited for");
    }
    pair.mend().await;
    let taken = patient.take(&name, request).await.unwrap();
    assert!(matches!(taken, vestibule::store::Take::Taken(_)), "{taken:?}");
    assert_eq!(verbs::put(&patient, &verbs::name()).await.unwrap(), Put::Stored);
}

/// What waits for replicas holds nobody else up: whoever does not is through while all of them wait.
#[tokio::test]
async fn reads_and_leases_do_not_wait_for_replicas() {
    const AT_ONCE: usize = 16;
    let mut pair = Pair::start().await;
    let timeouts = Timeouts { overall: PATIENT * 5, ..Timeouts::default() };
    let config = config(&pair.primary.url(), 1, PATIENT).with_timeouts(timeouts);
    let store = Arc::new(RedisStore::connect(config, &naming_key()).await.unwrap());
    let id = verbs::due(&*store).await;
    pair.cut().await;
    let waiting: Vec<_> = (0..2 * AT_ONCE)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { verbs::put(&*store, &verbs::name()).await })
        })
        .collect();
    let mut raw = pair.primary.raw().await;
    until("as many as may wait at once", async || {
        let mut info = redis::cmd("INFO");
        let info: String = info.arg("clients").query_async(&mut raw).await.unwrap();
        info.contains(&format!("blocked_clients:{AT_ONCE}\r\n"))
    })
    .await;
    for _ in 0..50 {
        store.read_credential(&id).await.unwrap();
    }
    verbs::begin(&*store, &id, verbs::request()).await.unwrap();
    assert!(waiting.iter().all(|put| !put.is_finished()), "they were waited for");
    for put in waiting {
        assert_eq!(put.await.unwrap().unwrap_err().class(), Class::Unconfirmed);
    }
}

/// On a Cluster, WAIT goes where the verb went.
#[tokio::test]
async fn a_cluster_is_asked_at_the_slots_node() {
    let server = TestServer::builder().start().await;
    verbs::every_verb(&store(&server.cluster_url(), 0, SOON).await, async || ()).await;
    let alone = store(&server.cluster_url(), 1, SOON).await;
    let error = verbs::put(&alone, &verbs::name()).await.unwrap_err();
    assert_eq!(error.class(), Class::Unconfirmed, "{error}");
}

/// what a failover may undo stays in the journal, until a replica has it.
#[tokio::test]
async fn an_answer_stays_in_the_journal_until_it_is_confirmed() {
    install_tls();
    let mut pair = Pair::start().await;
    let provider = Provider::start(Settings::default()).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let journal = Arc::new(DirectoryJournal::open(dir.path()).unwrap());
    let vestibule =
        Vestibule::connect(config(&pair.primary.url(), 1, BETWEEN), &shared_keys()).await.unwrap();
    let connector = connector(&provider.issuer(), ReplayPolicy::Strict);
    let exchange = Arc::new(HttpExchange::new().unwrap());
    let mut config = ConnectionsConfig::new(Registry::new([connector]).unwrap(), exchange);
    config.journal = journal.clone();
    let replica = vestibule.connections(config);
    let id = sign_in(&replica, "alice").await;
    age(&mut pair.primary.raw().await, "vst", Duration::from_secs(290)).await;

    // While the provider answers: what nobody has confirmed is not begun.
    provider.set_answer_delay(Duration::from_secs(2));
    let refreshing = {
        let (replica, id) = (replica.clone(), id.clone());
        tokio::spawn(async move { replica.refresh(&id).await.unwrap() })
    };
    while provider.in_flight() == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    pair.cut().await;
    let refreshed = refreshing.await.unwrap();
    assert!(matches!(refreshed, Refreshed::Fresh { .. }), "{refreshed:?}");
    let kept = async || journal.undecided(10).await.unwrap().unwrap().entries.len();
    assert_eq!(kept().await, 1);
    let left = replica.replay_journal().await.unwrap();
    assert_eq!((left.left, left.settled), (1, 0), "{left:?}");

    pair.mend().await;
    let settled = replica.replay_journal().await.unwrap();
    assert_eq!((settled.left, settled.settled), (0, 1), "{settled:?}");
    assert_eq!(kept().await, 0);
    let vended = replica.vend("alice", &id).await.unwrap();
    assert!(provider.is_access_token_live(vended.access_token.secret()));
}

/// a failover undoes what began, and the successor knows of no attempt. A strict provider was not
/// asked by then; one that forgives for longer than a lease may be.
#[tokio::test]
async fn nothing_is_presented_before_its_begin_is_confirmed() {
    const LIFE: Duration = Duration::from_secs(300);
    let (short, long) = (Duration::from_secs(10), Duration::from_secs(30));
    for (replay, asked) in
        [(ReplayPolicy::Strict, 0), (ReplayPolicy::Grace(short), 0), (ReplayPolicy::Grace(long), 1)]
    {
        let mut pair = Pair::start().await;
        let provider = Scripted::giving(LIFE);
        let at = async |url: &str, replicas| {
            let vestibule =
                Vestibule::connect(config(url, replicas, BETWEEN), &shared_keys()).await.unwrap();
            connections_at(&provider, &vestibule, [provider::connector("demo", replay)])
        };
        let dies = at(&pair.primary.url(), 1).await;
        let id = dies.store("alice", "demo", None, &tokens(0, LIFE)).await.unwrap();
        age(&mut pair.primary.raw().await, "vst", LIFE).await;
        pair.in_step().await;
        pair.cut().await;
        let refreshed = dies.refresh(&id).await;
        assert_eq!(provider.calls(), asked, "{replay:?}: {refreshed:?}");
        if asked == 0 {
            let ConnectionError::Store(error) = refreshed.unwrap_err() else { panic!() };
            assert_eq!(error.class(), Class::Unconfirmed, "{error}");
        }
        pair.promote().await;
        let successor = at(&pair.replica.url(), 0).await;
        let refreshed = successor.refresh(&id).await.unwrap();
        assert!(matches!(refreshed, Refreshed::Fresh { .. }), "{refreshed:?}");
        assert_eq!(provider.calls(), asked + 1);
    }
}

/// With a replica in step it is begun, and known to whoever comes after a failover.
#[tokio::test]
async fn a_confirmed_begin_outlives_a_failover() {
    const LIFE: Duration = Duration::from_secs(300);
    let mut pair = Pair::start().await;
    let provider = Scripted::new(async |_| std::future::pending().await);
    let at = async |url: &str, replicas| {
        let config = config(url, replicas, PATIENT);
        let vestibule = Vestibule::connect(config, &shared_keys()).await.unwrap();
        connections_at(&provider, &vestibule, [provider::connector("demo", ReplayPolicy::Strict)])
    };
    let dies = at(&pair.primary.url(), 1).await;
    let id = dies.store("alice", "demo", None, &tokens(0, LIFE)).await.unwrap();
    age(&mut pair.primary.raw().await, "vst", LIFE).await;
    let refreshing = {
        let (dies, id) = (dies.clone(), id.clone());
        tokio::spawn(async move { dies.refresh(&id).await })
    };
    while provider.calls() == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    pair.cut().await;
    pair.promote().await;
    let successor = at(&pair.replica.url(), 0).await;
    let held = successor.refresh(&id).await.unwrap();
    assert!(matches!(held, Refreshed::Held { .. }), "{held:?}");
    age(&mut pair.replica.raw().await, "vst", Duration::from_secs(31)).await;
    let undecided = successor.refresh(&id).await.unwrap();
    assert!(matches!(undecided, Refreshed::Undecided { .. }), "{undecided:?}");
    assert_eq!(provider.calls(), 1);
    refreshing.abort();
}

/// What `make prove` shows at full size.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_undoes_nothing_that_was_confirmed() {
    println!("{}", failovers(Level::Confirmed, true, 3, unwatched()).await.unwrap());
}

/// At the normal level what is undone are the last calls before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_undoes_only_the_end() {
    println!("{}", failovers(Level::Normal, false, 3, unwatched()).await.unwrap());
}

/// The proof that the first of these can fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_confirmation_a_failover_undoes_something() {
    let found = failovers(Level::Normal, true, 3, unwatched()).await.unwrap_err();
    assert!(found.contains("undone"), "{found}");
}
