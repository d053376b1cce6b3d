//! What there is to know of the server: facts, and no judgement.

use std::collections::HashMap;

use redis::{ConnectionAddr, Value, cmd, from_redis_value};
use serde::Serialize;

use super::{
    super::{eviction::texts, scripts::TEXTS, url::Topology},
    Inspector,
    printable::printable,
    reader::Node,
};
use crate::{
    store::{Class, StoreError},
    wall_clock::WallClock,
};

/// What `doctor` judges.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct Facts {
    /// Who this is to Redis; `None` if it may not be asked.
    pub user: Option<String>,
    /// How Redis is reached.
    pub place: Where,
    /// Of each primary.
    pub nodes: Vec<NodeFacts>,
    /// What the meta key says; `None` in a database that nobody has used yet.
    pub meta: Option<String>,
    /// What a meta key says of this layout, before the check value of the naming key.
    pub layout: String,
    /// How far the clock of Redis is ahead of this machine's, in ms.
    pub clock_ahead_ms: i64,
    /// How many scripts are in the server's cache, and of how many; `None` if it may not be asked.
    pub scripts: Option<(usize, usize)>,
}

/// How Redis is reached.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct Where {
    /// `standalone`, `cluster` or `sentinel`.
    pub topology: &'static str,
    /// Whether over TLS.
    pub tls: bool,
    /// Whether on this machine.
    pub loopback: bool,
    /// Whether there is a password.
    pub password: bool,
}

/// What one server says of itself. `None` is what it does not say, or not to this user.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct NodeFacts {
    /// Its address, in a Cluster.
    pub address: Option<String>,
    /// `redis` or `valkey`.
    pub server: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// `master` or `slave`.
    pub role: Option<String>,
    /// What it does when it is full.
    pub maxmemory_policy: Option<String>,
    /// How much it may hold, in bytes; 0 for as much as there is.
    pub maxmemory: Option<u64>,
    /// How much it holds.
    pub used_memory: Option<u64>,
    /// How many keys it has evicted since it started.
    pub evicted_keys: Option<u64>,
    /// Whether it writes an append-only file.
    pub aof: Option<bool>,
    /// When it writes snapshots, as `save` says; empty for never.
    pub save: Option<String>,
    /// When the append-only file is synced: `always`, `everysec` or `no`.
    pub appendfsync: Option<String>,
    /// Whether the last snapshot, and the last write of the append-only file, went well.
    pub persisting: Option<bool>,
    /// How many replicas it has.
    pub replicas: Option<u64>,
    /// How many of them it wants for a write.
    pub min_replicas: Option<u64>,
    /// Whether a Cluster serves all slots.
    pub cluster_ok: Option<bool>,
}

impl Inspector {
    /// Asks for all of it. What this user may not ask is left out.
    pub async fn facts(&self) -> Result<Facts, StoreError> {
        let before = WallClock::default().now_ms();
        let server = self.now_ms().await?;
        let middle = u64::midpoint(before, WallClock::default().now_ms());
        let mut nodes = Vec::new();
        for node in self.reader.nodes().await? {
            let address = node.as_ref().map(|node| format!("{}:{}", node.host, node.port));
            let info = self.told(node.as_ref(), &["INFO"]).await?.map(texts).unwrap_or_default();
            let mut settings = HashMap::new();
            for name in ["save", "appendfsync", "min-replicas-to-write"] {
                let told = self.told(node.as_ref(), &["CONFIG", "GET", name]).await?;
                let told = told.and_then(|told| from_redis_value(told).ok());
                settings.extend(told.unwrap_or_else(HashMap::<String, String>::new));
            }
            let cluster = match self.reader.config().topology {
                Topology::Cluster(_) => self.told(node.as_ref(), &["CLUSTER", "INFO"]).await?,
                _ => None,
            };
            let cluster_ok = cluster.map(|info| texts(info).contains("cluster_state:ok"));
            nodes.push(NodeFacts { address, cluster_ok, ..node_facts(&info, &settings) });
        }
        let meta = self.reader.ask("meta", cmd("GET").arg(self.keys.meta())).await?;
        let meta: Option<Vec<u8>> = from_redis_value(meta).unwrap_or_default();
        Ok(Facts {
            user: self.user().await.ok(),
            place: self.place(),
            nodes,
            meta: meta.map(|meta| printable(&meta)),
            layout: super::super::handshake::layout(),
            clock_ahead_ms: i64::try_from(i128::from(server) - i128::from(middle)).unwrap_or(0),
            scripts: self.scripts().await?,
        })
    }

