//! The journal: what dies after its write is recovered, what dies before is told as lost.

mod left;
mod outages;
mod sharing;

use std::{fs, path::Path, sync::Arc, time::Duration};

use vestibule::{
    Digest, RequestId,
    connection::{
        AccessToken, RefreshToken, TokenAnswer,
        journal::{DirectoryJournal, Journal, JournalEntry, JournalError, Replay},
    },
};

use crate::{
    properties::{
        journal::{Kill, Scene, killed_at},
        unwatched,
    },
    support::server::{self, TestServer},
};

/// the process is killed between the journal's write and the commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_the_journal_is_recovered() {
    let server = server::shared().await;
    println!("{}", killed_at(server, Kill::AfterTheJournal, 8, unwatched()).await.unwrap());
}

/// and between the commit and the note that it is decided.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_redis_has_is_not_committed_twice() {
    let server = server::shared().await;
    let figure = killed_at(server, Kill::AfterTheCommit, 4, unwatched()).await.unwrap();
    assert!(figure.contains("0 recovered, 4 known"), "{figure}");
}

/// The proof that these can fail, and X-7: what is not in the journal is lost, and told as that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_in_the_journal_is_told_as_lost() {
    let server = server::shared().await;
    for kill in [Kill::BeforeTheJournal, Kill::WithoutAJournal] {
        let lost = killed_at(server, kill, 4, unwatched()).await.unwrap_err();
        assert!(lost.starts_with("4 credentials without a live token; "), "{lost}");
        assert!(lost.contains("4 told as rotation_lost"), "{lost}");
    }
}

/// A Redis that is gone, and a process that dies while it is: recovered once it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_gone_costs_nothing() {
    let server = TestServer::builder()
        .arg("--appendonly", "yes")
        .arg("--appendfsync", "always")
        .start()
        .await;
    let mut scene = Scene::reach(&server, Kill::AfterTheJournal, 3).await;
    let replica = scene.replica(&server).await;
    server.kill9();
    scene.kill().await;
    let pass = replica.replay_journal().await.unwrap();
    assert_eq!((pass.recovered, pass.left), (0, 3), "{pass:?}");
    server.restart().await;
    let pass = replica.replay_journal().await.unwrap();
    assert_eq!((pass.recovered, pass.left), (3, 0), "{pass:?}");
    assert_eq!(scene.live(&replica).await, 3);
    assert_eq!(scene.provider.counts().reused_presentations, 0);
}

/// An entry never crosses a changed grant: whose secret it is, nobody knows any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_grant_is_not_overwritten_by_a_replay() {
    let server = server::shared().await;
    let mut scene = Scene::reach(server, Kill::AfterTheJournal, 1).await;
    scene.kill().await;
    let replica = scene.replica(server).await;
    let (id, owner) = scene.ids[0].clone();
    let granted = TokenAnswer {
        access_token: AccessToken::new("of the new grant"),
        refresh_token: Some(RefreshToken::new("of the new grant")),
        expires_in: Some(Duration::from_secs(300)),
        scope: None,
        refresh_expires_in: None,
    };
    replica.store(&owner, "demo", Some(&id), &granted).await.unwrap();
    let pass = replica.replay_journal().await.unwrap();
    assert_eq!((pass.recovered, pass.settled), (0, 1), "{pass:?}");
    let vended = replica.vend(&owner, &id).await.unwrap();
    assert_eq!(vended.access_token.secret(), "of the new grant");
    assert_eq!(replica.replay_journal().await.unwrap(), Replay::default(), "nothing is left");
}

/// A disk that lost a bit: that entry is put aside and told, the others are recovered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_entry_harms_no_other() {
    let server = server::shared().await;
    let mut scene = Scene::reach(server, Kill::AfterTheJournal, 5).await;
    scene.kill().await;
    let dir = scene.dir.path();
    // One has another content, one file breaks off, one was never a journal's.
    let whole = files(dir, "entries");
    let mut bytes = fs::read(&whole[0]).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&whole[0], &bytes).unwrap();
    fs::write(dir.join("short.entries"), &bytes[..40]).unwrap();
    fs::write(dir.join("strange.entries"), b"shopping list").unwrap();

    let replica = scene.replica(server).await;
    let pass = replica.replay_journal().await.unwrap();
    assert_eq!((pass.recovered, pass.damaged, pass.left), (4, 3, 0), "{pass:?}");
    assert_eq!(scene.live(&replica).await, 4);
    let (whole, damaged) = (files(dir, "entries"), files(dir, "damaged"));
    assert_eq!((whole.len(), damaged.len()), (0, 3), "{whole:?} {damaged:?}");
    assert_eq!(replica.replay_journal().await.unwrap(), Replay::default(), "told once");
}

