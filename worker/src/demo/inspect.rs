//! Looks into Redis, as an operator with `redis-cli` would: beside the library, and read-only but
//! for the cleaning up.

use std::{collections::HashMap, time::Duration};

use anyhow::Context;
use redis::{AsyncConnectionConfig, Cmd, FromRedisValue, aio::MultiplexedConnection, cmd, pipe};
use vestibule::store::{
    ConnectionId,
    redis::{Keyspace, Prefix},
};

#[derive(Debug, Clone)]
pub(super) struct Inspector {
    connection: MultiplexedConnection,
    keys: Keyspace,
}

/// What Redis holds of a connection, as far as the demo cares.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) id: ConnectionId,
    /// Counts the secrets: 1 after the sign-in, 2 after the first refresh; 0 if there is none.
    pub(super) ver: u64,
    pub(super) is_active: bool,
    /// Why it is not, if it is not.
    pub(super) reason: Option<String>,
    /// Who is in the middle of an exchange, or was when it died.
    pub(super) exchanged_by: Option<String>,
    pub(super) lease_ends_at: u64,
    pub(super) expires_at: u64,
    /// When it is due.
    pub(super) next_at: u64,
    pub(super) updated_at: u64,
}

impl Row {
    pub(super) fn is_exchanged_by(&self, worker: &str) -> bool {
        self.exchanged_by.as_deref() == Some(worker)
    }
}

impl Inspector {
    pub(super) async fn connect(url: &str, prefix: &str) -> anyhow::Result<Self> {
        let client = redis::Client::open(url).context("--redis")?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(Self { connection, keys: Keyspace::new(Prefix::new(prefix)?) })
    }

    /// The names of the keys.
    pub(super) fn keys(&self) -> &Keyspace {
        &self.keys
    }

    /// Redis's own time, in ms since 1970.
    pub(super) async fn now_ms(&mut self) -> anyhow::Result<u64> {
        let (seconds, micros): (u64, u64) = self.ask(&cmd("TIME")).await?;
        Ok(seconds * 1000 + micros / 1000)
    }

    pub(super) async fn rows(&mut self, ids: &[ConnectionId]) -> anyhow::Result<Vec<Row>> {
        let mut pipeline = pipe();
        for id in ids {
            pipeline.cmd("HMGET").arg(self.keys.connection(id)).arg(&FIELDS);
        }
        let found: Vec<Vec<Option<String>>> = pipeline.query_async(&mut self.connection).await?;
        let rows = ids.iter().zip(found).map(|(id, found)| {
            let named = FIELDS.into_iter().zip(found);
            let mut fields: HashMap<_, _> =
                named.filter_map(|(name, value)| Some((name, value?))).collect();
            let number =
                |name| fields.get(name).and_then(|value| value.parse().ok()).unwrap_or_default();
            Row {
                id: id.clone(),
                ver: number("ver"),
                lease_ends_at: number("lease_ends_at"),
                expires_at: number("expires_at"),
                next_at: number("next_at"),
                updated_at: number("updated_at"),
                reason: fields.get("reason").cloned(),
                is_active: fields.get("status").is_some_and(|status| status == "active"),
                exchanged_by: fields
                    .contains_key("att_token")
                    .then(|| fields.remove("lease_by"))
                    .flatten(),
            }
        });
        Ok(rows.collect())
    }

    /// The keys under the demo's prefix that match `rest`, by SCAN.
    pub(super) async fn find(&mut self, rest: &str) -> anyhow::Result<Vec<String>> {
        let pattern = format!("{}:{rest}", self.keys.prefix());
        let (mut found, mut cursor) = (Vec::new(), 0_u64);
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(1000);
            let (next, keys): (u64, Vec<String>) = self.ask(&scan).await?;
            found.extend(keys);
            if next == 0 {
                return Ok(found);
            }
            cursor = next;
        }
    }

    pub(super) async fn ask<T: FromRedisValue>(&mut self, command: &Cmd) -> anyhow::Result<T> {
        Ok(command.query_async(&mut self.connection).await?)
    }

    /// Removes what the demo has left behind under its prefix.
    pub(super) async fn clean_up(&mut self) -> anyhow::Result<usize> {
        let keys = self.find("*").await?;
        for some in keys.chunks(500) {
            let mut pipeline = pipe();
            for key in some {
                pipeline.cmd("UNLINK").arg(key).ignore();
            }
            let () = pipeline.query_async(&mut self.connection).await?;
        }
        Ok(keys.len())
    }
}

const FIELDS: [&str; 9] = [
    "ver",
    "status",
    "reason",
    "lease_by",
    "lease_ends_at",
    "att_token",
    "expires_at",
    "next_at",
    "updated_at",
];
const PATIENCE: Duration = Duration::from_secs(5);
