//! Looks into Redis, as an operator with `redis-cli` would: beside the library, and read-only but
//! for the cleaning up.

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
    /// Who is in the middle of an exchange, or was when it died.
    pub(super) exchanged_by: Option<String>,
    pub(super) lease_ends_at: u64,
    pub(super) expires_at: u64,
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
        type Fields = (
            Option<u64>,
            Option<String>,
            Option<String>,
            Option<String>,
            Option<u64>,
            Option<u64>,
            Option<u64>,
        );
        let mut pipeline = pipe();
        for id in ids {
            pipeline.cmd("HMGET").arg(self.keys.connection(id)).arg(&[
                "ver",
                "status",
                "lease_by",
                "att_token",
                "lease_ends_at",
                "expires_at",
                "updated_at",
            ]);
        }
        let found: Vec<Fields> = pipeline.query_async(&mut self.connection).await?;
        let rows = ids.iter().zip(found).map(|(id, found)| {
            let (ver, status, lease_by, attempt, lease_ends_at, expires_at, updated_at) = found;
            Row {
                id: id.clone(),
                ver: ver.unwrap_or(0),
                is_active: status.as_deref() == Some("active"),
                exchanged_by: lease_by.filter(|_| attempt.is_some()),
                lease_ends_at: lease_ends_at.unwrap_or(0),
                expires_at: expires_at.unwrap_or(0),
                updated_at: updated_at.unwrap_or(0),
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

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);
