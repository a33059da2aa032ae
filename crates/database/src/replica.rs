//! Read replica: the pool of `DATABASE_READ_URL`, which is read while it is near enough to the primary.

mod lag;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Error, Executor as _, PgConnection, Postgres};
use tokio::sync::watch::Sender;
use tokio::time::timeout;

use self::lag::Position;
use crate::metrics::{ReadSource, count_read, count_repeated_read};
use crate::session::SessionSettings;
use crate::{DatabaseConfig, Db, Heartbeat, Options, connect_options, has_code, is_cancelled};

/// To get a connection. Short, since the primary can be asked instead.
const ACQUIRE_TIMEOUT: Duration = Duration::from_millis(250);

/// Time limit of a measurement, and of the first and last message of a read. The replica is not read after a longer measurement.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Time limit of the statements of a read, since the server behind its connection may be another one than the measured one. The
/// primary is asked after it, within the time limit of requests.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes a session refuse writes. Transactions are read-only all the same.
const READ_ONLY: &str = "SET default_transaction_read_only = on; ";

/// Position up to which a server has all that was committed: replayed on a standby, written on the primary.
const POSITION: &str =
    "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END";

/// Standby of the database for reads that tolerate lag; clones share it. Without [`Replica::watch`] it is never read.
#[derive(Clone)]
pub struct Replica(Arc<Inner>);

struct Inner {
    db: Db,
    /// Breaker of the pool. It does not beat: the watch opens and closes it.
    breaker: Heartbeat,
    primary: PgConnectOptions,
    standby: PgConnectOptions,
    max_lag: Duration,
    state: Sender<State>,
}

/// Result of the last measurement.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    is_used: bool,
    lag: Option<Duration>,
    is_primary: bool,
    /// Position that a server must have replayed to be within the bound.
    floor: Option<Position>,
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Replica")
    }
}

/// Creates the pool of `DATABASE_READ_URL`, `None` if it is not set. It connects on first use.
pub fn connect_replica(config: &DatabaseConfig, with: &Options) -> Result<Option<Replica>, Error> {
    let Some(url) = &config.read_url else {
        return Ok(None);
    };
    let of_url = |url| connect_options(url, with.application_name, with.statement_log);
    let (primary, standby) = (of_url(&config.url)?, of_url(url)?);
    let settings = SessionSettings::of(config);
    let on_connect = match &config.direct_url {
        None => format!("{READ_ONLY}{}", settings.statements()),
        // A pooler by the transaction would execute the settings in any session: they are defaults of the role.
        Some(_) => crate::session::IS_STANDBY.to_owned(),
    };
    let breaker = Heartbeat::new(standby.clone(), None, None, clock::Clock::system());
    let pool = crate::pool_options(config, &breaker, on_connect.into(), |_| Ok(()));
    let pool = pool.connect_lazy_with(standby.clone());
    let db = Db::new(pool, None, breaker.clone(), settings, ACQUIRE_TIMEOUT);
    Ok(Some(Replica(Arc::new(Inner {
        db,
        breaker,
        primary,
        standby,
        max_lag: config.read_max_lag,
        state: Sender::default(),
    }))))
}

