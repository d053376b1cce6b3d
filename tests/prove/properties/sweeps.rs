//! Orphans, and who reaps them.

pub mod cycles;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use redis::{AsyncCommands, aio::MultiplexedConnection};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use vestibule::{
    Digest, RequestId,
    store::{
        AccessStore, ConnectionId, LifecycleStore, NewCredential, Orphan, OrphanPage,
        ReapConnection, Reaped, RestoredConnection, Status, Store, WithdrawConnection,
        WithdrawnConnection,
        redis::{RedisConfig, RedisStore},
    },
    sweep::{Budget, Orphans},
};

use super::{
    AT_ONCE, Progress, Verdict, connect, for_each,
    pkce::shared_keys,
    races::{Usual, batches},
    verdict,
};
use crate::support::{
    children::{self, Parent},
    server::{TestServer, random},
    stores::{fresh_prefix, store},
    verbs::{credential, request},
};

const RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);
/// Longer than that.
const LONG_AGO_MS: u64 = 31 * 24 * 3600 * 1000;
const WORKERS: usize = 3;

/// The owner of a few dozen connections, as a host's users have them.
fn owner(number: u64) -> Digest {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&(number / 24).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    Digest::from_bytes(&bytes).unwrap()
}

/// A connection, and an orphan if it is to be one.
async fn stored(store: &RedisStore, number: u64, orphan: bool) -> ConnectionId {
    let owner = owner(number);
    let id = ConnectionId::random(owner);
    let new = NewCredential {
        owner,
        secret: &[7; 300],
        next_in: Some(Duration::from_secs(3300)),
        ..credential(&id, request())
    };
    store.store_credential(new).await.unwrap();
    if orphan {
        withdraw(store, &id, owner).await;
    }
    id
}

async fn withdraw(store: &dyn Store, id: &ConnectionId, owner: Digest) {
    let request = RequestId::random().digest();
    let withdraw = WithdrawConnection { id, request, owner, reason: "lost" };
    let withdrawn = store.withdraw_connection(withdraw).await.unwrap();
    assert_eq!(withdrawn, WithdrawnConnection::Withdrawn);
}

/// Makes orphans older, and nothing else, many at a time.
async fn orphaned_long_ago(raw: &mut MultiplexedConnection, prefix: &str, ids: &[ConnectionId]) {
    for ids in ids.chunks(1000) {
        let mut older = redis::pipe();
        for id in ids {
            let (shard, member) = (id.shard(), format!("conn:{id}"));
            let record = format!("{prefix}:{{{shard}}}:conn:{id}");
            older.hincr(record, "status_at", -(LONG_AGO_MS as i64)).ignore();
            let index = format!("{prefix}:{{{shard}}}:orphans");
            older.zincr(index, member, -(LONG_AGO_MS as i64)).ignore();
        }
        older.query_async::<()>(raw).await.unwrap();
    }
}

