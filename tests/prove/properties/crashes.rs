//! A process is killed at every place of a refresh, under providers that forgive for longer and
//! shorter: what is recovered, and what is told as lost.

use std::{fmt, num::NonZero, sync::Arc, time::Duration};

use async_trait::async_trait;
use redis::AsyncCommands;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use vestibule::{
    Digest, RequestId,
    connection::{
        CodeGrant, Connections, ConnectionsConfig, Connector, ExchangeError, HttpExchange,
        RefreshToken, Registry, ReplayPolicy, TokenAnswer, TokenExchange,
        journal::{DirectoryJournal, Journal, JournalEntry, JournalError, Undecided},
    },
    store::{
        Claim, ConnectionId, Shard, Store,
        redis::{RedisConfig, RedisStore},
    },
    sweep::RefreshDue,
};
use vestibule_worker::provider::{Answer, Failure, Provider, Settings};

use super::{
    Progress, Verdict, connect,
    connections::{connector, install_tls, sign_in},
    pkce::shared_keys,
    verdict,
};
use crate::support::{
    ageing::age,
    children::{self, Parent},
    server::TestServer,
    stores::fresh_prefix,
};

/// The places, in the order in which an exchange reaches them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// It is hidden from the others, and not begun.
    Claimed,
    /// The attempt is on record, and the provider was not asked.
    Begun,
    /// The same, with a place at a provider that takes so many calls at once.
    InItsPlace,
    /// The provider was out of order, and that is not on record.
    Failed,
    /// The provider has answered, and nobody else knows.
    Answered,
    /// The answer is in the journal.
    Journalled,
    /// Redis has it too.
    Committed,
}

impl At {
    const ALL: [Self; 7] = [
        Self::Claimed,
        Self::Begun,
        Self::InItsPlace,
        Self::Failed,
        Self::Answered,
        Self::Journalled,
        Self::Committed,
    ];

    /// How many calls its provider takes at once.
    fn cap(self, credentials: usize) -> Option<NonZero<u16>> {
        NonZero::new(u16::try_from(credentials).unwrap()).filter(|_| self == Self::InItsPlace)
    }
}

/// Every place under a grace of none, 10 s, 30 s and 60 s, so many credentials each. What only the
/// dead process knew is lost where its successor comes after the grace, and told as `rotation_lost`;
/// nothing else is. With `as_promised` off, the provider forgives nothing, whatever it is said to.
pub async fn everywhere(
    server: &TestServer,
    as_promised: bool,
    credentials: u64,
    progress: Progress,
) -> Verdict {
    let (mut figures, mut silent, mut lost_for_nothing) = (Vec::new(), 0, 0);
    for seconds in [0, 10, 30, 60] {
        let grace = Duration::from_secs(seconds);
        let (mut recovered, mut told) = (0, 0);
        for at in At::ALL {
            let given = if as_promised { grace } else { Duration::ZERO };
            let seen = one_kill(server, at, grace, given, credentials).await;
            recovered += seen.recovered;
            told += seen.told;
            silent += credentials - seen.recovered - seen.told;
            if at != At::Answered || seconds >= 30 {
                lost_for_nothing += seen.told;
            }
            progress(credentials);
        }
        figures.push(format!("grace {seconds} s: {recovered} recovered, {told} told as lost"));
    }
    verdict(
        format!("{credentials} killed at each of {} places; {}", At::ALL.len(), figures.join("; ")),
        &[("neither recovered nor told", silent), ("lost for nothing", lost_for_nothing)],
    )
}

struct Seen {
    recovered: u64,
    told: u64,
}

async fn one_kill(
    server: &TestServer,
    at: At,
    grace: Duration,
    given: Duration,
    credentials: u64,
) -> Seen {
    let (prefix, dir) = (fresh_prefix(), tempfile::tempdir().unwrap());
    let settings = Settings { reuse_grace: given, ..Settings::default() };
    let provider = Provider::start(settings).await.unwrap();
    let journal: Arc<dyn Journal> = Arc::new(DirectoryJournal::open(dir.path()).unwrap());
    let url = server.url();
    let cap = at.cap(credentials as usize);
    let replica = replica(&url, &prefix, &provider.issuer(), (grace, cap), journal, None).await;
    let mut ids = Vec::new();
    for n in 0..credentials {
        let owner = format!("owner-{n}");
        ids.push((sign_in(&replica, &owner).await, owner));
    }
    let mut raw = server.raw().await;
    let mut pass_time = async |seconds| {
        age(&mut raw, &prefix, Duration::from_secs(seconds)).await;
        provider.advance(Duration::from_secs(seconds));
    };
    pass_time(290).await;
    let args = json!({
        "url": url, "prefix": prefix, "issuer": provider.issuer(), "grace": grace.as_secs(),
        "dir": dir.path(), "at": format!("{at:?}"),
        "ids": ids.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(),
    });
    if at == At::Failed {
        provider.set_failure(Some(Failure::always(Answer::Status(503))));
    }
    let mut victim = children::spawn("die-in-a-refresh", &args).await;
    for _ in 0..credentials {
        assert_eq!(victim.next().await, Some(Value::from("HERE")));
    }
    victim.kill9().await;
    provider.set_failure(None);

    // What a worker does from its start on, whatever time it takes.
    replica.replay_journal().await.unwrap();
    for seconds in [13, 18, 60, 5] {
        pass_time(seconds).await;
        RefreshDue::default().pass(&replica, &CancellationToken::new()).await;
    }
    let mut seen = Seen { recovered: 0, told: 0 };
    for (id, owner) in &ids {
        let key = format!("{prefix}:{{{}}}:conn:{id}", id.shard());
        let said: (String, Option<String>) =
            server.raw().await.hmget(key, &["status", "reason"]).await.unwrap();
        if let Ok(vended) = replica.vend(owner, id).await {
            let live = provider.is_access_token_live(vended.access_token.secret());
            seen.recovered += u64::from(live);
        } else if said == ("needs_reauth".into(), Some("rotation_lost".into())) {
            seen.told += 1;
        }
    }
    seen
}

