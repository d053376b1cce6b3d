//! What is sealed by which key: so that it can be sealed anew, and a key that is in use is known.

use std::fmt;

use async_trait::async_trait;

use super::{ConnectionId, HeadersId, HeadersMode, Shard, StoreError};
use crate::digest::Digest;

/// The part of the port that finds what an older key sealed, and takes it back sealed anew. The
/// rules and errors are [`Store`](super::Store)'s.
#[async_trait]
pub trait SealedStore {
    /// Names what another key than this sealed, in an order that does not change. Among them is what
    /// no ring's key did, whose number is 0. What it says may be over by the time that it is read.
    async fn list_sealed(&self, page: SealedPage) -> Result<Vec<SealedRecord>, StoreError>;

    /// How many secrets of a shard each key sealed, by the keys' numbers; none that sealed nothing.
    async fn count_sealed(&self, shard: Shard) -> Result<Vec<(u32, u64)>, StoreError>;

    /// Reads a secret as it is sealed; `None` if there is none of this name.
    async fn read_sealed(&self, name: &SealedName) -> Result<Option<SealedSecret>, StoreError>;

    /// Takes a secret back that was sealed anew, unless another one has its place meanwhile. Nothing
    /// else changes: no version, no time, no event. The secret itself is the receipt, because no two
    /// seals are alike.
    async fn reseal(&self, reseal: Reseal<'_>) -> Result<Resealed, StoreError>;
}

/// A part of a list of what is sealed.
#[derive(Debug, Clone, Copy)]
pub struct SealedPage {
    /// Which shard.
    pub shard: Shard,
    /// What this key sealed is left out.
    pub not_by: u32,
    /// So many in front are left out too.
    pub skip: u64,
    /// At most so many (1 to 100).
    pub limit: u16,
}

/// Something sealed, as its index has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SealedRecord {
    /// What it is.
    pub name: SealedName,
    /// The number of the key that sealed it.
    pub by: u32,
}

/// Which secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum SealedName {
    /// A connection's current one.
    Connection(ConnectionId),
    /// The sibling of it that is kept.
    Sibling(ConnectionId),
    /// The sibling before that.
    OlderSibling(ConnectionId),
    /// A header credential.
    Headers(HeadersId),
    /// Something that is in the index, and that this version does not know.
    Unknown,
}

/// A secret as it is sealed.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSecret {
    /// Whose it is.
    pub of: SealedOf,
    /// The ciphertext.
    pub sealed: Vec<u8>,
}

/// What a secret's record says of itself, which the secret is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SealedOf {
    /// A connection.
    Connection {
        /// The digest of its owner.
        owner: Digest,
        /// The slug of its connector.
        connector: String,
    },
    /// A header credential.
    Headers {
        /// Whose, of what kind.
        mode: HeadersMode,
        /// The digest of whose it is.
        identity: Digest,
        /// The digest of what it is for.
        client: Digest,
    },
}

/// A secret that was sealed anew.
#[derive(Debug, Clone, Copy)]
pub struct Reseal<'a> {
    /// Which.
    pub name: &'a SealedName,
    /// The digest of the request id, for the echo.
    pub request: Digest,
    /// The ciphertext that was read; if it is empty, only the index is made to tell the truth.
    pub old: &'a [u8],
    /// What takes its place.
    pub new: &'a [u8],
    /// The number of the key that sealed it anew.
    pub sealed_by: u32,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resealed {
    /// It is in place; also on a retry, while no other secret has come.
    Resealed,
    /// Another secret is there: whoever stored that has sealed it.
    Changed,
    /// There is no such record, or not any more.
    Absent,
}

impl SealedName {
    /// As the index has it.
    pub(crate) fn from_member(member: &str) -> Self {
        let known = || {
            let (kind, id) = member.split_once(':')?;
            Some(match kind {
                "conn" => Self::Connection(id.parse().ok()?),
                "alt" => Self::Sibling(id.parse().ok()?),
                "alt2" => Self::OlderSibling(id.parse().ok()?),
                "headers" => Self::Headers(id.parse().ok()?),
                _ => return None,
            })
        };
        known().unwrap_or(Self::Unknown)
    }
}

/// For people: the kind and the id, which are no secrets.
impl fmt::Display for SealedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(id) => write!(f, "connection {id}"),
            Self::Sibling(id) => write!(f, "the sibling of connection {id}"),
            Self::OlderSibling(id) => write!(f, "the older sibling of connection {id}"),
            Self::Headers(id) => write!(f, "header credential {id}"),
            Self::Unknown => f.write_str("something of a kind that this version does not know"),
        }
    }
}

impl fmt::Debug for SealedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedSecret").field("of", &self.of).finish_non_exhaustive()
    }
}
