//! The admin port: `/metrics`, `/healthz`, `/readyz`, and the [status page](crate::status).
//!
//! The page alone wants the token: probes have none, and what the metrics say is of a closed set
//! that names connectors and nobody else.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context;
use axum::{Router, extract::State, http::StatusCode, routing::get};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{net::TcpListener, time::Instant};
use tokio_util::sync::CancellationToken;
use vestibule::metric;

/// Whether the worker does its duty: Redis answers, and it is not stopping.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<Mutex<(bool, Instant)>>);

impl Default for Readiness {
    fn default() -> Self {
        Self(Arc::new(Mutex::new((false, Instant::now()))))
    }
}

impl Readiness {
    /// Says so.
    pub fn set(&self, ready: bool) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.0 != ready {
            *told = (ready, Instant::now());
        }
        metric::WORKER_READY.of(&[]).set(if ready { 1.0 } else { 0.0 });
    }

    /// What was said last.
    #[must_use]
    pub fn get(&self) -> bool {
        self.told().0
    }

    /// What was said last, and since when that holds.
    #[must_use]
    pub fn told(&self) -> (bool, Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the address: before anything else is done, so that a taken one is told at once.
///
/// # Errors
///
/// If the address cannot be bound.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("--admin: cannot listen on {address}; give another, or off"))?;
    tracing::info!(address = %listener.local_addr()?, "admin port");
    Ok(listener)
}

/// Serves until `stop`.
///
/// # Errors
///
/// If the listener breaks.
pub async fn serve(
    listener: TcpListener,
    metrics: PrometheusHandle,
    readiness: Readiness,
    page: Router,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let routes = Router::new()
        .route("/metrics", get(render))
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .with_state((metrics, readiness))
        .merge(page);
    axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).await?;
    Ok(())
}

async fn render(State((metrics, _)): State<(PrometheusHandle, Readiness)>) -> String {
    metrics.render()
}

async fn ready(
    State((_, readiness)): State<(PrometheusHandle, Readiness)>,
) -> (StatusCode, &'static str) {
    if readiness.get() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}
