//! A key ring that is rotated while replicas vend and refresh: nothing fails to open, nothing that is
//! refreshed meanwhile is undone, and one sweep later nothing is sealed by the old key.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::AsyncCommands;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use vestibule::{
    Keys, Vestibule,
    connection::{ConnectionError, Connections, Registry, ReplayPolicy},
    seal::{Binding, KeyRing, Seal, SealingKey},
    store::{
        ConnectionId, SealedName, SealedOf, SealedPage, SealedStore, Shard,
        redis::{RedisConfig, RedisStore},
    },
    sweep::{Budget, RefreshDue, Reseal, Swept},
};
use vestibule_worker::provider::{Provider, Settings};

use super::{
    Progress, Verdict, connect_with,
    connections::{connections_of, connector, sign_in},
    pkce::shared_keys,
    verdict,
};
use crate::support::{
    server::{TestServer, random},
    stores::fresh_prefix,
};

const REPLICAS: usize = 3;
const CREDENTIALS: usize = 60;
/// A replica takes a new ring so long after the one before.
const ROLL_OUT: Duration = Duration::from_millis(60);

/// How the ring is rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// As it is told: the new key opens everywhere before it seals anywhere, and the old one is taken
    /// away when a sweep has left nothing of it.
    InOrder,
    /// The old key is taken away before the sweep.
    RetiredFirst,
    /// The new key seals before it opens everywhere.
    SealsAtOnce,
    /// Whatever is there when it was sealed anew is overwritten.
    WithoutLooking,
}

/// One process of the host, whose ring can be replaced.
struct Replica {
    handles: Mutex<Handles>,
    issuer: String,
}

/// Held by whoever works with them: when nobody does, all that began with their ring has ended.
type Handles = Arc<(Vestibule, Connections)>;

impl Replica {
    async fn connect(url: &str, prefix: &str, issuer: &str, ring: &[u64]) -> Self {
        let vestibule = connect_with(url, prefix, &keys(ring)).await;
        let connections = connections_of(&vestibule, connector(issuer, ReplayPolicy::Strict));
        let handles = Mutex::new(Arc::new((vestibule, connections)));
        Self { handles, issuer: issuer.to_owned() }
    }

    fn handles(&self) -> Handles {
        self.handles.lock().unwrap().clone()
    }

    /// Those that it had before.
    fn reload(&self, ring: &[u64]) -> Handles {
        let before = self.handles();
        let (vestibule, connections) = &*before;
        let vestibule = vestibule.with_keys(&keys(ring)).unwrap();
        let registry = Registry::new([connector(&self.issuer, ReplayPolicy::Strict)]).unwrap();
        let connections = connections.reloaded(&vestibule, registry);
        *self.handles.lock().unwrap() = Arc::new((vestibule, connections));
        before
    }
}

fn key(number: u64) -> SealingKey {
    let mut bytes = [0x5a; 32];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    SealingKey::new(bytes)
}

fn ring(keys: &[u64]) -> KeyRing {
    KeyRing::new(keys.iter().map(|number| key(*number)).collect()).unwrap()
}

fn keys(of: &[u64]) -> Keys {
    Keys { ring: ring(of), ..shared_keys() }
}

/// What the load came to.
#[derive(Default)]
struct Counts {
    vended: AtomicU64,
    unopened: AtomicU64,
    failed: AtomicU64,
}

/// So many rotations under load.
pub async fn under_load(
    server: &TestServer,
    how: Rotation,
    rotations: u64,
    progress: Progress,
) -> Verdict {
    let (seed, prefix) = (random(), fresh_prefix());
    // What is lost of a rotated refresh token is lost for good, and each is rotated all the time.
    let life = Duration::from_secs(2);
    let settings = Settings {
        reuse_grace: Duration::ZERO,
        access_lifetime_first: life,
        access_lifetime_refreshed: life,
        ..Settings::default()
    };
    let provider = Provider::start(settings).await.unwrap();
    let (url, issuer) = (server.url(), provider.issuer());
    let mut replicas = Vec::new();
    for _ in 0..REPLICAS {
        replicas.push(Arc::new(Replica::connect(&url, &prefix, &issuer, &[0]).await));
    }
    let mut ids = Vec::new();
    for n in 0..CREDENTIALS {
        let owner = format!("owner-{n}");
        ids.push((sign_in(&replicas[n % REPLICAS].handles().1, &owner).await, owner));
    }
    let ids = Arc::new(ids);
    let (counts, over) = (Arc::new(Counts::default()), Arc::new(AtomicBool::new(false)));
    let mut load = JoinSet::new();
    for replica in &replicas {
        load.spawn(vends(replica.clone(), ids.clone(), counts.clone(), over.clone()));
        load.spawn(refreshes(replica.clone(), over.clone()));
    }

    let (mut left, mut unswept, mut changed, mut anew) = (0, 0, 0, 0);
    for number in 0..rotations {
        let (old, new) = (number, number + 1);
        if how != Rotation::SealsAtOnce {
            roll_out(&replicas, &[old, new], ROLL_OUT).await;
        }
        // Long enough for the first to seal what the others have to open.
        let pause = if how == Rotation::SealsAtOnce { life } else { ROLL_OUT };
        roll_out(&replicas, &[new, old], pause).await;
        let vestibule = replicas[0].handles().0.clone();
        let swept = match how {
            Rotation::RetiredFirst => Swept::default(),
            Rotation::WithoutLooking => {
                overwrite(server, &prefix, &ring(&[new, old])).await;
                Swept::default()
            }
            _ => one_sweep(&vestibule).await,
        };
        unswept += swept.left + swept.errors;
        (changed, anew) = (changed + swept.changed, anew + swept.done);
        let usage = vestibule.key_usage().await.unwrap();
        left += usage.secrets(key(old).id());
        if how == Rotation::InOrder && usage.may_retire(key(old).id()).is_err() {
            break;
        }
        roll_out(&replicas, &[new], ROLL_OUT).await;
        sleep(ROLL_OUT).await;
        progress(1);
    }
    // Everything is refreshed at least once more.
    sleep(life).await;
    over.store(true, Ordering::Relaxed);
    while load.join_next().await.is_some() {}
    let last = replicas[0].handles().1.clone();
    let mut dead = 0;
    for (id, owner) in &*ids {
        let live = match last.vend(owner, id).await {
            Ok(vended) => provider.is_access_token_live(vended.access_token.secret()),
            Err(_) => false,
        };
        dead += u64::from(!live);
    }
    let seen = provider.counts();
    verdict(
        format!(
            "{rotations} rotations, {REPLICAS} replicas, {CREDENTIALS} credentials: {} vends, {} \
             refreshes; {anew} sealed anew, {changed} changed meanwhile; seed {seed}",
            counts.vended.load(Ordering::Relaxed),
            seen.refreshes,
        ),
        &[
            ("failed opens", counts.unopened.load(Ordering::Relaxed)),
            ("failed vends", counts.failed.load(Ordering::Relaxed)),
            ("sealed by an old key after one sweep", left),
            ("not sealed anew", unswept),
            ("credentials without a live token", dead),
            ("refresh tokens presented again", seen.reused_presentations),
            ("runs without a refresh", u64::from(seen.refreshes == 0)),
        ],
    )
}

