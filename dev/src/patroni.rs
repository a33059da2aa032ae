//! A private PostgreSQL cluster for the tests: three members under Patroni with synchronous replication, etcd, and
//! `HAProxy` in front.

mod member;

use std::{
    fs,
    time::{Duration, Instant},
};

use tokio::time::sleep;

pub use self::member::Member;
use self::member::{Secrets, request};
use crate::{
    error::{Error, Result},
    etcd::Etcd,
    files,
    haproxy::{HaProxy, Upstream},
    packages::{self, Package},
    postgres::{self, OWNER, RUNTIME},
};

/// A cluster has a primary, its synchronous standby, and one that may take its place.
const MEMBERS: usize = 3;

const START_LIMIT: Duration = Duration::from_mins(3);

/// Seconds after which the leader key of a member that stopped renewing it expires. Patroni's minimum.
pub const TTL: u64 = 20;

/// A running cluster; dropping it kills all of it.
#[derive(Debug)]
pub struct Patroni {
    /// The members, which tests break.
    pub members: Vec<Member>,
    haproxy: HaProxy,
    secrets: Secrets,
    _etcd: Etcd,
}

impl Patroni {
    /// Starts a cluster on free ports, with `HAProxy` by the text of `deploy/ha/haproxy.cfg`.
    pub async fn start(haproxy: &str) -> Result<Self> {
        if files::on_path("patroni").is_none() {
            packages::install(&[Package::Cluster])?;
        }
        if !postgres::is_installed() {
            packages::install(&[Package::Postgres])?;
        }
        let secrets = Secrets::make()?;
        let etcd = Etcd::start().await?;
        let mut members = Vec::with_capacity(MEMBERS);
        for number in 0..MEMBERS {
            members.push(Member::prepare(number, &etcd, &secrets).await?);
        }
        let upstreams: Vec<Upstream> = members.iter().map(Member::upstream).collect();
        let haproxy = HaProxy::start(haproxy, &upstreams).await?;
        let mut cluster = Self {
            members,
            haproxy,
            secrets,
            _etcd: etcd,
        };
        // The first one makes the database, so that the others need not wait for each other.
        cluster.members[0].start()?;
        cluster.primary().await?;
        for member in &mut cluster.members[1..] {
            member.start()?;
        }
        cluster.is_whole().await?;
        Ok(cluster)
    }

    /// The owner's URL of one database of the primary, through `HAProxy`.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.secrets.url(OWNER, self.haproxy.primary(), database)
    }

    /// The service's own URL of one database of the primary; the service's migration creates the role.
    #[must_use]
    pub fn runtime_url(&self, database: &str) -> String {
        self.secrets.url(RUNTIME, self.haproxy.primary(), database)
    }

    /// The service's own URL of one database of the standbys, through `HAProxy`.
    #[must_use]
    pub fn replica_url(&self, database: &str) -> String {
        self.secrets.url(RUNTIME, self.haproxy.replicas(), database)
    }

    /// The owner's URL of one database of a member, past everything.
    #[must_use]
    pub fn direct_url(&self, member: usize, database: &str) -> String {
        let port = self.members[member].upstream().postgres;
        self.secrets.url(OWNER, port, database)
    }

    /// Waits for a member that is the primary, and returns its number.
    pub async fn primary(&self) -> Result<usize> {
        self.new_primary(None).await
    }

    /// Waits for a primary that is not this member, and returns its number.
    pub async fn new_primary(&self, not: Option<usize>) -> Result<usize> {
        let began = Instant::now();
        loop {
            for number in 0..self.members.len() {
                if Some(number) != not && self.members[number].says("/primary").await {
                    return Ok(number);
                }
            }
            self.wait(began).await?;
        }
    }

    /// Waits until every member runs and follows the primary, one of them as its synchronous standby.
    pub async fn is_whole(&self) -> Result<()> {
        let began = Instant::now();
        loop {
            let (mut primaries, mut synchronous, mut standbys) = (0, 0, 0);
            for member in &self.members {
                primaries += usize::from(member.says("/primary").await);
                synchronous += usize::from(member.says("/synchronous").await);
                standbys += usize::from(member.says("/replica?lag=1MB").await);
            }
            if primaries == 1 && synchronous >= 1 && standbys == self.members.len() - 1 {
                return Ok(());
            }
            self.wait(began).await?;
        }
    }

    /// Waits for the synchronous standby, and returns its number.
    pub async fn synchronous_standby(&self) -> Result<usize> {
        let began = Instant::now();
        loop {
            for number in 0..self.members.len() {
                if self.members[number].says("/synchronous").await {
                    return Ok(number);
                }
            }
            self.wait(began).await?;
        }
    }

    /// Asks Patroni to make the synchronous standby the primary, and returns once it is.
    pub async fn switch_over(&self) -> Result<()> {
        let (leader, candidate) = (self.primary().await?, self.synchronous_standby().await?);
        let [from, to] = [leader, candidate].map(|number| self.members[number].name().to_owned());
        let body = format!(r#"{{"leader":"{from}","candidate":"{to}"}}"#);
        let rest = self.members[leader].upstream().rest;
        let (status, text) = request(rest, "/switchover", Some(body)).await;
        if status == 200 {
            return Ok(());
        }
        Err(Error::Other(format!(
            "Patroni refused a switchover: {status} {text}"
        )))
    }

    /// Cuts a member off from etcd and from the other members, or ends that. `HAProxy` and the service still
    /// reach it. The members' REST APIs are cut from each other altogether: a primary without etcd asks
    /// them all whether it may stay.
    pub fn isolate(&self, isolated: usize, is_cut: bool) {
        for (number, member) in self.members.iter().enumerate() {
            member.cut(is_cut, number == isolated);
        }
    }

    async fn wait(&self, began: Instant) -> Result<()> {
        if began.elapsed() > START_LIMIT {
            let logs: Vec<String> = self
                .members
                .iter()
                .filter_map(Member::log)
                .map(files::tail)
                .collect();
            return Err(Error::Unresponsive {
                name: "Patroni".into(),
                seconds: START_LIMIT.as_secs(),
                log: logs.join("\n--\n"),
            });
        }
        sleep(Duration::from_millis(50)).await;
        Ok(())
    }
}

/// The process ids of the children of a process, as Linux tells.
fn children(parent: i32) -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name, in parentheses, may have spaces.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        fields.split_whitespace().nth(1) == Some(&parent.to_string())
    })
    .collect()
}
