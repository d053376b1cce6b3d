//! A journal and those who work on it at the same time.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::Semaphore;
use vestibule::{
    Digest,
    connection::{
        Connections, Refreshed,
        journal::{DirectoryJournal, Journal, JournalEntry, JournalError, Replay, Undecided},
    },
};
use vestibule_worker::provider::{Provider, Settings};

use super::entry;
use crate::{
    properties::{connections::sign_in, journal::strict},
    support::{ageing::age, server, stores::fresh_prefix},
};

/// Whoever appends is told only when it is let go: the entry is there to be read by then.
#[derive(Debug)]
struct Slow {
    inner: DirectoryJournal,
    written: Semaphore,
    go_on: Semaphore,
}

#[async_trait]
impl Journal for Slow {
    async fn append(&self, entry: JournalEntry) -> Result<(), JournalError> {
        self.inner.append(entry).await?;
        self.written.add_permits(1);
        self.go_on.acquire().await.unwrap().forget();
        Ok(())
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

/// A replay between an entry and its commit leaves it to the commit; one of another process takes it,
/// and neither is told as late: nothing was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_overtakes_no_commit() {
    let server = server::shared().await;
    for by_itself in [true, false] {
        let (prefix, dir) = (fresh_prefix(), tempfile::tempdir().unwrap());
        let settings = Settings { reuse_grace: Duration::ZERO, ..Settings::default() };
        let provider = Provider::start(settings).await.unwrap();
        let open = || DirectoryJournal::open(dir.path()).unwrap();
        let (written, go_on) = (Semaphore::new(0), Semaphore::new(0));
        let slow = Arc::new(Slow { inner: open(), written, go_on });
        let at = async |journal: Arc<dyn Journal>| {
            strict(&server.url(), &prefix, &provider.issuer(), journal).await
        };
        let (live, other): (Connections, Connections) =
            (at(slow.clone()).await, at(Arc::new(open())).await);
        let id = sign_in(&live, "alice").await;
        age(&mut server.raw().await, &prefix, Duration::from_secs(290)).await;
        let refreshing = {
            let (live, id) = (live.clone(), id.clone());
            tokio::spawn(async move { live.refresh(&id).await.unwrap() })
        };
        slow.written.acquire().await.unwrap().forget();
        let replica = if by_itself { &live } else { &other };
        let replay = replica.replay_journal().await.unwrap();
        slow.go_on.add_permits(1);
        let refreshed = refreshing.await.unwrap();
        if by_itself {
            assert_eq!(replay, Replay::default());
            assert!(matches!(refreshed, Refreshed::Fresh { .. }), "{refreshed:?}");
        } else {
            assert_eq!(replay.recovered, 1);
        }
        assert_eq!(replica.replay_journal().await.unwrap(), Replay::default(), "nothing is left");
        let history = format!("{prefix}:{{{}}}:history", id.shard());
        let mut range = redis::cmd("XRANGE");
        let told: redis::Value =
            range.arg(&[&*history, "-", "+"]).query_async(&mut server.raw().await).await.unwrap();
        let told = format!("{told:?}");
        assert!(told.contains("refresh_succeeded"), "{told}");
        assert!(!told.contains("persistence_failed"), "{told}");
    }
}

/// Two processes on one directory: what one of them decides makes room in the other's journal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_process_decided_takes_no_room() {
    let dir = tempfile::tempdir().unwrap();
    let open = || DirectoryJournal::open(dir.path()).unwrap();
    let (one, two) = (open(), open());
    let entries: Vec<_> = (0..10_000).map(entry).collect();
    let appends = entries.iter().map(|entry| one.append(entry.clone()));
    for appended in futures_util::future::join_all(appends).await {
        appended.unwrap();
    }
    let full = one.append(entry(0)).await;
    assert!(matches!(full, Err(JournalError::Full { .. })), "{full:?}");
    for entry in two.undecided(10_000).await.unwrap().unwrap().entries {
        two.decided(entry.name).await.unwrap();
    }
    let entries: Vec<_> = (0..10_000).map(entry).collect();
    let appends = entries.iter().map(|entry| one.append(entry.clone()));
    for appended in futures_util::future::join_all(appends).await {
        appended.unwrap();
    }
    let full = one.append(entry(0)).await;
    assert!(matches!(full, Err(JournalError::Full { .. })), "what is there is not forgotten");
    assert_eq!(two.undecided(20_000).await.unwrap().unwrap().entries.len(), 10_000);
}