/// So many old orphans among others, and three workers that reap them, one of which is killed in
/// the middle: each is deleted once, and nothing else is touched.
pub async fn three_workers(count: u64, progress: Progress) -> Verdict {
    let seed = random();
    let server = TestServer::builder().start().await;
    let (prefix, mut raw) = (fresh_prefix(), server.raw().await);
    let config = RedisConfig::new(&server.url()).unwrap().with_prefix(&*prefix).unwrap();
    // The workers' own naming key.
    let store = RedisStore::connect(config, &shared_keys().naming).await.unwrap();
    let made = std::sync::Mutex::new(Vec::new());
    // Of every 20: 16 to be reaped, 2 young orphans, and 2 that are in use.
    for_each(count * 20 / 16, AT_ONCE, async |number| {
        let kind = number % 20;
        let id = stored(&store, number, kind < 18).await;
        made.lock().unwrap().push((kind, id, owner(number)));
    })
    .await;
    let made = made.into_inner().unwrap();
    let (old, others): (Vec<_>, Vec<_>) = made.into_iter().partition(|(kind, ..)| *kind < 16);
    let ids: Vec<_> = old.into_iter().map(|(_, id, _)| id).collect();
    orphaned_long_ago(&mut raw, &prefix, &ids).await;
    for (name, value) in [("slowlog-log-slower-than", "200"), ("slowlog-max-len", "100000")] {
        let _: () =
            redis::cmd("CONFIG").arg(&["SET", name, value]).query_async(&mut raw).await.unwrap();
    }
    let _: () = redis::cmd("SLOWLOG").arg("RESET").query_async(&mut raw).await.unwrap();

    let total = ids.len() as u64;
    let args = json!({ "url": server.url(), "prefix": prefix, "limit": (total / 60).max(10) });
    let mut workers = children::spawn_many(WORKERS, "reap", &args).await;
    let started = Instant::now();
    children::start_together(&mut workers).await;
    let mut victim = workers.remove(0);
    // Early, so that enough is left on a machine that is late to kill.
    while left(&mut raw, &prefix).await > total * 3 / 4 {
        sleep(Duration::from_millis(1)).await;
    }
    victim.kill9().await;
    let at_the_kill = left(&mut raw, &prefix).await;
    let deadline = started + Duration::from_secs(300);
    while left(&mut raw, &prefix).await > 0 && Instant::now() < deadline {
        sleep(Duration::from_millis(20)).await;
    }
    let took = started.elapsed();
    for worker in &mut workers {
        worker.tell("END").await;
    }
    let mut said = victim.rest().await;
    for worker in &mut workers {
        said.extend(worker.rest().await);
    }
    let sum = |name: &str| said.iter().map(|pass| pass[name].as_u64().unwrap()).sum::<u64>();
    let (done, errors) = (sum("done"), sum("errors"));

    let (mut remain, mut reaped) = (0, 0);
    for id in &ids {
        let key = format!("{prefix}:{{{}}}:conn:{id}", id.shard());
        let found: (Option<String>, Option<String>) =
            raw.hmget(key, &["owner", "deleted"]).await.unwrap();
        remain += u64::from(found.0.is_some());
        reaped += u64::from(found.0.is_none() && found.1.is_some());
    }
    let mut touched = 0;
    for (kind, id, owner) in &others {
        let row = store.read_connection(*owner, id).await.unwrap();
        let expected = if *kind < 18 { Status::Orphaned } else { Status::Active };
        touched += u64::from(row.is_none_or(|row| row.status != expected || row.ver != 1));
    }
    let peak = peak_script(&mut raw).await;
    progress(count);
    verdict(
        format!(
            "{total} orphans among {} others, 3 workers, one killed with {at_the_kill} left: reaped \
             in {:.1} s, {reaped} with the receipt of one deletion; {done} told of by workers, the \
             rest by none but the victim; longest script {peak}; seed {seed}",
            others.len(),
            took.as_secs_f64(),
        ),
        &[
            ("not deleted", remain),
            ("deleted otherwise", total - remain - reaped),
            ("others touched", touched),
            ("told of twice", done.saturating_sub(total)),
            (
                "more untold of than a pass has",
                (total - done.min(total)).saturating_sub(total / 60 + 100),
            ),
            ("errors", errors),
            ("kills that came too late", u64::from(at_the_kill == 0)),
        ],
    )
}

/// How many old orphans the indexes have.
async fn left(raw: &mut MultiplexedConnection, prefix: &str) -> u64 {
    let now: (u64, u64) = redis::cmd("TIME").query_async(raw).await.unwrap();
    let until = now.0 * 1000 - RETENTION.as_millis() as u64;
    let mut counts = redis::pipe();
    for shard in 0..=u8::MAX {
        counts.zcount(format!("{prefix}:{{{shard:02x}}}:orphans"), "-inf", until);
    }
    let counts: Vec<u64> = counts.query_async(raw).await.unwrap();
    counts.iter().sum()
}

async fn peak_script(raw: &mut MultiplexedConnection) -> String {
    type Entry = (u64, u64, u64, Vec<Vec<u8>>, String, String);
    let entries: Vec<Entry> =
        redis::cmd("SLOWLOG").arg("GET").arg(-1).query_async(raw).await.unwrap();
    let scripts = entries.iter().filter(|entry| entry.3[0] == b"EVALSHA");
    match scripts.map(|entry| entry.2).max() {
        Some(micros) => format!("{:.1} ms", micros as f64 / 1000.0),
        None => "below 0.2 ms".to_owned(),
    }
}

