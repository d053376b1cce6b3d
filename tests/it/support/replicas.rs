//! A provider, and two replicas of a host that is its client.

use std::time::Duration;

use tokio::time::sleep;
use vestibule::{connection::Connections, store::ConnectionId};
use vestibule_worker::provider::{Provider, Settings};

use super::{ageing, server, stores::fresh_prefix};
use crate::properties::connections::{connections, sign_in};

pub struct Replicas {
    pub provider: Provider,
    pub prefix: String,
    pub one: Connections,
    pub two: Connections,
}

impl Replicas {
    pub async fn start() -> Self {
        let (server, prefix) = (server::shared().await, fresh_prefix());
        let provider = Provider::start(Settings::default()).await.unwrap();
        let (url, issuer) = (server.url(), provider.issuer());
        let one = connections(&url, &prefix, &issuer).await;
        let two = connections(&url, &prefix, &issuer).await;
        Self { provider, prefix, one, two }
    }

    pub async fn age(&self, by: Duration) {
        ageing::age(&mut server::shared().await.raw().await, &self.prefix, by).await;
    }

    /// A connection whose token has run out.
    pub async fn ran_out(&self) -> ConnectionId {
        let id = sign_in(&self.one, "alice").await;
        self.age(Duration::from_secs(400)).await;
        id
    }

    /// Until the provider is at work.
    pub async fn in_flight(&self) {
        while self.provider.in_flight() == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    }

    pub fn key(&self, id: &ConnectionId) -> String {
        format!("{}:{{{}}}:conn:{id}", self.prefix, id.shard())
    }
}
