//! The journal under SIGKILL: under a strict provider, what was answered is not lost.

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use redis::AsyncCommands;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use vestibule::{
    Digest,
    connection::{
        Connections, ConnectionsConfig, HttpExchange, Registry, ReplayPolicy,
        journal::{DirectoryJournal, Journal, JournalEntry, JournalError, NoJournal, Undecided},
    },
    store::ConnectionId,
    sweep::RefreshDue,
};
use vestibule_worker::provider::{Provider, Settings};

use super::{
    Progress, Verdict, connect,
    connections::{connector, install_tls, sign_in},
    verdict,
};
use crate::support::{
    ageing::age,
    children::{self, Child, Parent},
    server::TestServer,
    stores::fresh_prefix,
};

/// Where a process dies, between the provider's answer and the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kill {
    /// The answer is in memory only.
    BeforeTheJournal,
    /// It is in the journal, and Redis does not have it.
    AfterTheJournal,
    /// Redis has it, and the journal does not know.
    AfterTheCommit,
    /// As [`AfterTheJournal`](Self::AfterTheJournal), but there is no journal: what it is for.
    WithoutAJournal,
}

/// Credentials of a strict provider, refreshed by a process that is killed at one place of it.
pub struct Scene {
    pub provider: Provider,
    pub prefix: String,
    pub dir: tempfile::TempDir,
    pub ids: Vec<(ConnectionId, String)>,
    victim: Option<Child>,
}

impl Scene {
    /// All of the exchanges have reached the place, and their process is there still.
    pub async fn reach(server: &TestServer, kill: Kill, credentials: u64) -> Self {
        let prefix = fresh_prefix();
        let settings = Settings { reuse_grace: Duration::ZERO, ..Settings::default() };
        let provider = Provider::start(settings).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut scene = Self { provider, prefix, dir, ids: Vec::new(), victim: None };
        let connections = scene.replica(server).await;
        for n in 0..credentials {
            let owner = format!("owner-{n}");
            scene.ids.push((sign_in(&connections, &owner).await, owner));
        }
        scene.age(server, 300).await;
        let ids: Vec<_> = scene.ids.iter().map(|(id, _)| id.as_str()).collect();
        let args = json!({
            "url": server.url(), "prefix": scene.prefix, "issuer": scene.provider.issuer(),
            "dir": scene.dir.path(), "kill": format!("{kill:?}"), "ids": ids,
        });
        let mut victim = children::spawn("die-at-the-journal", &args).await;
        for _ in 0..credentials {
            assert_eq!(victim.next().await, Some(Value::from("HERE")));
        }
        scene.victim = Some(victim);
        scene
    }

    pub async fn kill(&mut self) {
        self.victim.take().unwrap().kill9().await;
    }

    /// Another process's handle on the same journal.
    pub async fn replica(&self, server: &TestServer) -> Connections {
        let journal = Arc::new(DirectoryJournal::open(self.dir.path()).unwrap());
        strict(&server.url(), &self.prefix, &self.provider.issuer(), journal).await
    }

    pub async fn age(&self, server: &TestServer, seconds: u64) {
        age(&mut server.raw().await, &self.prefix, Duration::from_secs(seconds)).await;
    }

    /// How many have a token that the provider accepts.
    pub async fn live(&self, replica: &Connections) -> u64 {
        let mut live = 0;
        for (id, owner) in &self.ids {
            if let Ok(vended) = replica.vend(owner, id).await {
                let token = vended.access_token.secret();
                live += u64::from(self.provider.is_access_token_live(token));
            }
        }
        live
    }

    /// How many are told as lost.
    async fn labelled(&self, server: &TestServer) -> u64 {
        let mut raw = server.raw().await;
        let mut labelled = 0;
        for (id, _) in &self.ids {
            let key = format!("{}:{{{}}}:conn:{id}", self.prefix, id.shard());
            let said: (String, Option<String>) =
                raw.hmget(key, &["status", "reason"]).await.unwrap();
            labelled += u64::from(said == ("needs_reauth".into(), Some("rotation_lost".into())));
        }
        labelled
    }
}