/// Reaps until it is told to end; see [`three_workers`].
pub async fn reaper(args: Value, mut parent: Parent) {
    let text = |name: &str| args[name].as_str().unwrap().to_owned();
    let vestibule = connect(&text("url"), &text("prefix")).await;
    // A dead worker's lease ends soon.
    let lease = Duration::from_secs(2);
    let limit = args["limit"].as_u64().unwrap();
    let sweep =
        Orphans { retention: RETENTION, budget: Budget { limit, lease, ..Budget::default() } };
    parent.ready().await;
    let stop = CancellationToken::new();
    let reap = async {
        while !stop.is_cancelled() {
            let swept = sweep.pass(&vestibule, &stop).await;
            if swept.done + swept.errors > 0 {
                parent_say(&json!({ "done": swept.done, "errors": swept.errors }));
            }
        }
    };
    let end = async {
        assert_eq!(parent.hear().await, "END");
        stop.cancel();
    };
    tokio::join!(reap, end);
}

/// As `Parent::say` does, which is busy hearing.
fn parent_say(value: &Value) {
    use std::io::Write;
    let mut stdout = std::io::stdout().lock();
    write!(stdout, "\nCHILD {value}\n").and_then(|()| stdout.flush()).expect("the parent reads");
}

/// Who deletes an orphan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaper {
    /// The verb, which judges where it deletes.
    Vestibule,
    /// One that looks, and then deletes what it has seen.
    LooksThenDeletes,
}

/// Access is given back while the orphan is being reaped: either it is back, whole, or it is gone
/// and that was said.
pub async fn given_back_meanwhile(
    server: &TestServer,
    reaper: Reaper,
    count: u64,
    progress: Progress,
) -> Verdict {
    let (seed, prefix) = (random(), fresh_prefix());
    let [sweeper, host] = [store(server, &prefix).await, store(server, &prefix).await];
    let (wrong, back, gone) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let takes = Usual::default();
    const BATCH: u64 = 500;
    let mut raw = server.raw().await;
    for batch in batches(count, BATCH) {
        let size = batch.end - batch.start;
        let made = std::sync::Mutex::new(Vec::new());
        for_each(size, AT_ONCE, async |number| {
            let number = batch.start + number;
            let id = stored(&host, number, true).await;
            made.lock().unwrap().push((id, owner(number)));
        })
        .await;
        let made = made.into_inner().unwrap();
        let ids: Vec<_> = made.iter().map(|(id, _)| id.clone()).collect();
        orphaned_long_ago(&mut raw, &prefix, &ids).await;
        for_each(size, AT_ONCE, async |number| {
            let (id, owner) = &made[number as usize];
            let restore = async {
                // At any moment of a list and a deletion, or after.
                sleep(takes.moment_of_twice()).await;
                let request = RequestId::random().digest();
                host.restore_connection(*owner, id, request).await.unwrap()
            };
            let (reaped, restored) =
                tokio::join!(takes.of(reap(&*sweeper, reaper, id, *owner)), restore);
            let row = host.read_connection(*owner, id).await.unwrap();
            let is_back = row.is_some_and(|row| row.status == Status::Active && row.ver == 1);
            match (restored, is_back) {
                (RestoredConnection::Restored, true) if !reaped => &back,
                (RestoredConnection::Absent, false) if reaped => &gone,
                _ => &wrong,
            }
            .fetch_add(1, Ordering::Relaxed);
        })
        .await;
        progress(size);
    }
    let [wrong, back, gone] = [wrong, back, gone].map(AtomicU64::into_inner);
    verdict(
        format!(
            "{count} races: {back} given back in time and whole, {gone} reaped before; seed {seed}"
        ),
        &[
            ("deleted though given back", wrong),
            ("runs in which one side always won", u64::from(count > 100 && back * gone == 0)),
        ],
    )
}

/// Whether it was deleted.
async fn reap(store: &dyn Store, reaper: Reaper, id: &ConnectionId, owner: Digest) -> bool {
    let (request, retention) = (RequestId::random().digest(), RETENTION);
    // What every sweep does first: it lists.
    let page = OrphanPage { shard: id.shard(), retention, skip: 0, limit: 100 };
    let listed = store.list_orphans(page).await.unwrap();
    let listed = listed.contains(&Orphan::Connection { id: id.clone(), owner: Some(owner) });
    match reaper {
        Reaper::Vestibule => {
            let reap = ReapConnection { id, request, owner, retention };
            store.reap_connection(reap).await.unwrap() == Reaped::Reaped
        }
        Reaper::LooksThenDeletes => {
            let row = store.read_connection(owner, id).await.unwrap();
            if !listed || row.is_none_or(|row| row.status != Status::Orphaned) {
                return false;
            }
            store.delete_connection(owner, id, request, crate::support::verbs::BY).await.unwrap();
            true
        }
    }
}
