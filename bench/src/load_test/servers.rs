//! Servers of a load test on this machine: PostgreSQL, Redis, an object store, an inbox and the service itself, each in a
//! process of its own whose processor time can be read, but for the inbox.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use groundwork_dev::error::Doing as _;
use groundwork_dev::files::Scratch;
use groundwork_dev::process::{self, OnOurDeath, Server, Signal};
use groundwork_dev::{Inbox, Postgres, Redis, Result, S3, Stripe, ports};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::options::{Account, Replicas};
use super::processes::Watched;
use super::running::Running;
use crate::files::BUCKET;
use crate::ours::{PASSWORD, Setup};
use crate::report::tell;
use crate::world::wait_for;

const DATABASE: &str = "bench";

const POSTGRES: &str = "PostgreSQL";

/// Accounts in the table besides those that sign in, as a look-up without an index only shows then.
const CROWD: usize = 10_000;

/// The load is a proxy that names the address of each user, so that the limits by client apply to each alone.
const PROXY: (&str, &str) = ("TRUSTED_PROXIES", "127.0.0.1/32");

pub(super) struct Servers {
    setup: Setup,
    // In the order in which they end.
    store: Server,
    redis: Redis,
    postgres: Postgres,
    _inbox: Inbox,
    _stripe: Stripe,
    _home: Scratch,
}

impl Servers {
    /// Starts all but the service, and makes accounts.
    pub(super) async fn build(accounts: usize) -> Result<Self> {
        tell("starting PostgreSQL, Redis and the object store");
        let home = Scratch::new(None)?;
        let postgres = Postgres::keep(home.path(), None).await?;
        let redis = Redis::throw_away().await?;
        let inbox = Inbox::start().await;
        let stripe = Stripe::start().await;
        postgres.ensure_database(DATABASE).await?;
        let (store, store_addr) = start_store(home.path())?;
        let url = format!("http://{store_addr}");
        let setup = Setup::new(home.path(), &postgres, &redis, &inbox, &stripe, &url)?;
        wait_for(store_addr).await?;
        create_accounts(&setup, &postgres, accounts).await?;
        Ok(Self {
            setup: setup.with(&[PROXY]),
            store,
            redis,
            postgres,
            _inbox: inbox,
            _stripe: stripe,
            _home: home,
        })
    }

    /// Starts the service with the default limits, or those among `settings`: one process, or replicas behind `HAProxy`.
    pub(super) async fn start(
        &self,
        settings: &[(&str, &str)],
        replicas: Option<Replicas>,
    ) -> Result<Running> {
        let setup = self.setup.with(settings);
        match replicas {
            Some(replicas) => Running::behind_proxy(&setup, replicas).await,
            None => Running::alone(&setup).await,
        }
    }

    /// Processes whose processor time is part of the report.
    pub(super) fn watched(&self, service: &Running) -> Vec<Watched> {
        let others = [
            (POSTGRES, self.postgres.id()),
            ("Redis", self.redis.id()),
            ("object store", self.store.id()),
            ("load", std::process::id()),
        ]
        .map(|(name, pid)| Watched {
            name,
            pid,
            has_children: name == POSTGRES,
        });
        service.watched().into_iter().chain(others).collect()
    }

    /// Transactions of PostgreSQL and commands of Redis so far.
    pub(super) async fn counts(&self) -> Result<[f64; 2]> {
        let mut owner = PgConnection::connect(&self.postgres.url(DATABASE)).await?;
        let transactions = "SELECT sum(xact_commit)::float8 FROM pg_stat_database";
        let transactions = sqlx::query_scalar(transactions)
            .fetch_one(&mut owner)
            .await?;
        owner.close().await?;
        let commands = self.redis.commands().await?;
        let commands = u32::try_from(commands).unwrap_or(u32::MAX);
        Ok([transactions, f64::from(commands)])
    }

    pub(super) async fn stop(mut self) {
        self.store.stop(Duration::from_secs(5)).await;
        self.redis.stop().await;
        self.postgres.stop().await;
    }
}

/// One of the accounts that exist.
pub(super) fn account(number: usize) -> Account {
    Account {
        email: email(number),
        password: PASSWORD.to_owned(),
    }
}

fn email(number: usize) -> String {
    format!("user{number}@example.com")
}

/// Makes one account by the command, which is slow, and copies it.
async fn create_accounts(setup: &Setup, postgres: &Postgres, accounts: usize) -> Result<()> {
    setup.create_account(&email(0))?;
    let (first, last) = (email(0), accounts.max(CROWD));
    let copies = format!(
        "INSERT INTO users (id, email, password_hash, email_verified_at, created_at, updated_at)
         SELECT gen_random_uuid(), 'user' || n || '@example.com', password_hash, now(), now(), now()
         FROM generate_series(1, {last}) AS n, users WHERE email = '{first}';
         ANALYZE"
    );
    let mut owner = PgConnection::connect(&postgres.url(DATABASE)).await?;
    sqlx::raw_sql(AssertSqlSafe(copies))
        .execute(&mut owner)
        .await?;
    owner.close().await?;
    Ok(())
}

fn start_store(home: &Path) -> Result<(Server, SocketAddr)> {
    let me = std::env::current_exe().doing(|| "find this program".into())?;
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::any()?.port));
    let mut command = process::command(me.as_os_str(), None, OnOurDeath::Terminate);
    command.args(["object-store", &addr.to_string()]);
    command.arg(home.join("store"));
    let log = home.join("store.log");
    let store = Server::start("the object store", &mut command, Signal::TERM, Some(&log))?;
    Ok((store, addr))
}

/// Serves as the object store until it is terminated.
pub(crate) async fn serve_object_store(addr: SocketAddr, directory: &Path) -> Result<()> {
    let listener = TcpListener::bind(addr).doing(|| format!("listen on {addr}"))?;
    let store = S3::serve(listener, directory.to_owned()).await?;
    store.ensure_bucket(BUCKET)?;
    std::future::pending().await
}
