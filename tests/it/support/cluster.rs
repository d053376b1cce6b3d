//! Three primaries that share the slots, and slots that move from one to another.

use std::time::{Duration, Instant};

use redis::{FromRedisValue, Value, aio::MultiplexedConnection};
use tokio::time::sleep;

use super::server::{TestServer, free_port};

const PATIENCE: Duration = Duration::from_secs(30);
const SLOTS: u16 = 16384;

#[derive(Debug)]
pub struct Cluster {
    pub nodes: Vec<Node>,
}

#[derive(Debug)]
pub struct Node {
    pub server: TestServer,
    pub id: String,
    pub raw: MultiplexedConnection,
}

impl Cluster {
    /// Returns when all three agree on who serves what.
    pub async fn start() -> Self {
        let mut nodes = Vec::new();
        let mut buses = Vec::new();
        for _ in 0..3 {
            let bus = free_port();
            let server = TestServer::builder()
                .cluster(false)
                .arg("--cluster-enabled", "yes")
                .arg("--cluster-port", &bus.to_string())
                .arg("--cluster-node-timeout", "2000")
                .start()
                .await;
            let mut raw = server.raw().await;
            let id = tell(&mut raw, "CLUSTER MYID").await;
            nodes.push(Node { server, id, raw });
            buses.push(bus);
        }
        for (at, node) in nodes.iter_mut().enumerate() {
            let third = SLOTS / 3;
            let first = at as u16 * third;
            let last = if at == 2 { SLOTS - 1 } else { first + third - 1 };
            tell::<()>(&mut node.raw, &format!("CLUSTER ADDSLOTSRANGE {first} {last}")).await;
            tell::<()>(&mut node.raw, &format!("CLUSTER SET-CONFIG-EPOCH {}", at + 1)).await;
        }
        let others: Vec<_> =
            nodes.iter().zip(&buses).skip(1).map(|(n, bus)| (n.server.port(), *bus)).collect();
        for (port, bus) in others {
            let meet = format!("CLUSTER MEET 127.0.0.1 {port} {bus}");
            tell::<()>(&mut nodes[0].raw, &meet).await;
        }
        let mut cluster = Self { nodes };
        cluster.agrees().await;
        cluster
    }

    async fn agrees(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        for node in &mut self.nodes {
            loop {
                let info: String = tell(&mut node.raw, "CLUSTER INFO").await;
                let nodes: String = tell(&mut node.raw, "CLUSTER NODES").await;
                let linked = nodes.lines().filter(|line| line.contains(" connected ")).count();
                if info.contains("cluster_state:ok") && linked == 3 {
                    break;
                }
                assert!(Instant::now() < deadline, "{info}\n{}", node.server.log());
                sleep(Duration::from_millis(50)).await;
            }
        }
    }

    pub fn url(&self) -> String {
        self.nodes[0].server.cluster_url()
    }

    /// The slots of a node, as it sees it.
    pub async fn slots_of(&mut self, node: usize) -> Vec<u16> {
        let nodes: String = tell(&mut self.nodes[node].raw, "CLUSTER NODES").await;
        let mine = nodes.lines().find(|line| line.contains("myself")).unwrap();
        let ranges = mine.split(' ').skip(8).filter(|range| !range.starts_with('['));
        let bounds = ranges.map(|range| range.split_once('-').unwrap_or((range, range)));
        bounds
            .flat_map(|(first, last)| first.parse::<u16>().unwrap()..=last.parse().unwrap())
            .collect()
    }

    /// The shards of a node's slots, with those.
    pub async fn shards_of(&mut self, node: usize) -> Vec<(u8, u16)> {
        let slots = self.slots_of(node).await;
        let mut shards = Vec::new();
        for shard in 0..=u8::MAX {
            let of = format!("CLUSTER KEYSLOT {{{shard:02x}}}");
            let slot = tell(&mut self.nodes[node].raw, &of).await;
            if slots.contains(&slot) {
                shards.push((shard, slot));
            }
        }
        shards
    }

    /// From now on the slot is on its way.
    pub async fn begin_move(&mut self, slot: u16, from: usize, to: usize) {
        let (source, target) = (self.nodes[from].id.clone(), self.nodes[to].id.clone());
        let importing = format!("CLUSTER SETSLOT {slot} IMPORTING {source}");
        tell::<()>(&mut self.nodes[to].raw, &importing).await;
        let migrating = format!("CLUSTER SETSLOT {slot} MIGRATING {target}");
        tell::<()>(&mut self.nodes[from].raw, &migrating).await;
    }

    /// Its keys, a few at a time. Returns how many.
    pub async fn move_keys(&mut self, slot: u16, from: usize, to: usize) -> u64 {
        let port = self.nodes[to].server.port();
        let mut moved = 0;
        loop {
            let raw = &mut self.nodes[from].raw;
            let list = format!("CLUSTER GETKEYSINSLOT {slot} 10");
            let keys: Vec<String> = tell(raw, &list).await;
            if keys.is_empty() {
                return moved;
            }
            let mut migrate = redis::cmd("MIGRATE");
            migrate.arg("127.0.0.1").arg(port).arg("").arg(0).arg(5000).arg("KEYS").arg(&keys);
            migrate.query_async::<Value>(raw).await.unwrap();
            moved += keys.len() as u64;
        }
    }

    /// Now it is there. Those who serve it are told first.
    pub async fn end_move(&mut self, slot: u16, from: usize, to: usize) {
        let target = self.nodes[to].id.clone();
        let rest = (0..self.nodes.len()).filter(|node| *node != from && *node != to);
        for node in [to, from].into_iter().chain(rest) {
            let set = format!("CLUSTER SETSLOT {slot} NODE {target}");
            tell::<()>(&mut self.nodes[node].raw, &set).await;
        }
    }

    /// It does not move after all.
    pub async fn end_nothing(&mut self, slot: u16) {
        for node in &mut self.nodes {
            tell::<()>(&mut node.raw, &format!("CLUSTER SETSLOT {slot} STABLE")).await;
        }
    }
}

/// Runs a command of plain words.
pub async fn tell<T: FromRedisValue>(raw: &mut MultiplexedConnection, words: &str) -> T {
    let mut words = words.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    for word in words {
        command.arg(word);
    }
    command.query_async(raw).await.unwrap()
}
