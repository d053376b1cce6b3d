//! The collector, as the exporter speaks to it.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::Context;
use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use reqwest::{Client, redirect, retry};
use tokio::runtime::Handle;
use url::Url;

/// The longest answer that is read: they say next to nothing.
const LONGEST_ANSWER: usize = 64 * 1024;

/// Posts what the exporter's thread has for the collector, on the runtime of the worker.
#[derive(Debug)]
pub(super) struct Collector {
    http: Client,
    runtime: Handle,
    endpoint: Url,
    is_away: AtomicBool,
}

impl Collector {
    /// A batch that takes longer is given up.
    pub(super) const ANSWERS_WITHIN: Duration = Duration::from_secs(3);

    pub(super) fn new(endpoint: Url) -> anyhow::Result<Self> {
        let http = Client::builder()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .timeout(Self::ANSWERS_WITHIN)
            .build()
            .context("traces: the HTTP client")?;
        Ok(Self { http, runtime: Handle::current(), endpoint, is_away: AtomicBool::new(false) })
    }

    /// Once when it begins, and once when it is over.
    fn tell(&self, trouble: Option<String>) {
        let was_away = self.is_away.swap(trouble.is_some(), Ordering::Relaxed);
        let endpoint = &self.endpoint;
        match trouble {
            Some(trouble) if !was_away => tracing::warn!(%endpoint, trouble,
                "the collector does not take traces: they are dropped until it does"),
            None if was_away => tracing::info!(%endpoint, "the collector takes traces again"),
            _ => {}
        }
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        // The thread that asks has no runtime.
        let posted = match self.runtime.spawn(post(self.http.clone(), request)).await {
            Ok(posted) => posted,
            Err(_) => Err("the process ends".into()),
        };
        self.tell(match &posted {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(format!("status {}", response.status().as_u16())),
            Err(error) => Some(chain(&**error)),
        });
        posted
    }
}

async fn post(http: Client, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let mut answer =
        http.execute(request.try_into()?).await.map_err(reqwest::Error::without_url)?;
    let mut response = Response::builder().status(answer.status());
    if let Some(headers) = response.headers_mut() {
        headers.clone_from(answer.headers());
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > LONGEST_ANSWER {
            return Err("its answer has no end".into());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(response.body(body.into())?)
}

/// With its causes: what a client says by itself is that it failed.
fn chain(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        told = format!("{told}: {cause}");
        source = cause.source();
    }
    told
}
