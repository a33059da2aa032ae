//! The server's programs, found where systems put them or installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    error::{Error, Result},
    files,
    packages::{self, Package},
};

const OLDEST: u32 = 15;

/// The programs of one installed version.
pub(super) struct Binaries {
    pub(super) postgres: PathBuf,
    pub(super) initdb: PathBuf,
}

impl Binaries {
    /// Finds the newest version, or the one that made the data; installs one when there is none.
    pub(super) fn find(data: &Path) -> Result<Self> {
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
