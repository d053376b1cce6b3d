//! The loops that tell what happened: one for each receiver, and one that counts what they have yet to
//! be told.

use std::{collections::BTreeSet, time::Duration};

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;
use vestibule::{
    Vestibule,
    event::{Delivery, DeliveryConfig, Events, OutboxGroup},
    metric,
};

use crate::{
    config::NotifySettings,
    sweeper::{jittered, pause},
};

/// Between two passes of a delivery: about so late is what is told.
const DELIVER_EVERY: Duration = Duration::from_secs(1);
/// How often it is counted how far behind the receivers are.
const COUNT_EVERY: Duration = Duration::from_secs(10);
/// How often receivers are removed that are no more: a replica that still has the configuration before
/// brings them back until it ends.
const REMOVE_EVERY: Duration = Duration::from_secs(60);

/// Tells what happened.
pub struct Notifying {
    events: Events,
    deliveries: Vec<(OutboxGroup, Delivery)>,
    removed: Vec<OutboxGroup>,
}

impl Notifying {
    /// To the receivers of the configuration, as the replica `instance`.
    #[must_use]
    pub fn new(vestibule: &Vestibule, settings: NotifySettings, instance: &str) -> Self {
        let events = vestibule.events();
        let deliveries = settings.receivers.into_iter().map(|receiver| {
            let config = DeliveryConfig { kinds: receiver.kinds, ..DeliveryConfig::default() };
            let (group, notifier) = (receiver.group, receiver.notifier);
            (group.clone(), Delivery::new(&events, group, notifier, instance, config))
        });
        Self { deliveries: deliveries.collect(), events, removed: settings.removed }
    }

    /// Until `stop`; an event that is being told is told to its end.
    pub async fn run(&self, stop: &CancellationToken) {
        let telling = self.deliveries.iter().map(|(group, delivery)| tell(group, delivery, stop));
        tokio::join!(join_all(telling), self.count(stop), self.close(stop));
    }

    /// Tells each receiver what there is to tell. Returns whether all of it was taken.
    pub async fn once(&self, stop: &CancellationToken) -> bool {
        let mut is_whole = self.remove().await;
        for (group, delivery) in &self.deliveries {
            loop {
                let pass = delivery.pass(stop).await;
                tracing::debug!(notifier = %group, ?pass, "delivery pass");
                is_whole &= pass.given_up + pass.errors == 0;
                if pass.delivered == 0 {
                    is_whole &= pass.refused + pass.held_up + pass.elsewhere == 0;
                    is_whole &= pass.away.is_none();
                    break;
                }
            }
        }
        is_whole
    }

    /// All that Redis keeps events for, whoever tells them: one that nobody tells any more is seen by
    /// its lag.
    async fn count(&self, stop: &CancellationToken) {
        let mut known: BTreeSet<_> =
            self.deliveries.iter().map(|(group, _)| group.to_string()).collect();
        while !stop.is_cancelled() {
            match self.events.lags().await {
                Ok(lags) => {
                    let names = lags.keys().filter(|name| OutboxGroup::new(name.as_str()).is_ok());
                    known.extend(names.cloned());
                    for group in &known {
                        let lag = lags.get(group).copied().unwrap_or(0);
                        #[expect(
                            clippy::cast_precision_loss,
                            reason = "a gauge of a backlog may round"
                        )]
                        metric::OUTBOX_LAG.named(group.clone(), &[]).set(lag as f64);
                    }
                }
                Err(error) => tracing::warn!(%error, "it is not counted who is to be told"),
            }
            pause(jittered(COUNT_EVERY), stop).await;
        }
    }

    /// Removes the receivers that are no more, for as long as this replica lives.
    async fn close(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() && !self.removed.is_empty() {
            self.remove().await;
            pause(jittered(REMOVE_EVERY), stop).await;
        }
    }

    /// Whether nothing is kept any more for receivers that are no more.
    async fn remove(&self) -> bool {
        let mut done = true;
        for group in &self.removed {
            match self.events.remove_receiver(group).await {
                Ok(()) => tracing::debug!(notifier = %group, "removed: nothing is kept for it"),
                Err(error) => {
                    tracing::warn!(notifier = %group, %error, "not removed: will try again");
                    done = false;
                }
            }
        }
        done
    }
}

async fn tell(group: &OutboxGroup, delivery: &Delivery, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        let pass = delivery.pass(stop).await;
        if pass.delivered + pass.refused + pass.given_up > 0 {
            tracing::debug!(notifier = %group, ?pass, "delivery pass");
        }
        pause(jittered(DELIVER_EVERY), stop).await;
    }
}
