//! SIGHUP: the key ring and the connectors are read again, and passes from now on have them.

use anyhow::Context as _;
use tokio::{signal::unix::Signal, sync::watch};
use tokio_util::sync::CancellationToken;
use vestibule::{
    Vestibule,
    connection::{Connections, Registry},
    metric,
};

use crate::config::{Connect, Settings};

/// What is made of a key ring and connectors. Whoever works takes it anew for each pass, and ends
/// the pass with what it took: nothing waits, and nothing is lost.
#[derive(Debug, Clone)]
pub struct Handles {
    /// With the ring.
    pub vestibule: Vestibule,
    /// With the ring and the connectors.
    pub connections: Connections,
}

/// Makes others, when told to.
#[derive(Debug)]
pub struct Reloader {
    connect: Connect,
    handles: watch::Sender<Handles>,
    connectors: watch::Sender<Vec<String>>,
}

impl Reloader {
    /// One that reads what `connect` names, and tells `connectors` the slugs that it finds.
    #[must_use]
    pub fn new(
        connect: &Connect,
        handles: Handles,
        connectors: watch::Sender<Vec<String>>,
    ) -> Self {
        Self { connect: connect.clone(), handles: watch::Sender::new(handles), connectors }
    }

    /// Where the handles of the moment are.
    #[must_use]
    pub fn handles(&self) -> watch::Receiver<Handles> {
        self.handles.subscribe()
    }

    /// Reloads at every hang-up until `stop`.
    pub async fn run(&self, mut hangups: Signal, stop: &CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                heard = hangups.recv() => if heard.is_none() { return },
            }
            let outcome = match self.reload().await {
                Ok(()) => "reloaded",
                Err(error) => {
                    tracing::error!(
                        error = format!("{error:#}"),
                        "not reloaded: the key ring and the connectors stay as they were"
                    );
                    "failed"
                }
            };
            metric::RELOADS.of(&[outcome]).increment(1);
        }
    }

    /// All of it, or nothing.
    async fn reload(&self) -> anyhow::Result<()> {
        let Settings { keys, registry, .. } = Settings::load(&self.connect)?;
        let Handles { vestibule, connections } = self.handles.borrow().clone();
        let vestibule = vestibule.with_keys(&keys)?;
        let usage = vestibule.key_usage().await;
        // A Redis that is away must not keep a new key from those who need it when it is back.
        match usage {
            Ok(usage) => usage.check().context("the new key ring lacks a key")?,
            Err(error) => tracing::warn!(%error, "whether the key ring lacks a key is not known"),
        }
        let ring: Vec<_> = keys.ring.key_ids().map(|id| id.to_string()).collect();
        let slugs = slugs(&registry);
        let connectors = slugs.len();
        let connections = connections.reloaded(&vestibule, registry);
        self.handles.send_replace(Handles { vestibule, connections });
        // New ones are measured from their first event on; the receivers stay.
        metric::at_zero(slugs.iter().map(String::as_str), []);
        self.connectors.send_replace(slugs);
        tracing::info!(
            ring = ring.join(","),
            connectors,
            "reloaded the key ring and the connectors"
        );
        Ok(())
    }
}

/// What the connectors of a registry are called.
pub(crate) fn slugs(registry: &Registry) -> Vec<String> {
    registry.list().map(|connector| connector.slug.clone()).collect()
}
