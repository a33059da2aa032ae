//! A private primary of Redis with a replica, and three Sentinels that watch them.

use std::{
    fs,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use crate::{
    error::{Doing, Error, Result},
    files::Scratch,
    ports,
    process::{self, Server, Signal},
    redis::{self, reply},
};

/// Name that the Sentinels have for the primary.
pub const PRIMARY: &str = "main";

/// Sentinels of which a failover needs two.
const SENTINELS: usize = 3;

const START_LIMIT: Duration = Duration::from_mins(1);

/// Between two looks at the state of the servers.
const PAUSE: Duration = Duration::from_millis(50);

/// Running servers; dropping it stops them.
#[derive(Debug)]
pub struct RedisSentinel {
    servers: [Member; 2],
    sentinels: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    process: Option<Server>,
    port: u16,
    _scratch: Scratch,
}

impl RedisSentinel {
    /// Starts all on free ports, with a password of the two servers; they keep nothing.
    pub async fn start(password: &str) -> Result<Self> {
        redis::install()?;
        let secret =
            format!("requirepass {password}\nmasterauth {password}\nrepl-diskless-sync-delay 0\n");
        let primary = Member::start("redis.conf", &[], &secret).await?;
        let leader = primary.port;
        let follower = format!("{secret}replicaof 127.0.0.1 {leader}\n");
        let replica = Member::start("redis.conf", &[], &follower).await?;
        let mut sentinels = Vec::with_capacity(SENTINELS);
        for _ in 0..SENTINELS {
            let settings = format!(
                "sentinel monitor {PRIMARY} 127.0.0.1 {leader} 2\n\
                 sentinel auth-pass {PRIMARY} {password}\n\
                 sentinel down-after-milliseconds {PRIMARY} 1000\n\
                 sentinel failover-timeout {PRIMARY} 5000\n"
            );
            sentinels.push(Member::start("sentinel.conf", &["--sentinel"], &settings).await?);
        }
        let all = Self {
            servers: [primary, replica],
            sentinels,
        };
        all.are_ready(password).await?;
        Ok(all)
    }

    /// Addresses of the Sentinels, as `host:port`.
    #[must_use]
    pub fn sentinels(&self) -> Vec<String> {
        let ports = self.sentinels.iter().map(|it| it.port);
        ports.map(|port| format!("127.0.0.1:{port}")).collect()
    }

    /// Port of the server that the last running Sentinel takes for the primary.
    pub async fn primary(&self) -> Option<u16> {
        let running = self.sentinels.iter().rfind(|it| it.process.is_some())?;
        let command = format!("SENTINEL get-master-addr-by-name {PRIMARY}");
        let address = reply(running.port, &command).await?;
        address.lines().nth(4)?.trim().parse().ok()
    }

    /// Waits until the replica has confirmed what was written before.
    pub async fn is_replicated(&self, password: &str) -> Result<()> {
        let began = Instant::now();
        while !redis::is_replicated(self.servers[0].port, Some(password)).await {
            if began.elapsed() > START_LIMIT {
                return Err(unresponsive());
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Asks for another primary. The present one stays and becomes the replica.
    pub async fn switch_over(&self) {
        let command = format!("SENTINEL failover {PRIMARY}");
        reply(self.sentinels[SENTINELS - 1].port, &command).await;
    }

    /// Kills the server with this port, as the end of its machine does.
    pub fn kill(&mut self, port: u16) {
        let all = self.servers.iter_mut().chain(&mut self.sentinels);
        for member in all.filter(|it| it.port == port) {
            if let Some(server) = member.process.take() {
                process::signal(server.id(), Signal::KILL);
            }
        }
    }

    /// Kills a Sentinel.
    pub fn kill_sentinel(&mut self, number: usize) {
        self.kill(self.sentinels[number].port);
    }

    /// Waits until each Sentinel knows the others and the replica, which has the data of the primary.
    async fn are_ready(&self, password: &str) -> Result<()> {
        let began = Instant::now();
        let others = format!("num-other-sentinels\n{}", SENTINELS - 1);
        loop {
            let command = format!("AUTH {password}\r\nINFO replication");
            let replication = reply(self.servers[1].port, &command)
                .await
                .unwrap_or_default();
            let mut ready = replication.contains("master_link_status:up");
            for sentinel in &self.sentinels {
                let state = reply(sentinel.port, &format!("SENTINEL master {PRIMARY}")).await;
                // Each value follows a line with its length.
                let state = state.unwrap_or_default().replace('\r', "");
                let lines: Vec<_> = state
                    .lines()
                    .filter(|line| !line.starts_with('$'))
                    .collect();
                let state = lines.join("\n");
                ready &= state.contains(&others) && state.contains("num-slaves\n1");
            }
            if ready {
                return Ok(());
            }
            if began.elapsed() > START_LIMIT {
                return Err(unresponsive());
            }
            sleep(PAUSE).await;
        }
    }
}

impl Member {
    async fn start(file: &str, options: &[&str], settings: &str) -> Result<Self> {
        ports::on_any(START_LIMIT, async |port| {
            let scratch = Scratch::new(None)?;
            // Sentinels write what they learn into it.
            let path = scratch.path().join(file);
            fs::write(&path, settings).doing_to("write", &path)?;
            let process = redis::start(port, scratch.path(), Some(&path), options).await?;
            Ok(Self {
                process: Some(process),
                port,
                _scratch: scratch,
            })
        })
        .await
    }
}

fn unresponsive() -> Error {
    Error::Unresponsive {
        name: "Redis Sentinel".into(),
        seconds: START_LIMIT.as_secs(),
        log: String::new(),
    }
}
