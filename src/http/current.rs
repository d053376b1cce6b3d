//! How a handler gets the pending that its request names.

use std::{any::type_name, convert::Infallible, fmt, ops::Deref, sync::Arc};

use axum::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::{IntoResponse, Response},
};
use http::{Extensions, StatusCode, request::Parts};

use super::answer::plain;
use crate::pending::Pending;

/// The pending that a request names, as it was when the request came: somebody else may have ended
/// it since, which [`complete`](crate::pending::Pendings::complete) will tell.
///
/// It is read, not consumed. Clones are cheap. As an extractor it needs a
/// [`PendingLayer`](super::PendingLayer) of the same payload type around the route, and answers
/// [`NoPending`] without one; an `Option` of it is `None` then.
pub struct CurrentPending<T>(Arc<Pending<T>>);

impl<T: Send + Sync + 'static> CurrentPending<T> {
    pub(super) fn new(pending: Pending<T>) -> Self {
        Self(Arc::new(pending))
    }

    /// The one of a request, for services that are not axum's; `None` if there is none of this
    /// payload type.
    #[must_use]
    pub fn from_extensions(extensions: &Extensions) -> Option<Self> {
        extensions.get::<Self>().cloned()
    }
}

impl<T> Deref for CurrentPending<T> {
    type Target = Pending<T>;

    fn deref(&self) -> &Pending<T> {
        &self.0
    }
}

impl<T> Clone for CurrentPending<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Without the payload.
impl<T> fmt::Debug for CurrentPending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CurrentPending({})", self.0.id)
    }
}

impl<T, S> FromRequestParts<S> for CurrentPending<T>
where
    T: Send + Sync + 'static,
    S: Send + Sync,
{
    type Rejection = NoPending;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NoPending> {
        Self::from_extensions(&parts.extensions).ok_or(NoPending { payload: type_name::<T>() })
    }
}

impl<T, S> OptionalFromRequestParts<S> for CurrentPending<T>
where
    T: Send + Sync + 'static,
    S: Send + Sync,
{
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(Self::from_extensions(&parts.extensions))
    }
}

/// A handler wants a pending, and none of its payload type came with the request: a mistake of the
/// host's. Answered with 500.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "no pending with a payload of {payload} came with the request: is the route behind a \
     PendingLayer of that type?"
)]
pub struct NoPending {
    payload: &'static str,
}

impl IntoResponse for NoPending {
    fn into_response(self) -> Response {
        tracing::error!(error = %self, "a handler has no pending");
        plain(StatusCode::INTERNAL_SERVER_ERROR, "no PendingLayer of this handler's payload type")
    }
}
