use crate::{
    connection::{ConnectionError, ExchangeError},
    pending::PendingError,
};

/// What can go wrong with a sign-in by device code. How one ended is an
/// [`Outcome`](super::DeviceOutcome), never an error. No variant carries a secret.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The connector, the owner or the connection to re-authorise is not one; or the credential
    /// could not be stored in time.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The connector's provider has no device flow. Nobody was asked.
    #[error(
        "connector {connector} has no sign-in by device code: it needs OAuth and a device \
         authorization endpoint"
    )]
    NoDeviceFlow {
        /// The connector.
        connector: String,
    },
    /// The provider gave no device code. Nothing was stored.
    #[error("device authorization: {}", .0.reason)]
    Refused(#[from] ExchangeError),
    /// The pending behind it failed, or the store did.
    #[error(transparent)]
    Pending(#[from] PendingError),
}