    fn place(&self) -> Where {
        let config = self.reader.config();
        let (topology, addresses) = match &config.topology {
            Topology::Standalone(node) => ("standalone", vec![node]),
            Topology::Cluster(nodes) => ("cluster", nodes.iter().collect()),
            Topology::Sentinel { sentinels, node, .. } => {
                let mut all: Vec<_> = sentinels.iter().collect();
                all.push(node);
                ("sentinel", all)
            }
        };
        let hosts = addresses.iter().filter_map(|info| match info.addr() {
            ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => Some(host),
            _ => None,
        });
        let is_local = |host: &String| {
            let ip = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
            host == "localhost"
                || host == "sentinel-names-it"
                || ip.is_ok_and(|ip| ip.is_loopback())
        };
        Where {
            topology,
            tls: addresses.iter().all(|it| matches!(it.addr(), ConnectionAddr::TcpTls { .. })),
            loopback: hosts.into_iter().all(is_local),
            password: addresses.iter().any(|it| it.redis_settings().password().is_some()),
        }
    }

    async fn scripts(&self) -> Result<Option<(usize, usize)>, StoreError> {
        let mut words = vec!["SCRIPT".to_owned(), "EXISTS".to_owned()];
        words.extend(TEXTS.iter().map(|(_, text)| redis::Script::new(text).get_hash().to_owned()));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let Some(told) = self.told(None, &words).await? else { return Ok(None) };
        let there: Vec<bool> = from_redis_value(told).unwrap_or_default();
        Ok(Some((there.iter().filter(|it| **it).count(), TEXTS.len())))
    }

    /// `None` if this user may not ask.
    async fn told(&self, node: Option<&Node>, words: &[&str]) -> Result<Option<Value>, StoreError> {
        match self.reader.ask_node("facts", node, cmd(words[0]).arg(&words[1..])).await {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.class() == Class::Operator => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn node_facts(info: &str, settings: &HashMap<String, String>) -> NodeFacts {
    let told: HashMap<&str, &str> =
        info.lines().filter_map(|line| line.trim_end().split_once(':')).collect();
    let text = |name: &str| told.get(name).map(|value| printable(value.as_bytes()));
    let number = |name: &str| told.get(name).and_then(|value| value.parse().ok());
    let setting = |name: &str| settings.get(name).map(|value| printable(value.as_bytes()));
    let ok = |name: &str| told.get(name).map(|value| *value == "ok");
    let (server, version) = match text("valkey_version") {
        Some(version) => (Some("valkey"), Some(version)),
        None => (told.get("redis_version").map(|_| "redis"), text("redis_version")),
    };
    NodeFacts {
        address: None,
        server: server.map(str::to_owned),
        version,
        role: text("role"),
        maxmemory_policy: text("maxmemory_policy"),
        maxmemory: number("maxmemory"),
        used_memory: number("used_memory"),
        evicted_keys: number("evicted_keys"),
        aof: told.get("aof_enabled").map(|value| *value == "1"),
        save: setting("save"),
        appendfsync: setting("appendfsync"),
        persisting: ok("rdb_last_bgsave_status")
            .zip(ok("aof_last_write_status"))
            .map(|(snapshot, file)| snapshot && file),
        replicas: number("connected_slaves"),
        min_replicas: settings.get("min-replicas-to-write").and_then(|it| it.parse().ok()),
        cluster_ok: None,
    }
}
