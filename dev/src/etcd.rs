//! A private etcd of one member for the tests, which Patroni keeps its leader key in.

use std::time::Duration;

use crate::{
    error::{Error, Result},
    files::{self, Scratch},
    packages::{self, Package},
    ports,
    process::{self, OnOurDeath, Server, Signal},
};

const START_LIMIT: Duration = Duration::from_secs(30);

/// A running etcd; dropping it stops it.
#[derive(Debug)]
pub struct Etcd {
    _server: Server,
    port: u16,
    _scratch: Scratch,
}

impl Etcd {
    /// Starts a member on free ports.
    pub async fn start() -> Result<Self> {
        if files::on_path("etcd").is_none() {
            packages::install(&[Package::Cluster])?;
        }
        let program =
            files::on_path("etcd").ok_or_else(|| Error::Missing(Package::Cluster.advice()))?;
        let scratch = Scratch::new(None)?;
        let (port, peers) = (ports::any()?.port, ports::any()?.port);
        let clients = format!("http://127.0.0.1:{port}");
        let peers = format!("http://127.0.0.1:{peers}");
        let mut command = process::command(program.as_os_str(), None, OnOurDeath::Terminate);
        command
            .args(["--name", "only", "--data-dir"])
            .arg(scratch.path().join("data"))
            .args(["--listen-client-urls", &clients])
            .args(["--advertise-client-urls", &clients])
            .args(["--listen-peer-urls", &peers])
            .args(["--initial-advertise-peer-urls", &peers])
            .args(["--initial-cluster", &format!("only={peers}")]);
        let log = scratch.path().join("log");
        let mut server = Server::start("etcd", &mut command, Signal::TERM, Some(&log))?;
        server
            .wait_until(START_LIMIT, async || ports::is_open(port).await)
            .await?;
        Ok(Self {
            _server: server,
            port,
            _scratch: scratch,
        })
    }

    /// The port for clients, at 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}
