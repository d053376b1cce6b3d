//! How the inspector reads: one connection of its own, opened when it is needed, and by node where
//! a walk over all keys needs each.

use std::time::{Duration, Instant};

use redis::{
    Cmd, Pipeline, RedisResult, Value,
    aio::ConnectionLike,
    cluster_routing::{RoutingInfo, SingleNodeRoutingInfo},
    cmd, from_redis_value,
};
use tokio::{sync::Mutex, time::timeout};

use super::{
    super::{
        fault::Fault,
        link::{Link, open_unchecked},
        url::{RedisConfig, Topology},
    },
    Cursor,
};
use crate::store::{Class, StoreError};

/// How many keys one SCAN looks at: well below a millisecond of Redis's time.
const AT_ONCE: usize = 500;
/// How many SCANs one page takes at the most: then it is short, and the next one goes on.
const MOST_SCANS: usize = 2000;

/// A node of a Cluster, as its nodes name it.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) host: String,
    pub(super) port: u16,
}

/// What became of one command of several.
#[derive(Debug)]
pub(super) enum Answer {
    Said(Value),
    /// This user may not ask.
    Refused,
    /// The key is of another type than its name says.
    Damaged,
}

/// What is sent: a command to one node, of a Cluster, for a single server is the one there is; or
/// several to the same slot.
#[derive(Clone, Copy)]
enum Asked<'a> {
    One(Option<&'a Node>, &'a Cmd),
    All(&'a Pipeline),
}

pub(super) struct Reader {
    config: RedisConfig,
    link: Mutex<Option<Link>>,
}

impl Reader {
    pub(super) fn new(config: RedisConfig) -> Self {
        Self { config, link: Mutex::new(None) }
    }

    pub(super) async fn ask(&self, verb: &'static str, command: &Cmd) -> Result<Value, StoreError> {
        self.ask_node(verb, None, command).await
    }

    pub(super) async fn ask_node(
        &self,
        verb: &'static str,
        node: Option<&Node>,
        command: &Cmd,
    ) -> Result<Value, StoreError> {
        let mut answers = self.twice(verb, Asked::One(node, command)).await?;
        Ok(answers.pop().unwrap_or(Value::Nil))
    }

    /// Several commands to one slot, in one trip: an answer for each. One that is refused, or of a
    /// damaged key, does not spoil the others.
    pub(super) async fn ask_all(
        &self,
        verb: &'static str,
        commands: &Pipeline,
    ) -> Result<Vec<Answer>, StoreError> {
        let answers = self.twice(verb, Asked::All(commands)).await?.into_iter().map(|value| {
            let fault = match value.extract_error() {
                Ok(value) => return Ok(Answer::Said(value)),
                Err(error) => Fault::of(&error),
            };
            match fault.class {
                Class::Operator => Ok(Answer::Refused),
                Class::Corrupt => Ok(Answer::Damaged),
                // Of a server that is loading, say: what it does not say is not nothing.
                _ => Err(fault.before_the_verb().verdict(verb, false, Duration::ZERO)),
            }
        });
        answers.collect()
    }

    /// Twice, if the connection that was held turns out to be dead.
    async fn twice(&self, verb: &'static str, asked: Asked<'_>) -> Result<Vec<Value>, StoreError> {
        let started = Instant::now();
        let mut tries = 2;
        loop {
            tries -= 1;
            let fault = match self.once(asked).await {
                Ok(value) => return Ok(value),
                Err(fault) => fault,
            };
            if fault.poisons {
                *self.link.lock().await = None;
            }
            if !fault.poisons || tries == 0 || fault.class == Class::Operator {
                // It reads: a lost reply has changed nothing.
                return Err(fault.before_the_verb().verdict(verb, false, started.elapsed()));
            }
        }
    }

    async fn once(&self, asked: Asked<'_>) -> Result<Vec<Value>, Fault> {
        let mut link = self.link().await?;
        let longest = self.config.timeouts.overall;
        match timeout(longest, asked.send(&mut link)).await {
            Ok(Ok(answers)) => Ok(answers),
            Ok(Err(error)) => Err(Fault::of(&error)),
            Err(_) => Err(Fault::ambiguous("no reply in time")),
        }
    }

