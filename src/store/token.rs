//! Temp tokens: records that are valid only while they are in the index of their resource.
//!
//! A token is read any number of times, or used a counted number of times. Dropping the index of a
//! resource ends all its tokens at once, however many there are; their records stay, and nothing
//! accepts them.

use std::{fmt, str::FromStr, time::Duration};

use super::Shard;
use crate::digest::Digest;

/// Names a token: the digest of its scope and resource in 32 hexadecimal digits, whose first two
/// are its shard, then the digest of its text in 32 more. Not a secret: the text cannot be told
/// from it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId {
    index: Digest,
    digest: Digest,
}

impl TokenId {
    /// The token with this digest, in the index of its scope and resource.
    #[must_use]
    pub fn new(index: Digest, digest: Digest) -> Self {
        Self { index, digest }
    }

    /// The digest of its scope and resource.
    #[must_use]
    pub fn index(&self) -> Digest {
        self.index
    }

    /// The digest of its text.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The shard that it lives in.
    #[must_use]
    pub fn shard(&self) -> Shard {
        Shard::new(self.index.as_bytes()[0])
    }
}

impl FromStr for TokenId {
    type Err = InvalidTokenId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_at_checked(32);
        let parts =
            parts.map(|(index, digest)| Digest::from_hex(index).zip(Digest::from_hex(digest)));
        match parts.flatten() {
            Some((index, digest)) => Ok(Self { index, digest }),
            None => Err(InvalidTokenId { length: text.len() }),
        }
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.index, self.digest)
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenId({self})")
    }
}

/// Not a token's id. The text is not repeated: it came from outside, and might be a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a temp token's id is 64 lower-case hexadecimal digits; this has {length} bytes or other characters"
)]
pub struct InvalidTokenId {
    length: usize,
}

/// A token to be minted.
#[derive(Clone)]
pub struct NewToken<'a> {
    /// Its id.
    pub id: TokenId,
    /// The digest of its scope alone.
    pub scope: Digest,
    /// The digest of the mint's request id.
    pub request: Digest,
    /// Its life.
    pub ttl: Duration,
    /// As in [`NewRecord`](super::NewRecord).
    pub display: &'a [(&'static str, &'a str)],
    /// The sealed body.
    pub body: &'a [u8],
    /// What a caller's own retry gets; `None` if there will be none.
    pub receipt: Option<MintReceipt<'a>>,
}

/// What a mint leaves behind for [`GRACE`](super::GRACE), in the same step.
#[derive(Clone, Copy)]
pub struct MintReceipt<'a> {
    /// The digest of the request id, and of what it is for.
    pub name: Digest,
    /// The token's text, sealed.
    pub sealed: &'a [u8],
}

/// What became of minting a token.
#[derive(Clone, PartialEq, Eq)]
pub enum PutToken {
    /// Minted, with so much of its life left. A mint of the same id by the same request is answered
    /// so too, and brings nothing back that was revoked meanwhile.
    Minted {
        /// What is left.
        left: Duration,
    },
    /// A mint with this receipt was here before, and nothing was written.
    Retried {
        /// What was minted then.
        id: TokenId,
        /// What is left of its life, revoked or not; zero after its end.
        left: Duration,
        /// Its text, sealed.
        sealed: Vec<u8>,
    },
    /// Another request's record has this name. Nothing was written.
    Collision,
}

/// Without what is sealed.
impl fmt::Debug for PutToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Minted { left } => write!(f, "Minted({left:?})"),
            Self::Retried { id, left, .. } => write!(f, "Retried({id}, {left:?})"),
            Self::Collision => f.write_str("Collision"),
        }
    }
}

/// A token as it is read, live or not.
#[derive(Clone, PartialEq, Eq)]
pub enum TokenRow {
    /// It is valid.
    Live {
        /// The sealed body.
        body: Vec<u8>,
        /// What is left of its life.
        left: Duration,
    },
    /// It was revoked by itself.
    Revoked,
    /// It was revoked with all others of its resource or its scope.
    Dropped,
    /// Past its life, still within its grace.
    Expired,
    /// It never existed, or is long gone.
    Absent,
}

impl TokenRow {
    /// Its word, for metrics and logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Live { .. } => "live",
            Self::Revoked => "revoked",
            Self::Dropped => "dropped",
            Self::Expired => "expired",
            Self::Absent => "absent",
        }
    }
}

impl fmt::Debug for TokenRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What became of counting a use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Counted; a retry with the same request id is not counted again, as long as the token is
    /// valid.
    Used {
        /// How many uses are left.
        left: u32,
    },
    /// It has been used as often as it may.
    UsedUp,
    /// It was revoked by itself.
    Revoked,
    /// It was revoked with all others of its resource or its scope.
    Dropped,
    /// Past its life.
    Expired,
    /// It is not there.
    Absent,
}

/// What became of revoking one token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revocation {
    /// It is revoked; also on a retry with the same request id.
    Revoked,
    /// Somebody else revoked it, by itself or with its resource or scope.
    Already,
    /// Past its life, still within its grace.
    Expired,
    /// It never existed, or is long gone.
    Absent,
}

impl Revocation {
    /// The outcome's word, for metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Already => "already",
            Self::Expired => "expired",
            Self::Absent => "absent",
        }
    }
}

/// A page of a scope's resources, in one shard.
#[derive(Debug, Clone, Copy)]
pub struct ScopePage {
    /// The digest of the scope.
    pub scope: Digest,
    /// Where.
    pub shard: Shard,
    /// The digest of the request id: one for each page.
    pub request: Digest,
    /// At most so many resources, 1 to 50.
    pub limit: u16,
}

/// What became of dropping a page of a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DroppedScope {
    /// How many resources had live tokens.
    pub resources: u64,
    /// How many tokens lived.
    pub tokens: u64,
    /// Whether the scope has other resources in this shard: drop again, with another request id.
    pub more: bool,
}

/// What became of trimming a page of a scope.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrimmedScope {
    /// How many tokens were taken off.
    pub tokens: u64,
    /// Where the next page begins; `None` if this is the last.
    pub next: Option<TokenCursor>,
}

/// A token as its resource's index knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedToken {
    /// Its id.
    pub id: TokenId,
    /// What was left of its life.
    pub expires_in: Duration,
}

impl ListedToken {
    pub(crate) fn new(id: TokenId, expires_in: Duration) -> Self {
        Self { id, expires_in }
    }
}

/// A page of a resource's tokens, by the time of their end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TokenPage {
    /// The tokens.
    pub tokens: Vec<ListedToken>,
    /// Where the next page begins; `None` if this is the last.
    pub next: Option<TokenCursor>,
}

/// Where a page begins: behind this entry, or behind its end if it is gone meanwhile. `None` in the
/// place of the entry: at the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenCursor {
    pub(crate) after: Option<Digest>,
    pub(crate) from_ms: u64,
}
