//! A private `PgBouncer` for the tests, in front of a private PostgreSQL.

use std::{
    fs,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::{
    error::{Doing, Error, Result},
    files::{self, Scratch},
    packages::{self, Package},
    ports,
    process::{self, Account, OnOurDeath, Server, Signal},
};

const START_LIMIT: Duration = Duration::from_secs(20);

/// For how long a client keeps a session of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolMode {
    /// For as long as it is connected.
    Session,
    /// For one transaction.
    Transaction,
}

/// A running pooler; dropping it stops it.
#[derive(Debug)]
pub struct PgBouncer {
    _server: Server,
    port: u16,
    _scratch: Scratch,
}

impl PgBouncer {
    /// Starts a pooler on a free port, in front of the server of this URL and for its user.
    pub async fn start(url: &url::Url, mode: PoolMode) -> Result<Self> {
        if files::on_path("pgbouncer").is_none() {
            packages::install(&[Package::PgBouncer])?;
        }
        let program = files::on_path("pgbouncer")
            .ok_or_else(|| Error::Missing(Package::PgBouncer.advice()))?;
        let account = Account::for_servers()?;
        let scratch = Scratch::new(account.as_ref())?;
        let port = ports::any()?.port;
        let users = scratch.path().join("users");
        let settings = scratch.path().join("pgbouncer.ini");
        let user = format!(
            "\"{}\" \"{}\"\n",
            url.username(),
            url.password().unwrap_or_default()
        );
        let mode = match mode {
            PoolMode::Session => "session",
            PoolMode::Transaction => "transaction",
        };
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = plain\nauth_file = {users}\n\
             pool_mode = {mode}\n",
            server = url.port().unwrap_or(5432),
            users = users.display(),
        );
        fs::write(&users, user).doing(|| "write the pooler's users".into())?;
        fs::write(&settings, text).doing(|| "write the pooler's settings".into())?;
        let mut command =
            process::command(program.as_os_str(), account.as_ref(), OnOurDeath::Terminate);
        command.arg(&settings);
        let log = scratch.path().join("log");
        let mut server = Server::start("PgBouncer", &mut command, Signal::INT, Some(&log))?;
        let began = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .is_err()
        {
            server.check()?;
            if began.elapsed() > START_LIMIT {
                return Err(server.unresponsive(START_LIMIT.as_secs()));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(Self {
            _server: server,
            port,
            _scratch: scratch,
        })
    }

    /// The port it listens on, at 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}
