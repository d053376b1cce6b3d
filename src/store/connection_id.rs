//! How a connection is named, and where it stands.

use std::{fmt, str::FromStr};

use super::Shard;
use crate::digest::Digest;

/// Names a connection: its shard in two hexadecimal digits, then 128 random bits in 32 more.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(String);

impl ConnectionId {
    /// A new id in the shard of its owner, so that the owner's index is in reach of its scripts.
    #[must_use]
    pub fn random(owner: Digest) -> Self {
        let unique =
            Digest::from_bytes(&crate::digest::random_bytes::<16>()).unwrap_or(Digest::NONE);
        Self::derived(owner, unique)
    }

    /// The id that these 128 bits make: the same for a retry.
    pub(crate) fn derived(owner: Digest, unique: Digest) -> Self {
        Self(format!("{}{unique}", Shard::new(owner.as_bytes()[0])))
    }

    /// The shard that it lives in.
    #[must_use]
    pub fn shard(&self) -> Shard {
        Shard::from_hex(&self.0[..2]).unwrap_or(Shard::new(0))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ConnectionId {
    type Err = InvalidConnectionId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() == 34 && text.bytes().all(hex) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidConnectionId { length: text.len() })
        }
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionId({})", self.0)
    }
}

/// Not a connection id. The text is not repeated: it came from outside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a connection id is 34 lower-case hexadecimal digits; this has {length} bytes or other characters"
)]
pub struct InvalidConnectionId {
    length: usize,
}

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// Its credential is used and kept fresh.
    Active,
    /// The provider will not refresh it any more: its owner must sign in again.
    NeedsReauth,
    /// Its refresh failed for so long that it is not tried any more, until somebody says so.
    Exhausted,
    /// It was revoked, and its secrets are gone.
    Revoked,
    /// Access to it was withdrawn: it is kept whole for a while, in case that is given back.
    Orphaned,
}

impl Status {
    /// The word that stands for it in Redis, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::NeedsReauth => "needs_reauth",
            Self::Exhausted => "exhausted",
            Self::Revoked => "revoked",
            Self::Orphaned => "orphaned",
        }
    }

    /// Reads the word; `None` for one that this version does not know.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        let all = [Self::Active, Self::NeedsReauth, Self::Exhausted, Self::Revoked, Self::Orphaned];
        all.into_iter().find(|status| status.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_carries_its_owners_shard() {
        let owner = Digest::from_bytes(&[0xc3; 16]).unwrap();
        let id = ConnectionId::random(owner);
        assert_eq!(id.shard(), Shard::new(0xc3));
        assert_eq!(id.as_str().parse(), Ok(id.clone()));
    }

    #[test]
    fn bad_ids_are_refused_without_being_repeated() {
        for bad in ["", "zz", "{00}", &"a".repeat(35), &"A".repeat(34), &"é".repeat(17), "a\0b"] {
            let error = bad.parse::<ConnectionId>().unwrap_err().to_string();
            assert!(bad.is_empty() || !error.contains(bad), "{error}");
        }
    }
}