impl Replica {
    /// Returns whether reads are sent to it.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.floor().is_some()
    }

    /// Bound on the lag at the last measurement; `None` if it could not be measured.
    #[must_use]
    pub fn lag(&self) -> Option<Duration> {
        self.0.state.borrow().lag
    }

    /// Returns whether `DATABASE_READ_URL` led to the primary at the last measurement.
    #[must_use]
    pub fn is_primary(&self) -> bool {
        self.0.state.borrow().is_primary
    }

    /// Closes the pool.
    pub async fn close(&self) {
        self.0.db.close().await;
    }

    pub(crate) fn options(&self) -> &PgConnectOptions {
        &self.0.standby
    }

    /// Begins a read-only transaction. `settings` are calls of `set_config` for the transaction, separated by commas, or empty.
    /// Returns `None` where the primary is to be asked: the replica is not read now, none of its connections is free, it has
    /// stopped to respond, or this connection leads to a standby beyond the bound.
    ///
    /// The transaction begins by one message, which also checks that the server behind this connection has replayed what the
    /// bound asks for: a name or a proxy can lead to several standbys, of which the watch measures one.
    pub async fn begin(&self, settings: &str) -> Option<Reading> {
        let Some(floor) = self.floor() else {
            count_read(ReadSource::Primary);
            return None;
        };
        let is_primary = self.is_primary();
        let begun = Reading::begin(&self.0.db, settings, floor, is_primary);
        match self.within(RESPONSE_TIMEOUT, begun).await {
            Ok(reading) => Some(reading),
            Err(error) => {
                record_fallback(&error);
                None
            }
        }
    }

    /// Fails statements after five seconds, and as soon as the replica has stopped to respond.
    pub async fn bounded<T>(
        &self,
        read: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.within(READ_TIMEOUT, read).await
    }

    async fn within<T>(
        &self,
        limit: Duration,
        read: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let read = timeout(limit, self.0.db.fail_fast(read)).await;
        read.unwrap_or(Err(Error::PoolTimedOut))
    }

    /// Ends the transaction. Returns `None` if the read failed and the primary is to be asked, such as after a conflict with
    /// recovery. A statement that ran into its time limit is no such failure, since it would take as long on the primary.
    pub async fn end<T>(
        &self,
        reading: Reading,
        result: Result<T, Error>,
    ) -> Option<Result<T, Error>> {
        match &result {
            Ok(_) => {
                let committed = self.within(RESPONSE_TIMEOUT, reading.commit()).await;
                committed.unwrap_or_default();
            }
            Err(error) if is_cancelled(error) => {}
            Err(error) => {
                record_fallback(error);
                return None;
            }
        }
        count_read(ReadSource::Replica);
        Some(result)
    }

    /// The position that a server must have replayed; `None` while the replica is not read. It would be too old if the watch
    /// did not run.
    fn floor(&self) -> Option<Position> {
        let State { is_used, floor, .. } = *self.0.state.borrow();
        let is_recent =
            |floor: &Position| Instant::now().saturating_duration_since(floor.at) <= self.0.max_lag;
        floor.filter(is_recent).filter(|_| is_used)
    }
}

/// Logs and counts a read that goes to the primary after all.
fn record_fallback(error: &Error) {
    if is_behind(error) || matches!(error, Error::PoolTimedOut) {
        tracing::debug!(%error, "a standby of DATABASE_READ_URL lags or is busy: asking the primary");
    } else {
        tracing::warn!(%error, "a read of the replica failed: asking the primary");
    }
    count_read(ReadSource::Primary);
    count_repeated_read();
}

/// Connection of the replica in a read-only transaction. Dropped before its end it is closed: `ROLLBACK` would wait for a
/// server that may not respond.
#[derive(Debug)]
pub struct Reading(Option<PoolConnection<Postgres>>);

impl Reading {
    async fn begin(
        db: &Db,
        settings: &str,
        floor: Position,
        is_primary: bool,
    ) -> Result<Self, Error> {
        let mut reading = Self(Some(db.acquire().await?));
        let comma = if settings.is_empty() { "" } else { ", " };
        // Division by zero, if the server has not replayed it, or was promoted and writes a log of its own.
        let statement = format!(
            "BEGIN READ ONLY; SELECT {settings}{comma}1 / coalesce(({POSITION}) >= '{}' AND (pg_is_in_recovery() OR {is_primary}), false)::int",
            floor.lsn
        );
        let connection = reading.connection()?;
        let statement = sqlx::raw_sql(AssertSqlSafe(statement));
        if let Err(error) = connection.execute(statement).await {
            if is_behind(&error) {
                connection.execute(sqlx::raw_sql("ROLLBACK")).await?;
                reading.0 = None;
            }
            return Err(error);
        }
        Ok(reading)
    }

    /// The connection, in the transaction.
    pub fn connection(&mut self) -> Result<&mut PgConnection, Error> {
        // It has one until its end.
        self.0.as_deref_mut().ok_or(Error::WorkerCrashed)
    }

    /// Returns the connection to the pool. What was read stays true if that fails.
    async fn commit(mut self) -> Result<(), Error> {
        self.connection()?.execute(sqlx::raw_sql("COMMIT")).await?;
        self.0 = None;
        Ok(())
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(connection.detach());
        }
    }
}

/// Returns whether the server had not replayed what [`Reading::begin`] asks for.
fn is_behind(error: &Error) -> bool {
    has_code(error, "22012")
}
