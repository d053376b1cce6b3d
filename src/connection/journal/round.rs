//! The rounds of a replay: a journal is read page by page, and what stays undecided comes up again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::digest::Digest;

/// The entries that were met and are still there: as many as the journal has of them. A std Mutex,
/// never held across an await.
#[derive(Debug, Clone, Default)]
pub(in crate::connection) struct Rounds(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    round: u64,
    met: HashMap<Digest, Met>,
}

#[derive(Debug)]
struct Met {
    round: u64,
    /// For now it cannot be decided; others are being committed.
    left: bool,
}

impl Rounds {
    /// Whether it was not met before in this round: then there may be more that were not.
    pub(super) fn meet(&self, name: Digest, left: bool) -> bool {
        let mut state = self.lock();
        let round = state.round;
        let before = state.met.insert(name, Met { round, left });
        before.is_none_or(|before| before.round != round)
    }

    /// Whether it was left before, in any round.
    pub(super) fn has_left(&self, name: Digest) -> bool {
        self.lock().met.get(&name).is_some_and(|met| met.left)
    }

    /// It is decided, or put aside.
    pub(super) fn forget(&self, name: Digest) {
        self.lock().met.remove(&name);
    }

    /// All there is has been met: what was not is gone.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        let round = state.round;
        state.met.retain(|_, met| met.round == round);
        state.round += 1;
    }

    /// Nobody knows what else there is.
    pub(super) fn break_off(&self) {
        self.lock().round += 1;
    }

    /// How many are left.
    pub(super) fn left(&self) -> usize {
        self.lock().met.values().filter(|met| met.left).count()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_forgotten_with_the_round_that_does_not_meet_it() {
        let rounds = Rounds::default();
        let [one, two, three] = [1, 2, 3].map(|n| Digest::from_bytes(&[n; 16]).unwrap());
        assert!(rounds.meet(one, true) && rounds.meet(two, true) && rounds.meet(three, false));
        assert!(!rounds.meet(one, true), "it begins again");
        rounds.end();
        assert!(rounds.meet(one, true), "in another round");
        rounds.break_off();
        assert_eq!((rounds.left(), rounds.has_left(two)), (2, true));
        assert!(rounds.meet(one, true));
        rounds.end();
        assert_eq!((rounds.left(), rounds.has_left(two)), (1, false));
        rounds.forget(one);
        assert_eq!(rounds.left(), 0);
    }
}
