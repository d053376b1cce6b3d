//! What is sealed by which key: so that it can be sealed anew, and a key that is in use is known.

use async_trait::async_trait;

use super::{ConnectionId, HeadersId, Shard, StoreError};

/// The part of the port that finds what an older key sealed. The rules and errors are
/// [`Store`](super::Store)'s.
#[async_trait]
pub trait SealedStore {
    /// Names up to `limit` (1 to 100) records of a shard that another key than this sealed. Among
    /// them are those of no ring's key, whose number is 0.
    async fn list_sealed(
        &self,
        shard: Shard,
        not_by: u32,
        limit: u16,
    ) -> Result<Vec<SealedRecord>, StoreError>;

    /// How many records of a shard this key sealed.
    async fn count_sealed(&self, shard: Shard, by: u32) -> Result<u64, StoreError>;
}

/// Something sealed, as its index has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SealedRecord {
    /// What it is.
    pub name: SealedName,
    /// The number of the key that sealed it; of several, of the oldest part.
    pub by: u32,
}

/// What is sealed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum SealedName {
    /// A connection's current secret.
    Connection(ConnectionId),
    /// The siblings of it that are kept.
    Siblings(ConnectionId),
    /// A header credential.
    Headers(HeadersId),
}

impl SealedName {
    /// As the index has it; `None` if it is of a kind that this version does not know.
    pub(crate) fn from_member(member: &str) -> Option<Self> {
        let (kind, id) = member.split_once(':')?;
        match kind {
            "conn" => Some(Self::Connection(id.parse().ok()?)),
            "alt" => Some(Self::Siblings(id.parse().ok()?)),
            "headers" => Some(Self::Headers(id.parse().ok()?)),
            _ => None,
        }
    }
}
