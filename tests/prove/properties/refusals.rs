//! Whatever Redis refuses is in its class, and nothing is lost by it.

use std::{
    collections::BTreeMap,
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use redis::{RedisResult, Value, aio::MultiplexedConnection};
use tokio::time::sleep;
use vestibule::{
    Digest,
    store::{
        Class, CommitOutcome, ConnectionId, DeletedConnection, Ending, FailOutcome, Kind,
        NewConnection, PendingId, Put, RecordName, Renewal, Revoke, RevokedConnection, Store,
        StoreError, TokenId, Use,
        redis::{RedisConfig, RedisStore, Timeouts},
    },
};

use super::{Progress, Verdict, live, verdict};
use crate::support::{
    cluster::{Cluster, tell},
    server::TestServer,
    stopwatch::undisturbed,
    stores::{naming_key, store},
    verbs,
};

const PATIENCE: Duration = Duration::from_secs(20);
/// The deadline of a store that is to see a refusal.
const HASTY: Duration = Duration::from_millis(250);

/// Every code that Redis has for *not now*, forced on a server so many times each.
pub async fn are_classed(rounds: u64, progress: Progress) -> Verdict {
    let mut scene = Scene::set().await;
    for _ in 0..rounds {
        for (code, class, begin, end) in [
            ("READONLY", Class::NotExecuted, "REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
            ("OOM", Class::Resource, "CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
            (
                "NOREPLICAS",
                Class::NotExecuted,
                "CONFIG SET min-replicas-to-write 1",
                "CONFIG SET min-replicas-to-write 0",
            ),
        ] {
            scene.refused(code, class, begin, end).await;
        }
        scene.misconf().await;
        scene.loading().await;
        scene.busy().await;
        scene.noscript().await;
        scene.elsewhere().await;
        progress(1);
    }
    let Scene { classed, wrong, .. } = scene;
    let codes: Vec<_> = classed.iter().map(|(code, times)| format!("{code} {times}")).collect();
    let missing = 11_u64.saturating_sub(classed.len() as u64);
    for wrong in &wrong {
        println!("{wrong}");
    }
    verdict(
        format!("each in its class, nothing changed, served afterwards: {}", codes.join(", ")),
        &[("wrong", wrong.len() as u64), ("codes that did not come", missing)],
    )
}

struct Scene {
    single: TestServer,
    raw: MultiplexedConnection,
    store: Arc<RedisStore>,
    hasty: Arc<RedisStore>,
    cluster: Cluster,
    /// Knows only the first node.
    at_one: Arc<RedisStore>,
    /// A shard of that node, and its slot.
    shard: u8,
    slot: u16,
    classed: BTreeMap<&'static str, u64>,
    wrong: Vec<String>,
}

async fn hasty(url: &str, prefix: &str) -> Arc<RedisStore> {
    let timeouts = Timeouts { overall: HASTY, ..Timeouts::default() };
    let config = RedisConfig::new(url).unwrap().with_prefix(prefix).unwrap();
    let config = config.with_timeouts(timeouts);
    let connects = async || RedisStore::connect(config.clone(), &naming_key()).await;
    Arc::new(undisturbed(HASTY / 4, Result::is_ok, connects).await.0.unwrap())
}

/// How a put is refused, where the machine leaves a hasty store the time to hear it.
async fn put(code: &str, store: &RedisStore, name: &RecordName) -> Result<(), StoreError> {
    refusal(code, async || verbs::put(store, name).await.map(drop)).await
}

async fn refusal(
    code: &str,
    ask: impl AsyncFnMut() -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    undisturbed(HASTY / 4, |told| says(told, code), ask).await.0
}

fn says(told: &Result<(), StoreError>, code: &str) -> bool {
    told.as_ref().is_err_and(|error| error.to_string().contains(code))
}

/// A store that knows the first node only, and the shards that it serves, with their slots. The
/// prefix is one whose mark is there, too.
async fn at_one(cluster: &mut Cluster) -> (Arc<RedisStore>, Vec<(u8, u16)>) {
    let served = cluster.shards_of(0).await;
    let slots = cluster.slots_of(0).await;
    let raw = &mut cluster.nodes[0].raw;
    for number in 0.. {
        let prefix = format!("p{number}");
        let slot: u16 = tell(raw, &format!("CLUSTER KEYSLOT {prefix}:meta")).await;
        if slots.contains(&slot) {
            return (hasty(&cluster.nodes[0].server.url(), &prefix).await, served);
        }
    }
    unreachable!("there are more prefixes than slots")
}

impl Scene {
    async fn set() -> Self {
        let single = TestServer::builder()
            .cluster(false)
            .arg("--busy-reply-threshold", "10")
            .arg("--loading-process-events-interval-bytes", "1024")
            .arg("--rdbcompression", "no")
            .start()
            .await;
        let mut cluster = Cluster::start().await;
        let (at_one, served) = at_one(&mut cluster).await;
        let (shard, slot) = served[0];
        let mut raw = single.raw().await;
        for number in 0..300 {
            tell::<()>(&mut raw, &format!("SET {number} {}", "x".repeat(1000))).await;
        }
        Self {
            raw,
            store: store(&single, "vst").await,
            hasty: hasty(&single.url(), "vst").await,
            single,
            cluster,
            at_one,
            shard,
            slot,
            classed: BTreeMap::new(),
            wrong: Vec::new(),
        }
    }

    /// A put, which nothing lets pass, between two commands.
    async fn refused(&mut self, code: &'static str, class: Class, begin: &str, end: &str) {
        tell::<Value>(&mut self.raw, begin).await;
        let name = verbs::name();
        let put = put(code, &self.hasty, &name).await;
        self.judge(code, class, put);
        tell::<Value>(&mut self.raw, end).await;
        self.is_absent(code, &name).await;
    }

    /// It was said to have changed nothing.
    async fn is_absent(&mut self, code: &str, name: &RecordName) {
        let put = verbs::put(&*self.store, name).await;
        if !put.as_ref().is_ok_and(|put| *put == Put::Stored) {
            self.wrong.push(format!("{code}: afterwards {put:?}"));
        }
        // What the hasty one was refused it keeps in mind for a moment.
        let hasty = &self.hasty;
        until("it serves", async || verbs::put(&**hasty, &verbs::name()).await.is_ok()).await;
    }

    fn judge(&mut self, code: &'static str, class: Class, outcome: Result<(), StoreError>) {
        match outcome {
            Err(error) if error.class() == class && error.to_string().contains(code) => {
                *self.classed.entry(code).or_default() += 1;
            }
            other => self.wrong.push(format!("{code}: {other:?}")),
        }
    }

    /// The snapshot cannot replace a directory.
    async fn misconf(&mut self) {
        let obstacle = self.single.dir().join("dump.rdb");
        let _ = fs::remove_file(&obstacle); // there is one from the second round on
        fs::create_dir(&obstacle).unwrap();
        let mut save = redis::cmd("CONFIG");
        save.arg(&["SET", "save", "3600 1"]).query_async::<()>(&mut self.raw).await.unwrap();
        self.save("err").await;
        let name = verbs::name();
        let put = put("MISCONF", &self.hasty, &name).await;
        self.judge("MISCONF", Class::Resource, put);
        fs::remove_dir(&obstacle).unwrap();
        self.save("ok").await;
        self.is_absent("MISCONF", &name).await;
    }

    async fn save(&mut self, status: &str) {
        let _: RedisResult<Value> = redis::cmd("BGSAVE").query_async(&mut self.raw).await;
        let raw = &mut self.raw;
        until("a save", async || {
            let info: String = tell(raw, "INFO persistence").await;
            info.contains("rdb_bgsave_in_progress:0")
                && info.contains(&format!("rdb_last_bgsave_status:{status}"))
        })
        .await;
    }

    async fn loading(&mut self) {
        tell::<()>(&mut self.raw, "CONFIG SET key-load-delay 8000").await;
        let mut loader = self.single.raw().await;
        let loading = tokio::spawn(async move { tell::<()>(&mut loader, "DEBUG RELOAD").await });
        self.is_said("LOADING").await;
        let name = verbs::name();
        let put = put("LOADING", &self.hasty, &name).await;
        self.judge("LOADING", Class::NotExecuted, put);
        loading.await.unwrap();
        tell::<()>(&mut self.raw, "CONFIG SET key-load-delay 0").await;
        self.is_absent("LOADING", &name).await;
    }

    async fn busy(&mut self) {
        let mut runaway = self.single.raw().await;
        let running = tokio::spawn(async move {
            let mut endless = redis::cmd("EVAL");
            endless.arg("while true do end").arg(0);
            endless.query_async::<()>(&mut runaway).await
        });
        self.is_said("BUSY").await;
        let name = verbs::name();
        let put = put("BUSY", &self.hasty, &name).await;
        self.judge("BUSY", Class::NotExecuted, put);
        tell::<()>(&mut self.raw, "SCRIPT KILL").await;
        running.await.unwrap().unwrap_err();
        self.is_absent("BUSY", &name).await;
    }

    /// Until it is what the server answers.
    async fn is_said(&mut self, code: &str) {
        let raw = &mut self.raw;
        until(code, async || {
            let size: RedisResult<()> = redis::cmd("DBSIZE").query_async(raw).await;
            size.is_err_and(|error| error.code() == Some(code))
        })
        .await;
    }

    /// The only one that no caller hears of.
    async fn noscript(&mut self) {
        tell::<()>(&mut self.raw, "SCRIPT FLUSH").await;
        tell::<()>(&mut self.raw, "CONFIG RESETSTAT").await;
        let name = verbs::live(&*self.store).await;
        let taken = self.store.take(&name, verbs::request()).await;
        let stats: String = tell(&mut self.raw, "INFO errorstats").await;
        let told = stats.contains("errorstat_NOSCRIPT:");
        match taken {
            Ok(taken) if taken == verbs::body() && told => {
                *self.classed.entry("NOSCRIPT").or_default() += 1;
            }
            other => self.wrong.push(format!("NOSCRIPT: {other:?}")),
        }
    }

    /// A node that lacks the slot, that gave it away, that is giving it away, that is half done
    /// with that: asked by a client that knows no other node.
    async fn elsewhere(&mut self) {
        let (slot, shard) = (self.slot, self.shard);
        let lacks = format!("CLUSTER DELSLOTS {slot}");
        tell::<()>(&mut self.cluster.nodes[0].raw, &lacks).await;
        self.refused_there("CLUSTERDOWN").await;
        let has = format!("CLUSTER ADDSLOTS {slot}");
        tell::<()>(&mut self.cluster.nodes[0].raw, &has).await;
        self.serves_again("CLUSTERDOWN").await;

        // So that the shard has an index, which stays while it moves.
        let there = ConnectionId::random(in_shard(verbs::request(), shard));
        verbs::store_credential(&*self.at_one, &there).await.unwrap();
        for (from, to) in [(0, 1), (1, 0)] {
            self.cluster.begin_move(slot, from, to).await;
            if from == 0 {
                self.refused_there("ASK").await;
                // Its index of due connections is here, the connection is not.
                let owner = in_shard(verbs::request(), shard);
                let id = ConnectionId::random(owner);
                let store = async || verbs::store_credential(&*self.at_one, &id).await.map(drop);
                let stored = refusal("TRYAGAIN", store).await;
                self.judge("TRYAGAIN", Class::NotExecuted, stored);
            }
            self.cluster.move_keys(slot, from, to).await;
            self.cluster.end_move(slot, from, to).await;
            if from == 0 {
                self.refused_there("MOVED").await;
            }
        }
        self.serves_again("MOVED").await;
    }

    async fn refused_there(&mut self, code: &'static str) {
        let name = RecordName::alone(Kind::Pkce, in_shard(verbs::request(), self.shard));
        let put = put(code, &self.at_one, &name).await;
        self.judge(code, Class::NotExecuted, put);
    }

    async fn serves_again(&mut self, code: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let name = RecordName::alone(Kind::Pkce, in_shard(verbs::request(), self.shard));
            match verbs::put(&*self.at_one, &name).await {
                Ok(Put::Stored) => return,
                Ok(other) => return self.wrong.push(format!("after {code}: {other:?}")),
                Err(error) if Instant::now() > deadline => {
                    return self.wrong.push(format!("after {code}: {error}"));
                }
                Err(_) => {}
            }
        }
    }
}

/// A digest that leads to this shard.
pub fn in_shard(digest: Digest, shard: u8) -> Digest {
    let mut bytes = *digest.as_bytes();
    bytes[0] = shard;
    Digest::from_bytes(&bytes).unwrap()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        sleep(Duration::from_millis(2)).await;
    }
}

/// A full Redis: what is under way ends, nothing new starts.
pub async fn full_redis_only_ends(rounds: u64, progress: Progress) -> Verdict {
    let server = TestServer::builder().start().await;
    let store: &dyn Store = &*store(&server, "vst").await;
    let mut raw = server.raw().await;
    let (mut ended, mut refused, mut wrong) = (0, 0, Vec::new());
    for _ in 0..rounds {
        let (name, pending, cancelled) =
            (verbs::live(store).await, live::pending(store).await, live::pending(store).await);
        let (token, used) = (live::token(store).await, live::token(store).await);
        let (committing, begun) = verbs::begun(store, verbs::request()).await;
        let (failing, failed) = verbs::begun(store, verbs::request()).await;
        let (renewing, holder) = (verbs::due(store).await, verbs::request());
        verbs::begin(store, &renewing, holder).await.unwrap();
        let (revoked, deleted) = (verbs::due(store).await, verbs::due(store).await);
        let due = verbs::due(store).await;
        let namespace = live::pending(store).await.namespace();
        tell::<()>(&mut raw, "CONFIG SET maxmemory 1").await;

        let mut new = |what: &str, outcome: Result<(), StoreError>| match outcome {
            Err(error) if error.class() == Class::Resource => refused += 1,
            other => wrong.push(format!("{what}: {other:?}")),
        };
        let request = verbs::request;
        new("put", verbs::put(store, &verbs::name()).await.map(drop));
        let id = PendingId::random(request());
        new("put a pending", live::put_pending(store, id, request()).await.map(drop));
        let id = TokenId::new(request(), request());
        new("mint", live::mint(store, id, request()).await.map(drop));
        new("begin", verbs::begin(store, &due, request()).await.map(drop));
        new("claim", verbs::claim(store, due.shard()).await.map(drop));
        let id = &verbs::connection();
        let (owner, connector, reason) = (verbs::owner_of(id), "demo", "new");
        let create = NewConnection { id, request: request(), owner, connector, reason };
        new("create", store.create_connection(create).await.map(drop));

        let mut end = |what: &str, holds: bool, outcome: String| match holds {
            true => ended += 1,
            false => wrong.push(format!("{what}: {outcome}")),
        };
        let it = store.take(&name, request()).await;
        end("take", it.as_ref().is_ok_and(|it| *it == verbs::body()), format!("{it:?}"));
        for (id, how) in [(pending, Ending::Completed), (cancelled, Ending::Cancelled)] {
            let it = live::finish(store, id, request(), how).await;
            end("finish", it.as_ref().is_ok_and(live::is_finished), format!("{it:?}"));
        }
        let it = store.clear_pendings(namespace, request(), "test", 50).await;
        end("clear", it.as_ref().is_ok_and(|it| it.ids.len() == 1), format!("{it:?}"));
        let it = store.revoke_token(token, request()).await;
        end("revoke a token", it.as_ref().is_ok_and(live::is_revoked), format!("{it:?}"));
        let it = store.use_token(used, request(), 2).await;
        end("use", it.as_ref().is_ok_and(|it| *it == Use::Used { left: 1 }), format!("{it:?}"));
        let it = store.drop_tokens(used.index(), used.index(), request()).await;
        end("drop", it.as_ref().is_ok_and(|it| *it == 1), format!("{it:?}"));
        let it = verbs::commit(store, &committing, &begun, request()).await;
        let good = matches!(it, Ok(CommitOutcome::Committed { ver: 2, .. }));
        end("commit", good, format!("{it:?}"));
        let it = verbs::fail(store, &failing, &failed).await;
        end("fail", matches!(it, Ok(FailOutcome::Recorded { attempts: 1 })), format!("{it:?}"));
        let it = store.renew(&renewing, holder, verbs::LEASE).await;
        end("renew", matches!(it, Ok(Renewal::Renewed)), format!("{it:?}"));
        let it = store.give_back(&due, request(), Duration::ZERO).await;
        end("give back", it.is_ok(), format!("{it:?}"));
        let owner = verbs::owner_of(&revoked);
        let revoke = Revoke { id: &revoked, request: request(), owner, reason: "x", by: verbs::BY };
        let it = store.revoke_connection(revoke).await;
        end("revoke", matches!(it, Ok(RevokedConnection::Revoked { grant: 2 })), format!("{it:?}"));
        let owner = verbs::owner_of(&deleted);
        let it = store.delete_connection(owner, &deleted, request(), verbs::BY).await;
        end("delete", matches!(it, Ok(DeletedConnection::Deleted)), format!("{it:?}"));
        tell::<()>(&mut raw, "CONFIG SET maxmemory 0").await;
        progress(1);
    }
    for wrong in &wrong {
        println!("{wrong}");
    }
    verdict(
        format!(
            "{ended} verbs that end something succeeded, {refused} that start something were refused"
        ),
        &[("wrong", wrong.len() as u64)],
    )
}
