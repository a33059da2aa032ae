//! A private primary of Redis with a replica, and three Sentinels that watch them.

use std::{
    fs,
    net::Ipv4Addr,
    path::Path,
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

/// Name that the Sentinels have for the primary.
pub const PRIMARY: &str = "main";

/// Sentinels of which a failover needs two.
const SENTINELS: usize = 3;

const START_LIMIT: Duration = Duration::from_mins(1);

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
        if files::on_path("redis-server").is_none() {
            packages::install(&[Package::Redis])?;
        }
        let secret =
            format!("requirepass {password}\nmasterauth {password}\nrepl-diskless-sync-delay 0\n");
        let primary = Member::start("redis.conf", &[], |_| secret.clone()).await?;
        let leader = primary.port;
        let replica = Member::start("redis.conf", &[], |_| {
            format!("{secret}replicaof 127.0.0.1 {leader}\n")
        })
        .await?;
        let mut sentinels = Vec::with_capacity(SENTINELS);
        for _ in 0..SENTINELS {
            let settings = format!(
                "sentinel monitor {PRIMARY} 127.0.0.1 {leader} 2\n\
                 sentinel auth-pass {PRIMARY} {password}\n\
                 sentinel down-after-milliseconds {PRIMARY} 1000\n\
                 sentinel failover-timeout {PRIMARY} 5000\n"
            );
            sentinels.push(Member::start("sentinel.conf", &["--sentinel"], |_| settings).await?);
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
        let reply = running.reply(&command).await?;
        reply.lines().nth(4)?.trim().parse().ok()
    }

    /// Asks for another primary. The present one stays and becomes the replica.
    pub async fn switch_over(&self) {
        let command = format!("SENTINEL failover {PRIMARY}");
        self.sentinels[SENTINELS - 1].reply(&command).await;
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
            let replication = self.servers[1].reply(&command).await.unwrap_or_default();
            let mut ready = replication.contains("master_link_status:up");
            for sentinel in &self.sentinels {
                let state = sentinel.reply(&format!("SENTINEL master {PRIMARY}")).await;
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
                return Err(Error::Unresponsive {
                    name: "Redis Sentinel".into(),
                    seconds: START_LIMIT.as_secs(),
                    log: String::new(),
                });
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Member {
    async fn start(
        file: &str,
        options: &[&str],
        settings: impl FnOnce(&Path) -> String,
    ) -> Result<Self> {
        let program = files::on_path("redis-server")
            .ok_or_else(|| Error::Missing(Package::Redis.advice()))?;
        let scratch = Scratch::new(None)?;
        let port = ports::any()?.port;
        let directory = scratch.path();
        // Sentinels write what they learn into it.
        let path = directory.join(file);
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\n{}",
            directory.display(),
            settings(directory)
        );
        fs::write(&path, text).doing(|| format!("write {}", path.display()))?;
        let mut command = process::command(program.as_os_str(), None, OnOurDeath::Terminate);
        command.arg(&path).args(options);
        let log = directory.join("log");
        let mut process = Server::start("Redis", &mut command, Signal::TERM, Some(&log))?;
        let mut member = Self {
            process: None,
            port,
            _scratch: scratch,
        };
        let began = Instant::now();
        while member.reply("PING").await.is_none() {
            process.check()?;
            if began.elapsed() > START_LIMIT {
                return Err(process.unresponsive(START_LIMIT.as_secs()));
            }
            sleep(Duration::from_millis(20)).await;
        }
        member.process = Some(process);
        Ok(member)
    }

    /// The text of a reply to a command without arguments that have spaces; also of an error.
    async fn reply(&self, command: &str) -> Option<String> {
        // Its reply is the last: a Sentinel does not know QUIT.
        const END: &str = "+PONG\r\n";
        let exchange = async {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))
                .await
                .ok()?;
            let sent = format!("{command}\r\nPING\r\n");
            stream.write_all(sent.as_bytes()).await.ok()?;
            let (mut reply, mut part) = (Vec::new(), [0; 4096]);
            loop {
                let length = stream.read(&mut part).await.ok()?;
                reply.extend_from_slice(part.get(..length)?);
                let is_whole = reply.ends_with(END.as_bytes()) || reply.starts_with(b"-NOAUTH");
                if is_whole || length == 0 {
                    return String::from_utf8(reply).ok();
                }
            }
        };
        timeout(Duration::from_secs(1), exchange)
            .await
            .ok()
            .flatten()
    }
}
