//! Everything that runs while something is measured: PostgreSQL, Redis, an inbox and the bare
//! service, and how the service itself is started.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use groundwork_dev::error::Doing as _;
use groundwork_dev::files::Scratch;
use groundwork_dev::process::{self, OnOurDeath, Server, Signal};
use groundwork_dev::{Error, Inbox, Postgres, Redis, Result, S3, Stripe, ports};
use sqlx::types::Uuid;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::bare;
use crate::files;
use crate::load::Connection;
use crate::ours::{LIMITS, Setup};
use crate::report::tell;

/// Connections of the load.
pub(crate) const CONNECTIONS: usize = 64;

/// Accounts in the table besides those that sign in, as a look-up without an index only shows then.
const CROWD: i32 = 10_000;

/// Accounts that sign in by turns, so that none of them has more sessions than people have.
pub(crate) const SIGNERS: usize = 2_000;

/// Everything that runs while something is measured.
pub(crate) struct World {
    // In the order in which they end.
    bare: Server,
    pub(crate) bare_addr: SocketAddr,
    pub(crate) setup: Setup,
    /// Events sent, for ids of their own.
    pub(crate) sent: Arc<AtomicUsize>,
    pub(crate) stripe: Stripe,
    pub(crate) s3: Arc<S3>,
    redis: Redis,
    pub(crate) postgres: Postgres,
    _inbox: Inbox,
    _home: Scratch,
}

impl World {
    pub(crate) async fn build() -> Result<Self> {
        tell("starting PostgreSQL, Redis and the bare service");
        let home = Scratch::new(None)?;
        let postgres = Postgres::keep(home.path(), None).await?;
        let redis = Redis::throw_away().await?;
        let inbox = Inbox::start().await;
        let stripe = Stripe::start().await;
        postgres.ensure_database("bench").await?;
        let s3 = files::start_store().await?;
        let setup = Setup::new(home.path(), &postgres, &redis, &inbox, &stripe, &s3.url())?;
        let setup = setup.with(&LIMITS);
        for client in 0..CONNECTIONS {
            setup.create_account(&email(client))?;
        }
        let mut owner = PgConnection::connect(&postgres.url("bench")).await?;
        let first = email(0);
        let crowd = format!(
            "INSERT INTO users (id, email, password_hash, email_verified_at, created_at, updated_at)
             SELECT gen_random_uuid(), 'crowd' || n || '@example.com', '', now(), now(), now()
             FROM generate_series(1, {CROWD}) AS n;
             INSERT INTO users (id, email, password_hash, email_verified_at, created_at, updated_at)
             SELECT gen_random_uuid(), 'signer' || n || '@example.com', password_hash, now(), now(), now()
             FROM generate_series(0, {SIGNERS} - 1) AS n, users WHERE email = '{first}';
             CREATE TABLE bare_sessions (
                 token_hash bytea PRIMARY KEY, user_id uuid NOT NULL, expires_at timestamptz NOT NULL
             );
             CREATE TABLE bare_events (
                 id text PRIMARY KEY, type text NOT NULL, customer text, payload bytea NOT NULL, received_at timestamptz NOT NULL
             );
             CREATE TABLE bare_payments (id uuid PRIMARY KEY, amount bigint NOT NULL, intent text);
             CREATE TABLE bare_accounts (id int PRIMARY KEY);
             INSERT INTO bare_accounts SELECT generate_series(0, {CONNECTIONS} - 1);
             CREATE TABLE bare_files (
                 id uuid PRIMARY KEY, account int NOT NULL, name text NOT NULL, size bigint NOT NULL, content_type text NOT NULL,
                 state text NOT NULL, object_id uuid, created_at timestamptz NOT NULL
             );
             CREATE INDEX ON bare_files (account) INCLUDE (size);
             CREATE TABLE bare_entries (file_id uuid NOT NULL, created_at timestamptz NOT NULL);
             ANALYZE"
        );
        sqlx::raw_sql(AssertSqlSafe(crowd))
            .execute(&mut owner)
            .await?;
        owner.close().await?;
        let (bare, bare_addr) = start_bare(&postgres, &stripe, &s3, home.path())?;
        Ok(Self {
            bare,
            bare_addr,
            setup,
            sent: Arc::default(),
            stripe,
            s3,
            redis,
            postgres,
            _inbox: inbox,
            _home: home,
        })
    }

    pub(crate) async fn stop(mut self) {
        self.bare.stop(Duration::from_secs(5)).await;
        self.redis.stop().await;
        self.postgres.stop().await;
    }

    /// Tokens that the bare service takes, one a connection.
    pub(crate) async fn bare_access_tokens(&self) -> Result<Vec<String>> {
        let mut owner = PgConnection::connect(&self.postgres.url("bench")).await?;
        let mut tokens = Vec::new();
        for client in 0..CONNECTIONS {
            let user: Uuid = sqlx::query_scalar("SELECT id FROM users WHERE email = $1")
                .bind(email(client))
                .fetch_one(&mut owner)
                .await?;
            tokens.push(bare::access_token(user)?);
        }
        Ok(tokens)
    }

    /// Refresh tokens of the bare service, one a connection.
    pub(crate) async fn bare_refresh_tokens(&self) -> Result<Vec<String>> {
        let mut owner = PgConnection::connect(&self.postgres.url("bench")).await?;
        let mut tokens = Vec::new();
        for client in 0..CONNECTIONS {
            let (token, hash) = bare::refresh_token()?;
            sqlx::query(
                "INSERT INTO bare_sessions (token_hash, user_id, expires_at)
                 SELECT $1, id, now() + interval '1 day' FROM users WHERE email = $2",
            )
            .bind(hash)
            .bind(email(client))
            .execute(&mut owner)
            .await?;
            tokens.push(token);
        }
        Ok(tokens)
    }
}

fn start_bare(
    postgres: &Postgres,
    stripe: &Stripe,
    s3: &S3,
    home: &Path,
) -> Result<(Server, SocketAddr)> {
    let me = std::env::current_exe().doing(|| "find this program".into())?;
    let addr = SocketAddr::from(([127, 0, 0, 1], ports::any()?.port));
    let mut command = process::command(me.as_os_str(), None, OnOurDeath::Terminate);
    command.args([
        "bare",
        &addr.to_string(),
        &postgres.url("bench"),
        &stripe.url(),
        &s3.url(),
    ]);
    let log = home.join("bare.log");
    Ok((
        Server::start("the bare service", &mut command, Signal::TERM, Some(&log))?,
        addr,
    ))
}

/// Waits until something listens.
pub(crate) async fn wait_for(addr: SocketAddr) -> Result<()> {
    for _ in 0..200 {
        if Connection::open(addr).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(Error::Other(format!("nothing listens on {addr}")))
}

/// The address that a connection signs in with.
pub(crate) fn email(client: usize) -> String {
    format!("client{client}@example.com")
}

/// The address of one of those that sign in by turns.
pub(crate) fn signer(number: usize) -> String {
    format!("signer{}@example.com", number % SIGNERS)
}
