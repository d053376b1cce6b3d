//! Where Redis is: one URL chooses the topology.

use std::time::Duration;

use redis::{
    ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};

use super::{confirm::Confirmation, keyspace::Prefix};
use crate::store::StoreError;

/// How to reach Redis, and how long to wait for it.
///
/// ```
/// use std::time::Duration;
/// use vestibule::store::redis::{RedisConfig, Timeouts};
///
/// let timeouts = Timeouts { overall: Duration::from_secs(3), ..Timeouts::default() };
/// let config = RedisConfig::new("rediss-sentinel://:secret@one:26379,two:26379/primary")?
///     .with_prefix("staging")?
///     .with_timeouts(timeouts);
/// # Ok::<(), vestibule::store::StoreError>(())
/// ```
#[derive(Clone)]
pub struct RedisConfig {
    pub(super) topology: Topology,
    pub(super) prefix: Prefix,
    pub(super) timeouts: Timeouts,
    pub(super) ca_pem: Option<Vec<u8>>,
    pub(super) confirmation: Option<Confirmation>,
}

/// The deadlines. Nothing here waits for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For opening a connection. Default 1 s.
    pub connect: Duration,
    /// For one reply; past it the connection is abandoned. Default 1 s.
    pub response: Duration,
    /// For a verb with all its retries. Default 5 s, which outlasts a usual failover.
    pub overall: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            response: Duration::from_secs(1),
            overall: Duration::from_secs(5),
        }
    }
}

/// The three ways in which Redis is run.
#[derive(Clone)]
pub(super) enum Topology {
    Standalone(ConnectionInfo),
    Cluster(Vec<ConnectionInfo>),
    Sentinel { sentinels: Vec<ConnectionInfo>, service: String, node: ConnectionInfo },
}

impl RedisConfig {
    /// Reads a URL:
    ///
    /// | URL | what |
    /// |---|---|
    /// | `redis://[user:password@]host[:port][/db]` | one server |
    /// | `redis-cluster://[user:password@]host:port[,host:port…]` | a Cluster, from any of its nodes |
    /// | `redis-sentinel://[user:password@]host:port[,…]/service[/db]` | the primary that Sentinel names; user and password are for it |
    ///
    /// `rediss…` instead of `redis…` is the same over TLS. The process must have a default rustls
    /// crypto provider installed then (`rustls::crypto::…::install_default`): libraries cannot. Without
    /// one, connecting is a [`StoreError::Config`] at once.
    ///
    /// # Errors
    ///
    /// [`StoreError::Config`], which never repeats the URL: it may hold a password.
    pub fn new(url: &str) -> Result<Self, StoreError> {
        Ok(Self {
            topology: topology(url.trim())?,
            prefix: Prefix::default(),
            timeouts: Timeouts::default(),
            ca_pem: None,
            confirmation: None,
        })
    }

    /// Another first part for every key than `vst`. Records sealed under one prefix do not open
    /// under another.
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Result<Self, StoreError> {
        self.prefix = Prefix::new(prefix)?;
        Ok(self)
    }

    /// Other deadlines than the default.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// The `confirmed` level: verbs that change something for good (take, complete, mint, use, store,
    /// commit, revoke, delete and their like; and a begin whose refresh token may not be presented
    /// twice) count as done only when so many replicas have acknowledged them. With fewer in time they fail as
    /// [`StoreError::Unconfirmed`]: executed here, perhaps undone by a failover.
    ///
    /// It costs such a verb a round trip to the replicas, and a connection of its own meanwhile: 16
    /// at a time. A failover to a replica that had not acknowledged can still undo what others had:
    /// ask for as many as there are, or let Redis refuse to promote those that lag.
    #[must_use]
    pub fn with_confirmation(mut self, confirmation: Confirmation) -> Self {
        self.confirmation = Some(confirmation.bounded());
        self
    }

    pub(super) fn is_over_tls(&self) -> bool {
        let node = match &self.topology {
            Topology::Standalone(node) | Topology::Sentinel { node, .. } => Some(node),
            Topology::Cluster(nodes) => nodes.first(),
        };
        node.is_some_and(|node| matches!(node.addr(), ConnectionAddr::TcpTls { .. }))
    }

    /// The same for connections on which WAIT runs: it may take that much longer.
    pub(super) fn for_waiting(&self, confirmation: Confirmation) -> Self {
        let mut config = self.clone();
        config.timeouts.response += confirmation.within;
        config
    }

