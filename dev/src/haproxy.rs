//! A private `HAProxy` for the tests, whose health checks ask Patroni which member is the primary.

mod http;

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    error::{Doing, Error, Result},
    files::{self, Scratch},
    packages::{self, Package},
    ports,
    process::{self, OnOurDeath, Server, Signal},
};

pub use self::http::{Balance, HttpProxy};

const START_LIMIT: Duration = Duration::from_secs(20);

/// A member of the cluster as the proxy reaches it.
#[derive(Clone, Copy, Debug)]
pub struct Upstream {
    /// The port of PostgreSQL.
    pub postgres: u16,
    /// The port of Patroni's REST API.
    pub rest: u16,
}

/// A running proxy; dropping it stops it.
#[derive(Debug)]
pub struct HaProxy {
    _server: Server,
    primary: u16,
    replicas: u16,
    _scratch: Scratch,
}

impl HaProxy {
    /// Starts a proxy on two free ports, by the text of `deploy/ha/haproxy.cfg` with these members.
    pub async fn start(configuration: &str, members: &[Upstream]) -> Result<Self> {
        install(Package::Cluster)?;
        let scratch = Scratch::new(None)?;
        let (primary, replicas) = (ports::any()?.port, ports::any()?.port);
        let text = with_members(configuration, primary, replicas, members)?;
        let server = start(&scratch, &text, primary).await?;
        Ok(Self {
            _server: server,
            primary,
            replicas,
            _scratch: scratch,
        })
    }

    /// The port that leads to the primary, at 127.0.0.1.
    #[must_use]
    pub fn primary(&self) -> u16 {
        self.primary
    }

    /// The port that leads to the standbys, at 127.0.0.1.
    #[must_use]
    pub fn replicas(&self) -> u16 {
        self.replicas
    }
}

/// Debian has it in a directory that is not on everybody's path.
fn program() -> Option<PathBuf> {
    let of_root = Path::new("/usr/sbin/haproxy");
    files::on_path("haproxy").or_else(|| files::is_program(of_root).then(|| of_root.to_path_buf()))
}

/// Installs the proxy, with the other programs of a package, if it is missing.
fn install(package: Package) -> Result<()> {
    if program().is_none() {
        packages::install(&[package])?;
    }
    Ok(())
}

/// Starts the proxy by this configuration, and waits until it listens on the port.
async fn start(scratch: &Scratch, configuration: &str, port: u16) -> Result<Server> {
    let program = program().ok_or_else(|| Error::Missing(Package::Proxies.advice()))?;
    let file = scratch.path().join("haproxy.cfg");
    fs::write(&file, configuration).doing_to("write", &file)?;
    let mut command = process::command(program.as_os_str(), None, OnOurDeath::Terminate);
    command.args(["-db", "-f"]).arg(&file);
    let log = scratch.path().join("log");
    let mut server = Server::start("HAProxy", &mut command, Signal::TERM, Some(&log))?;
    let is_open = async || ports::is_open(port).await;
    server.wait_until(START_LIMIT, is_open).await?;
    Ok(server)
}

/// The configuration with these members instead of its own, on loopback.
fn with_members(
    configuration: &str,
    primary: u16,
    replicas: u16,
    members: &[Upstream],
) -> Result<String> {
    let mut servers = String::new();
    for (number, member) in members.iter().enumerate() {
        let Upstream { postgres, rest } = member;
        let _ = writeln!(
            servers,
            "    server member-{number} 127.0.0.1:{postgres} check port {rest}"
        );
    }
    let mut text = String::new();
    let mut before_is_server = false;
    for line in configuration.lines() {
        let is_server = line.trim_start().starts_with("server ");
        if is_server && !before_is_server {
            text.push_str(&servers);
        }
        if !is_server {
            let _ = writeln!(text, "{line}");
        }
        before_is_server = is_server;
    }
    for (from, to) in [("*:5432", primary), ("*:5433", replicas)] {
        if !text.contains(from) {
            return Err(Error::Other(format!("deploy/ha/haproxy.cfg has no {from}")));
        }
        text = text.replace(from, &format!("127.0.0.1:{to}"));
    }
    Ok(text)
}
