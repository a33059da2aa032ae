//! Programs of the operating system, installed by its own package manager when they are missing.

use std::process::{Command, Stdio};

use crate::{
    error::{Doing, Error, Result},
    files,
};

/// What may be asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Package {
    /// The PostgreSQL server.
    Postgres,
    /// The Redis server.
    Redis,
    /// The pooler in front of PostgreSQL.
    PgBouncer,
    /// Packages to build the pooler with.
    PgBouncerBuild,
    /// Chromium and its driver.
    Browser,
    /// nginx and `HAProxy`.
    Proxies,
    /// The virus scanner.
    Clamd,
    /// Prometheus, Alertmanager and exporters.
    Monitoring,
    /// Patroni, etcd and `HAProxy`.
    Cluster,
    /// pgBackRest, and the programs that read its lists and files.
    PgBackRest,
}

impl Package {
    fn of_debian(self) -> &'static [&'static str] {
        match self {
            Self::Postgres => &["postgresql"],
            Self::Redis => &["redis-server"],
            Self::PgBouncer => &["pgbouncer"],
            Self::PgBouncerBuild => &["libevent-dev", "libssl-dev", "pkg-config", "make", "gcc"],
            Self::Browser => &["chromium", "chromium-driver"],
            Self::Proxies => &["nginx", "haproxy"],
            Self::Clamd => &["clamav-daemon"],
            Self::Monitoring => &[
                "prometheus",
                "prometheus-alertmanager",
                "prometheus-node-exporter",
                "prometheus-postgres-exporter",
                "prometheus-redis-exporter",
            ],
            // Patroni's client of etcd is a package of its own.
            Self::Cluster => &[
                "patroni",
                "python3-etcd",
                "etcd-server",
                "etcd-client",
                "haproxy",
            ],
            Self::PgBackRest => &["pgbackrest", "jq", "zstd"],
        }
    }

    fn of_homebrew(self) -> &'static [&'static str] {
        match self {
            Self::Postgres => &["postgresql@17"],
            Self::Redis => &["redis"],
            Self::PgBouncer | Self::PgBouncerBuild => &["pgbouncer"],
            Self::Browser => &["chromedriver", "chromium"],
            Self::Proxies => &["nginx", "haproxy"],
            Self::Clamd => &["clamav"],
            Self::Monitoring => &["prometheus", "alertmanager"],
            Self::Cluster => &["patroni", "etcd", "haproxy"],
            Self::PgBackRest => &["pgbackrest", "jq", "zstd"],
        }
    }

    /// What to type to install it by hand.
    #[must_use]
    pub fn advice(self) -> String {
        if cfg!(target_os = "macos") {
            format!("brew install {}", self.of_homebrew().join(" "))
        } else {
            format!(
                "sudo apt-get install {} (or what your system calls it)",
                self.of_debian().join(" ")
            )
        }
    }
}

/// Run as root with the packages as arguments.
///
/// No service is to be left running that was not there before: the distribution's own database
/// cluster is not created, and a policy file keeps a package's service from being started while
/// it is unpacked. Both are taken back at the end.
const APT: &str = r#"
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
policy=/usr/sbin/policy-rc.d
cluster=/etc/postgresql-common/createcluster.d/no-main-cluster.conf
made_policy= made_cluster=
undo() {
    if [ -n "$made_policy" ]; then rm -f "$policy"; fi
    if [ -n "$made_cluster" ]; then rm -f "$cluster"; fi
}
trap undo EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
if [ ! -e "$policy" ]; then
    made_policy=1
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
fi
if [ ! -e "$cluster" ]; then
    made_cluster=1
    mkdir -p "${cluster%/*}"
    echo 'create_main_cluster = false' > "$cluster"
fi
apt-get -q -o DPkg::Lock::Timeout=120 update
apt-get -q -o DPkg::Lock::Timeout=120 -o Dpkg::Options::=--force-confold install -y --no-install-recommends "$@"
if [ -d /run/systemd/system ]; then
    for package in "$@"; do
        case $package in
            redis-server | pgbouncer | clamav-daemon | patroni) systemctl disable --quiet "$package" || true ;;
            etcd-server) systemctl disable --quiet etcd || true ;;
        esac
    done
fi
"#;

/// Installs packages, with the manager's own output on the terminal.
pub fn install(packages: &[Package]) -> Result<()> {
    let advice = || {
        packages
            .iter()
            .map(|package| package.advice())
            .collect::<Vec<_>>()
            .join(" && ")
    };
    let missing = |why: &str| Error::Missing(format!("{why}; install by hand: {}", advice()));

    let mut command = if files::on_path("apt-get").is_some() {
        let mut command = if rustix::process::geteuid().is_root() {
            Command::new("sh")
        } else if may_sudo() {
            let mut command = Command::new("sudo");
            command.args(["-n", "sh"]);
            command
        } else {
            return Err(missing(
                "a program is missing, and this account may not install it",
            ));
        };
        command.args(["-c", APT, "sh"]);
        command.args(packages.iter().flat_map(|package| package.of_debian()));
        command
    } else if files::on_path("brew").is_some() {
        let mut command = Command::new("brew");
        command
            .arg("install")
            .args(packages.iter().flat_map(|package| package.of_homebrew()));
        command
    } else {
        return Err(missing(
            "a program is missing, and neither apt-get nor brew is here",
        ));
    };

    let status = command
        .stdin(Stdio::null())
        .status()
        .doing(|| "start the package manager".into())?;
    if status.success() {
        Ok(())
    } else {
        Err(missing("the package manager failed"))
    }
}

fn may_sudo() -> bool {
    Command::new("sudo")
        .args(["-n", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
