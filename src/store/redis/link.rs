//! Opening connections: one deadpool manager for all three topologies.
//!
//! deadpool-redis's own managers for Cluster and Sentinel leave the client's timeouts and retries
//! at their defaults (up to 655 s), so only the standalone one serves here.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use deadpool::managed::{self, Metrics, Pool};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, Pipeline, RedisFuture, RedisResult,
    TlsCertificates, TlsMode, Value,
    aio::{ConnectionLike, MultiplexedConnection, PubSub},
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
    sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType},
};
use rustls::crypto::CryptoProvider;
use tokio::sync::{Mutex, Semaphore};

use super::{
    clock::ServerClock,
    fault::Fault,
    handshake::Handshake,
    url::{RedisConfig, Topology, tcp},
};
use crate::store::StoreError;

const PROVIDER: &str =
    "install one first in main: rustls::crypto::…::default_provider().install_default()";

/// A connection that many verbs share: a clone is a handle.
#[derive(Clone)]
pub(super) enum Link {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl ConnectionLike for Link {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Single(link) => link.req_packed_command(cmd),
            Self::Cluster(link) => link.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Single(link) => link.req_packed_commands(pipeline, offset, count),
            Self::Cluster(link) => link.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Single(link) => link.get_db(),
            Self::Cluster(link) => link.get_db(),
        }
    }
}