/// One process replays; the others leave it to that one until it ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_replays() {
    let server = server::shared().await;
    let mut scene = Scene::reach(server, Kill::AfterTheJournal, 1).await;
    let (one, two) = (scene.replica(server).await, scene.replica(server).await);
    // While the victim lives it does not replay, so it has no lock.
    assert_eq!(one.replay_journal().await.unwrap().recovered, 1);
    assert!(two.replay_journal().await.unwrap().elsewhere);
    scene.kill().await;
    drop(one);
    let pass = two.replay_journal().await.unwrap();
    assert_eq!(pass, Replay::default(), "taken over, and nothing is left");
}

/// Neither token of an answer is on the disk in the open, and only its owner may read there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_tells_no_secret() {
    use std::os::unix::fs::PermissionsExt;
    let server = server::shared().await;
    let mut scene = Scene::reach(server, Kill::AfterTheJournal, 1).await;
    scene.kill().await;
    let file = files(scene.dir.path(), "entries").remove(0);
    let bytes = fs::read(&file).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o077, 0);
    let replica = scene.replica(server).await;
    replica.replay_journal().await.unwrap();
    let (id, owner) = &scene.ids[0];
    let vended = replica.vend(owner, id).await.unwrap();
    let secret = vended.access_token.secret().as_bytes().to_vec();
    assert!(!bytes.windows(secret.len()).any(|window| window == secret));
    let scope = b"refresh_token";
    assert!(!bytes.windows(scope.len()).any(|window| window == scope));
}

/// What stays undecided hides nothing behind it, whether it is one in a file or many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_hides_nothing_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Arc::new(DirectoryJournal::open(dir.path()).unwrap());
    let entries: Vec<_> = (0..40).map(entry).collect();
    for entry in &entries[..15] {
        journal.append(entry.clone()).await.unwrap();
    }
    let together = entries[15..].iter().map(|entry| journal.append(entry.clone()));
    for appended in futures_util::future::join_all(together).await {
        appended.unwrap();
    }
    let after = DirectoryJournal::open(dir.path()).unwrap();
    for _ in 0..3 {
        let mut seen = Vec::new();
        for _ in 0..6 {
            let page = after.undecided(7).await.unwrap().unwrap().entries;
            assert!(page.len() <= 7, "{}", page.len());
            seen.extend(page.into_iter().map(|entry| entry.name));
        }
        for entry in &entries {
            assert!(seen.contains(&entry.name), "one of 40 is in none of six pages of seven");
        }
    }
}

/// Those who append at the same time share their syncs, and nothing is lost or forgotten by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_share_their_writes() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Arc::new(DirectoryJournal::open(dir.path()).unwrap());
    let entries: Vec<_> = (0..200).map(entry).collect();
    let appends = entries.iter().map(|entry| journal.append(entry.clone()));
    for appended in futures_util::future::join_all(appends).await {
        appended.unwrap();
    }
    let written = files(dir.path(), "entries").len();
    assert!(written <= 3, "200 appends in {written} files");

    // A process that comes after a crash finds them all.
    let after = DirectoryJournal::open(dir.path()).unwrap();
    let mut found = after.undecided(1000).await.unwrap().unwrap().entries;
    found.sort_by_key(|entry| entry.name);
    let mut expected = entries.clone();
    expected.sort_by_key(|entry| entry.name);
    assert_eq!(found, expected);
    assert_eq!(after.undecided(7).await.unwrap().unwrap().entries.len(), 7, "bounded");
    for entry in &entries[1..] {
        after.decided(entry.name).await.unwrap();
    }
    assert_eq!(after.undecided(1000).await.unwrap().unwrap().entries, entries[..1]);
    for entry in &entries {
        journal.decided(entry.name).await.unwrap();
    }
    assert_eq!(files(dir.path(), "entries"), [] as [std::path::PathBuf; 0]);
}

/// It is bounded, and a directory that cannot be used is told at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_that_cannot_be_used_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let journal = DirectoryJournal::open(dir.path()).unwrap();
    let appends = (0..10_001).map(|n| journal.append(entry(n)));
    let appended = futures_util::future::join_all(appends).await;
    let full = appended.iter().filter(|outcome| outcome.is_err()).count();
    assert_eq!(full, 1);
    assert!(matches!(appended[10_000], Err(JournalError::Full { capacity: 10_000 })));

    let file = dir.path().join("a-file");
    fs::write(&file, b"").unwrap();
    let error = DirectoryJournal::open(&file).unwrap_err();
    assert!(matches!(error, JournalError::Io { .. }), "{error}");
    // One that goes away later: an append fails, and does not hang.
    drop(dir);
    let error = journal.decided(Digest::NONE).await;
    assert!(error.is_ok(), "it was never here");
    let error = DirectoryJournal::open("/dev/null/journal").unwrap_err();
    assert!(error.to_string().contains("needs a directory"), "{error}");
}

fn entry(n: usize) -> JournalEntry {
    JournalEntry { name: RequestId::random().digest(), sealed: vec![n as u8; 100 + n % 1000] }
}

fn files(dir: &Path, extension: &str) -> Vec<std::path::PathBuf> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    paths.sort();
    paths
}
