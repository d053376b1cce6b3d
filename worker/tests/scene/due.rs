//! Credentials that a worker has something to do with.

use std::time::Duration;

use redis::AsyncCommands;
use vestibule::store::ConnectionId;

use super::Scene;
use crate::support::{ageing::age, server::TestServer, sign_in::sign_in};

/// Whom the provider takes everybody for who does not say.
const SUBJECT: &str = "someone";

impl Scene {
    /// So many credentials, all due.
    pub async fn due(&self, server: &TestServer, count: usize) -> Vec<ConnectionId> {
        let host = self.host().await;
        let mut ids = Vec::new();
        for owner in 0..count {
            ids.push(sign_in(&host, &format!("owner-{owner}")).await);
        }
        age(&mut server.raw().await, &self.prefix, Duration::from_secs(290)).await;
        ids
    }

    /// A credential whose person has withdrawn consent at the provider, which nobody knows yet.
    pub async fn withdrawn(&self) -> ConnectionId {
        let id = sign_in(&self.host().await, "withdrawn").await;
        assert!(self.provider.revoke_subject(SUBJECT) > 0);
        id
    }

    /// How many of these have their second secret.
    pub async fn refreshed(&self, server: &TestServer, ids: &[ConnectionId]) -> usize {
        let mut raw = server.raw().await;
        let mut refreshed = 0;
        for id in ids {
            let ver: u64 = raw.hget(self.names.connection(id), "ver").await.unwrap();
            assert!(ver <= 2, "{id} was refreshed twice");
            refreshed += usize::from(ver == 2);
        }
        refreshed
    }
}