/// Killed after the journal's write: recovered, at once and without the provider. Killed before it,
/// or without a journal: lost, and told so. Never anything in between.
pub async fn killed_at(
    server: &TestServer,
    kill: Kill,
    credentials: u64,
    progress: Progress,
) -> Verdict {
    let mut scene = Scene::reach(server, kill, credentials).await;
    scene.kill().await;
    let replica = scene.replica(server).await;
    let calls = scene.provider.counts().token_calls;
    let mut recovered = 0;
    let mut settled = 0;
    loop {
        let pass = replica.replay_journal().await.unwrap();
        recovered += pass.recovered as u64;
        settled += pass.settled as u64;
        if pass.recovered + pass.settled == 0 {
            break;
        }
    }
    let lives_at_once = scene.live(&replica).await;
    let asked_again = scene.provider.counts().token_calls - calls;
    // What is not there is tried once, after the lease and the journal's window.
    scene.age(server, 91).await;
    RefreshDue::default().pass(&replica, &CancellationToken::new()).await;
    let labelled = scene.labelled(server).await;
    let rest = std::fs::read_dir(scene.dir.path()).unwrap();
    let rest = rest.filter(|entry| entry.as_ref().unwrap().file_name() != "lock").count() as u64;
    progress(credentials);
    verdict(
        format!(
            "{credentials} exchanges killed: {recovered} recovered, {settled} known, {labelled} \
             told as rotation_lost"
        ),
        &[
            ("credentials without a live token", credentials - lives_at_once),
            ("neither live nor told as lost", credentials - (lives_at_once + labelled)),
            ("calls to the provider for what is recovered", asked_again),
            ("files left in the journal", rest),
        ],
    )
}

pub async fn strict(
    url: &str,
    prefix: &str,
    issuer: &str,
    journal: Arc<dyn Journal>,
) -> Connections {
    install_tls();
    let vestibule = connect(url, prefix).await;
    let registry = Registry::new([connector(issuer, ReplayPolicy::Strict)]).unwrap();
    let exchange = Arc::new(HttpExchange::new().unwrap());
    let mut config = ConnectionsConfig::new(registry, exchange);
    config.journal = journal;
    // Nobody waits here for what is lost.
    config.vend_deadline = Duration::from_millis(250);
    vestibule.connections(config)
}

/// Refreshes what it is told, and stops for ever at the place where it is to be killed.
pub async fn victim(args: Value, parent: Parent) {
    let text = |name: &str| args[name].as_str().unwrap().to_owned();
    let dir = text("dir");
    let (at, inner): (_, Arc<dyn Journal>) = match text("kill").as_str() {
        "BeforeTheJournal" => (At::Append, Arc::new(NoJournal)),
        "AfterTheJournal" => (At::Appended, open(Path::new(&dir))),
        "AfterTheCommit" => (At::Committed, open(Path::new(&dir))),
        "WithoutAJournal" => (At::Appended, Arc::new(NoJournal)),
        other => panic!("{other}"),
    };
    let journal = Arc::new(Failpoint { at, inner, parent });
    let (url, prefix, issuer) = (text("url"), text("prefix"), text("issuer"));
    let connections = strict(&url, &prefix, &issuer, journal).await;
    let ids = args["ids"].as_array().unwrap().iter();
    let ids: Vec<ConnectionId> = ids.map(|id| id.as_str().unwrap().parse().unwrap()).collect();
    let all = ids.iter().map(|id| connections.refresh(id));
    let outcomes = futures_util::future::join_all(all).await;
    panic!("they went past: {outcomes:?}");
}

fn open(dir: &Path) -> Arc<dyn Journal> {
    Arc::new(DirectoryJournal::open(dir).unwrap())
}

#[derive(Debug, PartialEq, Eq)]
enum At {
    Append,
    Appended,
    Committed,
}

#[derive(Debug)]
struct Failpoint {
    at: At,
    inner: Arc<dyn Journal>,
    parent: Parent,
}

impl Failpoint {
    async fn pass(&self, at: At) {
        if self.at == at {
            self.parent.say("HERE");
            std::future::pending().await
        }
    }
}

#[async_trait]
impl Journal for Failpoint {
    async fn append(&self, entry: JournalEntry) -> Result<(), JournalError> {
        self.pass(At::Append).await;
        self.inner.append(entry).await?;
        self.pass(At::Appended).await;
        Ok(())
    }

    async fn decided(&self, name: Digest) -> Result<(), JournalError> {
        self.pass(At::Committed).await;
        self.inner.decided(name).await
    }

    async fn undecided(&self, limit: usize) -> Result<Option<Undecided>, JournalError> {
        self.inner.undecided(limit).await
    }

    async fn quarantine(&self, name: Digest) -> Result<(), JournalError> {
        self.inner.quarantine(name).await
    }
}
