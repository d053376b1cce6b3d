//! One replica of the service in the demo: a host that links the library.
//!
//! It keeps nothing between two requests: whatever it starts, another replica can finish. On
//! standard output it tells the demo what a service would write to its own logs; a browser is
//! never told why a state was refused.

use std::{net::Ipv4Addr, sync::Arc};

use anyhow::Context;
use axum::{
    Json,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{io::AsyncReadExt, net::TcpListener};
use vestibule::{
    Vestibule,
    connection::{ConnectionsConfig, HttpExchange},
    pending::PendingsConfig,
};

use crate::{
    config::{Connect, LogFormat, Settings, TracesOptions},
    logs,
    traces::{FLUSH, Traces},
};

mod links;
mod prompts;
mod sign_in;

/// What a replica is told.
#[derive(Debug, Args)]
pub struct Options {
    /// Where things are.
    #[command(flatten)]
    pub connect: Connect,
    /// Which replica this is
    #[arg(long, value_name = "NAME")]
    pub instance: String,
    /// Where the provider sends users back to: the same for all replicas
    #[arg(long, value_name = "URL")]
    pub redirect_uri: String,
    /// Where its spans go.
    #[command(flatten)]
    pub traces: TracesOptions,
}

/// What a replica says, one object a line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event {
    Ready {
        port: u16,
    },
    SignedIn {
        connection: String,
    },
    StateRefused {
        cause: String,
    },
    /// A caller of its needs a person: the prompt goes out, or is out already.
    Asked {
        pending: String,
        joined: bool,
    },
    Failed {
        why: String,
    },
}

impl Event {
    fn tell(&self) {
        if let Ok(line) = serde_json::to_string(self) {
            println!("{line}");
        }
    }
}

/// Serves until standard input ends.
///
/// # Errors
///
/// If it cannot start.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let traces = Traces::load(&options.connect, &options.traces, &options.instance)?;
    logs::install(LogFormat::Plain, traces.as_ref());
    let settings = Settings::load(&options.connect)?;
    let vestibule = Vestibule::connect(settings.redis, &settings.keys).await?;
    let config = ConnectionsConfig::new(settings.registry, Arc::new(HttpExchange::new()?));
    let connections = vestibule.connections(config.with_instance(&options.instance));

    let pendings = PendingsConfig { instance: options.instance, ..PendingsConfig::default() };
    let routes = sign_in::routes(connections.clone(), options.redirect_uri)
        .merge(prompts::routes(vestibule.pendings(pendings.clone())))
        .merge(links::routes(&vestibule, vestibule.pendings(pendings))?);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no free port")?;
    Event::Ready { port: listener.local_addr()?.port() }.tell();
    axum::serve(listener, routes).with_graceful_shutdown(end_of_input()).await?;
    connections.drained().await;
    if let Some(traces) = traces {
        traces.flush(FLUSH).await;
    }
    Ok(())
}

fn failed(why: &str) -> Response {
    warn(why);
    answer(StatusCode::SERVICE_UNAVAILABLE, json!({ "error": why }))
}

fn warn(why: &str) {
    tracing::warn!(why, "a request failed");
    Event::Failed { why: why.to_owned() }.tell();
}

fn answer(status: StatusCode, body: Value) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

async fn end_of_input() {
    let mut unread = Vec::new();
    // An input that cannot be read has ended as well.
    let _ = tokio::io::stdin().read_to_end(&mut unread).await;
}
