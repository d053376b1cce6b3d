//! What was opened, in this process's memory: optional, and off by default.
//!
//! What is kept is served without asking Redis, so it is only kept while this process hears of every
//! change: what another replica changes is taken out within a message's time. A fill that a change
//! has overtaken is served to those who asked before it, and not kept. Errors and what is absent are
//! never kept; callers who ask at the same moment share one read.
//!
//! **How stale it can be.** While the subscription stands: as long as a message takes. If it is cut,
//! all is dropped at once. If it goes silent without a word, that is noticed within 2 s at the
//! default timeouts. Where messages get lost otherwise (between the nodes of a Cluster, or on the old
//! side of a partition), for [`CacheConfig::max_age`] at the most.

use std::{
    collections::HashMap,
    fmt::{self, Debug},
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak},
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use tokio::time::Instant;

use crate::store::{Change, Keeper, Store};

/// How much is kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheConfig {
    /// How many at the most; those that are used least make room. Default 4096.
    pub max_entries: usize,
    /// How long one is kept at the most without asking Redis again; also how long a change that is
    /// never heard of goes unnoticed. Default 30 s; more than a day is a day. No access token is kept
    /// into its refresh lead, or past its serve margin.
    pub max_age: Duration,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { max_entries: 4096, max_age: Duration::from_secs(30) }
    }
}

const DAY: Duration = Duration::from_secs(24 * 3600);

/// What is kept in one cache, and under which names.
pub(crate) trait Kept: Send + Sync + Sized + 'static {
    /// What it is called.
    type Key: Clone + Eq + Hash + Send + Sync;
    /// Whose it is: nobody else is served it, or shares a read of it.
    type Owner: Copy + PartialEq + Send + Sync;
    /// What is served. It wipes itself when it is dropped.
    type Value: Clone + Send + Sync;
    /// Why there is none.
    type Error: Clone + Send + Sync;

    /// What a change takes out.
    fn outdated(change: &Change) -> Outdated<Self::Key>;
}

/// What a change takes out.
pub(crate) enum Outdated<K> {
    /// This one.
    One(K),
    /// Whatever is kept.
    All,
    /// It is about others.
    Nothing,
}

/// What a fill brings: the value, and how long after it began that may be kept; zero for not at all.
pub(crate) type Filled<K> = Result<(<K as Kept>::Value, Duration), <K as Kept>::Error>;

type Fill<K> = Shared<BoxFuture<'static, Filled<K>>>;

/// What one process keeps.
pub(crate) struct Cache<K: Kept> {
    config: CacheConfig,
    entries: quick_cache::sync::Cache<K::Key, Arc<Entry<K>>>,
    /// A std Mutex, never held across an await. Whatever decides what is kept holds it.
    fills: Mutex<Fills<K>>,
    registered: Once,
}

/// Wiped when the last who reads it lets go.
struct Entry<K: Kept> {
    owner: K::Owner,
    value: K::Value,
    began: Instant,
    until: Instant,
}

struct Fills<K: Kept> {
    hears_all: bool,
    begun: u64,
    under_way: HashMap<K::Key, UnderWay<K>>,
}

/// Held by those who wait for it: once nobody does, it is over.
struct UnderWay<K: Kept> {
    number: u64,
    owner: K::Owner,
    fill: WeakShared<BoxFuture<'static, Filled<K>>>,
}

impl<K: Kept> Cache<K> {
    pub(crate) fn new(config: CacheConfig) -> Self {
        let entries = quick_cache::sync::Cache::new(config.max_entries.max(1));
        let fills = Fills { hears_all: false, begun: 0, under_way: HashMap::new() };
        Self { config, entries, fills: Mutex::new(fills), registered: Once::new() }
    }

    /// What is kept, and how long ago it was asked for.
    pub(crate) fn get(&self, owner: K::Owner, key: &K::Key) -> Option<(K::Value, Duration)> {
        let entry = self.entries.get(key).filter(|entry| entry.owner == owner)?;
        let now = Instant::now();
        if entry.until <= now {
            self.entries.remove_if(key, |found| Arc::ptr_eq(found, &entry));
            return None;
        }
        Some((entry.value.clone(), now - entry.began))
    }

    /// Reads, together with whoever asks for the same at the same moment, and keeps what may be kept.
    pub(crate) async fn fill(
        self: &Arc<Self>,
        store: &dyn Store,
        owner: K::Owner,
        key: &K::Key,
        read: impl Future<Output = Filled<K>> + Send + 'static,
    ) -> Result<K::Value, K::Error> {
        self.registered.call_once(|| {
            let this: Weak<Self> = Arc::downgrade(self);
            store.tell_changes(this);
        });
        let filled = match self.joined(owner, key, read) {
            Ok(fill) => fill.await,
            Err(read) => read.await,
        };
        filled.map(|(value, _)| value)
    }

