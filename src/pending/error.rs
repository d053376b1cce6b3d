use super::{InvalidSpec, NamespaceError};
use crate::{
    seal::{CodecError, SealError},
    store::{PendingId, StoreError},
};

/// What can go wrong with a pending. No variant carries a payload.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PendingError {
    /// The spec is not acceptable. Nothing was stored.
    #[error("pending: {0}")]
    Invalid(#[from] InvalidSpec),
    /// The caller's namespace could not be told. Nothing was stored.
    #[error("resolve namespace: {0}")]
    Namespace(#[from] NamespaceError),
    /// The id is in use.
    #[error("pending: the id is in use")]
    Collision,
    /// A pending to be replaced says another namespace than its id does. Nothing was written.
    #[error("pending {id}: its namespace cannot be changed")]
    OtherNamespace {
        /// Which.
        id: PendingId,
    },
    /// The store failed before the whole namespace was cleared.
    #[error("{} pendings are cleared, others are not: {source}", ids.len())]
    ClearedInPart {
        /// What was live, and is cleared.
        ids: Vec<PendingId>,
        /// Why the rest is not.
        source: StoreError,
    },
    /// It was stored with another payload type. It stays as it is.
    #[error("pending {id}: stored with another payload type than this one reads: {source}")]
    Shape {
        /// Which.
        id: PendingId,
        /// What does not fit.
        source: CodecError,
    },
    /// It does not seal or open.
    #[error("pending: {0}")]
    Seal(#[from] SealError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
