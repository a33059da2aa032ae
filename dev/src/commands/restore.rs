//! `restore`: the tests of backups and restores, with the programs that they need.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
};

use groundwork_dev::{
    Error, Result,
    error::Doing,
    files,
    packages::{self, Package},
    postgres,
    process::{self, Account, OnOurDeath},
};

use super::{
    foreground::{Foreground, Interrupts},
    home, say, service,
};

const SCRIPT: &str = "tests/restore/run";
/// Programs of the packages below, and of the system.
const OF_PACKAGES: [&str; 3] = ["pgbackrest", "jq", "zstd"];
const OF_SYSTEM: [&str; 6] = ["bash", "openssl", "gpg", "curl", "flock", "setpriv"];
/// Exit code where programs are missing and cannot be installed.
const UNAVAILABLE: u8 = 69;

/// `restore`: runs the script and ends with its code.
pub(crate) async fn restore(args: Vec<OsString>) -> Result<ExitCode> {
    let root = home::checkout()?;
    let mut interrupts = Interrupts::listen()?;
    if let Err(error) = install_missing() {
        say(&error.to_string());
        return Ok(ExitCode::from(UNAVAILABLE));
    }
    let me = env::current_exe().doing(|| "find this program".into())?;
    let mut script = process::command(SCRIPT.as_ref(), None, OnOurDeath::Terminate);
    script
        .args(args)
        .current_dir(&root)
        .env("PATH", path_with(&postgres::programs()?)?)
        .env("GROUNDWORK", me.with_file_name(service::NAME))
        .env("GROUNDWORK_DEV", &me);
    if let Some(account) = Account::for_servers()? {
        script.env("ACCOUNT", account.uid.to_string());
    }
    let ended = Foreground::start(&mut script)?
        .wait(&mut interrupts)
        .await?;
    Ok(ended.code())
}

fn install_missing() -> Result<()> {
    let mut missing = Vec::new();
    if !postgres::is_installed() {
        missing.push(Package::Postgres);
    }
    if OF_PACKAGES.iter().any(|it| files::on_path(it).is_none()) {
        missing.push(Package::PgBackRest);
    }
    if !missing.is_empty() {
        packages::install(&missing)?;
    }
    match OF_SYSTEM.iter().find(|it| files::on_path(it).is_none()) {
        Some(name) => Err(Error::Missing(format!("{name} is not installed"))),
        None => Ok(()),
    }
}

fn path_with(directory: &Path) -> Result<OsString> {
    let rest = env::var_os("PATH").unwrap_or_default();
    let all = [PathBuf::from(directory)]
        .into_iter()
        .chain(env::split_paths(&rest));
    env::join_paths(all).map_err(|error| Error::Other(format!("PATH cannot be set: {error}")))
}
