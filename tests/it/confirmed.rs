//! The `confirmed` level: a verb is done when replicas have it.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use vestibule::{
    Vestibule,
    connection::{
        ConnectionsConfig, HttpExchange, Refreshed, Registry, ReplayPolicy,
        journal::{DirectoryJournal, Journal},
    },
    store::{
        Class, Put, Store, StoreError,
        redis::{Confirmation, RedisConfig, RedisStore},
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
        server::TestServer,
        sign_in::{connector, install_tls, sign_in},
        stores::naming_key,
        verbs,
    },
};

const WITHIN: Duration = Duration::from_millis(100);

fn config(url: &str, replicas: u32) -> RedisConfig {
    RedisConfig::new(url).unwrap().with_confirmation(Confirmation { replicas, within: WITHIN })
}

async fn store(url: &str, replicas: u32) -> RedisStore {
    RedisStore::connect(config(url, replicas), &naming_key()).await.unwrap()
}

/// With its replica in step, every verb does what it does.
#[tokio::test]
async fn every_verb_is_confirmed() {
    let pair = Pair::start().await;
    let store = store(&pair.primary.url(), 1).await;
    verbs::every_verb(&store, async || ()).await;
}

/// A replica that gets nothing: executed, and told so. The same request asks again, also where it
/// writes nothing any more; and is told when the replica has it.
#[tokio::test]
async fn without_its_replica_a_verb_is_unconfirmed_until_it_has_it() {
    let mut pair = Pair::start().await;
    let store = store(&pair.primary.url(), 1).await;
    let name = verbs::live(&store).await;
    pair.cut();
    let request = verbs::request();
    for _ in 0..3 {
        let started = Instant::now();
        let error = store.take(&name, request).await.unwrap_err();
        assert_eq!(error.class(), Class::Unconfirmed, "{error}");
        assert!(matches!(&error, StoreError::Unconfirmed { verb: "pkce/take", .. }), "{error:?}");
        assert!(error.to_string().contains("0 of 1"), "{error}");
        assert!(started.elapsed() >= WITHIN, "nobody was waited for");
    }
    pair.mend().await;
    let taken = store.take(&name, request).await.unwrap();
    assert!(matches!(taken, vestibule::store::Take::Taken(_)), "{taken:?}");
    assert_eq!(verbs::put(&store, &verbs::name()).await.unwrap(), Put::Stored);
}

/// What waits for replicas holds nobody else up.
#[tokio::test]
async fn reads_and_leases_do_not_wait_for_replicas() {
    let mut pair = Pair::start().await;
    let store = Arc::new(store(&pair.primary.url(), 1).await);
    let id = verbs::due(&*store).await;
    pair.cut();
    let waiting: Vec<_> = (0..32)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { verbs::put(&*store, &verbs::name()).await })
        })
        .collect();
    let started = Instant::now();
    for _ in 0..50 {
        store.read_credential(&id).await.unwrap();
    }
    verbs::begin(&*store, &id, verbs::request()).await.unwrap();
    assert!(started.elapsed() < WITHIN, "{:?}", started.elapsed());
    for put in waiting {
        assert_eq!(put.await.unwrap().unwrap_err().class(), Class::Unconfirmed);
    }
}

/// On a Cluster, WAIT goes where the verb went.
#[tokio::test]
async fn a_cluster_is_asked_at_the_slots_node() {
    let server = TestServer::builder().start().await;
    verbs::every_verb(&store(&server.cluster_url(), 0).await, async || ()).await;
    let alone = store(&server.cluster_url(), 1).await;
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
        Vestibule::connect(config(&pair.primary.url(), 1), &shared_keys()).await.unwrap();
    let connector = connector(&provider.issuer(), ReplayPolicy::Strict);
    let exchange = Arc::new(HttpExchange::new().unwrap());
    let mut config = ConnectionsConfig::new(Registry::new([connector]).unwrap(), exchange);
    config.journal = journal.clone();
    let replica = vestibule.connections(config);
    let id = sign_in(&replica, "alice").await;
    age(&mut pair.primary.raw().await, "vst", Duration::from_secs(290)).await;

    pair.cut();
    let refreshed = replica.refresh(&id).await.unwrap();
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
