//! How a header credential is named.

use std::{fmt, str::FromStr};

use crate::{digest::Digest, store::Shard};

/// Names a header credential: its shard in two hexadecimal digits, then 128 bits in 32 more.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HeadersId {
    shard: Shard,
    unique: Digest,
}

impl HeadersId {
    /// The id with this part that is unique, in the shard of its binding.
    #[must_use]
    pub fn of(shard: Shard, unique: Digest) -> Self {
        Self { shard, unique }
    }

    /// The shard that it lives in.
    #[must_use]
    pub fn shard(&self) -> Shard {
        self.shard
    }
}

impl FromStr for HeadersId {
    type Err = InvalidHeadersId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_at_checked(2);
        let parts =
            parts.and_then(|(shard, unique)| Shard::from_hex(shard).zip(Digest::from_hex(unique)));
        match parts {
            Some((shard, unique)) => Ok(Self { shard, unique }),
            None => Err(InvalidHeadersId { length: text.len() }),
        }
    }
}

impl fmt::Display for HeadersId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.shard, self.unique)
    }
}

impl fmt::Debug for HeadersId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeadersId({self})")
    }
}

/// Not the id of a header credential. The text is not repeated: it came from outside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the id of a header credential is 34 lower-case hexadecimal digits; this has {length} bytes or \
     other characters"
)]
pub struct InvalidHeadersId {
    length: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_back_and_nothing_else_is() {
        let id = HeadersId::of(Shard::new(0xc3), Digest::NONE);
        assert_eq!(id.to_string(), format!("c3{}", "0".repeat(32)));
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "c", "c3", "{c}", &"a".repeat(35), &"A".repeat(34), &"é".repeat(17)] {
            let error = bad.parse::<HeadersId>().unwrap_err().to_string();
            assert!(bad.len() < 3 || !error.contains(bad), "{error}");
        }
    }
}
