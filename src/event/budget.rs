//! What a delivery may take, and what a pass of it did.

use std::time::Duration;

use super::TRANSITIONS;
use crate::store::EventKind;

/// How events are delivered.
#[derive(Debug, Clone)]
pub struct DeliveryConfig {
    /// Of these kinds; others are acknowledged untold. Default [`TRANSITIONS`].
    pub kinds: Vec<EventKind>,
    /// A call of the notifier may take so long. Default 15 s.
    pub timeout: Duration,
    /// So many shards are delivered at a time. Default 8.
    pub parallel: usize,
    /// The first pause after a failure; each that follows is twice as long, with jitter. Default 1 s.
    pub first_pause: Duration,
    /// The longest pause. Default 5 min.
    pub longest_pause: Duration,
    /// An event that is refused so often is given up, and counted. Default 10, which takes four to
    /// nine minutes.
    pub tries: u32,
    /// An event that the notifier answers as if it was away, while it takes others, is given up after
    /// [`tries`](Self::tries) too, but not before so long. A notifier that takes nothing at all is left
    /// alone instead, and costs no event a try; so does one that says how long. Default 1 h.
    pub patience: Duration,
    /// What a replica holds for so long without a word is taken over by another one. A living one is
    /// heard of after a third of it, before the next event: so less than three times `timeout` is
    /// taken as that. Default 60 s.
    pub idle: Duration,
}

impl Default for DeliveryConfig {
    fn default() -> Self {
        Self {
            kinds: TRANSITIONS.to_vec(),
            timeout: Duration::from_secs(15),
            parallel: 8,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(300),
            tries: 10,
            patience: Duration::from_secs(3600),
            idle: Duration::from_secs(60),
        }
    }
}

impl DeliveryConfig {
    pub(super) fn least_idle(&self) -> Duration {
        self.idle.max(self.timeout.saturating_mul(3))
    }
}

/// What one pass did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DeliveryPass {
    /// Told, and acknowledged.
    pub delivered: usize,
    /// Not among the wanted kinds.
    pub unwanted: usize,
    /// Refused, or answered as if the notifier was away while it takes others; tried again later.
    pub refused: usize,
    /// Refused too often.
    pub given_up: usize,
    /// Entries that are no events.
    pub damaged: usize,
    /// Left for later: behind one that was refused, or to let another one try first whether the
    /// notifier is back.
    pub held_up: usize,
    /// Dropped by the cap before this receiver was told, as far as it was seen in this pass.
    pub lost: u64,
    /// Shards that another replica delivers.
    pub elsewhere: usize,
    /// So long the notifier is left alone, because it is away.
    pub away: Option<Duration>,
    /// Shards that the store failed for.
    pub errors: usize,
}

impl DeliveryPass {
    pub(super) fn add(&mut self, other: Self) {
        self.delivered += other.delivered;
        self.unwanted += other.unwanted;
        self.refused += other.refused;
        self.given_up += other.given_up;
        self.damaged += other.damaged;
        self.held_up += other.held_up;
        self.lost += other.lost;
        self.elsewhere += other.elsewhere;
        self.away = self.away.max(other.away);
        self.errors += other.errors;
    }
}
