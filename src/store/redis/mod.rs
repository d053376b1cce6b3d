//! The store for production: Redis 7.0 or newer, or Valkey 7.2 or newer.
//!
//! One record, one shard, one slot: every verb is atomic on a Cluster too. While one primary
//! serves, a record is linearizable. On failover at most the unreplicated suffix is undone: an
//! acknowledged take may be takeable again, an acknowledged put may vanish.
//!
//! Every verb runs on one shared multiplexed connection. What Redis refuses before running is
//! retried with jitter until the overall deadline; a lost reply is asked for again with the same
//! request id. With a [`Confirmation`], verbs that change something for good run on connections of
//! their own, and wait for replicas.

mod breaker;
mod clock;
mod confirm;
mod device;
mod event;
mod eviction;
mod fault;
mod handshake;
mod headers;
pub mod inspect;
mod keyspace;
mod limit;
mod link;
mod living;
mod notify;
mod one_shot;
mod outage;
mod pending;
mod record;
mod reply;
mod scripts;
mod sealed;
mod session;
mod sweep;
mod token;
mod trimming;
mod url;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use redis::{Cmd, Pipeline, Value, cmd, from_redis_value};

use self::{
    clock::ServerClock,
    confirm::Confirmer,
    eviction::Eviction,
    handshake::Handshake,
    link::{Manager, Sent},
    notify::Listener,
    reply::Reply,
    scripts::Verb,
    session::{Effect, Session},
};
pub use self::{
    confirm::Confirmation,
    keyspace::{Keyspace, Prefix},
    url::{RedisConfig, Timeouts},
};
use crate::{
    digest::{Digest, NamingKey},
    store::{
        Actor, Attempt, Backlog, Begin, Claim, Commit, CommitOutcome, ConnectionId, CredentialRow,
        Fail, FailOutcome, NewCredential, NewRecord, Put, RecordName, Renewal, Retry, Store,
        StoreError, Stored, Take, changes::ChangeHub,
    },
};

/// The [`Store`] on Redis. Cheap to share behind an `Arc`; one per process is enough.
#[derive(Debug)]
pub struct RedisStore {
    keys: Keyspace,
    clock: Arc<ServerClock>,
    eviction: Eviction,
    session: Arc<Session>,
    listener: Listener,
    changes: ChangeHub,
}

impl RedisStore {
    /// Connects, checks the server and claims or recognises the database: version, eviction
    /// policy, layout, naming key. The same is checked again on every reconnect.
    ///
    /// # Errors
    ///
    /// [`StoreError::Operator`] if the server, the login or the naming key is wrong;
    /// [`StoreError::NotExecuted`] if it cannot be reached within the overall deadline.
    pub async fn connect(config: RedisConfig, naming: &NamingKey) -> Result<Self, StoreError> {
        let keys = Keyspace::new(config.prefix.clone());
        let clock = Arc::new(ServerClock::new());
        let manager = |config: &RedisConfig| {
            let handshake = Handshake::new(keys.meta(), naming);
            Manager::new(config, handshake, clock.clone())
                .map_err(|fault| StoreError::Config(format!("{}; {}", fault.cause, fault.fix)))
        };
        let confirmer = match config.confirmation {
            Some(wanted) => {
                Some(Confirmer::new(manager(&config.for_waiting(wanted))?, wanted, &config)?)
            }
            None => None,
        };
        let session = Arc::new(Session::new(manager(&config)?, confirmer, &config)?);
        let changes = ChangeHub::default();
        let listener = Listener::new(&config, &keys, changes.clone());
        let store = Self { keys, clock, eviction: Eviction::new(), session, listener, changes };
        store.read("connect", &cmd("PING")).await?;
        Ok(store)
    }

    /// The names of its keys.
    #[must_use]
    pub fn keyspace(&self) -> &Keyspace {
        &self.keys
    }

    async fn read(&self, verb: &'static str, command: &Cmd) -> Result<Value, StoreError> {
        self.session.run(verb, Sent::One(command), Effect::Reads, None).await
    }

    /// Several reads of one slot in one round trip.
    async fn read_all(&self, verb: &'static str, all: &Pipeline) -> Result<Value, StoreError> {
        self.session.run(verb, Sent::All(all), Effect::Reads, None).await
    }

