//! Replicas that sign in by device code, and one that is a process of its own, to be killed.

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use vestibule::{
    Vestibule,
    connection::{Connections, ConnectionsConfig, Connector, HttpExchange, Registry, ReplayPolicy},
    device::{DeviceConfig, DeviceOutcome, DeviceSignIn, DeviceSignIns, StartedDevice},
    pending::{Namespace, PendingsConfig},
    store::PendingId,
};

use super::{
    connect,
    connections::{connector, install_tls},
};
use crate::support::children::Parent;

/// Longer than anything takes here.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long the answer to a poll is waited for: one that comes too late is lost.
pub const POLL_TIMEOUT: Duration = Duration::from_secs(3);

/// One replica, as a host would have it.
#[derive(Clone)]
pub struct Replica {
    pub connections: Connections,
    pub devices: DeviceSignIns,
}

impl Replica {
    pub async fn connect(url: &str, prefix: &str, issuer: &str) -> Self {
        Self::of(&connect(url, prefix).await, issuer)
    }

    pub fn of(vestibule: &Vestibule, issuer: &str) -> Self {
        Self::with(vestibule, device_connector(issuer))
    }

    pub fn with(vestibule: &Vestibule, connector: Connector) -> Self {
        Self::polling(vestibule, connector, POLL_TIMEOUT)
    }

    /// One that waits for so long for the answer to a poll.
    pub fn polling(vestibule: &Vestibule, connector: Connector, poll_timeout: Duration) -> Self {
        install_tls();
        let exchange = Arc::new(HttpExchange::new().unwrap());
        let registry = Registry::new([connector]).unwrap();
        let config = ConnectionsConfig::new(registry, exchange.clone()).with_instance("test");
        let connections = vestibule.connections(config);
        let mut config = DeviceConfig::new(exchange);
        config.poll_timeout = poll_timeout;
        let devices = vestibule.device_sign_ins(&connections, PendingsConfig::default(), config);
        Self { connections, devices }
    }

    pub async fn start(&self) -> StartedDevice {
        self.devices.start(sign_in(&Namespace::default())).await.unwrap()
    }

    pub async fn wait(&self, id: PendingId) -> DeviceOutcome {
        self.devices.wait("alice", id, PATIENCE).await.unwrap()
    }

    pub async fn wait_for(&self, id: PendingId, patience: Duration) -> DeviceOutcome {
        self.devices.wait("alice", id, patience).await.unwrap()
    }
}

pub fn sign_in(namespace: &Namespace) -> DeviceSignIn<'_> {
    DeviceSignIn::new(namespace, "alice", "demo")
}

pub fn device_connector(issuer: &str) -> Connector {
    let url = format!("{issuer}/device_authorization").parse().unwrap();
    connector(issuer, ReplayPolicy::Strict).with_device_authorization(url).unwrap()
}

/// A child that waits, and so polls.
pub async fn poller(args: Value, mut parent: Parent) {
    let text = |name: &str| args[name].as_str().unwrap().to_owned();
    let replica = Replica::connect(&text("url"), &text("prefix"), &text("issuer")).await;
    parent.ready().await;
    let outcome = replica.wait(text("id").parse().unwrap()).await;
    parent.say(format!("{outcome:?}"));
}
