//! What a pending is called.

use std::{fmt, str::FromStr};

use super::Shard;
use crate::digest::{Digest, random_bytes};

/// Names a pending: the digest of its namespace in 32 hexadecimal digits, whose first two are its
/// shard, then 128 random bits in 32 more. So an id is enough to name everything of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PendingId {
    namespace: Digest,
    unique: Digest,
}

impl PendingId {
    /// A new id in a namespace.
    #[must_use]
    pub fn random(namespace: Digest) -> Self {
        let unique = Digest::from_bytes(&random_bytes::<16>()).unwrap_or(Digest::NONE);
        Self { namespace, unique }
    }

    /// The id with this part that is unique in its namespace.
    #[must_use]
    pub fn of(namespace: Digest, unique: Digest) -> Self {
        Self { namespace, unique }
    }

    /// The digest of the namespace that it belongs to.
    #[must_use]
    pub fn namespace(&self) -> Digest {
        self.namespace
    }

    /// The shard that it lives in.
    #[must_use]
    pub fn shard(&self) -> Shard {
        Shard::new(self.namespace.as_bytes()[0])
    }
}

impl FromStr for PendingId {
    type Err = InvalidPendingId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_at_checked(32);
        let parts = parts
            .map(|(namespace, unique)| Digest::from_hex(namespace).zip(Digest::from_hex(unique)));
        match parts.flatten() {
            Some((namespace, unique)) => Ok(Self { namespace, unique }),
            None => Err(InvalidPendingId { length: text.len() }),
        }
    }
}

impl fmt::Display for PendingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.namespace, self.unique)
    }
}

impl fmt::Debug for PendingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PendingId({self})")
    }
}

/// Not a pending's id. The text is not repeated: it came from outside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a pending's id is 64 lower-case hexadecimal digits; this has {length} bytes or other characters"
)]
pub struct InvalidPendingId {
    length: usize,
}