/// What is sent at once: one command, or several to the same slot.
#[derive(Clone, Copy)]
pub(super) enum Sent<'a> {
    One(&'a Cmd),
    All(&'a Pipeline),
}

impl Link {
    /// Whether its client sends a command again whose reply was lost.
    pub(super) fn resends(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// Sends it. Several answers come as one array, which is an error if one of them is.
    pub(super) async fn send(&mut self, what: Sent<'_>) -> RedisResult<Value> {
        match what {
            Sent::One(command) => self.req_packed_command(command).await,
            Sent::All(commands) => {
                let answers = self.req_packed_commands(commands, 0, commands.len()).await;
                answers.map(Value::Array)
            }
        }
    }
}

/// Opens links, and lets none out that failed its handshake.
pub(super) struct Manager {
    opener: Opener,
    handshake: Handshake,
    clock: Arc<ServerClock>,
    /// At most four connects at a time, however many verbs have a connection of their own.
    connects: Semaphore,
}

enum Opener {
    Standalone(deadpool_redis::Manager),
    /// With a CA of its own, which deadpool-redis's manager cannot be given.
    StandaloneTls {
        client: Client,
        config: AsyncConnectionConfig,
    },
    Cluster(ClusterClient),
    Sentinel {
        client: Box<Mutex<SentinelClient>>,
        config: AsyncConnectionConfig,
    },
}

impl Manager {
    pub(super) fn new(
        config: &RedisConfig,
        handshake: Handshake,
        clock: Arc<ServerClock>,
    ) -> Result<Self, Fault> {
        let opener = checked_opener(config)?;
        Ok(Self { opener, handshake, clock, connects: Semaphore::new(4) })
    }

    /// So many links of it at the most.
    pub(super) fn pool(self, size: usize, config: &RedisConfig) -> Result<Pool<Self>, StoreError> {
        let timeouts = config.timeouts;
        Pool::builder(self)
            .max_size(size)
            .runtime(deadpool::Runtime::Tokio1)
            .timeouts(managed::Timeouts {
                wait: Some(timeouts.overall),
                create: Some(timeouts.connect + timeouts.response * 2),
                recycle: Some(Duration::from_millis(200)),
            })
            .build()
            .map_err(|error| StoreError::Config(error.to_string()))
    }
}

impl managed::Manager for Manager {
    type Type = Link;
    type Error = Fault;

    async fn create(&self) -> Result<Link, Fault> {
        let _turn = self.connects.acquire().await.ok();
        let mut link = self.opener.open().await.map_err(|error| Fault::of_opening(&error))?;
        let sent = Instant::now();
        let server_ms = self.handshake.shake(&mut link).await.map_err(Fault::before_the_verb)?;
        self.clock.calibrate(server_ms, sent);
        Ok(link)
    }

    /// Only of what confirms: the shared link is held, never returned. One that failed is not
    /// returned either, and a verb on one that broke meanwhile is sent again.
    async fn recycle(&self, _: &mut Link, _: &Metrics) -> managed::RecycleResult<Fault> {
        Ok(())
    }
}

impl Opener {
    async fn open(&self) -> redis::RedisResult<Link> {
        match self {
            Self::Standalone(manager) => managed::Manager::create(manager).await.map(Link::Single),
            Self::StandaloneTls { client, config } => {
                client.get_multiplexed_async_connection_with_config(config).await.map(Link::Single)
            }
            Self::Cluster(client) => client.get_async_connection().await.map(Link::Cluster),
            Self::Sentinel { client, config } => {
                // Asked under the lock, opened outside it: a dead primary must not block the rest.
                let primary = client.lock().await.async_get_client().await?;
                primary.get_multiplexed_async_connection_with_config(config).await.map(Link::Single)
            }
        }
    }
}

/// Opens a link that nothing is asked of first: for who wants to know what is wrong with a server.
pub(super) async fn open_unchecked(config: &RedisConfig) -> Result<Link, Fault> {
    let opener = checked_opener(config)?;
    opener.open().await.map_err(|error| Fault::of_opening(&error))
}

/// Without a crypto provider rustls panics, in whatever task opens a connection.
fn checked_opener(config: &RedisConfig) -> Result<Opener, Fault> {
    if config.is_over_tls() && CryptoProvider::get_default().is_none() {
        let cause = "rediss:// needs TLS, and this process has no rustls crypto provider";
        return Err(Fault::operator(cause, PROVIDER));
    }
    opener(config).map_err(|error| Fault::of_opening(&error))
}

fn opener(config: &RedisConfig) -> redis::RedisResult<Opener> {
    let timeouts = config.timeouts;
    let link_config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(timeouts.connect))
        .set_response_timeout(Some(timeouts.response));
    let certificates = certificates(config);
    Ok(match &config.topology {
        Topology::Standalone(info) => match certificates {
            None => Opener::Standalone(deadpool_redis::Manager::new_with_config(
                info.clone(),
                link_config,
            )?),
            Some(certificates) => Opener::StandaloneTls {
                client: Client::build_with_tls(info.clone(), certificates)?,
                config: link_config,
            },
        },
        Topology::Cluster(nodes) => {
            let mut builder = ClusterClient::builder(nodes.clone())
                // The defaults are 16 retries, 1.3 to 655 s apart, and no deadline.
                .retries(4)
                .min_retry_wait(20)
                .max_retry_wait(500)
                .connection_timeout(timeouts.connect)
                .response_timeout(timeouts.response)
                .overall_response_timeout(Some(timeouts.response * 3))
                .connection_concurrency_limit(256)
                .tcp_settings(tcp());
            if let Some(certificates) = certificates {
                builder = builder.certs(certificates);
            }
            Opener::Cluster(builder.build()?)
        }
        Topology::Sentinel { .. } => Opener::Sentinel {
            client: Box::new(Mutex::new(sentinel_client(config)?)),
            config: link_config,
        },
    })
}

/// The client that asks Sentinel where the primary is.
fn sentinel_client(config: &RedisConfig) -> redis::RedisResult<SentinelClient> {
    let Topology::Sentinel { sentinels, service, node } = &config.topology else {
        return Err((redis::ErrorKind::InvalidClientConfig, "not a Sentinel URL").into());
    };
    let addresses: Vec<ConnectionAddr> = sentinels.iter().map(|info| info.addr().clone()).collect();
    let mut builder = SentinelClientBuilder::new(addresses, service, SentinelServerType::Master)?
        .set_client_to_redis_tcp_settings(tcp())
        .set_client_to_sentinel_tcp_settings(tcp())
        .set_client_to_redis_db(node.redis_settings().db());
    if let Some(user) = node.redis_settings().username() {
        builder = builder.set_client_to_redis_username(user);
    }
    if let Some(password) = node.redis_settings().password() {
        builder = builder.set_client_to_redis_password(password);
    }
    if matches!(node.addr(), ConnectionAddr::TcpTls { .. }) {
        builder = builder
            .set_client_to_redis_tls_mode(TlsMode::Secure)
            .set_client_to_sentinel_tls_mode(TlsMode::Secure);
        if let Some(certificates) = certificates(config) {
            builder = builder
                .set_client_to_redis_certificates(certificates.clone())
                .set_client_to_sentinel_certificates(certificates);
        }
    }
    builder.build()
}

fn certificates(config: &RedisConfig) -> Option<TlsCertificates> {
    config.ca_pem.clone().map(|pem| TlsCertificates { client_tls: None, root_cert: Some(pem) })
}

/// Opens a connection for a subscription, beside the shared one: to the primary, or to any node of
/// a Cluster, whose nodes tell one another what is published.
pub(super) async fn open_pubsub(config: &RedisConfig) -> redis::RedisResult<PubSub> {
    let nodes = match &config.topology {
        Topology::Standalone(node) => std::slice::from_ref(node),
        Topology::Cluster(nodes) => nodes.as_slice(),
        Topology::Sentinel { .. } => {
            let primary = sentinel_client(config)?.async_get_client().await?;
            return primary.get_async_pubsub().await;
        }
    };
    let mut failed = (redis::ErrorKind::InvalidClientConfig, "no node to subscribe at").into();
    for node in nodes {
        let client = match certificates(config) {
            Some(certificates) => Client::build_with_tls(node.clone(), certificates)?,
            None => Client::open(node.clone())?,
        };
        match client.get_async_pubsub().await {
            Ok(pubsub) => return Ok(pubsub),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}
