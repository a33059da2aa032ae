//! A private Redis Cluster for the tests: three primaries, each with a replica.

use std::{
    net::Ipv4Addr,
    process::Stdio,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::{
    error::{Doing, Error, Result},
    files::{self, Scratch},
    packages::{self, Package},
    ports,
    process::{self, OnOurDeath, Server, Signal},
};

/// The least that Redis Cluster works with, and a replica of each.
const NODES: usize = 6;

const START_LIMIT: Duration = Duration::from_mins(1);

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
        if files::on_path("redis-server").is_none() || files::on_path("redis-cli").is_none() {
            packages::install(&[Package::Redis])?;
        }
        let mut nodes = Vec::with_capacity(NODES);
        for _ in 0..NODES {
            let mut node = Node {
                server: None,
                port: ports::any()?.port,
                bus: ports::any()?.port,
                scratch: Scratch::new(None)?,
            };
            node.start().await?;
            nodes.push(node);
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
                let state = node.reply("CLUSTER INFO").await.unwrap_or_default();
                let role = node.reply("INFO replication").await.unwrap_or_default();
                is_whole &= state.contains("cluster_state:ok")
                    && (role.contains("role:master") || role.contains("master_link_status:up"));
            }
            if is_whole {
                return Ok(());
            }
            if began.elapsed() > START_LIMIT {
                return Err(Error::Unresponsive {
                    name: "Redis Cluster".into(),
                    seconds: START_LIMIT.as_secs(),
                    log: self.known_nodes().await.unwrap_or_default(),
                });
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn known_nodes(&self) -> Option<String> {
        let node = self.nodes.iter().find(|node| node.server.is_some())?;
        node.reply("CLUSTER NODES").await
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
        let program = files::on_path("redis-server")
            .ok_or_else(|| Error::Missing(Package::Redis.advice()))?;
        let mut command = process::command(program.as_os_str(), None, OnOurDeath::Terminate);
        command
            .arg("--dir")
            .arg(self.scratch.path())
            .args(["--port", &self.port.to_string()])
            .args(["--cluster-port", &self.bus.to_string()])
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--daemonize", "no", "--cluster-enabled", "yes"])
            .args(["--cluster-config-file", "nodes.conf"])
            .args(["--cluster-node-timeout", NODE_TIMEOUT]);
        let log = self.scratch.path().join("log");
        let mut server = Server::start("Redis", &mut command, Signal::TERM, Some(&log))?;
        let began = Instant::now();
        while self.reply("PING").await.is_none() {
            server.check()?;
            if began.elapsed() > START_LIMIT {
                return Err(server.unresponsive(START_LIMIT.as_secs()));
            }
            sleep(Duration::from_millis(20)).await;
        }
        self.server = Some(server);
        Ok(())
    }

    /// The text of a reply to a command without arguments that have spaces.
    async fn reply(&self, command: &str) -> Option<String> {
        let exchange = async {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))
                .await
                .ok()?;
            let sent = format!("{command}\r\nQUIT\r\n");
            stream.write_all(sent.as_bytes()).await.ok()?;
            let mut reply = String::new();
            stream.read_to_string(&mut reply).await.ok()?;
            Some(reply)
        };
        timeout(Duration::from_secs(1), exchange)
            .await
            .ok()
            .flatten()
    }
}

/// The port in `ID IP:PORT@BUS FLAGS …`.
fn port_of(line: &str) -> Option<u16> {
    let address = line.split(' ').nth(1)?;
    let port = address.split('@').next()?.rsplit(':').next()?;
    port.parse().ok()
}
