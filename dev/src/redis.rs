//! A private Redis for the tests, and the one that may already be there.

use std::{net::Ipv4Addr, path::Path, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    error::{Error, Result},
    files::{self, Scratch},
    packages::{self, Package},
    ports,
    process::{self, OnOurDeath, Server, Signal},
};

const START_LIMIT: Duration = Duration::from_secs(20);

/// A running private server without persistence; dropping it stops it.
#[derive(Debug)]
pub struct Redis {
    server: Server,
    port: u16,
    _scratch: Scratch,
}

impl Redis {
    /// Starts a server on a free port; it keeps nothing.
    pub async fn throw_away() -> Result<Self> {
        install()?;
        ports::on_any(START_LIMIT, async |port| {
            let scratch = Scratch::new(None)?;
            Ok(Self {
                server: start(port, scratch.path(), None, &[]).await?,
                port,
                _scratch: scratch,
            })
        })
        .await
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Commands that it has processed, those of scripts not counted.
    pub async fn commands(&self) -> Result<u64> {
        let info = reply(self.port, "INFO stats").await.unwrap_or_default();
        let count = info
            .lines()
            .find_map(|line| line.strip_prefix("total_commands_processed:"));
        let count = count.and_then(|it| it.trim().parse().ok());
        count.ok_or_else(|| Error::Other("Redis does not say how many commands it had".into()))
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.server.id()
    }

    /// Stops it.
    pub async fn stop(mut self) {
        self.server.stop(Duration::from_secs(5)).await;
    }
}

/// Installs the server and its client if they are missing.
pub(crate) fn install() -> Result<()> {
    if files::on_path("redis-server").is_none() || files::on_path("redis-cli").is_none() {
        packages::install(&[Package::Redis])?;
    }
    Ok(())
}

/// Starts a server that keeps nothing, with a file of settings and more options.
pub(crate) async fn start(
    port: u16,
    directory: &Path,
    file: Option<&Path>,
    options: &[&str],
) -> Result<Server> {
    let program =
        files::on_path("redis-server").ok_or_else(|| Error::Missing(Package::Redis.advice()))?;
    let mut command = process::command(program.as_os_str(), None, OnOurDeath::Terminate);
    command
        .args(file)
        .arg("--dir")
        .arg(directory)
        .args(["--port", &port.to_string()])
        .args(["--bind", "127.0.0.1", "--daemonize", "no"])
        .args(options);
    // Sentinels know no persistence.
    if !options.contains(&"--sentinel") {
        command.args(["--save", "", "--appendonly", "no"]);
    }
    let log = directory.join("log");
    let mut server = Server::start("Redis", &mut command, Signal::TERM, Some(&log))?;
    let responds = async || reply(port, "PING").await.is_some();
    server.wait_until(START_LIMIT, responds).await?;
    Ok(server)
}

/// The text of the reply to a command without arguments that have spaces; also of an error.
pub(crate) async fn reply(port: u16, command: &str) -> Option<String> {
    // Its reply is the last. A Sentinel does not know QUIT.
    const END: &str = "+PONG\r\n";
    let exchange = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
        let request = format!("{command}\r\nPING\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            let length = stream.read(&mut buffer).await.ok()?;
            text.extend_from_slice(buffer.get(..length)?);
            let is_whole = text.ends_with(END.as_bytes()) || text.starts_with(b"-NOAUTH");
            if is_whole || length == 0 {
                return String::from_utf8(text).ok().filter(|it| !it.is_empty());
            }
        }
    };
    let exchanged = tokio::time::timeout(Duration::from_secs(1), exchange).await;
    exchanged.ok().flatten()
}

/// Returns whether a primary has replicas that have confirmed all that it has written.
pub(crate) async fn is_replicated(port: u16, password: Option<&str>) -> bool {
    let sign_in = password.map_or(String::new(), |it| format!("AUTH {it}\r\n"));
    let info = reply(port, &format!("{sign_in}INFO replication")).await;
    let info = info.unwrap_or_default();
    let own = info
        .lines()
        .find_map(|line| line.strip_prefix("master_repl_offset:"));
    let mut replicas = info.lines().filter(|line| line.starts_with("slave"));
    let confirmed = own.map(|own| format!("offset={own},"));
    confirmed.is_some_and(|confirmed| {
        info.contains("role:master")
            && !info.contains("connected_slaves:0")
            && replicas.all(|line| line.contains(&confirmed))
    })
}

/// The URL of a Redis at its usual place on this machine, if one answers there.
pub async fn local() -> Option<String> {
    pings(6379).await.then(|| "redis://127.0.0.1:6379".into())
}

async fn pings(port: u16) -> bool {
    let exchange = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
        stream.write_all(b"PING\r\n").await.ok()?;
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).await.ok()?;
        (&answer == b"+PONG\r\n").then_some(())
    };
    tokio::time::timeout(Duration::from_millis(300), exchange)
        .await
        .is_ok_and(|found| found.is_some())
}
