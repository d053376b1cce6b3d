use crate::{
    connection::{ConnectionError, ExchangeError},
    pending::PendingError,
    store::StoreError,
};

/// What can go wrong with a sign-in by device code. How one ended is an
/// [`Outcome`](super::DeviceOutcome), never an error. No variant carries a secret.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The connector, the owner or the connection to re-authorise is not one.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The provider gave no device code. Nothing was stored.
    #[error("device authorization: {}", .0.reason)]
    Refused(#[from] ExchangeError),
    /// The pending behind it failed.
    #[error(transparent)]
    Pending(#[from] PendingError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
