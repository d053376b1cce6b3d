//! Canaries in keys that users paste.

use std::sync::Arc;

use vestibule::{
    Vestibule,
    connection::{
        ApiKey, ApiSecret, AuthType, Connections, ConnectionsConfig, Connector, HttpExchange,
        Registry,
    },
};

use super::{
    Host,
    places::Watched,
    search::{Canary, Kind},
};

impl Host {
    /// Stored, vended, replaced, revoked and deleted; with a secret beside the key, and without.
    pub(super) async fn api_keys(&mut self, watched: &mut Watched) {
        let [connections, stranger] = [&self.vestibule, &self.stranger].map(connections);
        let person = self.person.text().to_owned();
        watched.see(&connections);
        for (connector, other) in [("key", "pair"), ("pair", "key")] {
            let (key, secret) = self.pasted(connector);
            let (next, next_secret) = self.pasted(connector);
            watched.see(&(&key, &secret));
            let bad = ApiKey::new(format!("{}\n", key.secret()));
            let store = connections.store_api_key(&person, connector, None, bad, secret.clone());
            watched.outcome(store.await);
            let (mistaken, beside) = (key.clone(), secret.clone());
            let store = connections.store_api_key(&person, other, None, mistaken, beside);
            watched.outcome(store.await);

            let store = connections.store_api_key(&person, connector, None, key, secret);
            let stored = watched.outcome(store.await);
            if let Some(id) = &stored {
                watched.outcome(connections.vend_api_key(&person, id).await);
                watched.outcome(connections.vend_api_key("mallory", id).await);
                watched.outcome(connections.vend(&person, id).await);
                watched.outcome(stranger.vend_api_key(&person, id).await);
                let (key, secret) = (next.clone(), next_secret.clone());
                let store = connections.store_api_key(&person, connector, Some(id), key, secret);
                watched.outcome(store.await);
                watched.outcome(connections.vend_api_key(&person, id).await);
                watched.outcome(connections.get(&person, id).await);
                watched.outcome(connections.list(&person, None, 100).await);
                watched.outcome(connections.revoke(&person, id, "left").await);
                watched.outcome(connections.vend_api_key(&person, id).await);
                watched.outcome(connections.delete("mallory", id).await);
                watched.outcome(connections.delete(&person, id).await);
                watched.outcome(connections.vend_api_key(&person, id).await);
            }
            // So that there is something in the dump.
            let store = connections.store_api_key(&person, connector, None, next, next_secret);
            watched.outcome(store.await);
        }
    }

    /// What nobody has seen before.
    fn pasted(&mut self, connector: &str) -> (ApiKey, Option<ApiSecret>) {
        let mut fresh = |name| {
            let canary = Canary::fresh(Kind::Secret, name);
            self.canaries.push(canary.clone());
            canary.text().to_owned()
        };
        let key = ApiKey::new(fresh("api-key"));
        (key, (connector == "pair").then(|| ApiSecret::new(fresh("api-secret"))))
    }
}

fn connections(vestibule: &Vestibule) -> Connections {
    let kinds = [("key", AuthType::ApiKey), ("pair", AuthType::ApiKeyAndSecret)];
    let connectors = kinds.map(|(slug, auth)| Connector::api_key(slug, auth).unwrap());
    let exchange = Arc::new(HttpExchange::new().unwrap());
    vestibule.connections(ConnectionsConfig::new(Registry::new(connectors).unwrap(), exchange))
}
