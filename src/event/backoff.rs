//! What a delivery waits for: its notifier, and records whose first event fails.
//!
//! A failure that says "away" may be the event's own fault: a receiver that falls over one body, or a
//! firewall before it that lets it not through. What others are told meanwhile decides. So the event is
//! passed over once, to let another one try; if that is told, and this fails again, it is the event, and
//! it is counted as if it was refused. While nothing at all gets through, nothing is counted.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use rand::RngExt as _;
use tokio::time::Instant;

use super::{DeliveryConfig, NotifyError};
use crate::store::{Event, EventId, Subject};

/// However long a receiver wants to be left alone.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

#[derive(Debug, Default)]
pub(super) struct Waiting {
    notifier: Wait,
    records: HashMap<Record, HeldUp>,
    /// How many were told, and how many passes began.
    successes: u64,
    passes: u64,
    /// Told, but not acknowledged: the store was away just then.
    told: HashSet<EventId>,
}

type Record = (Subject, String);

/// So many failures in a row, and when the next try may be.
#[derive(Debug, Clone, Copy, Default)]
struct Wait {
    failures: u32,
    until: Option<Instant>,
}

/// A record whose first event failed.
#[derive(Debug, Clone, Copy)]
struct HeldUp {
    /// The tries that are counted, and when the next may be.
    wait: Wait,
    since: Instant,
    /// How many others had been told when it failed last.
    successes: u64,
    /// The pass that leaves it out.
    passed_over_in: u64,
}

/// What a failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failed {
    /// It is tried again later.
    Refused { tries: u32 },
    /// It was tried often enough.
    GivenUp { tries: u32 },
    /// The notifier is left alone for so long.
    Away { pause: Duration },
}

impl Waiting {
    /// How long the notifier is left alone, if it is.
    pub(super) fn pause(&self) -> Option<Duration> {
        self.notifier.left()
    }

    /// Whether the notifier failed last: then one event shows whether it is back.
    pub(super) fn is_doubtful(&self) -> bool {
        self.notifier.failures > 0
    }

    /// Judges a failure to tell an event.
    pub(super) fn failed(
        &mut self,
        event: &Event,
        error: &NotifyError,
        config: &DeliveryConfig,
    ) -> Failed {
        let (successes, since) = (self.successes, Instant::now());
        let held = self.records.entry(record(event)).or_insert(HeldUp {
            wait: Wait::default(),
            since,
            successes,
            passed_over_in: 0,
        });
        let others_are_told = held.successes < successes;
        held.successes = successes;
        match error {
            NotifyError::Refused { .. } => self.counted(event, config, Duration::ZERO),
            NotifyError::Away { retry_after: None, .. } if others_are_told => {
                self.counted(event, config, config.patience)
            }
            NotifyError::Away { retry_after, .. } => {
                held.passed_over_in = self.passes + 1;
                let pause = self.away(*retry_after, config);
                if let Some(held) = self.records.get_mut(&record(event)) {
                    held.wait.until = self.notifier.until;
                }
                Failed::Away { pause }
            }
        }
    }

    /// Whether its record waits, or did when this walk over its shard began: a pause that ends in
    /// the middle of one would let later events overtake the refused one, which comes first in the next.
    pub(super) fn is_held_up(&self, event: &Event, walk: Instant) -> bool {
        self.records.get(&record(event)).is_some_and(|held| {
            held.passed_over_in == self.passes || held.wait.until.is_some_and(|until| until > walk)
        })
    }

    pub(super) fn told(&mut self, event: &Event) {
        self.notifier = Wait::default();
        self.successes += 1;
        self.records.remove(&record(event));
        self.told.insert(event.id);
    }

    pub(super) fn was_told(&self, id: EventId) -> bool {
        self.told.contains(&id)
    }

    pub(super) fn acknowledged(&mut self, ids: &[EventId]) {
        for id in ids {
            self.told.remove(id);
        }
    }

    /// A pass begins. What others have taken over is forgotten: it was to be tried again long ago.
    pub(super) fn begins(&mut self, age: Duration) {
        self.passes += 1;
        let waits = |wait: Wait| wait.until.is_some_and(|until| until.elapsed() < age);
        self.records.retain(|_, held| waits(held.wait));
        // An id is 24 bytes; what is so much was taken over too.
        if self.told.len() > 100_000 {
            self.told.clear();
        }
    }

    /// One more try that was the event's own failure; it is given up after enough of them, and so long.
    fn counted(&mut self, event: &Event, config: &DeliveryConfig, patience: Duration) -> Failed {
        let Some(held) = self.records.get_mut(&record(event)) else {
            return Failed::Refused { tries: 0 };
        };
        held.wait.fail(config, Duration::ZERO);
        let tries = held.wait.failures;
        if tries < config.tries || held.since.elapsed() < patience {
            return Failed::Refused { tries };
        }
        self.records.remove(&record(event));
        Failed::GivenUp { tries }
    }

    fn away(&mut self, retry_after: Option<Duration>, config: &DeliveryConfig) -> Duration {
        let least = retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
        // Those that were under way together are one failure.
        if let Some(left) = self.pause() {
            self.notifier.until = Some(Instant::now() + left.max(least));
            return left.max(least);
        }
        self.notifier.fail(config, least)
    }
}

impl Wait {
    fn left(self) -> Option<Duration> {
        let left = self.until?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    fn fail(&mut self, config: &DeliveryConfig, least: Duration) -> Duration {
        let doubled = config.first_pause.saturating_mul(1 << self.failures.min(20));
        let doubled = doubled.min(config.longest_pause);
        self.failures = self.failures.saturating_add(1);
        // Up to half less: replicas that failed together do not come back together.
        let pause = doubled.mul_f64(1.0 - rand::rng().random_range(0.0..0.5)).max(least);
        self.until = Some(Instant::now() + pause);
        pause
    }
}

fn record(event: &Event) -> Record {
    (event.subject, event.subject_id.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_double_with_jitter_up_to_the_longest() {
        let (mut waiting, config) = (Waiting::default(), DeliveryConfig::default());
        for nth in 0..12 {
            let most = Duration::from_secs((1 << nth).min(300));
            let pause = waiting.away(None, &config);
            assert!(
                pause + Duration::from_millis(1) > most / 2 && pause <= most,
                "{nth} {pause:?}"
            );
            assert!(waiting.away(None, &config) <= pause, "those under way together count once");
            tokio::time::advance(pause).await;
            assert_eq!(waiting.pause(), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_retry_after_is_heeded_within_an_hour() {
        let (mut waiting, config) = (Waiting::default(), DeliveryConfig::default());
        let (minutes, days) = (Duration::from_secs(600), Duration::from_secs(600_000));
        assert_eq!(waiting.away(Some(minutes), &config), minutes);
        assert_eq!(waiting.away(Some(days), &config), LONGEST_RETRY_AFTER);
    }
}
