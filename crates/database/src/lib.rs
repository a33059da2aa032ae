//! PostgreSQL: a pool with a circuit breaker, a heartbeat, a migration runner, inspection, and
//! classification of errors by SQLSTATE.

mod config;
mod heartbeat;
pub mod inspect;
mod listen;
mod lock;
pub mod metrics;
pub mod migrations;
mod outages;
pub mod partitions;
mod pool;
mod pooling;
mod replica;
mod session;

use std::io;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use clock::Clock;
use futures_util::future::join_all;
use log::LevelFilter;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, PgExecutor, PgPool, Postgres, Row as _,
    Transaction,
};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

pub use config::{DatabaseConfig, DatabaseSettings};
pub use heartbeat::Heartbeat;
pub use inspect::{clock_skew, database_faults, log_faults, ping};
pub use listen::{Notifications, listen};
pub use lock::SessionLock;
pub use migrations::{
    MigrationError, complete_partitioned_indexes, migrate, run_migrations, set_up_role,
};
pub use pool::{Db, is_breaker_open};
pub use pooling::{
    READ_URL_OF_PRIMARY, ReplicaFindings, UnfitPooler, UnfitReplica, UnfitServer, direct_faults,
    migration_faults, reject_unfit_servers, replica_findings,
};
pub use replica::{Reading, Replica, connect_replica};
pub use session::set_role_defaults;

use session::SessionSettings;

/// Options of the pool that are no settings.
#[derive(Clone, Debug)]
pub struct Options {
    /// `application_name` of the sessions.
    pub application_name: &'static str,
    /// Events that sqlx emits for each statement.
    pub statement_log: StatementLog,
    /// Version of the newest migration of this release.
    pub schema_version: Option<i64>,
}

/// Events that sqlx emits for each statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatementLog {
    Off,
    /// For telemetry that derives spans from them, at a level that is not printed.
    Trace,
    Debug,
}

/// Connections that have been idle for longer are pinged before use. Pinging each time would cost every
/// request a round trip.
const PING_AFTER_IDLE: Duration = Duration::from_secs(20);

/// Creates the pool, and the heartbeat that drives its circuit breaker and corrects the clock. Both
/// connect on first use, so that the process starts while the database is down.
pub fn connect_lazy(
    config: &DatabaseConfig,
    with: &Options,
    clock: Clock,
) -> Result<(Db, Heartbeat), sqlx::Error> {
    let options = connect_options(&config.url, with.application_name, with.statement_log)?;
    let settings = SessionSettings::of(config);
    let direct = direct_pool(config, with, &settings)?;
    let on_connect: Arc<str> = match &direct {
        None => settings.statements().into(),
        // A pooler by the transaction would execute the settings in any session.
        Some(_) => session::IS_STANDBY.into(),
    };
    let direct_options = direct
        .as_ref()
        .map(|pool| PgConnectOptions::clone(&pool.connect_options()));
    let heartbeat = Heartbeat::new(options.clone(), direct_options, with.schema_version, clock);
    let pool = pool_options(config, &heartbeat, on_connect, heartbeat::refuse_standby);
    let pool = pool.connect_lazy_with(options);
    let db = Db::new(
        pool,
        direct,
        heartbeat.clone(),
        settings,
        config.acquire_timeout,
    );
    Ok((db, heartbeat))
}

