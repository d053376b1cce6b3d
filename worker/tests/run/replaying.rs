//! A worker that comes back with answers in its journal.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use vestibule::{
    Digest,
    connection::{
        ConnectionsConfig, HttpExchange, Registry, ReplayPolicy,
        journal::{DirectoryJournal, Journal, JournalEntry, JournalError, Undecided},
    },
};
use vestibule_worker::provider::{Provider, Settings};

use crate::{
    scene::{Scene, end, signal, until},
    support::{
        ageing::age,
        server::{self, free_port},
        sign_in::{connector, sign_in},
    },
};

const CREDENTIALS: usize = 50;

/// Its process stops for ever when the answer is written.
#[derive(Debug)]
struct Stops {
    inner: DirectoryJournal,
    written: AtomicUsize,
}

#[async_trait]
impl Journal for Stops {
    async fn append(&self, entry: JournalEntry) -> Result<(), JournalError> {
        self.inner.append(entry).await?;
        self.written.fetch_add(1, Ordering::SeqCst);
        std::future::pending().await
    }

    async fn decided(&self, name: Digest) -> Result<(), JournalError> {
        self.inner.decided(name).await
    }

    async fn undecided(&self, limit: usize) -> Result<Option<Undecided>, JournalError> {
        self.inner.undecided(limit).await
    }

    async fn quarantine(&self, name: Digest) -> Result<(), JournalError> {
        self.inner.quarantine(name).await
    }
}

/// a strict provider, answers in the journal only, and a worker that starts when nobody has to wait
/// for a journal any more: what it has in its own comes first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_replays_before_it_refreshes() {
    let server = server::shared().await;
    let strict = Settings { reuse_grace: Duration::ZERO, ..Settings::default() };
    for once in [false, true] {
        let provider = Provider::start(strict.clone()).await.unwrap();
        let scene = Scene::at(provider, &server.url()).await;
        let path = scene.path("vestibule.toml");
        let text = fs::read_to_string(&path).unwrap();
        let text = text.replace("replay_grace_s = 30", "replay_grace_s = 0");
        let dir = scene.path("journal");
        fs::write(&path, format!("journal_dir = {dir:?}\n{text}")).unwrap();
        let ids = journalled(&scene).await;
        age(&mut server.raw().await, &scene.prefix, Duration::from_secs(100)).await;

        let mut command = scene.sweeping(&format!("127.0.0.1:{}", free_port()));
        if once {
            command.arg("--once");
        }
        let child = command.spawn().unwrap();
        if !once {
            until("refreshed", || async { scene.refreshed(server, &ids).await == CREDENTIALS })
                .await;
            signal(&child, "TERM");
        }
        let (status, log) = end(child).await;
        assert_eq!(status.code(), Some(0), "{log}");
        assert_eq!(scene.refreshed(server, &ids).await, CREDENTIALS, "{log}");
        let counts = scene.provider.counts();
        assert_eq!((counts.reused_presentations, counts.family_revocations), (0, 0), "{log}");
        let left = fs::read_dir(&dir).unwrap();
        assert_eq!(left.filter(|file| file.as_ref().unwrap().file_name() != "lock").count(), 0);
    }
}

/// Credentials whose answers are in the journal, and nowhere else.
async fn journalled(scene: &Scene) -> Vec<vestibule::store::ConnectionId> {
    let inner = DirectoryJournal::open(scene.path("journal")).unwrap();
    let journal = Arc::new(Stops { inner, written: AtomicUsize::new(0) });
    let connector = connector(&scene.provider.issuer(), ReplayPolicy::Strict);
    let exchange = Arc::new(HttpExchange::new().unwrap());
    let mut config = ConnectionsConfig::new(Registry::new([connector]).unwrap(), exchange);
    config.journal = journal.clone();
    let dies = scene.vestibule().await.connections(config);
    let mut ids = Vec::new();
    for owner in 0..CREDENTIALS {
        ids.push(sign_in(&dies, &format!("owner-{owner}")).await);
    }
    let mut raw = server::shared().await.raw().await;
    age(&mut raw, &scene.prefix, Duration::from_secs(290)).await;
    for id in ids.clone() {
        let dies = dies.clone();
        tokio::spawn(async move { dies.refresh(&id).await });
    }
    let written = || journal.written.load(Ordering::SeqCst);
    until("written", || async { written() == CREDENTIALS }).await;
    ids
}
