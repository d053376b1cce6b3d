//! One walk over what a shard has for a receiver.
//!
//! The store keeps others away from a shard for as long as the lowest of what a replica holds is fresh.
//! A walk may take much longer, since each event is told before the next one: so it makes what it holds
//! fresh again on its way, and stops where that is not its own any more.

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    Delivery, DeliveryPass, NotifyError,
    backoff::Failed,
    delivery::{PAGE, PAGES, lock},
};
use crate::{
    digest::RequestId,
    store::{Event, EventId, OutboxPage, OutboxRead, ReadOutbox, Shard, StoreError},
};

pub(super) struct Walk<'a> {
    delivery: &'a Delivery,
    shard: Shard,
    stop: &'a CancellationToken,
    started: Instant,
    /// When the lowest of what is held was fresh.
    fresh: Instant,
    pub(super) pass: DeliveryPass,
}

impl<'a> Walk<'a> {
    pub(super) fn new(delivery: &'a Delivery, shard: Shard, stop: &'a CancellationToken) -> Self {
        let now = Instant::now();
        Self { delivery, shard, stop, started: now, fresh: now, pass: DeliveryPass::default() }
    }

    /// Tells all that is there, or until the receiver is away, somebody else has the shard, or `stop`.
    pub(super) async fn run(&mut self) -> Result<(), StoreError> {
        let mut after = None;
        for _ in 0..PAGES {
            let Some(page) = self.read(after).await? else { break };
            after = page.next;
            let goes_on = self.page(page).await?;
            if after.is_none() || !goes_on {
                break;
            }
        }
        Ok(())
    }

    /// A page, unless the shard is another's.
    async fn read(&mut self, after: Option<EventId>) -> Result<Option<OutboxPage>, StoreError> {
        let asked = Instant::now();
        let read = ReadOutbox {
            shard: self.shard,
            group: &self.delivery.group,
            consumer: &self.delivery.consumer,
            request: RequestId::random().digest(),
            after,
            count: PAGE,
            idle: self.delivery.config.idle,
        };
        match self.delivery.foundation.store.read_outbox(read).await? {
            OutboxRead::Page(page) => {
                if after.is_none() {
                    self.fresh = asked;
                }
                self.pass.lost += page.lost;
                Ok(Some(page))
            }
            OutboxRead::Held { .. } => {
                self.pass.elsewhere += 1;
                Ok(None)
            }
            OutboxRead::Closed => {
                *lock(&self.delivery.opened) = None;
                Ok(None)
            }
        }
    }

    /// Whether the walk goes on.
    async fn page(&mut self, page: OutboxPage) -> Result<bool, StoreError> {
        let delivery = self.delivery;
        for id in &page.damaged {
            tracing::warn!(notifier = %delivery.group, %id, "an entry of the outbox is no event");
        }
        self.pass.damaged += page.damaged.len();
        // What needs no telling goes in one step, and first: so it is not held.
        let (wanted, other): (Vec<_>, Vec<_>) = page.events.into_iter().partition(|event| {
            delivery.config.kinds.contains(&event.kind) && !delivery.waiting().was_told(event.id)
        });
        let silent: Vec<_> = other.iter().map(|event| event.id).chain(page.damaged).collect();
        self.acknowledge(&silent).await?;
        self.pass.unwanted += other.len();
        for event in &wanted {
            // Another shard may have found out that the notifier is away.
            self.pass.away = delivery.waiting().pause();
            if self.pass.away.is_some() || self.stop.is_cancelled() {
                return Ok(false);
            }
            if delivery.waiting().is_held_up(event, self.started) {
                self.pass.held_up += 1;
                continue;
            }
            if !self.still_holds(event.id).await? {
                return Ok(false);
            }
            if self.tell(event).await {
                self.acknowledge(&[event.id]).await?;
            }
        }
        Ok(self.pass.away.is_none() && !self.stop.is_cancelled())
    }

    /// Whether nobody else has this to tell. It is asked in time: another replica takes over after
    /// `idle`, and a telling takes no longer than a third of that.
    async fn still_holds(&mut self, id: EventId) -> Result<bool, StoreError> {
        if self.fresh.elapsed() < self.delivery.config.idle / 3 {
            return Ok(true);
        }
        // A whole page: what follows becomes the lowest with each acknowledgement.
        let Some(held) = self.read(None).await? else { return Ok(false) };
        // Where nothing is so low, another one has told this: the rest is for the next walk.
        let mut ids = held.events.iter().map(|event| event.id).chain(held.damaged);
        Ok(ids.any(|held| held <= id))
    }

    /// Whether that is done with.
    async fn tell(&mut self, event: &Event) -> bool {
        let delivery = self.delivery;
        let told = timeout(delivery.config.timeout, delivery.notifier.notify(event)).await;
        let late =
            || NotifyError::Away { reason: "no answer in time".to_owned(), retry_after: None };
        let (notifier, id, pass) = (&delivery.group, event.id, &mut self.pass);
        let mut waiting = delivery.waiting();
        let error = match told.unwrap_or_else(|_| Err(late())) {
            Ok(()) => {
                waiting.told(event);
                pass.delivered += 1;
                return true;
            }
            Err(error) => error,
        };
        match waiting.failed(event, &error, &delivery.config) {
            Failed::Refused { tries } => {
                pass.refused += 1;
                tracing::debug!(%notifier, %id, tries, %error, "an event is refused");
                false
            }
            Failed::GivenUp { tries } => {
                pass.given_up += 1;
                tracing::warn!(%notifier, %id, tries, %error, "an event is refused: given up");
                true
            }
            Failed::Away { pause } => {
                pass.away = Some(pause);
                tracing::warn!(%notifier, %id, %error, ?pause, "a notifier is away: events wait");
                false
            }
        }
    }

    async fn acknowledge(&self, ids: &[EventId]) -> Result<(), StoreError> {
        let Delivery { foundation, group, .. } = self.delivery;
        foundation.store.ack_outbox(self.shard, group, ids).await?;
        self.delivery.waiting().acknowledged(ids);
        Ok(())
    }
}
