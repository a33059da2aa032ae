//! A private PostgreSQL, run from the system's binaries and never touching the system's cluster.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    str::FromStr,
    time::{Duration, Instant},
};

use sqlx::{AssertSqlSafe, Connection, PgConnection, postgres::PgConnectOptions};

use crate::{
    error::{Doing, Error, Result},
    files::{self, Scratch},
    packages::{self, Package},
    ports::{self, Reserved},
    process::{self, Account, OnOurDeath, Server, Signal},
};

/// The role that owns every database of a private server, and the server itself.
pub const OWNER: &str = "app_owner";
/// The role that the service runs as; the service's own migration creates it.
pub const RUNTIME: &str = "app_runtime";

const OLDEST: u32 = 15;
const START_LIMIT: Duration = Duration::from_mins(1);

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
        let account = Account::for_servers()?;
        let scratch = Scratch::new(account.as_ref())?;
        let settings = [
            "max_connections=400",
            "shared_buffers=128MB",
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
            "wal_level=minimal",
            "max_wal_senders=0",
        ];
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

/// The passwords of both roles, one a line in a file beside the data that they open.
#[derive(Clone, Debug)]
struct Passwords {
    owner: String,
    runtime: String,
}

impl Passwords {
    /// The owner's comes first: that line is all that initdb reads.
    fn make(path: &Path) -> Result<()> {
        let text = format!("{}\n{}\n", files::random_hex(16)?, files::random_hex(16)?);
        files::write_private(path, &text)
    }

    fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).doing_to("read", path)?;
        let mut lines = text.lines().map(str::to_owned);
        match (lines.next(), lines.next()) {
            (Some(owner), Some(runtime)) => Ok(Self { owner, runtime }),
            _ => Err(Error::Other(format!(
                "{} is damaged: start afresh with `make clean-dev`",
                path.display()
            ))),
        }
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
                    return Err(self.server.silent(START_LIMIT.as_secs()));
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

/// Where the data of a checkout live.
fn data_home(home: &Path, account: Option<&Account>) -> Result<PathBuf> {
    let home = home.canonicalize().doing_to("look at", home)?;
    let link = home.join("postgres");
    match account {
        Some(account) if !account.can_enter(&home) => {
            let name = format!(
                "{}-{:016x}",
                env!("CARGO_PKG_NAME"),
                fnv1a(home.as_os_str().as_encoded_bytes())
            );
            let elsewhere = Path::new("/var/tmp").join(name);
            files::private_dir(&elsewhere, Some(account))?;
            if fs::read_link(&link).ok().as_deref() != Some(elsewhere.as_path()) {
                let _ = fs::remove_file(&link);
                std::os::unix::fs::symlink(&elsewhere, &link).doing_to("link", &link)?;
            }
            Ok(elsewhere)
        }
        _ => {
            if link.is_symlink() {
                fs::remove_file(&link).doing_to("remove the link", &link)?;
            }
            files::private_dir(&link, account)?;
            Ok(link)
        }
    }
}

