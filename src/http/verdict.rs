//! What becomes of a request that may have brought a temp token.

use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::{NoValidToken, answer::Failure};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Valid,
    Yielded,
    PassedOn,
    Refused,
    Missing,
    Failed(Failure),
}

impl Verdict {
    /// For metrics.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Yielded => "yielded",
            Self::PassedOn => "passed_on",
            Self::Refused => "refused",
            Self::Missing => "missing",
            Self::Failed(Failure::Passing) => "failed",
            Self::Failed(Failure::Lasting) => "unreadable",
        }
    }

    /// What is answered, unless the request passes.
    pub(super) fn refusal(self) -> Option<Response> {
        match self {
            Self::Valid | Self::Yielded | Self::PassedOn => None,
            Self::Refused | Self::Missing => Some(NoValidToken.into_response()),
            Self::Failed(failure) => {
                let (status, text) = match failure {
                    Failure::Passing => {
                        (StatusCode::SERVICE_UNAVAILABLE, "temporarily unavailable")
                    }
                    Failure::Lasting => (StatusCode::INTERNAL_SERVER_ERROR, "request failed"),
                };
                Some(failure.answer(status, text))
            }
        }
    }
}