    /// The fill that is under way, or the one that begins with this; the read itself where nothing
    /// is to be shared.
    fn joined<R>(self: &Arc<Self>, owner: K::Owner, key: &K::Key, read: R) -> Result<Fill<K>, R>
    where
        R: Future<Output = Filled<K>> + Send + 'static,
    {
        let mut fills = self.lock();
        // Nothing is heard, so nobody may be told what others were. And what is another owner's is
        // for the read to say.
        let is_others = |under_way: &UnderWay<K>| under_way.owner != owner;
        if !fills.hears_all || fills.under_way.get(key).is_some_and(is_others) {
            return Err(read);
        }
        if let Some(fill) = fills.under_way.get(key).and_then(|found| found.fill.upgrade()) {
            return Ok(fill);
        }
        fills.begun += 1;
        let ticket = Ticket { cache: self.clone(), key: key.clone(), number: fills.begun, owner };
        let number = ticket.number;
        let fill = ticket.run(read).boxed().shared();
        if let Some(weak) = fill.downgrade() {
            fills.under_way.insert(key.clone(), UnderWay { number, owner, fill: weak });
        }
        Ok(fill)
    }

    fn lock(&self) -> MutexGuard<'_, Fills<K>> {
        self.fills.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Kept> Keeper for Cache<K> {
    fn hears_all(&self, all: bool) {
        let mut fills = self.lock();
        fills.hears_all = all;
        fills.under_way.clear();
        self.entries.clear();
    }

    fn changed(&self, change: &Change) {
        let mut fills = self.lock();
        match K::outdated(change) {
            Outdated::One(key) => {
                fills.under_way.remove(&key);
                self.entries.remove(&key);
            }
            Outdated::All => {
                fills.under_way.clear();
                self.entries.clear();
            }
            Outdated::Nothing => {}
        }
    }
}

impl<K: Kept> Debug for Cache<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("config", &self.config).finish_non_exhaustive()
    }
}

/// One fill's place among those under way. It may keep what it brings for as long as it has it.
struct Ticket<K: Kept> {
    cache: Arc<Cache<K>>,
    key: K::Key,
    number: u64,
    owner: K::Owner,
}

impl<K: Kept> Ticket<K> {
    async fn run(self, read: impl Future<Output = Filled<K>>) -> Filled<K> {
        let began = Instant::now();
        let (value, keep) = read.await?;
        let keep = keep.min(self.cache.config.max_age).min(DAY);
        let entry = Entry { owner: self.owner, value: value.clone(), began, until: began + keep };
        let fills = self.cache.lock();
        if self.is_among(&fills) && entry.until > Instant::now() {
            self.cache.entries.insert(self.key.clone(), Arc::new(entry));
        }
        drop(fills);
        Ok((value, keep))
    }

    fn is_among(&self, fills: &Fills<K>) -> bool {
        fills.under_way.get(&self.key).is_some_and(|under_way| under_way.number == self.number)
    }
}

