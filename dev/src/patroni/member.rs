//! A member of the cluster: Patroni and its PostgreSQL, with proxies on what leads from one member to another.

use std::{
    fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::{Pid, kill_process};

use super::{TTL, children};
use crate::{
    error::{Doing, Error, Result},
    etcd::Etcd,
    files::{self, Scratch},
    haproxy::Upstream,
    packages::Package,
    ports,
    postgres::{self, OWNER},
    process::{self, Account, OnOurDeath, Server, Signal},
    proxy::{Fault, Proxy},
};

const REPLICATION: &str = "replicator";

/// Time limit of a call of Patroni's REST API.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// Passwords of the roles.
#[derive(Clone, Debug)]
pub(super) struct Secrets {
    owner: String,
    runtime: String,
    replication: String,
}

impl Secrets {
    pub(super) fn make() -> Result<Self> {
        Ok(Self {
            owner: files::random_hex(16)?,
            runtime: files::random_hex(16)?,
            replication: files::random_hex(16)?,
        })
    }

    pub(super) fn url(&self, role: &str, port: u16, database: &str) -> String {
        let password = if role == OWNER {
            &self.owner
        } else {
            &self.runtime
        };
        format!("postgres://{role}:{password}@127.0.0.1:{port}/{database}?sslmode=disable")
    }
}

/// A member, started or not; dropping it kills it.
#[derive(Debug)]
pub struct Member {
    name: String,
    server: Option<Server>,
    upstream: Upstream,
    /// From this member to etcd.
    to_etcd: Proxy,
    /// From other members to this one's PostgreSQL and REST API.
    to_postgres: Proxy,
    to_rest: Proxy,
    account: Option<Account>,
    scratch: Scratch,
}

impl Member {
    pub(super) async fn prepare(number: usize, etcd: &Etcd, secrets: &Secrets) -> Result<Self> {
        let account = Account::for_servers()?;
        let scratch = Scratch::new(account.as_ref())?;
        let upstream = Upstream {
            postgres: ports::any()?.port,
            rest: ports::any()?.port,
        };
        let member = Self {
            name: format!("member-{number}"),
            server: None,
            upstream,
            to_etcd: Proxy::start(etcd.port()).await?,
            to_postgres: Proxy::start(upstream.postgres).await?,
            to_rest: Proxy::start(upstream.rest).await?,
            account,
            scratch,
        };
        let file = member.configuration_file();
        files::write_private(&file, &member.configuration(secrets)?)?;
        if let Some(account) = &member.account {
            chown(&file, Some(account.uid), Some(account.gid)).doing_to("hand over", &file)?;
        }
        Ok(member)
    }

    /// Its name in the cluster.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its ports, past the proxies.
    #[must_use]
    pub fn upstream(&self) -> Upstream {
        self.upstream
    }

    /// The file that Patroni and PostgreSQL log to.
    #[must_use]
    pub fn log(&self) -> Option<&Path> {
        self.server.as_ref()?.log()
    }

    /// Starts Patroni, which starts PostgreSQL: also after [`Member::kill`].
    pub fn start(&mut self) -> Result<()> {
        let program =
            files::on_path("patroni").ok_or_else(|| Error::Missing(Package::Cluster.advice()))?;
        let mut command = process::command(
            "/bin/sh".as_ref(),
            self.account.as_ref(),
            OnOurDeath::Terminate,
        );
        // Patroni makes directories of data that others could read, which PostgreSQL refuses.
        command.args(["-c", "umask 077 && exec \"$0\" \"$1\""]);
        command.arg(program).arg(self.configuration_file());
        postgres::without_surprises(&mut command);
        let log = self.scratch.path().join("log");
        self.server = Some(Server::start(
            "Patroni",
            &mut command,
            Signal::TERM,
            Some(&log),
        )?);
        Ok(())
    }

    /// Kills Patroni, PostgreSQL and its sessions, as the end of the machine does.
    pub fn kill(&mut self) {
        if let Some(server) = self.server.take() {
            process::signal(server.id(), Signal::KILL);
            self.kill_postgres();
        }
    }

    /// Stops Patroni where it is, and nothing else: PostgreSQL goes on without it.
    pub fn freeze_patroni(&self) {
        self.signal_patroni(Signal::STOP);
    }

    /// Ends [`Member::freeze_patroni`].
    pub fn thaw_patroni(&self) {
        self.signal_patroni(Signal::CONT);
    }

    fn signal_patroni(&self, signal: Signal) {
        if let Some(server) = &self.server {
            process::signal(server.id(), signal);
        }
    }

    fn kill_postgres(&self) {
        let note = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        let Some(postmaster) = note
            .lines()
            .next()
            .and_then(|line| line.trim().parse().ok())
        else {
            return;
        };
        if !process::command_line(postmaster).contains(&*self.data().to_string_lossy()) {
            return;
        }
        let send = |pid, signal| {
            if let Some(pid) = Pid::from_raw(pid) {
                // It may have ended a moment ago, which is as good.
                let _ = kill_process(pid, signal);
            }
        };
        // It starts no more children while they are listed.
        send(postmaster, Signal::STOP);
        for child in children(postmaster) {
            send(child, Signal::KILL);
        }
        send(postmaster, Signal::KILL);
    }

    /// Returns whether Patroni replies to this path with 200: the role of the member.
    pub async fn says(&self, path: &str) -> bool {
        request(self.upstream.rest, path, None).await.0 == 200
    }

    /// Cuts what leads to this member from others, where `is_isolated` also what leads from it to etcd; or
    /// ends that.
    pub(super) fn cut(&self, is_cut: bool, is_isolated: bool) {
        let fault = if is_cut {
            Fault::Blackhole
        } else {
            Fault::None
        };
        self.to_rest.set(fault);
        if is_isolated {
            self.to_etcd.set(fault);
            self.to_postgres.set(fault);
        }
    }

    fn data(&self) -> PathBuf {
        self.scratch.path().join("data")
    }

    fn configuration_file(&self) -> PathBuf {
        self.scratch.path().join("patroni.yml")
    }

    /// Synchronous replication, and times as short as Patroni allows: `docs/scale/failover.md` describes them.
    fn configuration(&self, secrets: &Secrets) -> Result<String> {
        let Secrets {
            owner, replication, ..
        } = secrets;
        let Upstream { postgres, rest } = self.upstream;
        Ok(format!(
            r#"scope: app
name: {name}
restapi:
  listen: 127.0.0.1:{rest}
  connect_address: 127.0.0.1:{to_rest}
etcd3:
  hosts: ["127.0.0.1:{to_etcd}"]
  # Without it Patroni asks etcd for the addresses of its members, and calls them past the proxy.
  use_proxies: true
watchdog:
  mode: "off"
bootstrap:
  dcs:
    ttl: {TTL}
    loop_wait: 5
    retry_timeout: 5
    synchronous_mode: true
    failsafe_mode: true
    maximum_lag_on_failover: 1048576
    postgresql:
      use_pg_rewind: true
      parameters:
        max_connections: 200
        shared_buffers: 32MB
        wal_keep_size: 256MB
  initdb:
    - encoding: UTF8
    - locale: C.UTF-8
    - data-checksums
    - no-sync
  pg_hba:
    - host all all 127.0.0.1/32 scram-sha-256
    - host replication {REPLICATION} 127.0.0.1/32 scram-sha-256
postgresql:
  listen: 127.0.0.1:{postgres}
  connect_address: 127.0.0.1:{to_postgres}
  data_dir: {data}
  bin_dir: {programs}
  pgpass: {scratch}/pgpass
  authentication:
    superuser: {{ username: {OWNER}, password: "{owner}" }}
    replication: {{ username: {REPLICATION}, password: "{replication}" }}
  basebackup:
    - checkpoint: fast
  parameters:
    unix_socket_directories: ".."
"#,
            name = self.name,
            to_rest = self.to_rest.port(),
            to_etcd = self.to_etcd.port(),
            to_postgres = self.to_postgres.port(),
            data = self.data().display(),
            programs = postgres::programs()?.display(),
            scratch = self.scratch.path().display(),
        ))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Before Patroni would start PostgreSQL again, or choose another primary.
        self.kill();
    }
}

/// Calls Patroni's REST API. Returns the status, 0 without a reply, and the text. With a body it is a POST.
pub(super) async fn request(port: u16, path: &str, body: Option<String>) -> (u16, String) {
    let url = format!("http://127.0.0.1:{port}{path}");
    let client = reqwest::Client::new();
    let request = match body {
        // A switchover replies once it is done.
        Some(body) => client.post(url).body(body).timeout(REQUEST_TIMEOUT * 60),
        None => client.get(url).timeout(REQUEST_TIMEOUT),
    };
    match request.send().await {
        Ok(response) => {
            let status = response.status().as_u16();
            (status, response.text().await.unwrap_or_default())
        }
        Err(error) => (0, error.to_string()),
    }
}
