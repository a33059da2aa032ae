//! PostgreSQL: the pool, the migration runner, the rights of the runtime role, and what an error
//! of the database means.

mod inspect;
mod migrate;
mod pulse;

use std::str::FromStr as _;
use std::time::Duration;

use futures_util::future::join_all;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, PgPool, Postgres, Transaction};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::config::DatabaseConfig;

pub use inspect::{clock_skew, ping, role_faults};
pub use migrate::{MigrationError, QUEUE_SCHEMA, is_current, migrate, run_migrations};
pub use pulse::Pulse;

/// The pool of connections that stores are given.
pub type Db = PgPool;

/// A connection that has been idle for longer is pinged before use: it may have died meanwhile.
/// Pinging each time would cost every request a round trip.
const PING_AFTER_IDLE: Duration = Duration::from_secs(20);

/// The pool of the runtime role, and the pulse that tells when the database falls silent. Both
/// connect when first used, so that a database that is down does not keep the process from
/// starting.
pub fn connect_lazy(config: &DatabaseConfig) -> Result<(Db, Pulse), sqlx::Error> {
    let options = options(&config.url, config.echo)?.options([
        ("statement_timeout", millis(config.statement_timeout)),
        ("lock_timeout", millis(config.lock_timeout)),
        (
            "idle_in_transaction_session_timeout",
            millis(config.idle_transaction_timeout),
        ),
        ("tcp_keepalives_idle", "30".to_owned()),
    ]);
    let pulse = Pulse::new(options.clone(), config.acquire_timeout);
    let (at_acquire, at_release) = (pulse.clone(), pulse.clone());
    let pool = PgPoolOptions::new()
        .max_connections(config.max_connections)
        .acquire_timeout(config.acquire_timeout)
        .max_lifetime(config.max_lifetime)
        .test_before_acquire(false)
        .before_acquire(move |connection, metadata| {
            let outlived = at_acquire.outlived(metadata.age);
            Box::pin(async move {
                if !outlived && metadata.idle_for > PING_AFTER_IDLE {
                    connection.ping().await?;
                }
                Ok(!outlived)
            })
        })
        .after_release(move |_, metadata| {
            // Left to itself the pool asks a connection that comes back whether it is well, and
            // waits for the answer however long it takes.
            let outlived = at_release.outlived(metadata.age);
            let gone = sqlx::Error::Io(std::io::ErrorKind::ConnectionAborted.into());
            Box::pin(async move { if outlived { Err(gone) } else { Ok(true) } })
        });
    Ok((pool.connect_lazy_with(options), pulse))
}

/// Begins a transaction. In a task of its own, since the library loses track of one whose caller
/// goes away while it begins: the connection would go back to the pool with the transaction open,
/// and what others write through it would never be committed.
pub async fn begin(db: &Db) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    let db = db.clone();
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where it cannot be interrupted"
    )]
    let begun = tokio::spawn(async move { db.begin().await });
    begun.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
}

/// How often the pool is looked at for connections that are missing.
const TOP_UP_EVERY: Duration = Duration::from_millis(500);

/// Keeps at least `count` connections open until `stop`, ahead of the requests that need them: at
/// the start, after an outage, and as old ones are replaced.
pub async fn keep_warm(db: Db, pulse: Pulse, count: u32, stop: CancellationToken) {
    stop.run_until_cancelled(async {
        loop {
            if db.size() < count && !pulse.is_silent() {
                open(&db, count).await;
            }
            sleep(TOP_UP_EVERY).await;
        }
    })
    .await;
}

/// Asks for `count` connections at once, each on a thread of its own. Between the many steps of a
/// connection's authentication the library lets every other task of its thread go first, so that
/// one which a request opens while the process is busy can take seconds.
#[expect(
    clippy::disallowed_methods,
    reason = "it runs on a thread where nothing else waits"
)]
async fn open(db: &Db, count: u32) {
    let opening = (0..count).map(|_| {
        let (db, runtime) = (db.clone(), Handle::current());
        spawn_blocking(move || drop(runtime.block_on(db.acquire())))
    });
    // What cannot be had now is opened when it is needed.
    join_all(opening).await;
}

fn options(url: &SecretString, echo: bool) -> Result<PgConnectOptions, sqlx::Error> {
    let options =
        PgConnectOptions::from_str(url.expose_secret())?.application_name(env!("CARGO_PKG_NAME"));
    Ok(if echo {
        options
    } else {
        options.disable_statement_logging()
    })
}

fn millis(time: Duration) -> String {
    time.as_millis().to_string()
}

/// Whether `error` says that a table does not exist, as before the first migration.
#[must_use]
pub fn is_missing_table(error: &sqlx::Error) -> bool {
    has_code(error, "42P01")
}

/// Whether `error` says that a lock was not free within `lock_timeout`.
#[must_use]
pub fn is_lock_timeout(error: &sqlx::Error) -> bool {
    has_code(error, "55P03")
}

/// Whether `error` says that the statement was cancelled, by its timeout or from outside.
#[must_use]
pub fn is_cancelled(error: &sqlx::Error) -> bool {
    has_code(error, "57014")
}

fn has_code(error: &sqlx::Error, wanted: &str) -> bool {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    code.as_deref() == Some(wanted)
}

/// Whether `error` is the breach of the constraint with this name.
#[must_use]
pub fn violates(error: &sqlx::Error, constraint: &str) -> bool {
    error
        .as_database_error()
        .and_then(|error| error.constraint())
        == Some(constraint)
}

/// Whether `error` says that the database is away, busy or going down, rather than that we asked
/// something wrong: the same request may well succeed a moment later.
#[must_use]
pub fn is_outage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        // SQLSTATE classes: connection, transaction rollback, resources, operator intervention,
        // system error; and a lock that was not to be had, a read-only standby.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            ["08", "40", "53", "57", "58"]
                .iter()
                .any(|class| code.starts_with(class))
                || matches!(code.as_ref(), "55P03" | "25006")
        }),
        _ => false,
    }
}
