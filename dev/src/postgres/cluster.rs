//! The data directory: where it lies, how it is made, left and removed.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use super::{OWNER, binaries::Binaries};
use crate::{
    error::{Doing, Error, Result},
    files,
    process::{self, Account, OnOurDeath, Signal},
};

/// The passwords of both roles, one a line in a file beside the data that they open.
#[derive(Clone, Debug)]
pub(super) struct Passwords {
    pub(super) owner: String,
    pub(super) runtime: String,
}

impl Passwords {
    /// The owner's comes first: that line is all that initdb reads.
    fn make(path: &Path) -> Result<()> {
        let text = format!("{}\n{}\n", files::random_hex(16)?, files::random_hex(16)?);
        files::write_private(path, &text)
    }

    pub(super) fn read(path: &Path) -> Result<Self> {
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

/// Where the data of a checkout live.
pub(super) fn data_home(home: &Path, account: Option<&Account>) -> Result<PathBuf> {
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
pub(super) fn init(binaries: &Binaries, directory: &Path, account: Option<&Account>) -> Result<()> {
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
pub(crate) fn without_surprises(command: &mut Command) {
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
