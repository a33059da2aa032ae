//! A private `PgBouncer` for the tests, in front of a private PostgreSQL.

mod program;

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tokio::net::TcpStream;
use tokio::time::sleep;

pub use self::program::Program;
use crate::{
    error::{Doing, Result},
    files::Scratch,
    ports,
    process::{self, Account, OnOurDeath, Server},
};

const START_LIMIT: Duration = Duration::from_secs(20);

/// For how long a client keeps a session of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolMode {
    /// For as long as it is connected.
    Session,
    /// For one transaction.
    Transaction,
    /// For one statement.
    Statement,
}

impl PoolMode {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Transaction => "transaction",
            Self::Statement => "statement",
        }
    }
}

/// Settings of a pooler.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// `pool_mode`
    pub mode: PoolMode,
    /// The program.
    pub program: Program,
    /// `default_pool_size`: connections to the server, of each user to each database.
    pub pool_size: u32,
    /// `max_prepared_statements`, which an old program does not have.
    pub prepared_statements: u32,
    /// `query_wait_timeout`, in seconds.
    pub query_wait: u32,
}

impl Options {
    /// Settings for a service, and a program that follows prepared statements.
    #[must_use]
    pub const fn for_service(mode: PoolMode) -> Self {
        Self {
            mode,
            program: Program::Following,
            pool_size: 20,
            prepared_statements: 200,
            query_wait: 120,
        }
    }
}

/// A running pooler; dropping it stops it.
#[derive(Debug)]
pub struct PgBouncer {
    server: Server,
    port: u16,
    start: Start,
    _scratch: Scratch,
}

/// Its command, to start it another time.
#[derive(Debug)]
struct Start {
    program: PathBuf,
    program_kind: Program,
    settings: PathBuf,
    log: PathBuf,
    account: Option<Account>,
}

impl PgBouncer {
    /// Starts the program of the system in front of the server of this URL and for its user. An old one does not follow
    /// prepared statements.
    pub async fn start(url: &url::Url, mode: PoolMode) -> Result<Self> {
        let options = Options {
            program: Program::OfSystem,
            ..Options::for_service(mode)
        };
        Self::start_with(url, options).await
    }

    /// Starts a pooler on a free port, in front of the server of this URL and for its user, with all databases of it.
    pub async fn start_with(url: &url::Url, options: Options) -> Result<Self> {
        let users = format!(
            "\"{}\" \"{}\"\n",
            url.username(),
            url.password().unwrap_or_default()
        );
        let text = |port: u16, users: &Path| {
            let mut text = format!(
                "[databases]\n* = host=127.0.0.1 port={server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
                 listen_port = {port}\nauth_type = plain\nauth_file = {users}\n\
                 pool_mode = {mode}\ndefault_pool_size = {size}\nmax_client_conn = 2000\nserver_idle_timeout = 20\n\
                 query_wait_timeout = {query_wait}\n",
                server = url.port().unwrap_or(5432),
                users = users.display(),
                mode = options.mode.as_str(),
                size = options.pool_size,
                query_wait = options.query_wait,
            );
            if options.program == Program::Following {
                let line = format!(
                    "max_prepared_statements = {}\n",
                    options.prepared_statements
                );
                text.push_str(&line);
            }
            text
        };
        Self::start_from(options.program, &users, text).await
    }

    /// Starts a pooler with the settings that `text` returns for a port and the path of `users`.
    pub async fn start_from(
        program_kind: Program,
        users: &str,
        text: impl FnOnce(u16, &Path) -> String,
    ) -> Result<Self> {
        let program = program_kind.find()?;
        let account = Account::for_servers()?;
        let scratch = Scratch::new(account.as_ref())?;
        let program = program::copy_for(program, account.as_ref(), scratch.path())?;
        let port = ports::any()?.port;
        let users_path = scratch.path().join("users");
        let settings = scratch.path().join("pgbouncer.ini");
        fs::write(&users_path, users).doing(|| "write the pooler's users".into())?;
        // No socket of the file system, which others might use.
        let text = format!("{}\nunix_socket_dir =\n", text(port, &users_path));
        fs::write(&settings, text).doing(|| "write the pooler's settings".into())?;
        let start = Start {
            program,
            program_kind,
            settings,
            log: scratch.path().join("log"),
            account,
        };
        let server = start.start(port).await?;
        Ok(Self {
            server,
            port,
            start,
            _scratch: scratch,
        })
    }

    /// Closes all connections at once, and starts again on the same port after `pause`.
    pub async fn restart(&mut self, pause: Duration) -> Result<()> {
        self.server.stop(Duration::from_secs(5)).await;
        sleep(pause).await;
        self.server = self.start.start(self.port).await?;
        Ok(())
    }

    /// The port it listens on, at 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Process id of the pooler.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.server.id()
    }
}

impl Start {
    async fn start(&self, port: u16) -> Result<Server> {
        let mut command = process::command(
            self.program.as_os_str(),
            self.account.as_ref(),
            OnOurDeath::Terminate,
        );
        command.arg(&self.settings);
        let stop_with = self.program_kind.immediate_stop();
        let mut server = Server::start("PgBouncer", &mut command, stop_with, Some(&self.log))?;
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
        Ok(server)
    }
}