    /// The certificate (PEM) that signs the servers', instead of the public roots.
    #[must_use]
    pub fn with_ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca_pem = Some(pem.into());
        self
    }
}

impl std::fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let topology = match &self.topology {
            Topology::Standalone(_) => "standalone",
            Topology::Cluster(_) => "cluster",
            Topology::Sentinel { .. } => "sentinel",
        };
        f.debug_struct("RedisConfig")
            .field("topology", &topology)
            .field("prefix", &self.prefix)
            .field("timeouts", &self.timeouts)
            .finish_non_exhaustive()
    }
}

fn topology(url: &str) -> Result<Topology, StoreError> {
    let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("it has no scheme"))?;
    let (plain, kind) = match scheme {
        "redis" | "rediss" => (scheme, "standalone"),
        "redis-cluster" => ("redis", "cluster"),
        "rediss-cluster" => ("rediss", "cluster"),
        "redis-sentinel" => ("redis", "sentinel"),
        "rediss-sentinel" => ("rediss", "sentinel"),
        _ => return Err(wrong("its scheme is not one of these")),
    };
    if kind == "standalone" {
        return Ok(Topology::Standalone(node(url)?));
    }

    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (login, hosts) = match authority.rsplit_once('@') {
        Some((login, hosts)) => (format!("{login}@"), hosts),
        None => (String::new(), authority),
    };
    let nodes = |login: &str| -> Result<Vec<_>, _> {
        hosts.split(',').map(|host| node(&format!("{plain}://{login}{host}"))).collect()
    };
    if kind == "cluster" {
        if !path.is_empty() {
            return Err(wrong("a Cluster has no databases"));
        }
        return Ok(Topology::Cluster(nodes(&login)?));
    }
    let (service, db) = path.split_once('/').unwrap_or((path, "0"));
    if service.is_empty() {
        return Err(wrong("a Sentinel URL names its service: redis-sentinel://host:port/service"));
    }
    // The host is a stand-in: Sentinel says where the primary is.
    let node = node(&format!("{plain}://{login}sentinel-names-it/{db}"))?;
    Ok(Topology::Sentinel { sentinels: nodes("")?, service: service.to_owned(), node })
}

/// One server, with what the client's defaults leave open.
fn node(url: &str) -> Result<ConnectionInfo, StoreError> {
    let info =
        url.into_connection_info().map_err(|_| wrong("host, port or database cannot be read"))?;
    if let ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } = info.addr()
        && host.is_empty()
    {
        return Err(wrong("it has no host"));
    }
    if let ConnectionAddr::TcpTls { insecure: true, .. } = info.addr() {
        return Err(wrong("#insecure would accept anybody's certificate"));
    }
    Ok(info.set_tcp_settings(tcp()))
}

pub(super) fn tcp() -> TcpSettings {
    let keepalive =
        TcpKeepalive::new().with_time(Duration::from_secs(5)).with_interval(Duration::from_secs(5));
    let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(Duration::from_secs(3));
    settings
}

fn wrong(why: &str) -> StoreError {
    StoreError::Config(format!(
        "this is not a Redis URL: {why}; expected redis://[user:password@]host[:port][/db], \
         redis-cluster://host:port[,host:port] or redis-sentinel://host:port[,…]/service \
         (rediss… for TLS)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_chooses_the_topology() {
        let kind = |url: &str| match topology(url).unwrap() {
            Topology::Standalone(_) => "standalone".to_owned(),
            Topology::Cluster(nodes) => format!("cluster of {}", nodes.len()),
            Topology::Sentinel { sentinels, service, .. } => {
                format!("{service} by {}", sentinels.len())
            }
        };
        assert_eq!(kind("redis://localhost"), "standalone");
        assert_eq!(kind("rediss://u:p@localhost:1/2"), "standalone");
        assert_eq!(kind("redis-cluster://a:1,b:2,c:3"), "cluster of 3");
        assert_eq!(kind("rediss-sentinel://u:p@a:1,b:2/main/3"), "main by 2");
    }

    #[test]
    fn a_wrong_url_is_explained_and_never_repeated() {
        for bad in [
            "",
            "localhost",
            "http://hunter2",
            "redis://",
            "redis-sentinel://hunter2:1",
            "redis-cluster://hunter2:x",
            "redis-cluster://a:1/hunter2",
            "redis://:hunter2@h/x",
            "rediss://hunter2/#insecure",
        ] {
            let error = RedisConfig::new(bad).unwrap_err().to_string();
            assert!(error.contains("expected redis://"), "{bad}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
