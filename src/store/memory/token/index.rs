use std::{
    collections::{BTreeSet, HashMap},
    ops::Bound,
};

use super::super::after;
use crate::{
    digest::Digest,
    store::{GRACE, TokenCursor, millis},
};

/// What is valid in it until when: the tokens of a resource, or the indexes of a scope.
#[derive(Default)]
pub(super) struct Index {
    ends: HashMap<Digest, u64>,
    /// The same, soonest end first.
    order: BTreeSet<(u64, Digest)>,
    /// When it goes as a whole: the grace after the latest end that it was ever given.
    goes_at: u64,
}

impl Index {
    /// Adds a member, or moves its end to a later one. Returns when the index goes as a whole.
    pub(super) fn add(&mut self, member: Digest, end: u64) -> u64 {
        if self.ends.get(&member).is_none_or(|before| *before < end) {
            self.remove(member);
            self.ends.insert(member, end);
            self.order.insert((end, member));
        }
        self.goes_at = self.goes_at.max(after(end, GRACE));
        self.goes_at
    }

    pub(super) fn remove(&mut self, member: Digest) {
        if let Some(end) = self.ends.remove(&member) {
            self.order.remove(&(end, member));
        }
    }

    /// Drops what is past its grace. Returns if nothing is left.
    pub(super) fn forget(&mut self, now: u64) -> bool {
        let past = self.until(now.saturating_sub(millis(GRACE)));
        for member in past.collect::<Vec<_>>() {
            self.remove(member);
        }
        self.is_empty()
    }

    pub(super) fn has(&self, member: Digest) -> bool {
        self.ends.contains_key(&member)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(super) fn count_live(&self, now: u64) -> u64 {
        self.order.range((now + 1, Digest::NONE)..).count() as u64
    }

    /// The members whose end is not after this time, soonest first.
    pub(super) fn until(&self, end: u64) -> impl Iterator<Item = Digest> {
        self.order.iter().take_while(move |entry| entry.0 <= end).map(|entry| entry.1)
    }

    /// What is behind a cursor: behind its entry, or if that is gone or has moved, behind the end
    /// that it had.
    pub(super) fn behind(
        &self,
        cursor: Option<&TokenCursor>,
    ) -> impl Iterator<Item = (u64, Digest)> {
        let end = cursor.map_or(0, |cursor| cursor.from_ms);
        let entry = cursor.and_then(|cursor| cursor.after);
        let from = match entry.filter(|member| self.ends.get(member) == Some(&end)) {
            Some(member) => Bound::Excluded((end, member)),
            None => Bound::Included((end, Digest::NONE)),
        };
        self.order.range((from, Bound::Unbounded)).copied()
    }
}
