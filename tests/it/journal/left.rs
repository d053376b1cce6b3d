//! A journal with answers in it that do not open: their key is missing.

use std::{
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::future::join_all;
use vestibule::{
    Digest, Keys, RequestId, Vestibule,
    connection::{
        Connections, ConnectionsConfig, Registry, ReplayPolicy,
        journal::{DirectoryJournal, Journal, JournalEntry, JournalError, NoJournal, Undecided},
    },
    seal::Seal,
    store::{ConnectionId, Store, memory::MemoryStore},
};

use super::files;
use crate::support::{
    logs,
    provider::{Scripted, connector, tokens},
    stores::naming_key,
};

const HOUR: Duration = Duration::from_secs(3600);
/// Three pages of a replay, and a half.
const STUCK: usize = 350;

/// Keeps the one entry that is written, and lets nobody go on.
#[derive(Debug, Default)]
struct Catches(Mutex<Option<JournalEntry>>);

#[async_trait]
impl Journal for Catches {
    async fn append(&self, entry: JournalEntry) -> Result<(), JournalError> {
        *self.0.lock().unwrap() = Some(entry);
        std::future::pending().await
    }

    async fn decided(&self, name: Digest) -> Result<(), JournalError> {
        NoJournal.decided(name).await
    }

    async fn undecided(&self, limit: usize) -> Result<Option<Undecided>, JournalError> {
        NoJournal.undecided(limit).await
    }

    async fn quarantine(&self, name: Digest) -> Result<(), JournalError> {
        NoJournal.quarantine(name).await
    }
}

fn connections(
    store: &Arc<MemoryStore>,
    keys: &Keys,
    provider: &Arc<Scripted>,
    journal: Arc<dyn Journal>,
) -> Connections {
    let vestibule = Vestibule::assemble(store.clone(), Seal::new(keys.ring.clone()), keys);
    let registry = Registry::new([connector("demo", ReplayPolicy::Strict)]).unwrap();
    let mut config = ConnectionsConfig::new(registry, provider.clone());
    config.journal = journal;
    vestibule.connections(config)
}

/// A connection whose refresh was answered, and the answer is in the entry alone.
async fn answered(store: &Arc<MemoryStore>, keys: &Keys) -> (ConnectionId, JournalEntry) {
    let (provider, catches) = (Scripted::giving(HOUR), Arc::new(Catches::default()));
    let dies = connections(store, keys, &provider, catches.clone());
    let id = dies.store("alice", "demo", None, &tokens(0, HOUR)).await.unwrap();
    store.advance(HOUR);
    let refreshing = tokio::spawn({
        let id = id.clone();
        async move { dies.refresh(&id).await }
    });
    loop {
        if let Some(entry) = catches.0.lock().unwrap().take() {
            refreshing.abort();
            return (id, entry);
        }
        tokio::task::yield_now().await;
    }
}

/// a replay goes on to what can be decided, however much before it cannot; that is told once.
#[tokio::test]
async fn what_does_not_open_keeps_nothing_from_being_replayed() {
    let logs = logs::capture();
    let store = Arc::new(MemoryStore::new());
    let ours = Keys { naming: naming_key(), ..Keys::random() };
    let retired = Keys { naming: naming_key(), ..Keys::random() };
    let (_, unopened) = answered(&store, &retired).await;
    let (id, good) = answered(&store, &ours).await;

    let dir = tempfile::tempdir().unwrap();
    let died = DirectoryJournal::open(dir.path()).unwrap();
    died.append(good).await.unwrap();
    // It is read last.
    fs::rename(&files(dir.path(), "entries")[0], dir.path().join("zz.entries")).unwrap();
    let name = || RequestId::random().digest();
    let stuck: Vec<_> =
        (0..STUCK).map(|_| JournalEntry { name: name(), ..unopened.clone() }).collect();
    for appended in join_all(stuck.iter().map(|entry| died.append(entry.clone()))).await {
        appended.unwrap();
    }
    drop(died);

    let journal = Arc::new(DirectoryJournal::open(dir.path()).unwrap());
    let replica = connections(&store, &ours, &Scripted::nobody(), journal);
    for round in 0..2 {
        let (mut recovered, mut passes) = (0, 0);
        loop {
            let pass = replica.replay_journal().await.unwrap();
            (recovered, passes) = (recovered + pass.recovered, passes + 1);
            if pass.is_at_its_end() {
                break;
            }
            assert!(passes < 10, "it comes to an end");
        }
        assert_eq!(recovered, 1 - round);
    }
    let row = store.read_credential(&id).await.unwrap().unwrap();
    assert_eq!(row.ver, 2);
    let text = logs.text();
    for entry in &stuck {
        let told = format!("a journaled answer does not open name={}", entry.name);
        assert_eq!(text.matches(&told).count(), 1, "{told}");
    }
}
