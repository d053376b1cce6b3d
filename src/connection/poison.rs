//! What this process cannot refresh: a credential that does not open, a record that is damaged, a
//! connector that it does not know. Others may be able to, so nothing is written on the record; it
//! is skipped here for a growing while, and told once. Nor is it claimed again at once, or a mass of
//! them would keep the sweep from those that it can refresh.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::schedule;
use crate::store::ConnectionId;

/// So many are remembered and told; a process that meets more has one problem, not many.
const MOST: usize = 10_000;

/// It is skipped as if it had failed so often before: for longer than a claim hides it.
const FIRST: u32 = 4;

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

    /// How much longer it is skipped.
    pub(super) fn left(&self, id: &ConnectionId) -> Duration {
        let until = self.lock().get(id).map(|known| known.until);
        until.map_or(schedule::backoff(FIRST, None, id), |until| until - Instant::now())
    }

    /// It was of no use, again or for the first time: then the answer is true, and it is to be told.
    pub(super) fn note(&self, id: &ConnectionId, ver: Option<u64>) -> bool {
        let (mut known, now) = (self.lock(), Instant::now());
        let times = known.get(id).filter(|known| known.ver == ver).map_or(0, |known| known.times);
        if known.len() >= MOST {
            known.retain(|_, known| known.until > now);
        }
        let is_room = known.len() < MOST || known.contains_key(id);
        if is_room {
            let until = now + schedule::backoff(times.saturating_add(FIRST), None, id);
            known.insert(id.clone(), Skipped { ver, until, times: times.saturating_add(1) });
        }
        times == 0 && is_room
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
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_told_once_and_skipped_for_a_growing_while() {
        let (poison, id) = (Poison::default(), "00".repeat(17).parse().unwrap());
        assert!(!poison.skips(&id, Some(1)));
        let mut last = Duration::ZERO;
        for round in 0..5 {
            assert_eq!(poison.note(&id, Some(1)), round == 0);
            let (started, left) = (Instant::now(), poison.left(&id));
            while poison.skips(&id, Some(1)) {
                tokio::time::advance(Duration::from_secs(1)).await;
            }
            assert!(started.elapsed() > last, "{round}: {:?}", started.elapsed());
            assert!(started.elapsed() >= left && started.elapsed() < left + Duration::from_secs(1));
            last = started.elapsed();
        }
        poison.note(&id, Some(1));
        assert!(!poison.skips(&id, Some(2)), "another secret is looked at");
        assert!(poison.note(&id, Some(2)), "and told");
        poison.forget(&id);
        assert!(!poison.skips(&id, Some(2)));
    }

    #[test]
    fn so_many_are_told_and_no_more() {
        let poison = Poison::default();
        let id = |number: usize| format!("{number:034x}").parse().unwrap();
        let told = (0..MOST + 5).filter(|number| poison.note(&id(*number), None)).count();
        assert_eq!((told, poison.lock().len()), (MOST, MOST));
        assert!(!poison.left(&id(MOST + 1)).is_zero());
    }
}
