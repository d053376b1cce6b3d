//! Vended tokens in this process's memory: optional, and off by default.
//!
//! A token that is kept is served without asking Redis, so it is only kept while this process
//! hears of every change: what another replica stores, refreshes, revokes or deletes takes it out
//! within a message's time. A fill that a change has overtaken is served to those who asked before
//! it, and not kept. Errors and absent connections are never kept; callers who ask at the same
//! moment share one read.
//!
//! **How stale it can be.** While the subscription stands: as long as a message takes. If it is cut,
//! all is dropped at once. If it goes silent without a word, that is noticed within 2 s at the
//! default timeouts. Where messages get lost otherwise (between the nodes of a Cluster, or on the old
//! side of a partition), for [`CacheConfig::max_age`] at the most. The access token itself is good
//! at its provider for as long as it lives, as one that was vended a moment before its revocation
//! is.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak},
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use tokio::time::Instant;

use super::{AccessToken, ConnectionError, VendPath, Vended};
use crate::{
    digest::Digest,
    store::{ConnectionId, Keeper, Store},
};

/// How much is kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheConfig {
    /// How many tokens at the most; those that are used least make room. Default 4096.
    pub max_entries: usize,
    /// How long a token is kept at the most without asking Redis again; also how long a change
    /// that is never heard of goes unnoticed. Default 30 s. None is kept into its refresh lead, or
    /// past its serve margin.
    pub max_age: Duration,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { max_entries: 4096, max_age: Duration::from_secs(30) }
    }
}

/// What a fill brings: the token, and how long after it began that may be kept; zero for not at all.
pub(super) type Filled = Result<(Vended, Duration), ConnectionError>;

type Fill = Shared<BoxFuture<'static, Filled>>;

/// The tokens of one process. A key is a connection, whose only owner is in the entry.
pub(super) struct Cache {
    config: CacheConfig,
    kept: quick_cache::sync::Cache<ConnectionId, Arc<Kept>>,
    /// A std Mutex, never held across an await. Whatever decides what is kept holds it.
    fills: Mutex<Fills>,
    registered: Once,
}

/// Wiped when the last who reads it lets go.
struct Kept {
    owner: Digest,
    access_token: AccessToken,
    expires_at: Option<Instant>,
    until: Instant,
}

#[derive(Default)]
struct Fills {
    hears_all: bool,
    begun: u64,
    under_way: HashMap<ConnectionId, UnderWay>,
}

/// Held by those who wait for it: once nobody does, it is over.
struct UnderWay {
    number: u64,
    owner: Digest,
    fill: WeakShared<BoxFuture<'static, Filled>>,
}

impl Cache {
    pub(super) fn new(config: CacheConfig) -> Self {
        let kept = quick_cache::sync::Cache::new(config.max_entries.max(1));
        Self { config, kept, fills: Mutex::default(), registered: Once::new() }
    }

    pub(super) fn get(&self, owner: Digest, id: &ConnectionId) -> Option<Vended> {
        let kept = self.kept.get(id).filter(|kept| kept.owner == owner)?;
        let now = Instant::now();
        if kept.until <= now {
            self.kept.remove_if(id, |found| Arc::ptr_eq(found, &kept));
            return None;
        }
        Some(Vended {
            access_token: kept.access_token.clone(),
            expires_in: kept.expires_at.map(|at| at.saturating_duration_since(now)),
            path: VendPath::Cached,
        })
    }

    /// Vends, together with whoever asks for the same at the same moment, and keeps what may be kept.
    pub(super) async fn fill(
        self: &Arc<Self>,
        store: &dyn Store,
        owner: Digest,
        id: &ConnectionId,
        vend: impl Future<Output = Filled> + Send + 'static,
    ) -> Result<Vended, ConnectionError> {
        self.registered.call_once(|| {
            let this: Weak<Self> = Arc::downgrade(self);
            store.tell_changes(this);
        });
        let filled = match self.joined(owner, id, vend) {
            Ok(fill) => fill.await,
            Err(vend) => vend.await,
        };
        filled.map(|(vended, _)| vended)
    }

    /// The fill that is under way, or the one that begins with this; the vend itself where nothing
    /// is to be shared.
    fn joined<V>(self: &Arc<Self>, owner: Digest, id: &ConnectionId, vend: V) -> Result<Fill, V>
    where
        V: Future<Output = Filled> + Send + 'static,
    {
        let mut fills = self.lock();
        // Nothing is heard, so nobody may be told what others were. And what is another owner's is
        // for the vend to say.
        let is_others = |under_way: &UnderWay| under_way.owner != owner;
        if !fills.hears_all || fills.under_way.get(id).is_some_and(is_others) {
            return Err(vend);
        }
        if let Some(fill) = fills.under_way.get(id).and_then(|found| found.fill.upgrade()) {
            return Ok(fill);
        }
        fills.begun += 1;
        let ticket = Ticket { cache: self.clone(), id: id.clone(), number: fills.begun, owner };
        let number = ticket.number;
        let fill = ticket.run(vend).boxed().shared();
        if let Some(weak) = fill.downgrade() {
            fills.under_way.insert(id.clone(), UnderWay { number, owner, fill: weak });
        }
        Ok(fill)
    }

