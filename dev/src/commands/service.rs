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

/// What a command of the service prints.
pub(super) fn output(args: &[&str]) -> Result<String> {
    let output = command(args)?
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output();
    let output = output.doing(|| format!("start {NAME}"))?;
    if !output.status.success() {
        return Err(Error::Other(format!(
            "{NAME} {}: {}",
            args.join(" "),
            output.status
        )));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Brings a database to the newest schema, with the service's own runner.
pub(super) fn migrate(database: &Database) -> Result<()> {
    let mut command = command(&["migrate"])?;
    command
        .envs(database.env())
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
