//! A private Redis Cluster for the tests: three primaries, each with a replica.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use crate::{
    error::{Doing, Error, Result},
    files::{self, Scratch},
    packages::Package,
    ports,
    process::{self, Server, Signal},
    redis::{self, reply},
};

/// The least that Redis Cluster works with, and a replica of each.
const NODES: usize = 6;

const START_LIMIT: Duration = Duration::from_mins(1);

/// Between two looks at the state of the nodes.
const PAUSE: Duration = Duration::from_millis(50);

/// Milliseconds without a response after which a node counts as failed, and its replica takes its place.
const NODE_TIMEOUT: &str = "2000";

/// A running cluster; dropping it stops it.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Node>,
}

/// A node, running or killed. Its directory has the list of nodes that it knows, and no data.
#[derive(Debug)]
struct Node {
    server: Option<Server>,
    port: u16,
    bus: u16,
    scratch: Scratch,
}

impl RedisCluster {
    /// Starts a cluster on free ports; it keeps nothing.
    pub async fn start() -> Result<Self> {
        redis::install()?;
        let mut nodes = Vec::with_capacity(NODES);
        for _ in 0..NODES {
            let node = ports::on_any(START_LIMIT, async |port| {
                let mut node = Node {
                    server: None,
                    port,
                    bus: ports::any()?.port,
                    scratch: Scratch::new(None)?,
                };
                node.start().await?;
                Ok(node)
            });
            nodes.push(node.await?);
        }
        let cluster = Self { nodes };
        cluster.create().await?;
        cluster.is_whole().await?;
        Ok(cluster)
    }

    /// The URLs of all nodes, by their numbers.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        let urls = self.nodes.iter().map(|node| node.port);
        urls.map(|port| format!("redis://127.0.0.1:{port}"))
            .collect()
    }

    /// The numbers of the nodes that are primaries now, as a running node knows.
    pub async fn primaries(&self) -> Vec<usize> {
        let Some(known) = self.known_nodes().await else {
            return Vec::new();
        };
        let is_primary = |line: &&str| {
            let flags = line.split(' ').nth(2).unwrap_or_default();
            let mut flags = flags.split(',');
            flags.clone().any(|flag| flag == "master") && !flags.any(|flag| flag.contains("fail"))
        };
        let ports = known.lines().filter(is_primary).filter_map(port_of);
        ports
            .filter_map(|port| self.nodes.iter().position(|node| node.port == port))
            .collect()
    }

    /// Kills a node, as the end of its machine does.
    pub fn kill(&mut self, node: usize) {
        if let Some(server) = self.nodes[node].server.take() {
            process::signal(server.id(), Signal::KILL);
        }
    }

    /// Starts a killed node again, at the same port.
    pub async fn restart(&mut self, node: usize) -> Result<()> {
        self.nodes[node].start().await
    }

    /// Waits until every slot is served, and each running replica follows its primary.
    pub async fn is_whole(&self) -> Result<()> {
        let began = Instant::now();
        loop {
            let mut is_whole = true;
            for node in self.nodes.iter().filter(|node| node.server.is_some()) {
                let state = reply(node.port, "CLUSTER INFO").await.unwrap_or_default();
                let role = reply(node.port, "INFO replication")
                    .await
                    .unwrap_or_default();
                is_whole &= state.contains("cluster_state:ok")
                    && (role.contains("role:master") || role.contains("master_link_status:up"));
            }
            if is_whole {
                return Ok(());
            }
            if began.elapsed() > START_LIMIT {
                return Err(self.unresponsive().await);
            }
            sleep(PAUSE).await;
        }
    }

    /// Waits until the replica of each primary has confirmed what was written before.
    pub async fn is_replicated(&self) -> Result<()> {
        let began = Instant::now();
        for node in self.primaries().await {
            while !redis::is_replicated(self.nodes[node].port, None).await {
                if began.elapsed() > START_LIMIT {
                    return Err(self.unresponsive().await);
                }
                sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    async fn unresponsive(&self) -> Error {
        Error::Unresponsive {
            name: "Redis Cluster".into(),
            seconds: START_LIMIT.as_secs(),
            log: self.known_nodes().await.unwrap_or_default(),
        }
    }

    async fn known_nodes(&self) -> Option<String> {
        let node = self.nodes.iter().find(|node| node.server.is_some())?;
        reply(node.port, "CLUSTER NODES").await
    }

    async fn create(&self) -> Result<()> {
        let program =
            files::on_path("redis-cli").ok_or_else(|| Error::Missing(Package::Redis.advice()))?;
        let mut command = tokio::process::Command::new(program);
        command.args(["--cluster", "create"]);
        command.args(
            self.nodes
                .iter()
                .map(|node| format!("127.0.0.1:{}", node.port)),
        );
        command.args(["--cluster-replicas", "1", "--cluster-yes"]);
        let output = command.stdin(Stdio::null()).output().await;
        let output = output.doing(|| "start redis-cli".into())?;
        if output.status.success() {
            return Ok(());
        }
        Err(Error::Died {
            name: "redis-cli --cluster create".into(),
            status: output.status.to_string(),
            log: String::from_utf8_lossy(&output.stdout).into_owned(),
        })
    }
}

impl Node {
    async fn start(&mut self) -> Result<()> {
        let bus = self.bus.to_string();
        let arguments = [
            "--cluster-enabled",
            "yes",
            "--cluster-port",
            &bus,
            "--cluster-config-file",
            "nodes.conf",
            "--cluster-node-timeout",
            NODE_TIMEOUT,
        ];
        self.server = Some(redis::start(self.port, self.scratch.path(), None, &arguments).await?);
        Ok(())
    }
}

/// The port in `ID IP:PORT@BUS FLAGS …`.
fn port_of(line: &str) -> Option<u16> {
    let address = line.split(' ').nth(1)?;
    let port = address.split('@').next()?.rsplit(':').next()?;
    port.parse().ok()
}