    async fn link(&self) -> Result<Link, Fault> {
        let mut held = self.link.lock().await;
        if let Some(link) = &*held {
            return Ok(link.clone());
        }
        let longest = self.config.timeouts.overall;
        let link = match timeout(longest, open_unchecked(&self.config)).await {
            Ok(link) => link?,
            Err(_) => return Err(Fault::not_executed("no connection in time")),
        };
        *held = Some(link.clone());
        Ok(link)
    }

    /// The primaries of a Cluster; of a single server, the one.
    pub(super) async fn nodes(&self) -> Result<Vec<Option<Node>>, StoreError> {
        if !matches!(self.config.topology, Topology::Cluster(_)) {
            return Ok(vec![None]);
        }
        let slots = self.ask("nodes", cmd("CLUSTER").arg("SLOTS")).await?;
        let Value::Array(ranges) = slots else { return Ok(vec![None]) };
        let mut nodes: Vec<Node> = Vec::new();
        for range in ranges {
            // First and last slot, then the primary: its address, its port, and more.
            let Value::Array(parts) = range else { continue };
            let Some(Value::Array(primary)) = parts.into_iter().nth(2) else { continue };
            let mut primary = primary.into_iter();
            let (Some(host), Some(Value::Int(port))) = (primary.next(), primary.next()) else {
                continue;
            };
            let (Ok(host), Ok(port)) = (from_redis_value::<String>(host), u16::try_from(port))
            else {
                continue;
            };
            if !nodes.iter().any(|node| node.host == host && node.port == port) {
                nodes.push(Node { host, port });
            }
        }
        nodes.sort_by(|a, b| (&a.host, a.port).cmp(&(&b.host, b.port)));
        Ok(nodes.into_iter().map(Some).collect())
    }

    /// At least `limit` keys of this pattern, if there are so many and not too many others between.
    pub(super) async fn scan(
        &self,
        pattern: &str,
        cursor: Option<Cursor>,
        limit: usize,
    ) -> Result<(Vec<String>, Option<Cursor>), StoreError> {
        let nodes = self.nodes().await?;
        let mut cursor = cursor.unwrap_or(Cursor { node: 0, at: 0 });
        let mut keys = Vec::new();
        for _ in 0..MOST_SCANS {
            let Some(node) = nodes.get(usize::from(cursor.node)) else { return Ok((keys, None)) };
            let mut scan = cmd("SCAN");
            scan.arg(cursor.at).arg("MATCH").arg(pattern).arg("COUNT").arg(AT_ONCE);
            let page = self.ask_node("scan", node.as_ref(), &scan).await?;
            let (next, found): (u64, Vec<Vec<u8>>) =
                from_redis_value(page).map_err(|_| super::super::reply::unreadable("scan"))?;
            // What is no text is no key of ours.
            keys.extend(found.into_iter().filter_map(|key| String::from_utf8(key).ok()));
            cursor = match next {
                0 => Cursor { node: cursor.node + 1, at: 0 },
                at => Cursor { at, ..cursor },
            };
            if keys.len() >= limit {
                break;
            }
        }
        // A scan may name a key twice.
        keys.sort_unstable();
        keys.dedup();
        let over = usize::from(cursor.node) >= nodes.len();
        Ok((keys, (!over).then_some(cursor)))
    }

    pub(super) fn config(&self) -> &RedisConfig {
        &self.config
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Asked<'_> {
    async fn send(self, link: &mut Link) -> RedisResult<Vec<Value>> {
        match (self, link) {
            (Asked::All(commands), link) => {
                link.req_packed_commands(commands, 0, commands.len()).await
            }
            (Asked::One(Some(Node { host, port }), command), Link::Cluster(link)) => {
                let node = SingleNodeRoutingInfo::ByAddress { host: host.clone(), port: *port };
                let routing = RoutingInfo::SingleNode(node);
                let answer = link.route_command(command.clone(), routing).await?;
                Ok(vec![answer.extract_error()?])
            }
            (Asked::One(_, command), link) => {
                Ok(vec![link.req_packed_command(command).await?.extract_error()?])
            }
        }
    }
}
