use std::{sync::Arc, time::Duration};

use redis::aio::MultiplexedConnection;
use vestibule::store::{Store, memory::MemoryStore};

use super::wrong::{Wrong, WrongStore};
use crate::support::{
    ageing,
    server::{self, TestServer},
    stores,
};

/// A store, and how its time moves.
pub(super) struct Side {
    pub(super) store: Arc<dyn Store>,
    time: Time,
}

enum Time {
    Memory(Arc<MemoryStore>),
    Redis { raw: MultiplexedConnection, prefix: String },
}

impl Side {
    pub(super) fn memory() -> Self {
        let store = Arc::new(MemoryStore::new());
        Self { store: store.clone(), time: Time::Memory(store) }
    }

    pub(super) fn wrong(how: Wrong) -> Self {
        let inner = Arc::new(MemoryStore::new());
        Self { store: Arc::new(WrongStore::new(inner.clone(), how)), time: Time::Memory(inner) }
    }

    pub(super) async fn redis() -> Self {
        Self::redis_on(server::shared().await).await
    }

    pub(super) async fn redis_on(server: &TestServer) -> Self {
        let prefix = stores::fresh_prefix();
        let store = stores::store(server, &prefix).await;
        Self { store, time: Time::Redis { raw: server.raw().await, prefix } }
    }

    pub(super) async fn wait(&mut self, by: Duration) {
        match &mut self.time {
            Time::Memory(store) => store.advance(by),
            Time::Redis { raw, prefix } => ageing::age(raw, prefix, by).await,
        }
    }

    /// Leaves nothing behind that later scans would have to pass.
    pub(super) async fn wipe(mut self) {
        if let Time::Redis { raw, prefix } = &mut self.time {
            ageing::wipe(raw, prefix).await;
        }
    }
}
