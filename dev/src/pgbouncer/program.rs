//! The program: that of the system, or one that is built once, since releases before 1.21 do not follow prepared statements.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    error::{Doing, Error, Result},
    files,
    packages::{self, Package},
    process::{Account, Signal},
};

/// First release that follows prepared statements of its clients.
const FOLLOWING: (u32, u32) = (1, 21);

/// Which program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The one on `PATH`, of any version.
    OfSystem,
    /// One that follows prepared statements: that on `PATH` if it is new enough, and otherwise one that is built from the
    /// source package of Debian 13 and kept in the target directory.
    Following,
}

impl Program {
    /// Finds the program, installs or builds it.
    pub fn find(self) -> Result<PathBuf> {
        if files::on_path("pgbouncer").is_none() {
            let installed = packages::install(&[Package::PgBouncer]);
            if self == Self::OfSystem {
                installed?;
            }
        }
        let of_system = files::on_path("pgbouncer");
        match self {
            Self::OfSystem => of_system.ok_or_else(|| Error::Missing(Package::PgBouncer.advice())),
            Self::Following => match of_system {
                Some(program) if version(&program)? >= FOLLOWING => Ok(program),
                _ => build_once(),
            },
        }
    }

    /// Returns whether the program follows prepared statements.
    pub fn follows_statements(self) -> Result<bool> {
        Ok(version(&self.find()?)? >= FOLLOWING)
    }

    /// The signal that ends it without waiting for clients.
    pub(super) const fn immediate_stop(self) -> Signal {
        match self {
            // Old ones do not know QUIT.
            Self::OfSystem => Signal::INT,
            Self::Following => Signal::QUIT,
        }
    }
}

/// Major and minor version of a program.
fn version(program: &Path) -> Result<(u32, u32)> {
    let output = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .doing_to("run", program)?;
    let text = String::from_utf8_lossy(&output.stdout);
    parse_version(&text).ok_or_else(|| {
        Error::Other(format!(
            "{} --version has no version: {text}",
            program.display()
        ))
    })
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.lines().next()?.strip_prefix("PgBouncer ")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Run with the directory of the program as its argument. Nothing of the system is changed: lists and packages of apt are
/// kept in a directory of the build.
const BUILD: &str = r#"
set -eu
export LC_ALL=C.UTF-8
work=$(mktemp -d "$1/build.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
cd "$work"
mkdir -p lists/partial cache/archives/partial
echo 'deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian trixie main' > sources.list
apt() {
    apt-get -q -o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache" -o Dir::Etc::sourcelist="$work/sources.list" \
        -o Dir::Etc::sourceparts=/dev/null -o APT::Sandbox::User=root "$@"
}
apt update
apt --download-only source pgbouncer
tar xf pgbouncer_*.orig.tar.gz
cd pgbouncer-*/
./configure --without-cares --with-systemd=no
make -j2 pgbouncer
cp pgbouncer "$1/pgbouncer.new"
mv "$1/pgbouncer.new" "$1/pgbouncer"
"#;

/// Builds the program, unless it was built before. Of several processes one builds.
fn build_once() -> Result<PathBuf> {
    let directory = target()?.join("tools/pgbouncer");
    fs::create_dir_all(&directory).doing_to("create", &directory)?;
    let lock_path = directory.join("lock");
    let lock = fs::File::create(&lock_path).doing_to("open", &lock_path)?;
    lock.lock().doing_to("lock", &lock_path)?;
    let program = directory.join("pgbouncer");
    if files::is_program(&program) {
        return Ok(program);
    }
    if files::on_path("apt-get").is_none() {
        return Err(too_old("it can be built on Debian alone"));
    }
    let has_libraries = Command::new("pkg-config")
        .args(["--exists", "libevent", "openssl"])
        .status()
        .is_ok_and(|status| status.success());
    if !has_libraries {
        packages::install(&[Package::PgBouncerBuild])?;
    }
    say(
        "building PgBouncer of Debian 13 once, since that of the system does not follow prepared statements",
    );
    let log_path = directory.join("build.log");
    let log = fs::File::create(&log_path).doing_to("write", &log_path)?;
    let errors = log.try_clone().doing_to("write", &log_path)?;
    let status = Command::new("sh")
        .args(["-c", BUILD, "sh"])
        .arg(&directory)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .status()
        .doing(|| "build PgBouncer".into())?;
    if status.success() {
        return Ok(program);
    }
    let log = files::tail(&log_path);
    Err(too_old(&format!("the build failed:\n{log}")))
}

#[expect(clippy::print_stderr, reason = "the build takes a while")]
fn say(line: &str) {
    eprintln!("{line}");
}

fn too_old(why: &str) -> Error {
    Error::Missing(format!(
        "PgBouncer {}.{} or later is needed on the PATH, and {why}",
        FOLLOWING.0, FOLLOWING.1
    ))
}

/// Cargo's target directory, in which this program is.
fn target() -> Result<PathBuf> {
    let me = env::current_exe().doing(|| "find this program".into())?;
    me.ancestors()
        .find(|directory| directory.join(".fingerprint").is_dir())
        .and_then(Path::parent)
        .map(Path::to_path_buf)
        .ok_or_else(|| Error::Other("this program is not in a target directory of Cargo".into()))
}

/// Copies a program that the server's account may not reach into its directory; returns where it is.
pub(super) fn copy_for(
    program: PathBuf,
    account: Option<&Account>,
    directory: &Path,
) -> Result<PathBuf> {
    let is_within_reach = |account: &Account| {
        program
            .parent()
            .is_some_and(|parent| account.can_enter(parent))
    };
    if account.is_none_or(is_within_reach) {
        return Ok(program);
    }
    let copy = directory.join("pgbouncer");
    fs::copy(&program, &copy).doing_to("copy", &program)?;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).doing_to("protect", &copy)?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        let old = "PgBouncer 1.18.0\nlibevent 2.1.12-stable\n";
        assert_eq!(parse_version(old), Some((1, 18)));
        assert!(parse_version(old) < Some(FOLLOWING));
        assert!(parse_version("PgBouncer 1.100.1\n") >= Some(FOLLOWING));
        assert!(parse_version("PgBouncer 2.0.0\n") >= Some(FOLLOWING));
        assert_eq!(parse_version("libevent 2.1.12-stable"), None);
    }
}
