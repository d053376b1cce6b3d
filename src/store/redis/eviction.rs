//! A Redis that evicts is noticed: at every connect, by every ping, and each minute on the way of a
//! verb. A `volatile-*` policy takes states, pendings and tokens that live, an `allkeys-*` one credentials too.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use redis::{Cmd, Value, cmd, from_redis_value};
use tokio::time::timeout;

use super::{RedisStore, fault::Fault};
use crate::{metric, store::StoreError};

/// Between two looks on the way of a verb.
const EVERY: Duration = Duration::from_secs(60);
/// A server that does not answer in this time is not judged: what is asked of it next will tell.
const ANSWERS_WITHIN: Duration = Duration::from_millis(500);
/// A verb waits no longer for a look on its way.
const IN_PASSING: Duration = Duration::from_millis(40);
/// No count was seen yet.
const NONE: u64 = u64::MAX;

/// What is known of the server's evictions.
#[derive(Debug)]
pub(super) struct Eviction {
    epoch: Instant,
    /// When a verb may look again, in seconds since `epoch`.
    next_s: AtomicU64,
    /// `evicted_keys`, when it was last seen.
    evicted: AtomicU64,
    /// INFO is not allowed to this user: it is not asked again and again.
    denied: AtomicBool,
}

impl Eviction {
    pub(super) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            // The connect has just looked.
            next_s: AtomicU64::new(EVERY.as_secs()),
            evicted: AtomicU64::new(NONE),
            denied: AtomicBool::new(false),
        }
    }

    /// Looks now.
    pub(super) async fn look(&self, store: &RedisStore) -> Result<(), StoreError> {
        self.look_for(ANSWERS_WITHIN, store).await
    }

    /// Only a policy that evicts is an error: a server that cannot be asked is not judged,
    /// and keys that it has evicted are told in the log and in a metric.
    async fn look_for(&self, patience: Duration, store: &RedisStore) -> Result<(), StoreError> {
        if self.denied.load(Relaxed) {
            return Ok(());
        }
        let command = info();
        let found = match timeout(patience, store.read("ping", &command)).await {
            Ok(Ok(found)) => texts(found),
            Ok(Err(StoreError::Operator { cause, .. })) => {
                // Other refusals end when somebody mends the server.
                self.denied.fetch_or(cause.contains("NOPERM"), Relaxed);
                return Ok(());
            }
            Ok(Err(_)) | Err(_) => return Ok(()),
        };
        self.count(&found);
        let judged = judge(&found);
        metric::REDIS_EVICTS.of(&[]).set(f64::from(u8::from(judged.is_err())));
        judged.map_err(|Fault { cause, fix, .. }| StoreError::Operator { verb: "ping", cause, fix })
    }

    /// Looks if that is due. Verbs go on, whatever is found: what is under way must be able to end.
    pub(super) async fn look_now_and_then(&self, store: &RedisStore) {
        let (now, next) = (self.epoch.elapsed().as_secs(), self.next_s.load(Relaxed));
        let then = now + EVERY.as_secs();
        // One caller does it.
        if now < next || self.next_s.compare_exchange(next, then, Relaxed, Relaxed).is_err() {
            return;
        }
        if let Err(error) = self.look_for(IN_PASSING, store).await {
            tracing::error!(%error, "LIVE RECORDS MAY BE EVICTED");
        }
    }

    fn count(&self, found: &str) {
        let counts = values(found, "evicted_keys:");
        let now: u64 = counts.filter_map(|count| count.parse::<u64>().ok()).sum();
        match self.evicted.swap(now, Relaxed) {
            NONE if now > 0 => tracing::warn!(
                evicted = now,
                "redis has evicted keys before: records may be missing that should be there"
            ),
            // Fewer: another server, or its statistics were reset.
            before if before != NONE && now > before => {
                let evicted = now - before;
                metric::REDIS_EVICTED_KEYS.of(&[]).increment(evicted);
                tracing::error!(evicted, "REDIS HAS EVICTED KEYS: live records are lost");
            }
            _ => {}
        }
    }
}

/// What tells the policy and the count, of all nodes.
pub(super) fn info() -> Cmd {
    let mut info = cmd("INFO");
    info.arg("memory").arg("stats");
    info
}

/// A fault if a node evicts.
pub(super) fn judge(found: &str) -> Result<(), Fault> {
    match values(found, "maxmemory_policy:").find(|policy| *policy != "noeviction") {
        None => Ok(()),
        Some(policy) => Err(Fault::operator(
            format!("its eviction policy is {policy}, which would evict live records"),
            "set maxmemory-policy noeviction",
        )),
    }
}

fn values<'a>(found: &'a str, name: &'static str) -> impl Iterator<Item = &'a str> {
    found.lines().filter_map(move |line| line.trim().strip_prefix(name))
}

/// A Cluster answers INFO once per node.
pub(super) fn texts(value: Value) -> String {
    match value {
        Value::Map(nodes) => nodes.into_iter().map(|(_, text)| texts(text)).collect(),
        Value::Array(parts) => parts.into_iter().map(texts).collect(),
        Value::VerbatimString { text, .. } => text,
        other => from_redis_value(other).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_node_that_evicts_is_enough() {
        let node = |policy, evicted| {
            let text = format!(
                "# Memory\r\nmaxmemory_policy:{policy}\r\n# Stats\r\nevicted_keys:{evicted}\r\n"
            );
            (Value::Nil, Value::BulkString(text.into_bytes()))
        };
        let good = texts(Value::Map(vec![node("noeviction", 2), node("noeviction", 3)]));
        assert!(judge(&good).is_ok());
        let bad = texts(Value::Map(vec![node("noeviction", 0), node("allkeys-lru", 0)]));
        assert!(judge(&bad).unwrap_err().cause.contains("allkeys-lru"));

        let eviction = Eviction::new();
        eviction.count(&good);
        assert_eq!(eviction.evicted.load(Relaxed), 5);
        eviction.count(&bad);
        assert_eq!(eviction.evicted.load(Relaxed), 0, "another server");
    }
}
