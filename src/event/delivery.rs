//! Telling a notifier what it has not been told.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{DeliveryConfig, DeliveryPass, Events, Notifier, backoff::Waiting, walk::Walk};
use crate::{
    digest::random_bytes,
    foundation::Foundation,
    metric::{self, SharedString},
    store::{Class, Failing, OutboxGroup, Shard, StoreError, instance},
};

/// How often it is made sure that every shard keeps events for this receiver.
const OPEN_EVERY: Duration = Duration::from_secs(60);
/// What a page holds, and how many pages of a shard one pass reads.
pub(super) const PAGE: u16 = 100;
pub(super) const PAGES: usize = 100;

/// Delivers to one notifier. One per process and notifier: it knows what it has to wait for.
#[derive(Debug)]
pub struct Delivery {
    pub(super) foundation: Arc<Foundation>,
    pub(super) group: OutboxGroup,
    label: SharedString,
    pub(super) consumer: String,
    pub(super) notifier: Arc<dyn Notifier>,
    pub(super) config: DeliveryConfig,
    pub(super) opened: Mutex<Option<Instant>>,
    waiting: Mutex<Waiting>,
}

impl Delivery {
    /// To `notifier`, which is known as `group` in the store, in metrics and in logs: the same in
    /// all replicas, and another one for each receiver. `instance` names this replica, for people.
    #[must_use]
    pub fn new(
        events: &Events,
        group: OutboxGroup,
        notifier: Arc<dyn Notifier>,
        instance_name: &str,
        mut config: DeliveryConfig,
    ) -> Self {
        config.idle = config.least_idle();
        let unique = u32::from_be_bytes(random_bytes());
        Self {
            foundation: events.foundation().clone(),
            consumer: format!("{}-{unique:08x}", instance(instance_name)),
            label: SharedString::from_shared(group.as_str().into()),
            group,
            notifier,
            config,
            opened: Mutex::default(),
            waiting: Mutex::default(),
        }
    }

    /// Makes sure that events are kept for this receiver, from now on. A pass does so too, about
    /// each minute.
    ///
    /// # Errors
    ///
    /// As the store; some shards may be open then.
    pub async fn open(&self) -> Result<(), StoreError> {
        self.foundation.store.open_outbox(&self.group).await?;
        *lock(&self.opened) = Some(Instant::now());
        Ok(())
    }

    /// One pass: all that is there, up to 10,000 events of a shard. When `stop` is cancelled nothing
    /// more is told. A shard that fails is skipped; after a few in a row Redis is away.
    pub async fn pass(&self, stop: &CancellationToken) -> DeliveryPass {
        let mut pass = DeliveryPass::default();
        let left = self.waiting().pause();
        if left.is_some() {
            return DeliveryPass { away: left, ..pass };
        }
        self.waiting().begins(self.config.idle.max(self.config.longest_pause) * 2);
        let mut shards = match self.shards().await {
            Ok(shards) => shards,
            Err(error) => {
                tracing::warn!(notifier = %self.group, %error, "nothing is delivered now");
                return DeliveryPass { errors: 1, ..pass };
            }
        };
        let mut running = FuturesUnordered::new();
        let mut failing = Failing::default();
        loop {
            // One alone finds out whether a notifier is back.
            let room = if self.waiting().is_doubtful() { 1 } else { self.config.parallel.max(1) };
            while running.len() < room && pass.away.is_none() && !stop.is_cancelled() {
                let Some(shard) = shards.pop_front() else { break };
                running.push(self.shard(shard, stop));
            }
            let Some((seen, error)) = running.next().await else { break };
            pass.add(seen);
            let Some(error) = error else {
                failing.answered();
                continue;
            };
            tracing::warn!(notifier = %self.group, %error, "a shard was not delivered");
            if failing.ends_with(&error) {
                shards.clear();
            }
        }
        self.count(&pass);
        pass
    }

    /// Those with something in them; each replica begins elsewhere, so that they share them.
    async fn shards(&self) -> Result<VecDeque<Shard>, StoreError> {
        let opened = *lock(&self.opened);
        if opened.is_none_or(|at| at.elapsed() >= OPEN_EVERY) {
            match self.open().await {
                // One shard has something else in its place; the others are open.
                Err(error) if error.class() == Class::Corrupt => {
                    tracing::warn!(notifier = %self.group, %error, "a shard keeps no events");
                    *lock(&self.opened) = Some(Instant::now());
                }
                opened => opened?,
            }
        }
        let backlog = self.foundation.store.outbox_backlog().await?;
        let mut shards: VecDeque<_> = backlog.into_iter().map(|(shard, _)| shard).collect();
        let [first] = random_bytes::<1>();
        shards.rotate_left(usize::from(first) % shards.len().max(1));
        Ok(shards)
    }

    async fn shard(
        &self,
        shard: Shard,
        stop: &CancellationToken,
    ) -> (DeliveryPass, Option<StoreError>) {
        let mut walk = Walk::new(self, shard, stop);
        let error = walk.run().await.err();
        walk.pass.errors = error.is_some().into();
        (walk.pass, error)
    }

    fn count(&self, pass: &DeliveryPass) {
        for (outcome, count) in [
            ("delivered", pass.delivered),
            ("refused", pass.refused),
            ("given_up", pass.given_up),
            ("damaged", pass.damaged),
            ("away", usize::from(pass.away.is_some())),
        ] {
            metric::NOTIFIED.named(self.label.clone(), &[outcome]).increment(count as u64);
        }
        metric::OUTBOX_LOST.named(self.label.clone(), &[]).increment(pass.lost);
        if pass.lost > 0 {
            tracing::error!(notifier = %self.group, lost = pass.lost, "the outbox was full: events are lost");
        }
    }

    pub(super) fn waiting(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.waiting)
    }
}

/// Nothing is left half-way by a panic: each holds it for one step.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