async fn replica(
    url: &str,
    prefix: &str,
    issuer: &str,
    (grace, cap): (Duration, Option<NonZero<u16>>),
    journal: Arc<dyn Journal>,
    failpoint: Option<Arc<Failpoint>>,
) -> Connections {
    install_tls();
    let vestibule = connect(url, prefix).await;
    let replay = if grace.is_zero() { ReplayPolicy::Strict } else { ReplayPolicy::Grace(grace) };
    let mut connector = connector(issuer, replay);
    connector.concurrency = cap;
    let registry = Registry::new([connector]).unwrap();
    let exchange: Arc<dyn TokenExchange> = Arc::new(HttpExchange::new().unwrap());
    let mut config = match failpoint {
        None => ConnectionsConfig::new(registry, exchange),
        Some(failpoint) => {
            let journal = FailingJournal { inner: journal.clone(), failpoint: failpoint.clone() };
            let exchange = FailingExchange { inner: exchange, failpoint };
            let mut config = ConnectionsConfig::new(registry, Arc::new(exchange));
            config.journal = Arc::new(journal);
            config.vend_deadline = Duration::from_millis(250);
            return vestibule.connections(config);
        }
    };
    config.journal = journal;
    // Nobody waits here for what is lost.
    config.vend_deadline = Duration::from_millis(250);
    vestibule.connections(config)
}

/// Refreshes what it is told, and stops for ever where it is to be killed.
pub async fn victim(args: Value, parent: Parent) {
    let text = |name: &str| args[name].as_str().unwrap().to_owned();
    let at = At::ALL.into_iter().find(|at| format!("{at:?}") == text("at")).unwrap();
    let grace = Duration::from_secs(args["grace"].as_u64().unwrap());
    let journal: Arc<dyn Journal> =
        Arc::new(DirectoryJournal::open(std::path::Path::new(&text("dir"))).unwrap());
    let failpoint = Arc::new(Failpoint { at, parent });
    let (url, prefix, issuer) = (text("url"), text("prefix"), text("issuer"));
    let ids = args["ids"].as_array().unwrap().iter();
    let ids: Vec<ConnectionId> = ids.map(|id| id.as_str().unwrap().parse().unwrap()).collect();
    let with = (grace, at.cap(ids.len()));
    let connections = replica(&url, &prefix, &issuer, with, journal, Some(failpoint.clone())).await;
    if at == At::Claimed {
        claim(&url, &prefix, &ids).await;
        for _ in &ids {
            failpoint.parent.say("HERE");
        }
        return std::future::pending().await;
    }
    let all = ids.iter().map(|id| connections.refresh(id));
    let outcomes = futures_util::future::join_all(all).await;
    panic!("they went past: {outcomes:?}");
}

/// What the first step of a pass does.
async fn claim(url: &str, prefix: &str, ids: &[ConnectionId]) {
    let config = RedisConfig::new(url).unwrap().with_prefix(prefix).unwrap();
    let store = RedisStore::connect(config, &shared_keys().naming).await.unwrap();
    let mut claimed = 0;
    for shard in Shard::all() {
        let (request, hide) = (RequestId::random().digest(), Duration::from_secs(12));
        claimed += store.claim_due(Claim { shard, request, limit: 16, hide }).await.unwrap().len();
    }
    assert_eq!(claimed, ids.len());
}

struct Failpoint {
    at: At,
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

impl fmt::Debug for Failpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Failpoint({:?})", self.at)
    }
}

#[derive(Debug)]
struct FailingExchange {
    inner: Arc<dyn TokenExchange>,
    failpoint: Arc<Failpoint>,
}

#[async_trait]
impl TokenExchange for FailingExchange {
    async fn exchange_code(
        &self,
        connector: &Connector,
        grant: CodeGrant<'_>,
    ) -> Result<TokenAnswer, ExchangeError> {
        self.inner.exchange_code(connector, grant).await
    }

    async fn exchange_refresh_token(
        &self,
        connector: &Connector,
        refresh_token: &RefreshToken,
    ) -> Result<TokenAnswer, ExchangeError> {
        self.failpoint.pass(At::Begun).await;
        self.failpoint.pass(At::InItsPlace).await;
        let answer = self.inner.exchange_refresh_token(connector, refresh_token).await;
        self.failpoint.pass(if answer.is_ok() { At::Answered } else { At::Failed }).await;
        answer
    }
}

#[derive(Debug)]
struct FailingJournal {
    inner: Arc<dyn Journal>,
    failpoint: Arc<Failpoint>,
}

#[async_trait]
impl Journal for FailingJournal {
    async fn append(&self, entry: JournalEntry) -> Result<(), JournalError> {
        self.inner.append(entry).await?;
        self.failpoint.pass(At::Journalled).await;
        Ok(())
    }

    async fn decided(&self, name: Digest) -> Result<(), JournalError> {
        self.failpoint.pass(At::Committed).await;
        self.inner.decided(name).await
    }

    async fn undecided(&self, limit: usize) -> Result<Option<Undecided>, JournalError> {
        self.inner.undecided(limit).await
    }

    async fn quarantine(&self, name: Digest) -> Result<(), JournalError> {
        self.inner.quarantine(name).await
    }
}