    async fn write(
        &self,
        verb: &'static str,
        key: &str,
        command: &Cmd,
    ) -> Result<Value, StoreError> {
        let mark = self.mark_beside(key);
        self.session.run(verb, Sent::One(command), Effect::Writes, mark.as_deref()).await
    }

    async fn run_script<const K: usize, const A: usize>(
        &self,
        verb: &'static Verb<K, A>,
        keys: [&str; K],
        argv: [scripts::Arg<'_>; A],
        request: &[u8],
    ) -> Result<Reply, StoreError> {
        self.run_script_as(verb, keys, argv, request, verb.lasts).await
    }

    /// With `lasts`, replicas confirm it, if they are asked at all.
    async fn run_script_as<const K: usize, const A: usize>(
        &self,
        verb: &'static Verb<K, A>,
        keys: [&str; K],
        argv: [scripts::Arg<'_>; A],
        request: &[u8],
        lasts: bool,
    ) -> Result<Reply, StoreError> {
        let command = verb.command(keys, argv);
        let effect = Effect::Runs { script: &verb.script, request };
        let mark = if lasts { self.mark_beside(keys[0]) } else { None };
        let sent = self.session.run(verb.name, Sent::One(&command), effect, mark.as_deref());
        Reply::read(verb.name, sent.await?)
    }

    /// What is written for the replicas' sake, if they are asked.
    fn mark_beside(&self, key: &str) -> Option<String> {
        self.session.confirms().then(|| self.keys.mark_beside(key))
    }

    /// Renews the clock's calibration, at most every half minute, on the way of a verb; and looks
    /// every minute whether the server evicts.
    async fn keep_time(&self) -> Result<(), StoreError> {
        self.eviction.look_now_and_then(self).await;
        if !self.clock.is_stale() {
            return Ok(());
        }
        let sent = Instant::now();
        let reply = self.read("time", &cmd("TIME")).await?;
        let (seconds, micros): (u64, u64) =
            from_redis_value(reply).map_err(|_| reply::unreadable("time"))?;
        self.clock.calibrate(seconds * 1000 + micros / 1000, sent);
        Ok(())
    }
}

#[async_trait]
impl Store for RedisStore {
    fn prefix(&self) -> &str {
        self.keys.prefix()
    }

    fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    fn was_away(&self, ago: Duration) -> Duration {
        self.session.outage().within(ago)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.read("ping", &cmd("PING")).await?;
        self.eviction.look(self).await
    }

    async fn put(&self, record: NewRecord<'_>) -> Result<Put, StoreError> {
        one_shot::put(self, record).await
    }

    async fn take(&self, name: &RecordName, request: Digest) -> Result<Take, StoreError> {
        one_shot::take(self, name, request).await
    }

    async fn store_credential(&self, credential: NewCredential<'_>) -> Result<Stored, StoreError> {
        living::store(self, credential).await
    }

    async fn read_credential(
        &self,
        id: &ConnectionId,
    ) -> Result<Option<CredentialRow>, StoreError> {
        living::read(self, id).await
    }

    async fn claim_due(&self, claim: Claim) -> Result<Vec<ConnectionId>, StoreError> {
        living::claim(self, claim).await
    }

    async fn give_back(
        &self,
        id: &ConnectionId,
        request: Digest,
        wait: Duration,
    ) -> Result<(), StoreError> {
        living::give_back(self, id, request, wait).await
    }

    async fn begin(&self, attempt: Attempt<'_>) -> Result<Begin, StoreError> {
        living::begin(self, attempt).await
    }

    async fn renew(
        &self,
        id: &ConnectionId,
        holder: Digest,
        lease: Duration,
    ) -> Result<Renewal, StoreError> {
        living::renew(self, id, holder, lease).await
    }

    async fn commit(&self, commit: Commit<'_>) -> Result<CommitOutcome, StoreError> {
        living::commit(self, commit).await
    }

    async fn fail(&self, fail: Fail<'_>) -> Result<FailOutcome, StoreError> {
        living::fail(self, fail).await
    }

    async fn retry(
        &self,
        id: &ConnectionId,
        request: Digest,
        actor: Actor,
    ) -> Result<Retry, StoreError> {
        living::retry(self, id, request, actor).await
    }

    async fn due_backlog(&self) -> Result<Backlog, StoreError> {
        living::due_backlog(self).await
    }
}