/// A hash that stays the same in every version of the toolchain.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Makes the data directory; one that was left half made is made again.
fn init(binaries: &Binaries, directory: &Path, account: Option<&Account>) -> Result<()> {
    let draft = directory.join("data.new");
    if draft.exists() {
        fs::remove_dir_all(&draft).doing_to("remove", &draft)?;
    }
    let password_file = directory.join("passwords");
    Passwords::make(&password_file)?;
    if let Some(account) = account {
        chown(&password_file, Some(account.uid), Some(account.gid))
            .doing_to("hand over", &password_file)?;
    }

    let mut command = process::command(binaries.initdb.as_os_str(), account, OnOurDeath::Terminate);
    command
        .arg("-D")
        .arg(&draft)
        .arg("--pwfile")
        .arg(&password_file);
    command.args([
        "--username",
        OWNER,
        "--auth=scram-sha-256",
        "--no-sync",
        "--no-instructions",
        "--encoding=UTF8",
    ]);
    // Code points in order, as in production images; a Mac calls that locale C.
    command.arg(if cfg!(target_os = "macos") {
        "--locale=C"
    } else {
        "--locale=C.UTF-8"
    });
    without_surprises(&mut command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .doing(|| "start initdb".into())?;
    if !output.status.success() {
        return Err(Error::Died {
            name: "initdb".into(),
            status: output.status.to_string(),
            log: String::from_utf8_lossy(&output.stderr).trim().into(),
        });
    }
    fs::rename(&draft, directory.join("data")).doing_to("move into place", &draft)
}

/// The caller's own PostgreSQL settings and language stay out of it.
fn without_surprises(command: &mut Command) {
    for name in [
        "PGDATA",
        "PGPORT",
        "PGHOST",
        "PGUSER",
        "PGDATABASE",
        "PGOPTIONS",
        "PGTZ",
    ] {
        command.env_remove(name);
    }
    command.env("LC_ALL", "C");
}

/// Stops a server that a killed run left on this data, and forgets one that is no more.
pub(crate) fn end_leftover(data: &Path) {
    let note = data.join("postmaster.pid");
    let Ok(text) = fs::read_to_string(&note) else {
        return;
    };
    let Some(pid) = text
        .lines()
        .next()
        .and_then(|line| line.trim().parse().ok())
    else {
        let _ = fs::remove_file(&note);
        return;
    };
    // The number may meanwhile belong to something else, which is then none of our business.
    if process::is_alive(pid) && process::command_line(pid).contains(&*data.to_string_lossy()) {
        process::end(pid, Signal::INT, Duration::from_secs(10));
    }
    let _ = fs::remove_file(&note);
}

/// The programs of one installed version.
struct Binaries {
    postgres: PathBuf,
    initdb: PathBuf,
}

impl Binaries {
    /// Finds the newest version, or the one that made the data; installs one when there is none.
    fn find(data: &Path) -> Result<Self> {
        let made_by: Option<u32> = fs::read_to_string(data.join("PG_VERSION"))
            .ok()
            .and_then(|text| text.trim().parse().ok());
        let fits = |version| made_by.map_or(version >= OLDEST, |made_by| made_by == version);
        let find = || {
            candidates()
                .into_iter()
                .find(|dir| version(dir).is_some_and(fits))
        };
        let found = find().or_else(|| {
            let install = made_by.is_none() && packages::install(&[Package::Postgres]).is_ok();
            install.then(find).flatten()
        });
        match (found, made_by) {
            (Some(dir), _) => Ok(Self {
                postgres: dir.join("postgres"),
                initdb: dir.join("initdb"),
            }),
            (None, Some(version)) => Err(Error::Missing(format!(
                "{} was made by PostgreSQL {version}, which is not installed: install it, or start afresh with `make clean-dev`",
                data.display()
            ))),
            (None, None) => Err(Error::Missing(format!(
                "PostgreSQL {OLDEST} or newer is needed and could not be installed: {}",
                Package::Postgres.advice()
            ))),
        }
    }

    fn are_there() -> bool {
        candidates()
            .into_iter()
            .any(|dir| version(&dir).is_some_and(|version| version >= OLDEST))
    }
}

/// Whether a usable version is installed.
#[must_use]
pub fn is_installed() -> bool {
    Binaries::are_there()
}

/// Directories that hold a server, the likeliest first.
fn candidates() -> Vec<PathBuf> {
    let on_path = files::on_path("postgres").and_then(|path| Some(path.parent()?.to_path_buf()));
    let packaged = subdirectories("/usr/lib/postgresql", "bin");
    let homebrew = ["/opt/homebrew/opt", "/usr/local/opt"]
        .into_iter()
        .flat_map(|prefix| {
            subdirectories(prefix, "bin")
                .into_iter()
                .filter(|dir| dir.to_string_lossy().contains("/postgresql"))
        });
    let configured = || {
        let output = Command::new("pg_config")
            .arg("--bindir")
            .stderr(Stdio::null())
            .output()
            .ok()?;
        Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
    };
    let mut found: Vec<PathBuf> = on_path
        .into_iter()
        .chain(packaged)
        .chain(homebrew)
        .collect();
    if found.is_empty() {
        found.extend(configured());
    }
    found.retain(|dir| {
        files::is_program(&dir.join("postgres")) && files::is_program(&dir.join("initdb"))
    });
    found
}

/// `<parent>/*/<leaf>`, the highest version first.
fn subdirectories(parent: &str, leaf: &str) -> Vec<PathBuf> {
    let number = |path: &Path| -> u32 {
        let digits = path
            .to_string_lossy()
            .chars()
            .filter(char::is_ascii_digit)
            .collect::<String>();
        digits.parse().unwrap_or(0)
    };
    let mut found: Vec<PathBuf> = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    found.sort_by_key(|path| std::cmp::Reverse(number(path)));
    found.into_iter().map(|path| path.join(leaf)).collect()
}

/// The major version of the server in a directory.
fn version(directory: &Path) -> Option<u32> {
    let output = Command::new(directory.join("postgres"))
        .arg("--version")
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    // "postgres (PostgreSQL) 17.2 (Debian 17.2-1)", and "17beta1" before a release.
    let number = text.split_whitespace().nth(2)?;
    number
        .split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

/// Removes the data of a checkout; the caller holds its run lock.
pub fn remove(home: &Path) -> Result<()> {
    let link = home.join("postgres");
    let Ok(directory) = link.canonicalize() else {
        let _ = fs::remove_file(&link);
        return Ok(());
    };
    end_leftover(&directory.join("data"));
    // Data are written without right of writing for anybody else, but the directory is ours.
    let _ = fs::set_permissions(&directory, fs::Permissions::from_mode(0o700));
    fs::remove_dir_all(&directory).doing_to("remove", &directory)?;
    if link.is_symlink() {
        fs::remove_file(&link).doing_to("remove", &link)?;
    }
    Ok(())
}
