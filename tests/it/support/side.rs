//! A store of either kind, and how its time passes.

use std::{fmt::Display, sync::Arc, time::Duration};

use redis::aio::MultiplexedConnection;
use vestibule::store::{Shard, Store, memory::MemoryStore};

use super::{
    ageing,
    server::{self, TestServer},
    stores::{fresh_prefix, store},
};

/// One of the two stores, with records of its own.
#[derive(Clone)]
pub struct Side {
    pub store: Arc<dyn Store>,
    pub time: Time,
}

/// What makes it pass.
#[derive(Clone)]
pub enum Time {
    Memory(Arc<MemoryStore>),
    /// What is there is made older.
    Redis(MultiplexedConnection),
}

impl Side {
    pub async fn both() -> [Self; 2] {
        [Self::memory(), Self::redis().await]
    }

    pub fn memory() -> Self {
        Self::over(Arc::new(MemoryStore::new()))
    }

    pub fn over(store: Arc<MemoryStore>) -> Self {
        Self { store: store.clone(), time: Time::Memory(store) }
    }

    pub async fn redis() -> Self {
        Self::redis_on(server::shared().await).await
    }

    pub async fn redis_on(server: &TestServer) -> Self {
        let store = store(server, &fresh_prefix()).await;
        Self { store, time: Time::Redis(server.raw().await) }
    }

    pub fn is_redis(&self) -> bool {
        matches!(self.time, Time::Redis(_))
    }

    pub async fn pass(&self, by: Duration) {
        match &self.time {
            Time::Memory(store) => store.advance(by),
            Time::Redis(raw) => ageing::age(&mut raw.clone(), self.prefix(), by).await,
        }
    }

    /// What its keys begin with, and what is sealed for it is bound to.
    pub fn prefix(&self) -> &str {
        self.store.prefix()
    }

    /// A connection to Redis, to look or to change records behind the store's back.
    pub fn raw(&self) -> MultiplexedConnection {
        match &self.time {
            Time::Memory(_) => panic!("only on Redis"),
            Time::Redis(raw) => raw.clone(),
        }
    }

    /// A key of Redis by its shard and what follows that.
    pub fn key(&self, shard: Shard, rest: impl Display) -> String {
        format!("{}:{{{shard}}}:{rest}", self.prefix())
    }

    /// Leaves nothing behind that later scans would have to pass.
    pub async fn wipe(self) {
        if let Time::Redis(raw) = &self.time {
            ageing::wipe(&mut raw.clone(), self.prefix()).await;
        }
    }
}
