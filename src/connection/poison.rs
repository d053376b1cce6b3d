//! What this process cannot refresh: a credential that does not open, a record that is damaged, a
//! connector that it does not know. Others may be able to, so nothing is written on the record; it
//! is skipped here for a growing while, and told once.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;

use super::schedule;
use crate::store::ConnectionId;

/// So many are remembered; a process that meets more has another problem, and tells it often.
const MOST: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Poison {
    known: Mutex<HashMap<ConnectionId, Skipped>>,
}

#[derive(Debug, Clone, Copy)]
struct Skipped {
    /// Of the secret; `None` if that is not readable. Another one may be better.
    ver: Option<u64>,
    until: Instant,
    times: u32,
}

impl Poison {
    /// Whether it is not yet time to look at it again.
    pub(super) fn skips(&self, id: &ConnectionId, ver: Option<u64>) -> bool {
        self.lock().get(id).is_some_and(|known| known.ver == ver && known.until > Instant::now())
    }

    /// It was of no use, again or for the first time: then the answer is true, and it is to be told.
    pub(super) fn note(&self, id: &ConnectionId, ver: Option<u64>) -> bool {
        let (mut known, now) = (self.lock(), Instant::now());
        let times = known.get(id).filter(|known| known.ver == ver).map_or(0, |known| known.times);
        if known.len() >= MOST {
            known.retain(|_, known| known.until > now);
        }
        if known.len() < MOST {
            let until = now + schedule::backoff(times.saturating_add(2), None, id);
            known.insert(id.clone(), Skipped { ver, until, times: times.saturating_add(1) });
        }
        times == 0
    }

    pub(super) fn forget(&self, id: &ConnectionId) {
        let mut known = self.lock();
        if !known.is_empty() {
            known.remove(id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ConnectionId, Skipped>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_told_once_and_skipped_for_a_growing_while() {
        let (poison, id) = (Poison::default(), "00".repeat(17).parse().unwrap());
        assert!(!poison.skips(&id, Some(1)));
        let mut last = Duration::ZERO;
        for round in 0..5 {
            assert_eq!(poison.note(&id, Some(1)), round == 0);
            let started = Instant::now();
            while poison.skips(&id, Some(1)) {
                tokio::time::advance(Duration::from_secs(1)).await;
            }
            assert!(started.elapsed() > last, "{round}: {:?}", started.elapsed());
            last = started.elapsed();
        }
        poison.note(&id, Some(1));
        assert!(!poison.skips(&id, Some(2)), "another secret is looked at");
        assert!(poison.note(&id, Some(2)), "and told");
        poison.forget(&id);
        assert!(!poison.skips(&id, Some(2)));
    }
}
