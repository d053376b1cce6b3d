//! Slots that move while records in them are written and ended: whoever asks is told the truth.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;
use vestibule::{
    Digest,
    store::{
        Begin, Class, CommitOutcome, ConnectionId, Ending, Finished, Kind, PendingId, Put,
        PutPending, RecordName, Store, StoreError, Stored, Take,
        redis::{RedisConfig, RedisStore, Timeouts},
    },
};

use super::{Progress, Verdict, live, refusals::in_shard, verdict};
use crate::support::{
    cluster::{Cluster, tell},
    stores::naming_key,
    verbs,
};

const CALLERS: usize = 8;
/// So many deadlines, and it is never served.
const TRIES: u32 = 3;

/// A Cluster of three primaries; slots of the first move to the others, with all shards that it
/// serves among them. A client that does not follow them knows the first node alone.
pub async fn is_followed(follows: bool, slots: u64, progress: Progress) -> Verdict {
    let mut cluster = Cluster::start().await;
    let shards = cluster.shards_of(0).await;
    let url = if follows { cluster.url() } else { cluster.nodes[0].server.url() };
    let overall = Duration::from_secs(if follows { 5 } else { 1 });
    let config = RedisConfig::new(&url).unwrap().with_prefix(prefix(&mut cluster).await).unwrap();
    let config = config.with_timeouts(Timeouts { overall, ..Timeouts::default() });
    let store = RedisStore::connect(config, &naming_key()).await.unwrap();

    let mut before = Vec::new();
    for number in 0..1000 {
        let name = name(shards[number % shards.len()].0);
        verbs::put(&store, &name).await.unwrap();
        before.push(name);
    }
    let seen = Seen::default();
    let (asked, shared, places) = (&seen, &store, &shards);
    let load = futures_util::future::join_all((0..CALLERS).map(|caller| async move {
        for number in caller.. {
            if asked.stop.load(Relaxed) {
                return;
            }
            asked.one(shared, number, places[number % places.len()].0).await;
        }
    }));

    // Those of the shards first, so that a small run moves records, too.
    let moving: BTreeSet<u16> = shards.iter().map(|(_, slot)| *slot).collect();
    let rest: Vec<_> = cluster.slots_of(0).await;
    let rest = rest.into_iter().filter(|slot| !moving.contains(slot));
    let order: Vec<u16> = moving.iter().copied().chain(rest).take(slots as usize).collect();
    let moves = async {
        let (started, mut keys) = (Instant::now(), 0);
        for (number, slot) in order.iter().enumerate() {
            let to = 1 + number % 2;
            cluster.begin_move(*slot, 0, to).await;
            keys += cluster.move_keys(*slot, 0, to).await;
            cluster.end_move(*slot, 0, to).await;
            progress(1);
        }
        seen.stop.store(true, Relaxed);
        (keys, started.elapsed())
    };
    let (_, (keys, took)) = tokio::join!(load, moves);
    let taken = futures_util::future::join_all(before.iter().map(|name| async move {
        let taken = asked.served(async |request| shared.take(name, request).await).await;
        u64::from(taken.is_some_and(|taken| taken != verbs::body()))
    }));
    let lost: u64 = taken.await.into_iter().sum();
    for wrong in seen.wrong.lock().unwrap().iter().take(20) {
        println!("{wrong}");
    }
    verdict(
        format!(
            "{} slots of 3 primaries moved in {:.1} s, with {keys} keys, under {} verbs of 8 \
             callers; {} errors, each resolved by the same request id; slowest {} ms",
            order.len(),
            took.as_secs_f64(),
            seen.verbs.load(Relaxed),
            seen.errors.load(Relaxed),
            seen.slowest_ms.load(Relaxed)
        ),
        &[
            ("wrong answers", seen.wrong.lock().unwrap().len() as u64),
            ("lost", lost),
            ("never served", seen.unserved.load(Relaxed)),
            ("runs in which no key moved", u64::from(keys == 0)),
        ],
    )
}

/// A prefix whose mark stays with the first node, or at least begins there.
async fn prefix(cluster: &mut Cluster) -> String {
    let slots = cluster.slots_of(0).await;
    for number in 0.. {
        let prefix = format!("m{number}");
        let of = format!("CLUSTER KEYSLOT {prefix}:meta");
        let slot: u16 = tell(&mut cluster.nodes[0].raw, &of).await;
        if slots.contains(&slot) {
            return prefix;
        }
    }
    unreachable!("there are more prefixes than slots")
}

fn digest(shard: u8) -> Digest {
    in_shard(verbs::request(), shard)
}

fn name(shard: u8) -> RecordName {
    RecordName::alone(Kind::Pkce, digest(shard))
}

#[derive(Debug, Default)]
struct Seen {
    verbs: AtomicU64,
    errors: AtomicU64,
    unserved: AtomicU64,
    slowest_ms: AtomicU64,
    wrong: Mutex<Vec<String>>,
    stop: AtomicBool,
}

