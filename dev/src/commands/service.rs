//! The service's binary, as these commands call it.

use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
};

use groundwork_dev::{
    Error, Postgres, Result,
    error::Doing,
    files,
    process::{self, OnOurDeath},
};

pub(super) const NAME: &str = "groundwork";

/// A database as the service is told about it: its own role's URL, and the owner's.
pub(super) struct Database {
    pub(super) runtime_url: String,
    pub(super) owner_url: String,
}

impl Database {
    pub(super) fn new(postgres: &Postgres, name: &str) -> Self {
        Self {
            runtime_url: postgres.runtime_url(name),
            owner_url: postgres.url(name),
        }
    }

    pub(super) fn env(&self) -> [(&'static str, &str); 2] {
        [
            ("DATABASE_URL", &self.runtime_url),
            ("DATABASE_MIGRATION_URL", &self.owner_url),
        ]
    }
}

/// The service's binary, which is built beside this one.
fn binary() -> Result<PathBuf> {
    let me = env::current_exe().doing(|| "find this program".into())?;
    let binary = me.with_file_name(NAME);
    if files::is_program(&binary) {
        return Ok(binary);
    }
    Err(Error::Missing(format!(
        "{NAME} is not built: cargo build --workspace --bins"
    )))
}

/// A command of the service that ends when we do.
pub(super) fn command(args: &[&str]) -> Result<Command> {
    let mut command = process::command(binary()?.as_os_str(), None, OnOurDeath::Terminate);
    command.args(args).env("APP_ENV", "development");
    Ok(command)
}

/// Returns whether the caller has set an address for metrics.
pub(super) fn has_metrics_address() -> bool {
    env::var_os("METRICS_ADDR").is_some_and(|address| !address.is_empty())
}

/// New secrets, as lines of `NAME=value`.
pub(super) fn make_secrets() -> Result<String> {
    let output = command(&["keys", "generate"])?
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .doing(|| format!("start {NAME}"))?;
    if !output.status.success() {
        return Err(Error::Other(format!(
            "{NAME} keys generate: {}",
            output.status
        )));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Every setting that the service insists on.
pub(super) fn settings(
    database: &Database,
    port: u16,
    smtp_url: &str,
    secrets: &str,
) -> Vec<(String, String)> {
    let address = format!("127.0.0.1:{port}");
    let url = format!("http://{address}");
    let plain = [
        ("BIND_ADDR", address.as_str()),
        ("PUBLIC_URL", &url),
        ("SMTP_URL", smtp_url),
        ("MAIL_FROM", "Groundwork <hello@example.com>"),
        ("DATABASE_URL", &database.runtime_url),
        ("DATABASE_MIGRATION_URL", &database.owner_url),
    ];
    let secrets = secrets.lines().filter_map(|line| line.split_once('='));
    plain
        .into_iter()
        .chain(secrets)
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

/// Brings a database to the newest schema, with the service's own runner.
///
/// That reads the whole configuration; what it has no use for is made up.
pub(super) fn migrate(database: &Database) -> Result<()> {
    let mut command = command(&["migrate"])?;
    command
        .envs(settings(
            database,
            1,
            "smtp://127.0.0.1:1",
            &make_secrets()?,
        ))
        .env("LOG_LEVEL", "warn")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let status = command.status().doing(|| format!("start {NAME}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(Error::Other(format!("{NAME} migrate: {status}")))
    }
}
