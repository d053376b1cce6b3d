//! The loops that tell what happened: one for each receiver, and one that trims behind them.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use vestibule::{
    Vestibule,
    event::{Delivery, DeliveryConfig, Events, OutboxGroup},
    metric,
    sweep::TrimEvents,
};

use crate::{
    config::NotifySettings,
    measure,
    sweeper::{jittered, pause},
};

/// Between two passes of a delivery: about so late is what is told.
const DELIVER_EVERY: Duration = Duration::from_secs(1);
/// What was delivered is kept that long at the most.
const TRIM_EVERY: Duration = Duration::from_secs(5);
/// History is kept for days, so an hour more is nothing.
const FORGET_EVERY: Duration = Duration::from_secs(3600);

/// Tells what happened.
pub struct Notifying {
    events: Events,
    deliveries: Vec<(OutboxGroup, Delivery)>,
    removed: Vec<OutboxGroup>,
    history_age: Duration,
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
        Self {
            deliveries: deliveries.collect(),
            events,
            removed: settings.removed,
            history_age: settings.history_age,
        }
    }

    /// Until `stop`; an event that is being told is told to its end.
    pub async fn run(&self, stop: &CancellationToken) {
        let telling = self.deliveries.iter().map(|(group, delivery)| tell(group, delivery, stop));
        tokio::join!(join_all(telling), self.trim(stop));
    }

    /// Tells each receiver what there is to tell, and trims behind them. Returns whether all of it was
    /// taken.
    pub async fn once(&self, stop: &CancellationToken) -> bool {
        let mut is_whole = self.remove().await;
        for (group, delivery) in &self.deliveries {
            loop {
                let pass = delivery.pass(stop).await;
                tracing::debug!(notifier = %group, ?pass, "delivery pass");
                if pass.delivered == 0 {
                    is_whole &=
                        pass.refused + pass.given_up + pass.errors == 0 && pass.away.is_none();
                    break;
                }
            }
        }
        let trim = TrimEvents { history_age: Some(self.history_age) };
        let pass = trim.pass(&self.events, stop).await;
        is_whole && pass.errors == 0
    }

    async fn trim(&self, stop: &CancellationToken) {
        measure::cadence("trim_events", TRIM_EVERY);
        let mut removed = self.removed.is_empty();
        let mut forgot: Option<Instant> = None;
        while !stop.is_cancelled() {
            if !removed {
                removed = self.remove().await;
            }
            let started = Instant::now();
            let due = forgot.is_none_or(|at| at.elapsed() >= FORGET_EVERY);
            let sweep = TrimEvents { history_age: due.then_some(self.history_age) };
            let pass = sweep.pass(&self.events, stop).await;
            if due && pass.errors == 0 {
                forgot = Some(Instant::now());
            }
            let outcomes = [
                ("delivered", pass.delivered),
                ("forgotten", pass.forgotten),
                ("error", pass.errors as u64),
            ];
            measure::pass("trim_events", started.elapsed(), &outcomes, pass.errors == 0);
            for (group, _) in &self.deliveries {
                let lag = pass.lags.get(group.as_str()).copied().unwrap_or(0);
                #[expect(clippy::cast_precision_loss, reason = "a gauge of a backlog may round")]
                metric::OUTBOX_LAG.named(group.to_string(), &[]).set(lag as f64);
            }
            pause(jittered(TRIM_EVERY), stop).await;
        }
    }

    /// Whether nothing is kept any more for receivers that are no more.
    async fn remove(&self) -> bool {
        let mut done = true;
        for group in &self.removed {
            match self.events.remove_receiver(group).await {
                Ok(()) => tracing::info!(notifier = %group, "removed: nothing is kept for it"),
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
