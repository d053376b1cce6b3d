//! How a handler gets the token that stands for a sign-in.

use std::convert::Infallible;

use axum::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header::WWW_AUTHENTICATE, request::Parts};

use super::answer::plain;
use crate::token::ValidatedToken;

impl ValidatedToken {
    /// Whether the token is for this resource. The route has said so already; a handler that asks
    /// again, of what it is about to touch, does not depend on how it was mounted.
    #[must_use]
    pub fn allows_resource(&self, resource: &str) -> bool {
        self.resource == resource
    }
}

/// There is no [`ValidatedToken`]: answered with the 401 of the
/// [`TempTokenLayer`](super::TempTokenLayer).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request came without a valid temp token")]
pub struct NoValidToken;

impl IntoResponse for NoValidToken {
    fn into_response(self) -> Response {
        let mut answer = plain(StatusCode::UNAUTHORIZED, "unauthorized");
        // RFC 9110 section 15.5.2: a 401 names a scheme. No browser knows this one, so none asks.
        answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Temp-Token"));
        answer
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ValidatedToken {
    type Rejection = NoValidToken;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NoValidToken> {
        parts.extensions.get::<Self>().cloned().ok_or(NoValidToken)
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for ValidatedToken {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}
