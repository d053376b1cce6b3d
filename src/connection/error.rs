use std::time::Duration;

use super::ExchangeError;
use crate::{seal::SealError, store::StoreError};

/// What can go wrong with a connection. No variant carries a secret.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// There is none of this id, or it is another owner's: the two look the same.
    #[error("connection not found")]
    NotFound,
    /// The provider will not refresh it any more: its owner must sign in again.
    #[error("connection needs re-authorization: {reason}")]
    NeedsReauth {
        /// Why, as the provider said.
        reason: String,
    },
    /// It was withdrawn.
    #[error("connection revoked")]
    Revoked,
    /// Its access token ran out, and there is nothing to refresh it with.
    #[error("the access token ran out, and the provider gave no refresh token: sign in again")]
    RanOut,
    /// The last refresh failed, and the next try is not due yet.
    #[error(
        "the access token ran out; the last refresh failed ({last_error}), next try in {retry_in:?}"
    )]
    BackingOff {
        /// When the next try is due.
        retry_in: Duration,
        /// What the last one failed with.
        last_error: String,
    },
    /// The exchange that this caller waited for failed.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The refresh that this caller waited for did not end within the deadline.
    #[error("no fresh access token within {waited:?}: a refresh is still running")]
    TimedOut {
        /// How long it waited.
        waited: Duration,
    },
    /// No connector of this slug is in the registry.
    #[error("connector {slug:?} is not in the registry")]
    UnknownConnector {
        /// The slug.
        slug: String,
    },
    /// Not an owner.
    #[error("an owner has 1 to 512 bytes; this has {length}")]
    InvalidOwner {
        /// How many bytes it has.
        length: usize,
    },
    /// The credential does not seal or open.
    #[error("credential: {0}")]
    Seal(#[from] SealError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