async fn roll_out(replicas: &[Arc<Replica>], ring: &[u64], pause: Duration) {
    let mut before = Vec::new();
    for replica in replicas {
        before.push(replica.reload(ring));
        sleep(pause).await;
    }
    // What began ends with the ring that it began with.
    for handles in before {
        while Arc::strong_count(&handles) > 1 {
            sleep(Duration::from_millis(1)).await;
        }
        // Those of the new ones are waited for too: there is a moment without any.
        let exchanges = timeout(Duration::from_secs(30), handles.1.drained());
        exchanges.await.expect("what began ends");
    }
}

/// Every shard once; the turns of others are waited for.
async fn one_sweep(vestibule: &Vestibule) -> Swept {
    let sweep = Reseal { budget: Budget::default() };
    sweep.pass(vestibule, &CancellationToken::new()).await
}

/// What the sweep would be without the comparison: each is written when it was refreshed since it
/// was read.
async fn overwrite(server: &TestServer, prefix: &str, ring: &KeyRing) {
    let config = RedisConfig::new(&server.url()).unwrap().with_prefix(prefix).unwrap();
    let store = RedisStore::connect(config, &shared_keys().naming).await.unwrap();
    let (seal, mut raw) = (Seal::new(ring.clone()), server.raw().await);
    let not_by = seal.sealed_by().number();
    let mut read = Vec::new();
    for shard in Shard::all() {
        let page = SealedPage { shard, not_by, skip: 0, limit: 100 };
        for record in store.list_sealed(page).await.unwrap() {
            let SealedName::Connection(id) = record.name.clone() else { continue };
            let Some(found) = store.read_sealed(&record.name).await.unwrap() else { continue };
            let SealedOf::Connection { owner, connector } = &found.of else { continue };
            let name = format!("{id}:{owner}:{connector}");
            let binding = Binding { purpose: "credential", prefix, name: name.as_bytes() };
            let anew = seal.reseal_long(binding, &found.sealed).await.unwrap();
            let key = format!("{prefix}:{{{shard}}}:conn:{id}");
            read.push((record.name, key, found.sealed, anew));
        }
    }
    for (name, key, was, anew) in read {
        while store.read_sealed(&name).await.unwrap().is_some_and(|now| now.sealed == was) {
            sleep(Duration::from_millis(20)).await;
        }
        let by = seal.sealed_by().to_string();
        let fields = [("secret", anew), ("key", by.into_bytes())];
        let _: () = raw.hset_multiple(key, &fields).await.unwrap();
    }
}

async fn vends(
    replica: Arc<Replica>,
    ids: Arc<Vec<(ConnectionId, String)>>,
    counts: Arc<Counts>,
    over: Arc<AtomicBool>,
) {
    let mut at = random() as usize;
    while !over.load(Ordering::Relaxed) {
        at = at.wrapping_add(1);
        let (id, owner) = &ids[at % ids.len()];
        let handles = replica.handles();
        match handles.1.vend(owner, id).await {
            Err(ConnectionError::Seal(_)) => &counts.unopened,
            Err(_) => &counts.failed,
            Ok(_) => &counts.vended,
        }
        .fetch_add(1, Ordering::Relaxed);
        drop(handles);
        sleep(Duration::from_millis(1)).await;
    }
}

async fn refreshes(replica: Arc<Replica>, over: Arc<AtomicBool>) {
    while !over.load(Ordering::Relaxed) {
        let handles = replica.handles();
        RefreshDue::default().pass(&handles.1, &CancellationToken::new()).await;
        drop(handles);
        sleep(Duration::from_millis(20)).await;
    }
}
