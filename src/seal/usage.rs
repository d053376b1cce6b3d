//! Which keys are in use, and what that forbids.

use std::collections::BTreeMap;

use super::KeyId;

/// How many long-lived secrets each key has sealed: credentials of connections, their siblings, and
/// header credentials. What lives for a while only (states, pendings, temp tokens) is not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUsage {
    /// Those that open here, the one that seals first.
    ring: Vec<KeyId>,
    secrets: BTreeMap<KeyId, u64>,
}

/// Why a key cannot be taken out of a ring, or should not have been.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyInUse {
    /// Secrets are sealed by it, and it is not in the ring: they do not open.
    #[error(
        "key {key} is not in the key ring, and {secrets} secrets are sealed by it; put it back \
         behind the first one until they are sealed anew, or give this process the newest key file"
    )]
    Missing {
        /// Which.
        key: KeyId,
        /// How many.
        secrets: u64,
    },
    /// Secrets are sealed by it.
    #[error(
        "key {key} is in use: {secrets} secrets are sealed by it; let the reseal sweep run until \
         there are none, then retire it"
    )]
    Secrets {
        /// Which.
        key: KeyId,
        /// How many.
        secrets: u64,
    },
    /// It seals.
    #[error("key {0} is the one that seals; put another one in front first")]
    Primary(KeyId),
    /// It is not there.
    #[error("key {0} is not in the key ring")]
    NotThere(KeyId),
}

impl KeyUsage {
    /// What these keys have sealed, of which those of `ring` open here and its first one seals.
    #[must_use]
    pub fn new(ring: Vec<KeyId>, secrets: BTreeMap<KeyId, u64>) -> Self {
        Self { ring, secrets }
    }

    /// The keys that open here, the one that seals first.
    #[must_use]
    pub fn ring(&self) -> &[KeyId] {
        &self.ring
    }

    /// How many secrets a key has sealed.
    #[must_use]
    pub fn secrets(&self, key: KeyId) -> u64 {
        self.secrets.get(&key).copied().unwrap_or(0)
    }

    /// How many are sealed by another key than the one that seals now: what is to be sealed anew.
    #[must_use]
    pub fn behind(&self) -> u64 {
        let primary = self.ring.first();
        self.secrets.iter().filter(|(key, _)| Some(*key) != primary).map(|(_, count)| count).sum()
    }

    /// The keys that have sealed something and do not open here, with how much.
    pub fn unknown(&self) -> impl Iterator<Item = (KeyId, u64)> + '_ {
        let counts = self.secrets.iter().map(|(key, count)| (*key, *count));
        counts.filter(|(key, _)| !self.ring.contains(key))
    }

    /// Whether every key that is in use is in the ring: for a start, so that a key that was taken away
    /// too early, or a key file that is too old, is found before the first secret that does not open.
    ///
    /// # Errors
    ///
    /// [`KeyInUse::Missing`] for the key of which most are sealed. What no key sealed, in development,
    /// is none of it.
    pub fn check(&self) -> Result<(), KeyInUse> {
        let missing = self.unknown().filter(|(key, _)| *key != KeyId::NONE);
        match missing.max_by_key(|(_, count)| *count) {
            Some((key, secrets)) => Err(KeyInUse::Missing { key, secrets }),
            None => Ok(()),
        }
    }

    /// Whether a key can be taken out of the ring, as far as long-lived secrets go.
    ///
    /// # Errors
    ///
    /// [`KeyInUse`] tells why it cannot, and how many secrets still need it.
    pub fn may_retire(&self, key: KeyId) -> Result<(), KeyInUse> {
        if !self.ring.contains(&key) {
            return Err(KeyInUse::NotThere(key));
        }
        if self.ring.first() == Some(&key) {
            return Err(KeyInUse::Primary(key));
        }
        match self.secrets(key) {
            0 => Ok(()),
            secrets => Err(KeyInUse::Secrets { key, secrets }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// a key in use is not retired, and one that was is found, with how much needs it.
    #[test]
    fn a_key_in_use_is_not_retired() {
        let [new, old, idle, gone] = [1, 2, 3, 4].map(KeyId::of_number);
        let usage = |counts: &[(KeyId, u64)]| {
            KeyUsage::new(vec![new, old, idle], counts.iter().copied().collect())
        };
        let used = usage(&[(new, 5), (old, 7)]);
        assert_eq!(used.may_retire(old), Err(KeyInUse::Secrets { key: old, secrets: 7 }));
        assert_eq!(used.may_retire(idle), Ok(()));
        assert_eq!(used.may_retire(new), Err(KeyInUse::Primary(new)));
        assert_eq!(used.may_retire(gone), Err(KeyInUse::NotThere(gone)));
        assert_eq!((used.behind(), used.check()), (7, Ok(())));

        let lost = usage(&[(gone, 3), (KeyId::NONE, 9), (new, 1)]);
        assert_eq!(lost.check(), Err(KeyInUse::Missing { key: gone, secrets: 3 }));
        assert_eq!(lost.unknown().count(), 2);
        let said = lost.check().unwrap_err().to_string();
        assert!(said.contains("3 secrets") && said.contains("00000004"), "{said}");
        assert_eq!(usage(&[(KeyId::NONE, 9)]).check(), Ok(()), "nobody can put that key back");
    }
}
