//! One subscription per process, whatever the number of waiters and keepers.
//!
//! A message is a hint: whoever is woken reads again. What is missed while the subscription is
//! down is made up for by waking everybody when it is back; and keepers of credentials are told that
//! they do not hear all, so that they keep nothing.
//!
//! A connection that is broken without a word would be silent for ever. So it is asked every
//! [`ASK_EVERY`], and given up when it does not answer within one reply's time.

use std::{sync::Once, time::Duration};

use backon::BackoffBuilder;
use futures_util::StreamExt;
use redis::Msg;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    breaker::PAUSES, fault::Fault, keyspace::Keyspace, link::open_pubsub, url::RedisConfig,
};
use crate::{
    metric,
    store::{Change, WakeHub, changes::ChangeHub},
};

/// How often a silent subscription is asked whether it is there.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Listens from the first time that somebody waits or keeps, until it is dropped.
#[derive(Debug)]
pub(super) struct Listener {
    ear: Ear,
    wanted: watch::Sender<Channels>,
    started: Once,
    stop: CancellationToken,
    _stops: DropGuard,
}

/// What there is to be heard, and who is told.
#[derive(Debug, Clone)]
struct Ear {
    config: RedisConfig,
    wake: String,
    hub: WakeHub,
    changed: String,
    changes: ChangeHub,
}

/// What somebody here wants to hear.
#[derive(Debug, Clone, Copy, Default)]
struct Channels {
    wake: bool,
    changed: bool,
}

impl Listener {
    pub(super) fn new(config: &RedisConfig, keys: &Keyspace, changes: ChangeHub) -> Self {
        let stop = CancellationToken::new();
        let ear = Ear {
            config: config.clone(),
            wake: keys.wake(),
            hub: WakeHub::default(),
            changed: keys.changed(),
            changes,
        };
        Self {
            ear,
            wanted: watch::Sender::default(),
            started: Once::new(),
            _stops: stop.clone().drop_guard(),
            stop,
        }
    }

    pub(super) fn hub(&self) -> WakeHub {
        self.want(|channels| &mut channels.wake);
        self.ear.hub.clone()
    }

    pub(super) fn hear_changes(&self) {
        self.want(|channels| &mut channels.changed);
    }

    fn want(&self, which: fn(&mut Channels) -> &mut bool) {
        self.wanted.send_if_modified(|wanted| !std::mem::replace(which(wanted), true));
        self.started.call_once(|| {
            let listening = self.ear.clone().listen(self.wanted.subscribe());
            let stop = self.stop.clone();
            #[expect(clippy::disallowed_methods, reason = "one subscription per process")]
            tokio::spawn(async move { stop.run_until_cancelled(listening).await });
        });
    }
}

impl Ear {
    async fn listen(self, mut wanted: watch::Receiver<Channels>) {
        let mut pauses = PAUSES.build();
        loop {
            match self.subscribed(&mut wanted, || pauses = PAUSES.build()).await {
                Ok(()) => tracing::debug!("the subscription ended: subscribing again"),
                Err(cause) => tracing::debug!(%cause, "no subscription: trying again"),
            }
            // Until it is back, waiters look by themselves, and keepers keep nothing.
            sleep(pauses.next().unwrap_or_default()).await;
        }
    }

    /// Returns when the connection breaks.
    async fn subscribed(
        &self,
        wanted: &mut watch::Receiver<Channels>,
        on_success: impl FnOnce(),
    ) -> Result<(), Fault> {
        let timeouts = self.config.timeouts;
        let opening = timeout(timeouts.connect + timeouts.response, open_pubsub(&self.config));
        let (mut sink, mut messages) = match opening.await {
            Ok(opened) => opened.map_err(|error| Fault::of_opening(&error))?.split(),
            Err(_) => return Err(Fault::not_executed("no subscription in time")),
        };
        let _counted = metric::REDIS_CONNECTIONS.raise(&["subscription"]);
        let mut on_success = Some(on_success);
        let mut on = Channels::default();
        // Dropped with the connection: then keepers are told.
        let mut hearing = None;
        loop {
            let now = *wanted.borrow_and_update();
            if now.wake && !on.wake {
                self.answered(sink.subscribe(&self.wake)).await?;
                self.hub.wake_all();
            }
            if now.changed && !on.changed {
                self.answered(sink.subscribe(&self.changed)).await?;
                hearing = Some(self.changes.hear_all());
            }
            on = now;
            if let Some(on_success) = on_success.take() {
                on_success();
            }
            tokio::select! {
                message = messages.next() => match message {
                    Some(message) => self.hear(&message),
                    None => break,
                },
                more = wanted.changed() => if more.is_err() { break },
                () = sleep(ASK_EVERY) => self.answered(sink.ping::<redis::Value>()).await.map(drop)?,
            }
        }
        drop(hearing);
        Ok(())
    }

    async fn answered<T>(
        &self,
        asked: impl Future<Output = redis::RedisResult<T>>,
    ) -> Result<T, Fault> {
        match timeout(self.config.timeouts.response, asked).await {
            Ok(answer) => answer.map_err(|error| Fault::of_opening(&error)),
            Err(_) => Err(Fault::not_executed("the subscription is silent")),
        }
    }

    fn hear(&self, message: &Msg) {
        let said: String = message.get_payload().unwrap_or_default();
        let words = said.split_ascii_whitespace();
        if message.get_channel_name() == self.changed {
            words.filter_map(Change::from_word).for_each(|change| self.changes.tell(change));
        } else {
            words.filter_map(|id| id.parse().ok()).for_each(|id| self.hub.wake(id));
        }
    }
}