    fn lock(&self) -> MutexGuard<'_, Fills> {
        self.fills.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keeper for Cache {
    fn hears_all(&self, all: bool) {
        let mut fills = self.lock();
        fills.hears_all = all;
        fills.under_way.clear();
        self.kept.clear();
    }

    fn changed(&self, id: &ConnectionId) {
        let mut fills = self.lock();
        fills.under_way.remove(id);
        self.kept.remove(id);
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("config", &self.config).finish_non_exhaustive()
    }
}

/// One fill's place among those under way. It may keep what it brings for as long as it has it.
struct Ticket {
    cache: Arc<Cache>,
    id: ConnectionId,
    number: u64,
    owner: Digest,
}

impl Ticket {
    async fn run(self, vend: impl Future<Output = Filled>) -> Filled {
        let began = Instant::now();
        let (vended, keep) = vend.await?;
        let keep = keep.min(self.cache.config.max_age);
        let kept = Kept {
            owner: self.owner,
            access_token: vended.access_token.clone(),
            expires_at: vended.expires_in.map(|left| began + left),
            until: began + keep,
        };
        let fills = self.cache.lock();
        if self.is_among(&fills) && kept.until > Instant::now() {
            self.cache.kept.insert(self.id.clone(), Arc::new(kept));
        }
        drop(fills);
        Ok((vended, keep))
    }

    fn is_among(&self, fills: &Fills) -> bool {
        fills.under_way.get(&self.id).is_some_and(|under_way| under_way.number == self.number)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut fills = self.cache.lock();
        if self.is_among(&fills) {
            fills.under_way.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::store::memory::MemoryStore;

    const OWNER: Digest = Digest::NONE;
    const LONG: Duration = Duration::from_secs(3600);

    fn vended() -> Vended {
        let access_token = AccessToken::new("hunter2");
        Vended { access_token, expires_in: Some(LONG), path: VendPath::Warm }
    }

    fn cache() -> (Arc<Cache>, MemoryStore, ConnectionId) {
        let cache = Arc::new(Cache::new(CacheConfig::default()));
        (cache, MemoryStore::new(), ConnectionId::random(OWNER))
    }

    /// Fills, and says on which of the two ways.
    async fn fill(cache: &Arc<Cache>, store: &MemoryStore, id: &ConnectionId, keep: Duration) {
        let filled = cache.fill(store, OWNER, id, async move { Ok((vended(), keep)) }).await;
        assert_eq!(filled.unwrap().path, VendPath::Warm);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_kept_is_its_owners_and_ends_in_time() {
        let (cache, store, id) = cache();
        fill(&cache, &store, &id, LONG).await;
        let kept = cache.get(OWNER, &id).unwrap();
        assert_eq!((kept.path, kept.expires_in), (VendPath::Cached, Some(LONG)));
        let other = Digest::from_bytes(&[1; 16]).unwrap();
        assert!(cache.get(other, &id).is_none(), "another owner's is none");
        tokio::time::advance(CacheConfig::default().max_age).await;
        assert!(cache.get(OWNER, &id).is_none() && cache.kept.is_empty(), "and it is gone");

        for keep in [Duration::from_secs(1), Duration::ZERO] {
            fill(&cache, &store, &id, keep).await;
            tokio::time::advance(keep).await;
            assert!(cache.get(OWNER, &id).is_none(), "{keep:?}");
        }
    }

    /// The generation guard, at both of its ends.
    #[tokio::test]
    async fn a_fill_that_was_overtaken_is_not_kept() {
        let (cache, store, id) = cache();
        fill(&cache, &store, &id, LONG).await;
        let changes: [&dyn Fn(); 2] = [&|| cache.changed(&id), &|| {
            cache.hears_all(false);
            cache.hears_all(true);
        }];
        for change in changes {
            change();
            let (answer, reads) = oneshot::channel::<()>();
            let vend = async move {
                reads.await.unwrap();
                Ok((vended(), LONG))
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
            Err(ConnectionError::Revoked)
        });
        let mut first = Box::pin(first);
        assert!(futures_util::poll!(&mut first).is_pending());
        let joins = cache.fill(&store, OWNER, &id, async { panic!("it joins the first") });
        let mut second = Box::pin(joins);
        assert!(futures_util::poll!(&mut second).is_pending());
        let other = Digest::from_bytes(&[1; 16]).unwrap();
        let foreign = cache.fill(&store, other, &id, async { Err(ConnectionError::NotFound) });
        assert!(matches!(foreign.await, Err(ConnectionError::NotFound)), "it joins nothing");
        answer.send(()).unwrap();
        let (first, second) = tokio::join!(first, second);
        for told in [first, second] {
            assert!(matches!(told, Err(ConnectionError::Revoked)), "{told:?}");
        }
        fill(&cache, &store, &id, LONG).await;
        assert!(cache.get(OWNER, &id).is_some(), "the next one asks again");
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
        assert!(cache.kept.len() <= 4096, "{}", cache.kept.len());
        assert!(!format!("{cache:?}").contains("hunter2"));
    }
}
