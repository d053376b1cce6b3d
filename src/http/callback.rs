//! The layer that maps a request to its pending.

use std::{
    convert::Infallible,
    fmt,
    future::poll_fn,
    task::{Context, Poll},
};

use axum::{
    BoxError,
    response::{IntoResponse, Response},
};
use futures_util::future::BoxFuture;
use http::{Request, StatusCode, request::Parts};
use serde::{Serialize, de::DeserializeOwned};
use tower_layer::Layer;
use tower_service::Service;

use super::{
    CurrentPending, IdFrom,
    answer::{Failure, keep_private, plain},
};
use crate::{
    metric,
    pending::{PendingError, Pendings},
};

/// Reads the pending that each request names, and gives it to the service behind; see the
/// [module](super).
///
/// Put it before the routes that need it (`route_layer`): a request that names none is refused.
///
/// Each id costs a round trip to the store, whoever guesses it: limit requests per source before
/// this layer, and watch `vestibule_http_total{edge="pending", outcome="not_found"}`.
pub struct PendingLayer<T> {
    pendings: Pendings<T>,
    id_from: IdFrom,
}

impl<T> PendingLayer<T> {
    /// For these pendings, whose id is there.
    #[must_use]
    pub fn new(pendings: Pendings<T>, id_from: IdFrom) -> Self {
        Self { pendings, id_from }
    }
}

impl<T, S> Layer<S> for PendingLayer<T> {
    type Service = PendingService<T, S>;

    fn layer(&self, inner: S) -> Self::Service {
        PendingService { layer: self.clone(), inner }
    }
}

/// What a [`PendingLayer`] makes of a service.
///
/// It is always ready, and never fails: an error of the service behind, also one of its readiness,
/// is logged and answered with 500.
pub struct PendingService<T, S> {
    layer: PendingLayer<T>,
    inner: S,
}

impl<T, S, B> Service<Request<B>> for PendingService<T, S>
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
    S: Service<Request<B>> + Clone + Send + 'static,
    S::Response: IntoResponse,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // What waits for Redis must not hold a place in the service behind.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Self { layer, inner } = self.clone();
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            let entered = layer.enter(&mut parts).await;
            let word = entered.map_or_else(Refusal::as_str, |()| "loaded");
            metric::HTTP.of(&["pending", word]).increment(1);
            Ok(match entered {
                Ok(()) => keep_private(pass_on(inner, Request::from_parts(parts, body)).await),
                Err(refusal) => refusal.into_response(),
            })
        })
    }
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> PendingLayer<T> {
    /// Reads the pending and leaves it in the request's extensions.
    async fn enter(&self, parts: &mut Parts) -> Result<(), Refusal> {
        let id = self.id_from.find(parts).ok_or(Refusal::InvalidId)?;
        let pending = self.pendings.get(id).await.map_err(|error| {
            // The others have been logged where the record did not open.
            if let PendingError::Store(error) = &error {
                tracing::error!(pending = %id, %error, "failed to load a pending");
            }
            Refusal::of(&error)
        })?;
        let pending = CurrentPending::new(pending.ok_or(Refusal::NotFound)?);
        parts.extensions.insert(pending.namespace.descriptor());
        parts.extensions.insert(pending.namespace.clone());
        parts.extensions.insert(pending);
        Ok(())
    }
}

async fn pass_on<S, B>(inner: S, request: Request<B>) -> Response
where
    S: Service<Request<B>>,
    S::Response: IntoResponse,
    S::Error: Into<BoxError>,
{
    ask(inner, request).await.unwrap_or_else(|error| {
        tracing::error!(%error, "the service behind a pending failed");
        plain(StatusCode::INTERNAL_SERVER_ERROR, "request failed")
    })
}

async fn ask<S, B>(mut inner: S, request: Request<B>) -> Result<Response, BoxError>
where
    S: Service<Request<B>>,
    S::Response: IntoResponse,
    S::Error: Into<BoxError>,
{
    poll_fn(|context| inner.poll_ready(context)).await.map_err(Into::into)?;
    Ok(inner.call(request).await.map_err(Into::into)?.into_response())
}

/// Why a request does not reach the service behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    InvalidId,
    NotFound,
    Failed(Failure),
}

impl Refusal {
    fn of(error: &PendingError) -> Self {
        Self::Failed(Failure::of(match error {
            PendingError::Store(error) => Some(error),
            _ => None,
        }))
    }

    /// For metrics.
    const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidId => "invalid_id",
            Self::NotFound => "not_found",
            Self::Failed(Failure::Passing) => "not_loaded",
            Self::Failed(Failure::Lasting) => "unreadable",
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::InvalidId => plain(StatusCode::BAD_REQUEST, "invalid pending id"),
            Self::NotFound => plain(StatusCode::NOT_FOUND, "pending not found"),
            Self::Failed(failure) => {
                failure.answer(StatusCode::INTERNAL_SERVER_ERROR, "failed to load pending")
            }
        }
    }
}

impl<T> Clone for PendingLayer<T> {
    fn clone(&self) -> Self {
        Self { pendings: self.pendings.clone(), id_from: self.id_from.clone() }
    }
}

impl<T> fmt::Debug for PendingLayer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingLayer").field("id_from", &self.id_from).finish_non_exhaustive()
    }
}

impl<T, S: Clone> Clone for PendingService<T, S> {
    fn clone(&self) -> Self {
        Self { layer: self.layer.clone(), inner: self.inner.clone() }
    }
}

impl<T, S> fmt::Debug for PendingService<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingService").field("layer", &self.layer).finish_non_exhaustive()
    }
}