/// Options of a pool behind a breaker. Each connection executes `on_connect`, whose result, whether the server is a standby, can
/// be refused.
fn pool_options(
    config: &DatabaseConfig,
    breaker: &Heartbeat,
    on_connect: Arc<str>,
    refuse: fn(bool) -> Result<(), sqlx::Error>,
) -> PgPoolOptions {
    let (at_acquire, at_release) = (breaker.clone(), breaker.clone());
    PgPoolOptions::new()
        .max_connections(config.max_connections)
        // For opening a connection. `Db::acquire` bounds the wait of a request.
        .acquire_timeout(config.connect_timeout.max(config.acquire_timeout))
        .max_lifetime(config.max_lifetime)
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            let statements = AssertSqlSafe(Arc::clone(&on_connect));
            Box::pin(async move {
                let row = sqlx::raw_sql(statements).fetch_one(connection).await?;
                refuse(row.try_get(0)?)
            })
        })
        .before_acquire(move |connection, metadata| {
            let outlived = at_acquire.outlived(metadata.age);
            Box::pin(async move {
                // An error drops the connection. `Ok(false)` would send a message to a server that may be
                // gone.
                if outlived {
                    return Err(sqlx::Error::Io(io::ErrorKind::ConnectionAborted.into()));
                }
                if metadata.idle_for > PING_AFTER_IDLE {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .after_release(move |_, metadata| {
            // By default the pool pings a connection that is released, without a time limit.
            let outlived = at_release.outlived(metadata.age);
            let gone = sqlx::Error::Io(io::ErrorKind::ConnectionAborted.into());
            Box::pin(async move { if outlived { Err(gone) } else { Ok(true) } })
        })
}

/// The listener of the job queue; what holds a lock leaves the pool.
const DIRECT_CONNECTIONS: u32 = 2;

/// How long a connection of the direct pool is kept idle.
const DIRECT_IDLE: Duration = Duration::from_secs(10);

/// The pool of `DATABASE_DIRECT_URL`, if there is one.
fn direct_pool(
    config: &DatabaseConfig,
    with: &Options,
    settings: &SessionSettings,
) -> Result<Option<PgPool>, sqlx::Error> {
    let Some(url) = &config.direct_url else {
        return Ok(None);
    };
    let options = connect_options(url, with.application_name, with.statement_log)?;
    let settings: Arc<str> = settings.statements().into();
    let pool = PgPoolOptions::new()
        .max_connections(DIRECT_CONNECTIONS)
        .acquire_timeout(config.connect_timeout)
        .idle_timeout(DIRECT_IDLE)
        .after_connect(move |connection, _| {
            let statements = sqlx::raw_sql(AssertSqlSafe(Arc::clone(&settings)));
            Box::pin(async move {
                let row = statements.fetch_one(connection).await?;
                heartbeat::refuse_standby(row.try_get(0)?)
            })
        });
    Ok(Some(pool.connect_lazy_with(options)))
}

/// Begins a transaction, in a task of its own: if the caller were dropped during `BEGIN`, sqlx would
/// release the connection with the transaction open, and later writes through it would not be committed.
pub async fn begin(db: &Db) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    begin_with(db, "BEGIN".to_owned()).await
}

/// As [`begin`], by statements that begin a transaction and set it up. They are sent as one simple query.
pub async fn begin_with(
    db: &Db,
    statement: String,
) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    let db = db.clone();
    // sqlx logs every statement but this one.
    let span = tracing::info_span!(
        target: "otel",
        "BEGIN",
        otel.kind = "client",
        db.system.name = "postgresql",
    );
    let beginning = async move { db.begin_with(statement).await };
    let begun = tokio::spawn(beginning.instrument(span));
    begun.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
}

/// Sets a setting until the end of the transaction.
pub async fn set_local(
    conn: impl PgExecutor<'_>,
    name: &str,
    value: &str,
) -> Result<(), sqlx::Error> {
    let set = sqlx::query("SELECT set_config($1, $2, true)");
    set.bind(name).bind(value).execute(conn).await.map(drop)
}

const TOP_UP_EVERY: Duration = Duration::from_millis(500);

/// Keeps at least `count` connections open until `stop`, ahead of the requests that need them.
pub async fn keep_warm(db: Db, heartbeat: Heartbeat, count: u32, stop: CancellationToken) {
    stop.run_until_cancelled(async {
        loop {
            if heartbeat.is_unresponsive() {
                db.discard_idle();
            } else {
                open(&db, count.saturating_sub(db.size()), &stop).await;
            }
            sleep(TOP_UP_EVERY).await;
        }
    })
    .await;
}

/// Opens `count` connections at once, each on a thread of its own. The many steps of a connection's
/// authentication each yield to the other tasks of the thread: on a busy one it can take seconds.
#[expect(clippy::disallowed_methods, reason = "on a thread of its own")]
async fn open(db: &Db, count: u32, stop: &CancellationToken) {
    let opening = (0..count).map(|_| {
        let (db, stop, runtime) = (db.clone(), stop.clone(), Handle::current());
        let opened = async move {
            let opening = db.fail_fast(db.pool().acquire());
            // Cancelled at shutdown, which waits for the thread while timers have stopped.
            drop(Box::pin(stop.run_until_cancelled(opening)).await);
        };
        spawn_blocking(move || runtime.block_on(opened))
    });
    // Failures are retried by the next round.
    join_all(opening).await;
}

/// Options of a single connection.
pub fn connect_options(
    url: &SecretString,
    application_name: &str,
    statement_log: StatementLog,
) -> Result<PgConnectOptions, sqlx::Error> {
    let options = PgConnectOptions::from_str(url.expose_secret())?
        .application_name(application_name)
        // A start-up parameter that poolers reject. Numbers are read in binary.
        .extra_float_digits(None);
    Ok(match statement_log {
        StatementLog::Debug => options,
        StatementLog::Trace => options
            .log_statements(LevelFilter::Trace)
            .log_slow_statements(LevelFilter::Trace, Duration::MAX),
        StatementLog::Off => options.disable_statement_logging(),
    })
}

fn millis(time: Duration) -> String {
    time.as_millis().to_string()
}

/// Returns whether a table does not exist.
#[must_use]
pub fn is_missing_table(error: &sqlx::Error) -> bool {
    has_code(error, "42P01")
}

/// Returns whether `lock_timeout` passed.
#[must_use]
pub fn is_lock_timeout(error: &sqlx::Error) -> bool {
    has_code(error, "55P03")
}

/// Returns whether the statement was cancelled, by its timeout or from outside.
#[must_use]
pub fn is_cancelled(error: &sqlx::Error) -> bool {
    has_code(error, "57014")
}

/// Returns whether a transaction or a standby that is read-only refused a write.
#[must_use]
pub fn is_write_refused(error: &sqlx::Error) -> bool {
    has_code(error, "25006")
}

fn has_code(error: &sqlx::Error, code: &str) -> bool {
    let error = error.as_database_error();
    error.and_then(DatabaseError::code).as_deref() == Some(code)
}

/// Returns whether the constraint with this name was violated.
#[must_use]
pub fn violates(error: &sqlx::Error, constraint: &str) -> bool {
    let error = error.as_database_error();
    error.and_then(DatabaseError::constraint) == Some(constraint)
}

/// SQLSTATEs by which PostgreSQL rejects a value, as validation should have done. The rest of class 22
/// (data exceptions), such as a division by zero, is a bug of the statement.
const VALUE_REJECTED: [&str; 14] = [
    "22001", // string_data_right_truncation
    "22003", // numeric_value_out_of_range
    "22007", // invalid_datetime_format
    "22008", // datetime_field_overflow
    "22009", // invalid_time_zone_displacement_value
    "22015", // interval_field_overflow
    "22019", // invalid_escape_character
    "22021", // character_not_in_repertoire: U+0000
    "22025", // invalid_escape_sequence
    "2201B", // invalid_regular_expression
    "22030", // duplicate_json_object_key_value
    "22032", // invalid_json_text
    "22P02", // invalid_text_representation
    "22P05", // untranslatable_character
];

/// The SQLSTATE, where a value of the request cannot be stored or compared.
#[must_use]
pub fn rejected_value(error: &sqlx::Error) -> Option<&'static str> {
    let code = error.as_database_error()?.code()?;
    VALUE_REJECTED
        .into_iter()
        .find(|rejected| *rejected == code)
}

/// Returns whether the database is unreachable, busy or shutting down: the request may be retried.
#[must_use]
pub fn is_outage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        // Classes: connection, transaction rollback, resources, operator intervention, system error;
        // then lock_not_available and read_only_sql_transaction (a standby).
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            ["08", "40", "53", "57", "58"]
                .iter()
                .any(|class| code.starts_with(class))
                || matches!(code.as_ref(), "55P03" | "25006")
        }),
        _ => false,
    }
}
