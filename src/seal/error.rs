//! Why something does not seal or open.

use super::{CodecError, KeyId};

/// Why something does not seal or open. No variant carries key material or plaintext.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The ring has no key of this id: it was retired too early, or the key file is another's.
    #[error("sealed under key {0}, which is not in the key ring; add it back as a retired key")]
    UnknownKey(KeyId),
    /// The key is right, the body is not: altered, truncated, or another record's.
    #[error(
        "it does not open under key {0}: altered, truncated, or moved from another record or prefix"
    )]
    DoesNotOpen(KeyId),
    /// The bytes are not an envelope of this version.
    #[error("it is not a sealed body of this version: damaged or truncated")]
    Damaged,
    /// Its `not_after` has passed on this machine's clock.
    #[error("its sealed life is over by this machine's clock")]
    PastItsLife,
    /// It was written by the passthrough sealer, which production must not trust.
    #[error("it was written without sealing, by a development process; delete it")]
    NotSealed,
    /// It was sealed, and this process has no ring.
    #[error("it is sealed, and this process has only the passthrough sealer; give it the key file")]
    SealedByARing,
    /// The value cannot be encoded or decoded.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The key service behind a [`Sealer`](super::Sealer) failed.
    #[error("key service: {0}")]
    KeyService(String),
}
