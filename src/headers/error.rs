use std::time::Duration;

use super::{InvalidBinding, InvalidHeaders};
use crate::{
    pending::PendingError,
    seal::SealError,
    store::{Ending, StoreError},
    token::InvalidLink,
};

/// What can go wrong with a header credential. No variant carries a header's value or an identity.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum HeadersError {
    /// There is none of this binding, or its access was withdrawn: the two look the same.
    #[error("header credential not found")]
    NotFound,
    /// Its headers are not accepted any more: its owner must submit others.
    #[error("the header credential needs to be updated: {reason}")]
    NeedsUpdate {
        /// Why, in a word.
        reason: String,
    },
    /// The flow is not this submitter's: it was never claimed, its claim has lapsed, or another has
    /// claimed it since. Nothing was stored; claim it again.
    #[error("the submission flow is not claimed by this submission; try again")]
    NotClaimed,
    /// Another submission of the flow is being checked.
    #[error("the submission flow is being checked; try again in {left:?}")]
    FlowBusy {
        /// For so long at the most.
        left: Duration,
    },
    /// The flow has ended: somebody submitted, or it was withdrawn. Nothing was stored.
    #[error("the submission flow has ended: {}", .0.as_str())]
    FlowEnded(Ending),
    /// The flow is past its life, or never was. Nothing was stored.
    #[error("the submission flow has expired, or is not known")]
    FlowGone,
    /// The binding is not one.
    #[error("binding: {0}")]
    InvalidBinding(#[from] InvalidBinding),
    /// The headers cannot be sent.
    #[error("headers: {0}")]
    InvalidHeaders(#[from] InvalidHeaders),
    /// The configured page cannot be linked to.
    #[error(transparent)]
    InvalidLink(#[from] InvalidLink),
    /// The flow's pending failed.
    #[error(transparent)]
    Pending(PendingError),
    /// It does not seal or open.
    #[error("header credential: {0}")]
    Seal(#[from] SealError),
    /// The store failed: nothing can be said of the credential.
    #[error("header credentials are not available: {0}")]
    NotAvailable(#[from] StoreError),
}

impl From<PendingError> for HeadersError {
    fn from(error: PendingError) -> Self {
        match error {
            PendingError::Store(source) => Self::NotAvailable(source),
            other => Self::Pending(other),
        }
    }
}

impl HeadersError {
    /// The task that should have done it ended early, with its runtime.
    pub(super) fn interrupted(verb: &'static str) -> Self {
        let cause = "its task ended early".to_owned();
        Self::NotAvailable(StoreError::Unknown { verb, waited: Duration::ZERO, cause })
    }
}
