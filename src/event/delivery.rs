//! Telling a notifier what it has not been told.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    DeliveryConfig, DeliveryPass, Events, Notifier, NotifyError,
    backoff::{Pauses, Waiting},
};
use crate::{
    digest::{RequestId, random_bytes},
    foundation::Foundation,
    metric::{self, SharedString},
    store::{
        Class, Event, EventId, Failing, OutboxGroup, OutboxPage, OutboxRead, ReadOutbox, Shard,
        StoreError, instance,
    },
};

/// How often it is made sure that every shard keeps events for this receiver.
const OPEN_EVERY: Duration = Duration::from_secs(60);
/// What a page holds, and how many pages of a shard one pass reads.
const PAGE: u16 = 100;
const PAGES: usize = 100;

/// Delivers to one notifier. One per process and notifier: it knows what it has to wait for.
#[derive(Debug)]
pub struct Delivery {
    foundation: Arc<Foundation>,
    group: OutboxGroup,
    label: SharedString,
    consumer: String,
    notifier: Arc<dyn Notifier>,
    config: DeliveryConfig,
    opened: Mutex<Option<Instant>>,
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
        config: DeliveryConfig,
    ) -> Self {
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
        self.waiting().tidy(self.config.idle.max(self.config.longest_pause) * 2);
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
        let mut pass = DeliveryPass::default();
        let error = self.pages(shard, &mut pass, stop).await.err();
        pass.errors = error.is_some().into();
        (pass, error)
    }

    async fn pages(
        &self,
        shard: Shard,
        pass: &mut DeliveryPass,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        let (started, mut after) = (Instant::now(), None);
        for _ in 0..PAGES {
            let read = ReadOutbox {
                shard,
                group: &self.group,
                consumer: &self.consumer,
                request: RequestId::random().digest(),
                after,
                count: PAGE,
                idle: self.config.idle,
            };
            let page = match self.foundation.store.read_outbox(read).await? {
                OutboxRead::Page(page) => page,
                OutboxRead::Held { .. } => {
                    pass.elsewhere += 1;
                    return Ok(());
                }
                OutboxRead::Closed => {
                    *lock(&self.opened) = None;
                    return Ok(());
                }
            };
            after = page.next;
            self.page(shard, page, started, pass, stop).await?;
            if after.is_none() || pass.away.is_some() || stop.is_cancelled() {
                break;
            }
        }
        Ok(())
    }

    async fn page(
        &self,
        shard: Shard,
        page: OutboxPage,
        walk: Instant,
        pass: &mut DeliveryPass,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        pass.lost += page.lost;
        for id in &page.damaged {
            tracing::warn!(notifier = %self.group, %id, "an entry of the outbox is no event");
        }
        pass.damaged += page.damaged.len();
        // What needs no telling goes in one step, and first: so it is not held.
        let (wanted, other): (Vec<_>, Vec<_>) = page.events.into_iter().partition(|event| {
            self.config.kinds.contains(&event.kind) && !self.waiting().was_told(event.id)
        });
        let silent: Vec<_> = other.iter().map(|event| event.id).chain(page.damaged).collect();
        self.acknowledge(shard, &silent).await?;
        pass.unwanted += other.len();
        for event in &wanted {
            // Another shard may have found out that the notifier is away.
            pass.away = self.waiting().pause();
            if pass.away.is_some() || stop.is_cancelled() {
                return Ok(());
            }
            if self.waiting().is_held_up(event, walk) {
                pass.held_up += 1;
                continue;
            }
            if self.tell(event, pass).await {
                self.acknowledge(shard, &[event.id]).await?;
            }
        }
        Ok(())
    }

    /// Whether that is done with.
    async fn tell(&self, event: &Event, pass: &mut DeliveryPass) -> bool {
        let pauses = Pauses { first: self.config.first_pause, longest: self.config.longest_pause };
        let told = timeout(self.config.timeout, self.notifier.notify(event)).await;
        let late =
            || NotifyError::Away { reason: "no answer in time".to_owned(), retry_after: None };
        let (notifier, id) = (&self.group, event.id);
        let mut waiting = self.waiting();
        match told.unwrap_or_else(|_| Err(late())) {
            Ok(()) => {
                waiting.told(event);
                pass.delivered += 1;
                true
            }
            Err(NotifyError::Refused { reason }) => {
                let tries = waiting.refused(event, pauses);
                let over = tries >= self.config.tries;
                if over {
                    waiting.is_over(event);
                    pass.given_up += 1;
                    tracing::warn!(%notifier, %id, tries, reason, "an event is refused: given up");
                } else {
                    pass.refused += 1;
                    tracing::debug!(%notifier, %id, tries, reason, "an event is refused");
                }
                over
            }
            Err(NotifyError::Away { reason, retry_after }) => {
                let pause = waiting.away(retry_after, pauses);
                pass.away = Some(pause);
                tracing::warn!(%notifier, reason, ?pause, "a notifier is away: events wait");
                false
            }
        }
    }

    async fn acknowledge(&self, shard: Shard, ids: &[EventId]) -> Result<(), StoreError> {
        self.foundation.store.ack_outbox(shard, &self.group, ids).await?;
        self.waiting().acknowledged(ids);
        Ok(())
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

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.waiting)
    }
}

/// Nothing is left half-way by a panic: each holds it for one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
