//! PostgreSQL: the pool, the migration runner, the rights of the runtime role, and what an error
//! of the database means.

mod inspect;
mod migrate;
mod pool;
mod pulse;

use std::io;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use log::LevelFilter;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Postgres, Transaction};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::Clock;
use crate::config::DatabaseConfig;

pub use inspect::{clock_skew, database_faults, log_faults, ping, role_faults};
pub use migrate::{MigrationError, QUEUE_SCHEMA, is_current, migrate, run_migrations};
pub use pool::{Db, is_breaker_open};
pub use pulse::Pulse;

/// A connection that has been idle for longer is pinged before use: it may have died meanwhile.
/// Pinging each time would cost every request a round trip.
const PING_AFTER_IDLE: Duration = Duration::from_secs(20);

/// The pool of the runtime role, and the heartbeat that opens its circuit breaker and corrects the
/// clock. Both connect when first used, so that a database that is down does not keep the process
/// from starting.
pub fn connect_lazy(config: &DatabaseConfig, clock: Clock) -> Result<(Db, Pulse), sqlx::Error> {
    let options = options(&config.url, config.echo)?;
    let settings: Arc<str> = session_settings(config).into();
    let pulse = Pulse::new(options.clone(), clock);
    let (at_acquire, at_release) = (pulse.clone(), pulse.clone());
    let pool = PgPoolOptions::new()
        .max_connections(config.max_connections)
        // To open a connection; how long a request waits for one is bounded by `Db::acquire`.
        .acquire_timeout(config.connect_timeout.max(config.acquire_timeout))
        .max_lifetime(config.max_lifetime)
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            let settings = AssertSqlSafe(Arc::clone(&settings));
            Box::pin(async move { sqlx::raw_sql(settings).execute(connection).await.map(drop) })
        })
        .before_acquire(move |connection, metadata| {
            let outlived = at_acquire.outlived(metadata.age);
            Box::pin(async move {
                // An error drops the connection. `Ok(false)` would send a message to a server that may
                // not be there.
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
            // Left to itself the pool asks a connection that comes back whether it is well, and
            // waits for the answer however long it takes.
            let outlived = at_release.outlived(metadata.age);
            let gone = sqlx::Error::Io(io::ErrorKind::ConnectionAborted.into());
            Box::pin(async move { if outlived { Err(gone) } else { Ok(true) } })
        });
    let pool = pool.connect_lazy_with(options);
    let db = Db::new(pool, pulse.clone(), config.acquire_timeout);
    Ok((db, pulse))
}

/// Begins a transaction. In a task of its own, since the library loses track of one whose caller
/// goes away while it begins: the connection would go back to the pool with the transaction open,
/// and what others write through it would never be committed.
pub async fn begin(db: &Db) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    let db = db.clone();
    // sqlx logs every statement but this one.
    let span = tracing::info_span!(
        target: "otel",
        "BEGIN",
        otel.kind = "client",
        db.system.name = "postgresql",
    );
    let begun = tokio::spawn(async move { db.begin().await }.instrument(span));
    begun.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
}

/// Begins a transaction of a job, whose statements may each take longer than those of a request.
pub async fn begin_for_job(
    db: &Db,
    statement_timeout: Duration,
) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    let mut tx = begin(db).await?;
    sqlx::query("SELECT set_config('statement_timeout', $1, true)")
        .bind(millis(statement_timeout))
        .execute(&mut *tx)
        .await?;
    Ok(tx)
}

/// How often the pool is looked at for connections that are missing.
const TOP_UP_EVERY: Duration = Duration::from_millis(500);

/// Keeps at least `count` connections open until `stop`, ahead of the requests that need them: at
/// the start, after an outage, and as old ones are replaced.
pub async fn keep_warm(db: Db, pulse: Pulse, count: u32, stop: CancellationToken) {
    stop.run_until_cancelled(async {
        loop {
            if pulse.is_silent() {
                db.discard_idle();
            } else {
                open(&db, count.saturating_sub(db.size()), &stop).await;
            }
            sleep(TOP_UP_EVERY).await;
        }
    })
    .await;
}

/// Opens `count` connections at once, each on a thread of its own. Between the many steps of a
/// connection's authentication the library lets every other task of its thread go first, so that
/// one which a request opens while the process is busy can take seconds.
#[expect(
    clippy::disallowed_methods,
    reason = "it runs on a thread where nothing else waits"
)]
async fn open(db: &Db, count: u32, stop: &CancellationToken) {
    let opening = (0..count).map(|_| {
        let (db, stop, runtime) = (db.clone(), stop.clone(), Handle::current());
        let opened = async move {
            let opening = db.unless_silent(db.pool().acquire());
            // The end of the process waits for the thread, and stops the timers that it waits by.
            drop(Box::pin(stop.run_until_cancelled(opening)).await);
        };
        spawn_blocking(move || runtime.block_on(opened))
    });
    // What cannot be had now is opened when it is needed.
    join_all(opening).await;
}

/// Settings of every session of the pool, by statements: a pooler such as `PgBouncer` refuses
/// start-up parameters, or drops them without a word. The schema is named, since `"$user"` comes first
/// by default, and a schema with the role's name would hide our tables.
fn session_settings(config: &DatabaseConfig) -> String {
    format!(
        "SET search_path = public; SET statement_timeout = {}; SET lock_timeout = {};
         SET idle_in_transaction_session_timeout = {};
         SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3",
        millis(config.statement_timeout),
        millis(config.lock_timeout),
        millis(config.idle_transaction_timeout),
    )
}

fn options(url: &SecretString, echo: bool) -> Result<PgConnectOptions, sqlx::Error> {
    let options = PgConnectOptions::from_str(url.expose_secret())?
        .application_name(env!("CARGO_PKG_NAME"))
        // A start-up parameter that poolers refuse. Numbers are read in binary.
        .extra_float_digits(None);
    Ok(if echo {
        options
    } else if telemetry::exports_spans() {
        // Spans of statements are made from sqlx's log.
        let (level, slow) = (LevelFilter::Trace, Duration::MAX);
        options
            .log_statements(level)
            .log_slow_statements(level, slow)
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

/// Returns whether `error` says that a lock was not free within `lock_timeout`.
#[must_use]
pub fn is_lock_timeout(error: &sqlx::Error) -> bool {
    has_code(error, "55P03")
}

/// Returns whether `error` says that the statement was cancelled, by its timeout or from outside.
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

/// SQLSTATEs by which PostgreSQL rejects a value of a request, as validation should have done. The
/// rest of class 22 (data exceptions), such as a division by zero, is a fault of a statement of ours.
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

/// The SQLSTATE of `error`, where it says that a value of the request cannot be stored or compared.
#[must_use]
pub fn rejected_value(error: &sqlx::Error) -> Option<&'static str> {
    let code = error.as_database_error()?.code()?;
    VALUE_REJECTED
        .into_iter()
        .find(|rejected| *rejected == code)
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
