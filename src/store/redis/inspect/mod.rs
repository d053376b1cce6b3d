//! A look at what is in Redis, for people: lists, single records, and the facts about the server.
//!
//! It reads and never writes, opens nothing (sealed bodies stay sealed, and it has no key ring), and
//! does not ask the server to be in order first, because what is wrong is what people want to see.
//! Whatever it returns of a text in Redis is one printable line: a hostile writer can
//! neither forge a line nor reach the terminal.
//!
//! Lists walk over all keys with SCAN, a bounded page at a time: not for a host's requests, and not
//! atomic. What stays is seen at least once; what comes and goes meanwhile may be missed.

mod connection;
mod connectors;
mod events;
mod facts;
mod headers;
mod lists;
mod names;
mod one_shot;
mod printable;
mod reader;
mod rights;
mod rows;
mod sealed;
mod snapshot;

use std::{fmt, str::FromStr};

use futures_util::{StreamExt, stream};
use redis::{cmd, from_redis_value};

use self::reader::Reader;
pub use self::{
    events::{Seen, Sought},
    facts::{Facts, NodeFacts, Where},
    names::Names,
    rights::{Rights, Role},
    rows::{
        ConnectionView, ConnectorView, Due, DueView, EventView, HeadersView, Lease, OneShotView,
        OutcomeView, Page, PollView, Undecided, WaiterView,
    },
    snapshot::{
        Capped, Census, DueLine, LeaseLine, OrphanLine, Snapshot, SweepLine, Trouble, WaitLine,
        Walk, Watch,
    },
};
use super::{Keyspace, RedisConfig, reply};
use crate::store::StoreError;

/// How many records are read at a time.
const AT_ONCE: usize = 32;

/// Reads what is in Redis under one prefix. It connects when it is first asked, and again when its
/// connection broke; nothing is retried beyond that.
///
/// # Errors
///
/// Every method fails with a [`StoreError`] if Redis cannot be reached within the overall timeout
/// of its [`RedisConfig`], or refuses to answer. A record that is damaged is no error: it is shown
/// as that.
#[derive(Debug)]
pub struct Inspector {
    reader: Reader,
    keys: Keyspace,
}

/// Where a page begins. Of one server at one time: after a Cluster was reshaped, begin anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    node: u16,
    at: u64,
}

/// Not a cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a cursor is two numbers with a dash between, as a page before has named it")]
pub struct InvalidCursor;

impl Inspector {
    /// One that looks where `config` says.
    #[must_use]
    pub fn new(config: RedisConfig) -> Self {
        let keys = Keyspace::new(config.prefix.clone());
        Self { reader: Reader::new(config), keys }
    }

    /// The names of the keys.
    #[must_use]
    pub fn keyspace(&self) -> &Keyspace {
        &self.keys
    }

    /// Redis's time in ms since 1970.
    pub async fn now_ms(&self) -> Result<u64, StoreError> {
        let reply = self.reader.ask("time", &cmd("TIME")).await?;
        let (seconds, micros): (u64, u64) =
            from_redis_value(reply).map_err(|_| reply::unreadable("time"))?;
        Ok(seconds * 1000 + micros / 1000)
    }

    /// The keys of a kind, and from each what `read` makes of it.
    async fn walk<T>(
        &self,
        kind: &str,
        cursor: Option<Cursor>,
        limit: u16,
        read: impl AsyncFn(String, u64) -> Result<Option<T>, StoreError>,
    ) -> Result<Page<T>, StoreError> {
        let now_ms = self.now_ms().await?;
        let limit = usize::from(limit.max(1));
        let (keys, next) = self.reader.scan(&self.keys.pattern(kind), cursor, limit).await?;
        let reads = stream::iter(keys).map(|key| read(key, now_ms)).buffered(AT_ONCE);
        let rows: Vec<_> = reads.collect().await;
        let rows: Result<Vec<_>, _> = rows.into_iter().collect();
        Ok(Page { rows: rows?.into_iter().flatten().collect(), next, now_ms })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.node, self.at)
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let (node, at) = text.split_once('-').ok_or(InvalidCursor)?;
        let node = node.parse().map_err(|_| InvalidCursor)?;
        Ok(Self { node, at: at.parse().map_err(|_| InvalidCursor)? })
    }
}

impl serde::Serialize for Cursor {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_is_printed() {
        let cursor = Cursor { node: 2, at: u64::MAX };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for bad in ["", "-", "1", "1-", "-1", "a-b", "70000-1"] {
            assert_eq!(bad.parse::<Cursor>(), Err(InvalidCursor), "{bad}");
        }
    }
}
