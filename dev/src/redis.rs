//! A private Redis for the tests, and the one that may already be there.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

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
        if files::on_path("redis-server").is_none() {
            packages::install(&[Package::Redis])?;
        }
        let program = files::on_path("redis-server")
            .ok_or_else(|| Error::Missing(Package::Redis.advice()))?;
        let began = Instant::now();
        loop {
            let scratch = Scratch::new(None)?;
            let port = ports::any()?.port;
            let mut command = process::command(program.as_os_str(), None, OnOurDeath::Terminate);
            command
                .arg("--dir")
                .arg(scratch.path())
                .args(["--port", &port.to_string()])
                .args([
                    "--bind",
                    "127.0.0.1",
                    "--save",
                    "",
                    "--appendonly",
                    "no",
                    "--daemonize",
                    "no",
                ]);
            let log = scratch.path().join("log");
            let server = Server::start("Redis", &mut command, Signal::TERM, Some(&log))?;
            let mut redis = Self {
                server,
                port,
                _scratch: scratch,
            };
            match redis.answers(began).await {
                Ok(()) => return Ok(redis),
                Err(Error::Died { log, .. })
                    if log.contains("in use") && began.elapsed() < START_LIMIT => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
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

    async fn answers(&mut self, began: Instant) -> Result<()> {
        loop {
            if pings(self.port).await {
                return self.server.check();
            }
            self.server.check()?;
            if began.elapsed() > START_LIMIT {
                return Err(self.server.unresponsive(START_LIMIT.as_secs()));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
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
