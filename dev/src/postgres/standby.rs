//! A standby: a copy of a running server that follows it.

use std::{
    fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Stdio,
};

use super::{
    Postgres, binaries::Binaries, cluster::data_home, cluster::without_surprises, ports, process,
};
use crate::{
    error::{Doing as _, Error, Result},
    process::{Account, OnOurDeath},
};

impl Postgres {
    /// Copies a server that [`Postgres::keep`] has started into `home`, and starts the copy as its standby. Once stopped it is
    /// started again by [`Postgres::keep`].
    pub async fn standby_of(primary: &Self, home: &Path) -> Result<Self> {
        let account = Account::for_servers()?;
        let directory = data_home(home, account.as_ref())?;
        copy(primary, &directory, account.as_ref())?;
        let port = ports::any()?.port;
        Self::keep(home, Some(port)).await
    }
}

fn copy(primary: &Postgres, directory: &Path, account: Option<&Account>) -> Result<()> {
    let data = directory.join("data");
    let server = Binaries::find(&primary.directory().join("data"))?.postgres;
    // The other programs are beside the real file, not beside a link to it.
    let server = server
        .canonicalize()
        .doing(|| "find PostgreSQL's programs".into())?;
    let program = server.parent().map_or_else(PathBuf::new, Path::to_path_buf);
    let program = program.join("pg_basebackup");
    let mut command = process::command(program.as_os_str(), account, OnOurDeath::Terminate);
    command
        .args(["--write-recovery-conf", "--wal-method=stream"])
        .args(["--checkpoint=fast", "--no-sync", "--pgdata"])
        .arg(&data)
        .args(["--dbname", &primary.url("postgres")]);
    without_surprises(&mut command);
    let output = command.stdin(Stdio::null()).output();
    let output = output.doing(|| "start pg_basebackup".into())?;
    if !output.status.success() {
        return Err(Error::Died {
            name: "pg_basebackup".into(),
            status: output.status.to_string(),
            log: String::from_utf8_lossy(&output.stderr).trim().into(),
        });
    }
    let passwords = directory.join("passwords");
    fs::copy(primary.directory().join("passwords"), &passwords).doing_to("write", &passwords)?;
    if let Some(account) = account {
        chown(&passwords, Some(account.uid), Some(account.gid))
            .doing_to("hand over", &passwords)?;
    }
    Ok(())
}
