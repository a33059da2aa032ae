//! A private PostgreSQL, run from the system's binaries and never touching the system's cluster.

mod binaries;
mod cluster;
mod standby;

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    time::{Duration, Instant},
};

use sqlx::{AssertSqlSafe, Connection, PgConnection, postgres::PgConnectOptions};

pub(crate) use self::cluster::{end_leftover, without_surprises};
use self::{
    binaries::Binaries,
    cluster::{Passwords, data_home, init},
};
pub use self::{binaries::is_installed, cluster::remove};
use crate::{
    error::Doing as _,
    error::{Error, Result},
    files::Scratch,
    ports::{self, Reserved},
    process::{self, Account, OnOurDeath, Server, Signal},
};

/// The role that owns every database of a private server, and the server itself.
pub const OWNER: &str = "app_owner";
/// The role that the service runs as; the service's own migration creates it.
pub const RUNTIME: &str = "app_runtime";

const START_LIMIT: Duration = Duration::from_mins(1);

/// Returns the directory with the programs of the newest installed version.
pub fn programs() -> Result<PathBuf> {
    let binaries = Binaries::find(Path::new(""))?;
    // The other programs are beside the real file, not beside a link to it.
    let server = binaries
        .postgres
        .canonicalize()
        .doing(|| "find PostgreSQL's programs".into())?;
    Ok(server.parent().map_or_else(PathBuf::new, Path::to_path_buf))
}

/// A running private server; dropping it stops it.
#[derive(Debug)]
pub struct Postgres {
    server: Server,
    port: Reserved,
    passwords: Passwords,
    directory: PathBuf,
    /// Whether this start made the data.
    pub is_new: bool,
    scratch: Option<Scratch>,
}

impl Postgres {
    /// Starts a server on fresh data that loses everything when it is dropped.
    ///
    /// It writes without waiting for the disk, as no crash of the machine is to be survived.
    pub async fn throw_away() -> Result<Self> {
        Self::throw_away_with(&[]).await
    }

    /// Like [`Postgres::throw_away`], with these settings besides, such as `work_mem=8MB`.
    pub async fn throw_away_with(more: &[&str]) -> Result<Self> {
        let account = Account::for_servers()?;
        let scratch = Scratch::new(account.as_ref())?;
        let usual = [
            "max_connections=400",
            "shared_buffers=128MB",
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
            "wal_level=minimal",
            "max_wal_senders=0",
        ];
        // Of a setting that is given twice, the last one counts.
        let settings = [&usual, more].concat();
        let log = scratch.path().join("log");
        let mut started = start(
            scratch.path(),
            &log,
            account.as_ref(),
            &settings,
            ports::any,
        )
        .await?;
        started.scratch = Some(scratch);
        Ok(started)
    }

    /// Starts a server whose data stay in `home`, on the port of the last run when it is free.
    ///
    /// When the server's account cannot reach `home` the data go to a directory of the system's
    /// temporary space that outlives a restart, and `home` links to it.
    pub async fn keep(home: &Path, last_port: Option<u16>) -> Result<Self> {
        let account = match Account::owning(&home.join("postgres")) {
            Some(owner) => Some(owner),
            None => Account::for_servers()?,
        };
        let directory = data_home(home, account.as_ref())?;
        let settings = ["max_connections=100", "shared_buffers=32MB"];
        let log = home.join("postgres.log");
        start(&directory, &log, account.as_ref(), &settings, || {
            ports::reserve(last_port, 5433)
        })
        .await
    }

    /// Its process id; each connection has a child of it.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.server.id()
    }

    /// The port it listens on, at 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.port
    }

    /// The directory that holds its data and its password.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The owner's URL of one database.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.url_as(OWNER, &self.passwords.owner, database)
    }

    /// The service's own URL of one database; the service's migration creates the role.
    #[must_use]
    pub fn runtime_url(&self, database: &str) -> String {
        self.url_as(RUNTIME, &self.passwords.runtime, database)
    }

    fn url_as(&self, role: &str, password: &str, database: &str) -> String {
        format!(
            "postgres://{role}:{password}@127.0.0.1:{}/{database}?sslmode=disable",
            self.port()
        )
    }

    /// Creates a database unless it is there.
    pub async fn ensure_database(&self, name: &str) -> Result<()> {
        let mut connection = self.connect("postgres").await?;
        let found = sqlx::query("SELECT 1 FROM pg_database WHERE datname = $1")
            .bind(name)
            .fetch_optional(&mut connection)
            .await?;
        if found.is_none() {
            let quoted = name.replace('"', "\"\"");
            sqlx::query(AssertSqlSafe(format!("CREATE DATABASE \"{quoted}\"")))
                .execute(&mut connection)
                .await?;
        }
        connection.close().await?;
        Ok(())
    }

    /// Connects as the owner.
    pub async fn connect(&self, database: &str) -> Result<PgConnection> {
        Ok(PgConnection::connect_with(&PgConnectOptions::from_str(&self.url(database))?).await?)
    }

    /// Waits until the server ends by itself.
    pub async fn death(&mut self) -> Error {
        self.server.death().await
    }

    /// Stops it: sessions are cut, the data are left consistent.
    pub async fn stop(mut self) {
        self.server.stop(Duration::from_secs(10)).await;
    }
}

async fn start(
    directory: &Path,
    log: &Path,
    account: Option<&Account>,
    settings: &[&str],
    port: impl Fn() -> Result<Reserved>,
) -> Result<Postgres> {
    let data = directory.join("data");
    let binaries = Binaries::find(&data)?;
    let is_new = !data.exists();
    if is_new {
        init(&binaries, directory, account)?;
    }
    end_leftover(&data);
    let passwords = Passwords::read(&directory.join("passwords"))?;

    let began = Instant::now();
    let mut port = port()?;
    loop {
        let mut command = process::command(
            binaries.postgres.as_os_str(),
            account,
            OnOurDeath::Interrupt,
        );
        command
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.port.to_string()]);
        let listen = ["listen_addresses=127.0.0.1", "unix_socket_directories="];
        for setting in listen.iter().chain(settings) {
            command.args(["-c", setting]);
        }
        without_surprises(&mut command);
        let server = Server::start("PostgreSQL", &mut command, Signal::INT, Some(log))?;
        let mut postgres = Postgres {
            server,
            port,
            passwords: passwords.clone(),
            directory: directory.to_path_buf(),
            is_new,
            scratch: None,
        };
        match postgres.answers(began).await {
            Ok(()) => return Ok(postgres),
            // Its port was taken in the meantime.
            Err(Error::Died { log, .. })
                if log.contains("Address already in use") && began.elapsed() < START_LIMIT =>
            {
                port = ports::any()?;
            }
            // The processes of a killed server are still on their way out.
            Err(Error::Died { log, .. })
                if log.contains("still in use") && began.elapsed() < Duration::from_secs(10) =>
            {
                tokio::time::sleep(Duration::from_millis(200)).await;
                port = postgres.port;
            }
            Err(e) => return Err(e),
        }
    }
}

impl Postgres {
    async fn answers(&mut self, began: Instant) -> Result<()> {
        loop {
            let attempt = self.connect("postgres").await;
            self.server.check()?;
            match attempt {
                Ok(connection) => return Ok(connection.close().await?),
                Err(Error::Database(e)) if is_refusal(&e) => return Err(e.into()),
                Err(_) if began.elapsed() > START_LIMIT => {
                    return Err(self.server.unresponsive(START_LIMIT.as_secs()));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }
}

/// An answer that waiting does not change: anything but "not yet" (57P03).
fn is_refusal(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|e| e.code().is_none_or(|code| code != "57P03"))
}
