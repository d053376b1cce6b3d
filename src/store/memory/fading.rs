use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
};

/// A map whose entries end by themselves.
pub(super) struct Fading<K, V> {
    entries: HashMap<K, Entry<V>>,
    /// The same keys, soonest end first.
    ends: BTreeSet<(u64, K)>,
}

struct Entry<V> {
    value: V,
    ends_at: u64,
}

impl<K: Copy + Hash + Ord, V> Fading<K, V> {
    /// The entry, unless it has ended.
    pub(super) fn get(&mut self, key: K, now: u64) -> Option<&mut V> {
        if self.entries.get(&key)?.ends_at <= now {
            self.remove(key);
        }
        self.entries.get_mut(&key).map(|entry| &mut entry.value)
    }

    /// Adds an entry, and drops a few that have ended: more than come in, so that what nobody
    /// asks for again does not pile up.
    pub(super) fn insert(&mut self, key: K, value: V, ends_at: u64, now: u64) {
        for _ in 0..4 {
            match self.ends.first() {
                Some(&(end, ended)) if end <= now => self.remove(ended),
                _ => break,
            }
        }
        self.remove(key);
        self.entries.insert(key, Entry { value, ends_at });
        self.ends.insert((ends_at, key));
    }

    /// Moves the end of an entry.
    pub(super) fn end_at(&mut self, key: K, ends_at: u64) {
        if let Some(entry) = self.entries.get_mut(&key) {
            self.ends.remove(&(entry.ends_at, key));
            self.ends.insert((ends_at, key));
            entry.ends_at = ends_at;
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.entries.len(), self.ends.len());
        self.entries.len()
    }

    fn remove(&mut self, key: K) {
        if let Some(entry) = self.entries.remove(&key) {
            self.ends.remove(&(entry.ends_at, key));
        }
    }
}

// Derived, it would ask for defaults of `K` and `V`.
impl<K, V> Default for Fading<K, V> {
    fn default() -> Self {
        Self { entries: HashMap::new(), ends: BTreeSet::new() }
    }
}