impl Seen {
    /// Asks with one request id until there is an answer; `None` if there is none.
    async fn served<T>(&self, ask: impl AsyncFn(Digest) -> Result<T, StoreError>) -> Option<T> {
        let (request, started) = (verbs::request(), Instant::now());
        self.verbs.fetch_add(1, Relaxed);
        for _ in 0..TRIES {
            match ask(request).await {
                Ok(answer) => {
                    let took = started.elapsed().as_millis() as u64;
                    self.slowest_ms.fetch_max(took, Relaxed);
                    return Some(answer);
                }
                Err(error) => {
                    self.errors.fetch_add(1, Relaxed);
                    if !matches!(error.class(), Class::NotExecuted | Class::Ambiguous) {
                        self.wrong.lock().unwrap().push(error.to_string());
                        return None;
                    }
                }
            }
        }
        self.unserved.fetch_add(1, Relaxed);
        None
    }

    fn judge(&self, what: &str, right: bool, answer: &dyn std::fmt::Debug) {
        if !right {
            self.wrong.lock().unwrap().push(format!("{what}: {answer:?}"));
        }
    }

    /// One record's life, of one kind after the other.
    async fn one(&self, store: &dyn Store, number: usize, shard: u8) {
        let told = match number % 4 {
            0 => self.state(store, shard).await,
            1 => self.pending(store, shard).await,
            2 => self.cleared(store, shard).await,
            _ => self.connection(store, shard).await,
        };
        let _: Option<()> = told; // where it was never served, that is counted
    }

    async fn state(&self, store: &dyn Store, shard: u8) -> Option<()> {
        let name = name(shard);
        let put = self.served(async |request| verbs::put_as(store, &name, request).await).await?;
        self.judge("put", put == Put::Stored, &put);
        let taken = self.served(async |request| store.take(&name, request).await).await?;
        self.judge("take", taken == verbs::body(), &taken);
        let other = self.served(async |request| store.take(&name, request).await).await?;
        self.judge("another take", matches!(other, Take::AlreadyTaken { .. }), &other);
        Some(())
    }

    async fn pending(&self, store: &dyn Store, shard: u8) -> Option<()> {
        let id = PendingId::random(digest(shard));
        let put = self.served(async |request| live::put_pending(store, id, request).await).await?;
        self.judge("put a pending", put == PutPending::Stored, &put);
        let end = async |request| live::finish(store, id, request, Ending::Completed).await;
        let finished = self.served(end).await?;
        self.judge("finish", live::is_finished(&finished), &finished);
        let other = self.served(end).await?;
        self.judge("another finish", matches!(other, Finished::Already { .. }), &other);
        let outcome = self.served(async |_| store.read_outcome(id).await).await?;
        self.judge("outcome", outcome.as_ref().is_some_and(|o| o.body == b"told"), &outcome);
        Some(())
    }

    async fn cleared(&self, store: &dyn Store, shard: u8) -> Option<()> {
        let namespace = digest(shard);
        let mut ids = BTreeSet::new();
        for _ in 0..3 {
            let id = PendingId::random(namespace);
            self.served(async |request| live::put_pending(store, id, request).await).await?;
            ids.insert(id.to_string());
        }
        let clear = async |request| store.clear_pendings(namespace, request, "test", 50).await;
        let cleared = self.served(clear).await?;
        let found: BTreeSet<_> = cleared.ids.iter().map(ToString::to_string).collect();
        self.judge("clear", found == ids && !cleared.more, &cleared);
        Some(())
    }

    async fn connection(&self, store: &dyn Store, shard: u8) -> Option<()> {
        let id = ConnectionId::random(digest(shard));
        let stored = self.served(async |_| verbs::store_credential(store, &id).await).await?;
        // Each try has a request id of its own there: what was lost is another grant.
        let Stored::Stored { grant } = stored else {
            self.judge("store", false, &stored);
            return None;
        };
        let begin = async |request| verbs::begin(store, &id, request).await;
        let begun = match self.served(begin).await? {
            Begin::Begun(begun) => begun,
            other => {
                self.judge("begin", false, &other);
                return None;
            }
        };
        self.judge("begin", begun.grant == grant && begun.fence == 1, &begun);
        let commit = async |request| verbs::commit(store, &id, &begun, request).await;
        let committed = self.served(commit).await?;
        let right = matches!(
            committed,
            CommitOutcome::Committed { .. } | CommitOutcome::AlreadyCommitted { .. }
        );
        self.judge("commit", right, &committed);
        let row = self.served(async |_| store.read_credential(&id).await).await?;
        let right = row.as_ref().is_some_and(|row| row.secret == verbs::NEW_SECRET);
        self.judge("read", right, &row.map(|row| row.ver));
        Some(())
    }
}