impl<K: Kept> Drop for Ticket<K> {
    fn drop(&mut self) {
        let mut fills = self.cache.lock();
        if self.is_among(&fills) {
            fills.under_way.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::{
        digest::Digest,
        store::{ConnectionId, memory::MemoryStore},
    };

    const OWNER: Digest = Digest::NONE;
    const LONG: Duration = Duration::from_secs(3600);
    const SECRET: &str = "hunter2";

    /// A text for each connection.
    struct Texts;

    impl Kept for Texts {
        type Key = ConnectionId;
        type Owner = Digest;
        type Value = &'static str;
        type Error = &'static str;

        fn outdated(change: &Change) -> Outdated<ConnectionId> {
            match change {
                Change::Connection(id) => Outdated::One(id.clone()),
                Change::AllHeaders => Outdated::All,
                Change::Headers(_) => Outdated::Nothing,
            }
        }
    }

    fn cache() -> (Arc<Cache<Texts>>, MemoryStore, ConnectionId) {
        let cache = Arc::new(Cache::new(CacheConfig::default()));
        (cache, MemoryStore::new(), ConnectionId::random(OWNER))
    }

    async fn fill(
        cache: &Arc<Cache<Texts>>,
        store: &MemoryStore,
        id: &ConnectionId,
        keep: Duration,
    ) {
        let filled = cache.fill(store, OWNER, id, async move { Ok((SECRET, keep)) }).await;
        assert_eq!(filled, Ok(SECRET));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_kept_is_its_owners_and_ends_in_time() {
        let (cache, store, id) = cache();
        fill(&cache, &store, &id, LONG).await;
        assert_eq!(cache.get(OWNER, &id), Some((SECRET, Duration::ZERO)));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(cache.get(OWNER, &id), Some((SECRET, Duration::from_secs(1))));
        let other = Digest::from_bytes(&[1; 16]).unwrap();
        assert!(cache.get(other, &id).is_none(), "another owner's is none");
        tokio::time::advance(CacheConfig::default().max_age).await;
        assert!(cache.get(OWNER, &id).is_none() && cache.entries.is_empty(), "and it is gone");

        for keep in [Duration::from_secs(1), Duration::ZERO] {
            fill(&cache, &store, &id, keep).await;
            tokio::time::advance(keep).await;
            assert!(cache.get(OWNER, &id).is_none(), "{keep:?}");
        }
    }

    /// No clock reaches that far.
    #[tokio::test]
    async fn for_ever_is_a_day() {
        let (_, store, id) = cache();
        let config = CacheConfig { max_age: Duration::MAX, ..CacheConfig::default() };
        let cache = Arc::new(Cache::<Texts>::new(config));
        for _ in 0..2 {
            fill(&cache, &store, &id, Duration::MAX).await;
        }
        assert!(cache.get(OWNER, &id).is_some());
    }

    /// The generation guard, at both of its ends.
    #[tokio::test]
    async fn a_fill_that_was_overtaken_is_not_kept() {
        let (cache, store, id) = cache();
        fill(&cache, &store, &id, LONG).await;
        let changes: [&dyn Fn(); 3] = [
            &|| cache.changed(&Change::Connection(id.clone())),
            &|| cache.changed(&Change::AllHeaders),
            &|| {
                cache.hears_all(false);
                cache.hears_all(true);
            },
        ];
        for change in changes {
            change();
            let (answer, reads) = oneshot::channel::<()>();
            let vend = async move {
                reads.await.unwrap();
                Ok((SECRET, LONG))
            };
            let mut filling = Box::pin(cache.fill(&store, OWNER, &id, vend));
            assert!(futures_util::poll!(&mut filling).is_pending());
            change();
            answer.send(()).unwrap();
            assert!(filling.await.is_ok(), "who asked before is served");
            assert!(cache.get(OWNER, &id).is_none(), "and it is not kept");
        }
    }

    #[tokio::test]
    async fn errors_are_shared_and_never_kept() {
        let (cache, store, id) = cache();
        fill(&cache, &store, &ConnectionId::random(OWNER), LONG).await;
        let (answer, reads) = oneshot::channel::<()>();
        let first = cache.fill(&store, OWNER, &id, async move {
            reads.await.unwrap();
            Err("revoked")
        });
        let mut first = Box::pin(first);
        assert!(futures_util::poll!(&mut first).is_pending());
        let joins = cache.fill(&store, OWNER, &id, async { panic!("it joins the first") });
        let mut second = Box::pin(joins);
        assert!(futures_util::poll!(&mut second).is_pending());
        let other = Digest::from_bytes(&[1; 16]).unwrap();
        let foreign = cache.fill(&store, other, &id, async { Err("not found") });
        assert_eq!(foreign.await, Err("not found"), "it joins nothing");
        answer.send(()).unwrap();
        let (first, second) = tokio::join!(first, second);
        assert_eq!([first, second], [Err("revoked"); 2]);
        fill(&cache, &store, &id, LONG).await;
        assert!(cache.get(OWNER, &id).is_some(), "the next one asks again");
    }

    #[tokio::test]
    async fn what_is_about_others_takes_nothing_out() {
        let (cache, store, id) = cache();
        for _ in 0..2 {
            fill(&cache, &store, &id, LONG).await;
        }
        cache.changed(&Change::Headers(OWNER));
        cache.changed(&Change::Connection(ConnectionId::random(OWNER)));
        assert!(cache.get(OWNER, &id).is_some());
        cache.changed(&Change::Connection(id.clone()));
        assert!(cache.get(OWNER, &id).is_none());
    }

    #[tokio::test]
    async fn a_fill_that_nobody_waits_for_is_over() {
        let (cache, store, id) = cache();
        fill(&cache, &store, &ConnectionId::random(OWNER), LONG).await;
        let mut left = Box::pin(cache.fill(&store, OWNER, &id, std::future::pending()));
        assert!(futures_util::poll!(&mut left).is_pending());
        drop(left);
        assert!(cache.lock().under_way.is_empty());
        fill(&cache, &store, &id, LONG).await;
        assert!(cache.get(OWNER, &id).is_some());
    }

    #[tokio::test]
    async fn who_hears_nothing_keeps_nothing_and_is_bounded() {
        let (cache, store, id) = cache();
        fill(&cache, &store, &id, LONG).await;
        cache.hears_all(false);
        assert!(cache.get(OWNER, &id).is_none(), "all is dropped at once");
        fill(&cache, &store, &id, LONG).await;
        assert!(cache.get(OWNER, &id).is_none());
        cache.hears_all(true);
        for _ in 0..10_000 {
            fill(&cache, &store, &ConnectionId::random(OWNER), LONG).await;
        }
        assert!(cache.entries.len() <= 4096, "{}", cache.entries.len());
        assert!(!format!("{cache:?}").contains(SECRET));
    }
}
