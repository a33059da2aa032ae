//! Files and directories: found programs, private files, and scratch space that goes away.

use std::{
    env, fs,
    io::{Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use crate::{
    error::{Doing, Error, Result},
    process::{self, Account},
};

const PREFIX: &str = concat!(env!("CARGO_PKG_NAME"), "-scratch-");

/// Finds a program on `PATH`.
#[must_use]
pub fn on_path(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|dir| dir.join(program))
        .find(|path| is_program(path))
}

/// Whether the path is a file that may be executed.
#[must_use]
pub fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Writes a file that only its owner reads, whole or not at all.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let write = || {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&draft, path)
    };
    write().doing_to("write", path)
}

/// Makes a directory that only its owner, us or the given account, may enter.
pub fn private_dir(path: &Path, owner: Option<&Account>) -> Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        // In a shared place a name may be taken by somebody else's directory or link.
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            let found = path.symlink_metadata().doing_to("look at", path)?;
            let me = rustix::process::geteuid().as_raw();
            let trusted = found.uid() == me || owner.is_some_and(|owner| owner.uid == found.uid());
            if !found.is_dir() || !trusted {
                return Err(Error::Other(format!(
                    "{} exists and is not ours: remove it and try again",
                    path.display()
                )));
            }
        }
        Err(e) => return Err(e).doing_to("create", path),
    }
    if let Some(owner) = owner {
        chown(path, Some(owner.uid), Some(owner.gid)).doing_to("hand over", path)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).doing_to("protect", path)
}

/// The last lines of a log, for a message.
#[must_use]
pub fn tail(path: &Path) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// Random bytes of the operating system, in hexadecimal.
pub fn random_hex(bytes: usize) -> Result<String> {
    let mut buffer = vec![0_u8; bytes];
    fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut buffer))
        .doing(|| "read randomness".into())?;
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or_default();
    Ok(buffer
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect())
}

/// A directory in the system's temporary space, deleted when dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes a fresh directory, owned by the given account if there is one.
    pub fn new(account: Option<&Account>) -> Result<Self> {
        let name = format!("{PREFIX}{}-{}", std::process::id(), random_hex(4)?);
        let root = roots()
            .into_iter()
            .find(|root| account.is_none_or(|account| account.can_enter(root)))
            .ok_or_else(|| {
                Error::Other("no temporary directory that the server's account may enter".into())
            })?;
        let path = root.join(name);
        private_dir(&path, account)?;
        Ok(Self(path))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Removes what runs that were killed left behind, and ends the servers that outlived them.
    pub fn sweep() {
        let me = rustix::process::geteuid().as_raw();
        let servers = Account::for_servers()
            .ok()
            .flatten()
            .map(|account| account.uid);
        let entries = roots()
            .into_iter()
            .filter_map(|root| fs::read_dir(root).ok());
        for entry in entries.flatten().flatten() {
            let (name, path) = (entry.file_name(), entry.path());
            let owner = name
                .to_str()
                .and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
            let Some(pid) = owner.and_then(|pid| pid.parse().ok()) else {
                continue;
            };
            // The place is shared: what somebody else put there under our name is not followed.
            let Ok(meta) = entry.metadata() else { continue };
            let is_mine = meta.uid() == me;
            if !meta.is_dir() || !(is_mine || servers == Some(meta.uid())) || process::is_alive(pid)
            {
                continue;
            }
            crate::postgres::end_leftover(&path.join("data"));
            if is_mine {
                // It may have been the home of data that lie elsewhere.
                let _ = crate::postgres::remove(&path);
            }
            let _ = fs::remove_dir_all(path);
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A server that has just been told to end may still write a file while we delete.
        for _ in 0..20 {
            match fs::remove_dir_all(&self.0) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
                _ => return,
            }
        }
    }
}

fn roots() -> Vec<PathBuf> {
    let mut roots = vec![env::temp_dir(), "/tmp".into(), "/var/tmp".into()];
    roots.dedup();
    roots
}
