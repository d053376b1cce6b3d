//! One subscription per process, whatever the number of waiters.
//!
//! A message is a hint: whoever is woken reads again. What is missed while the subscription is
//! down is made up for by waking everybody when it is back.

use std::sync::Once;

use backon::BackoffBuilder;
use futures_util::StreamExt;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{breaker::PAUSES, fault::Fault, link::open_pubsub, url::RedisConfig};
use crate::store::WakeHub;

/// Listens from the first time that somebody waits, until it is dropped.
#[derive(Debug)]
pub(super) struct Listener {
    config: RedisConfig,
    channel: String,
    hub: WakeHub,
    started: Once,
    stop: CancellationToken,
    _stops: DropGuard,
}

impl Listener {
    pub(super) fn new(config: &RedisConfig, channel: String) -> Self {
        let stop = CancellationToken::new();
        Self {
            config: config.clone(),
            channel,
            hub: WakeHub::default(),
            started: Once::new(),
            _stops: stop.clone().drop_guard(),
            stop,
        }
    }

    pub(super) fn hub(&self) -> WakeHub {
        self.started.call_once(|| {
            let listening = listen(self.config.clone(), self.channel.clone(), self.hub.clone());
            let stop = self.stop.clone();
            #[expect(clippy::disallowed_methods, reason = "one subscription per process")]
            tokio::spawn(async move { stop.run_until_cancelled(listening).await });
        });
        self.hub.clone()
    }
}

async fn listen(config: RedisConfig, channel: String, hub: WakeHub) {
    let mut pauses = PAUSES.build();
    loop {
        match subscribed(&config, &channel, &hub, || pauses = PAUSES.build()).await {
            Ok(()) => tracing::debug!("the subscription ended: subscribing again"),
            Err(cause) => tracing::debug!(%cause, "no subscription: trying again"),
        }
        // Until it is back, waiters look by themselves.
        sleep(pauses.next().unwrap_or_default()).await;
    }
}

/// Returns when the connection breaks.
async fn subscribed(
    config: &RedisConfig,
    channel: &str,
    hub: &WakeHub,
    on_success: impl FnOnce(),
) -> Result<(), Fault> {
    let opening = async {
        let mut pubsub = open_pubsub(config).await?;
        pubsub.subscribe(channel).await?;
        Ok(pubsub)
    };
    let longest = config.timeouts.connect + config.timeouts.response;
    let mut pubsub = match timeout(longest, opening).await {
        Ok(Ok(pubsub)) => pubsub,
        Ok(Err(error)) => return Err(Fault::of_opening(&error)),
        Err(_) => return Err(Fault::not_executed("no subscription in time")),
    };
    on_success();
    hub.wake_all();
    let mut messages = pubsub.on_message();
    while let Some(message) = messages.next().await {
        let ids: String = message.get_payload().unwrap_or_default();
        for id in ids.split_ascii_whitespace().filter_map(|id| id.parse().ok()) {
            hub.wake(id);
        }
    }
    Ok(())
}
