//! Connection pool behind a circuit breaker: while PostgreSQL does not respond, requests fail at once
//! and open no connection.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use futures_util::{TryFutureExt as _, TryStreamExt as _};
use sqlx::pool::{MaybePoolConnection, PoolConnection};
use sqlx::postgres::{PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{
    AssertSqlSafe, Describe, Either, Error, Execute, Executor, PgPool, Postgres, SqlSafeStr as _,
    SqlStr, Transaction,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use tracing::{Instrument as _, Span};

use super::Heartbeat;
use super::session::SessionSettings;

/// Concurrent handshakes. Each costs the server a process and this one the key derivation of SCRAM: after
/// an outage the first few connections serve requests while the others follow.
const OPENING_MAX: usize = 4;

/// Interval at which a request that waits for others' handshakes looks for an idle connection.
const RETRY_AFTER: Duration = Duration::from_millis(5);

/// Backoff after a failed handshake while the pool is empty.
const OPEN_BACKOFF: Duration = Duration::from_millis(250);

/// Precision of `last_free`, in milliseconds.
const LAST_FREE_PRECISION: u64 = 50;

/// Fraction of the acquire timeout while the pool has long been exhausted.
const EXHAUSTED_FRACTION: u32 = 4;

/// Connection pool; clones share it.
#[derive(Clone)]
pub struct Db(Arc<Inner>);

struct Inner {
    pool: PgPool,
    /// Of `DATABASE_DIRECT_URL`.
    direct: Option<PgPool>,
    heartbeat: Heartbeat,
    settings: SessionSettings,
    acquire_timeout: Duration,
    opening: Arc<Semaphore>,
    backoff: Mutex<Option<Instant>>,
    started: Instant,
    /// When the pool was last not exhausted, in milliseconds since `started`.
    last_free: AtomicU64,
}

/// The circuit breaker is open.
#[derive(Debug, thiserror::Error)]
#[error("PostgreSQL does not respond")]
struct Unresponsive;

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Db")
    }
}

impl Db {
    pub(super) fn new(
        pool: PgPool,
        direct: Option<PgPool>,
        heartbeat: Heartbeat,
        settings: SessionSettings,
        acquire_timeout: Duration,
    ) -> Self {
        Self(Arc::new(Inner {
            pool,
            direct,
            heartbeat,
            settings,
            acquire_timeout,
            opening: Arc::new(Semaphore::new(OPENING_MAX)),
            backoff: Mutex::default(),
            started: Instant::now(),
            last_free: AtomicU64::new(0),
        }))
    }

    /// sqlx's pool, for libraries that need one. It bypasses the circuit breaker.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.0.pool
    }

    /// The pool of `DATABASE_DIRECT_URL`, if it is set.
    pub(super) fn direct(&self) -> Option<&PgPool> {
        self.0.direct.as_ref()
    }

    /// The pool whose connections have a session of their own.
    pub(super) fn sessions(&self) -> &PgPool {
        self.direct().unwrap_or(&self.0.pool)
    }

    pub(super) fn settings(&self) -> &SessionSettings {
        &self.0.settings
    }

    /// Number of connections, including those being opened.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.0.pool.size()
    }

    /// Number of idle connections.
    #[must_use]
    pub fn num_idle(&self) -> usize {
        self.0.pool.num_idle()
    }

    /// Maximum number of connections.
    #[must_use]
    pub fn max_connections(&self) -> u32 {
        self.0.pool.options().get_max_connections()
    }

    /// Closes the pools.
    pub async fn close(&self) {
        self.0.pool.close().await;
        if let Some(direct) = self.direct() {
            direct.close().await;
        }
    }

    /// Acquires a connection within the acquire timeout. Fails at once while the breaker is open.
    pub async fn acquire(&self) -> Result<PoolConnection<Postgres>, Error> {
        if self.0.heartbeat.is_unresponsive() {
            return Err(unresponsive());
        }
        // A request that waits for the pool is slow without a slow statement.
        let span = if self.num_idle() == 0 {
            tracing::info_span!(target: "otel", "wait for a database connection")
        } else {
            Span::none()
        };
        tokio::select! {
            biased;
            acquired = self.acquire_or_open().instrument(span) => acquired,
            () = self.0.heartbeat.unresponsive() => Err(unresponsive()),
            () = sleep(self.acquire_timeout()) => Err(Error::PoolTimedOut),
        }
    }

    /// The acquire timeout, reduced once the pool has been exhausted for half of it: a request acquires
    /// several times, and would take several timeouts to fail.
    fn acquire_timeout(&self) -> Duration {
        let now = self.0.started.elapsed();
        let now_millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let last_free = self.0.last_free.load(Ordering::Relaxed);
        if self.num_idle() > 0 || self.size() < self.max_connections() {
            // Not for every request: a write invalidates the cache line of the other threads.
            if now_millis > last_free + LAST_FREE_PRECISION {
                self.0.last_free.store(now_millis, Ordering::Relaxed);
            }
            return self.0.acquire_timeout;
        }
        if now > Duration::from_millis(last_free) + self.0.acquire_timeout / 2 {
            return self.0.acquire_timeout / EXHAUSTED_FRACTION;
        }
        self.0.acquire_timeout
    }

    async fn acquire_or_open(&self) -> Result<PoolConnection<Postgres>, Error> {
        while self.must_open() {
            if self.size() == 0 && self.is_backing_off() {
                return Err(unresponsive());
            }
            if let Ok(permit) = Arc::clone(&self.0.opening).try_acquire_owned() {
                return self.open(permit).await;
            }
            sleep(RETRY_AFTER).await;
        }
        self.0.pool.acquire().await
    }

    fn must_open(&self) -> bool {
        self.num_idle() == 0 && self.size() < self.max_connections() && !self.0.pool.is_closed()
    }

    /// Opens a connection in a task of its own, so that a request that fails or is dropped does not
    /// cancel the handshake, and the next one finds the connection open.
    async fn open(&self, permit: OwnedSemaphorePermit) -> Result<PoolConnection<Postgres>, Error> {
        let db = self.clone();
        let opening = tokio::spawn(async move {
            let _permit = permit;
            let opened = db.fail_fast(db.0.pool.acquire()).await;
            db.record_opened(opened.is_ok());
            opened
        });
        opening.await.unwrap_or(Err(Error::WorkerCrashed))
    }

    /// Cancels `work` with an error when the breaker opens.
    pub(super) async fn fail_fast<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::select! {
            biased;
            done = work => done,
            () = self.0.heartbeat.unresponsive() => Err(unresponsive()),
        }
    }

    fn is_backing_off(&self) -> bool {
        let backoff = self.0.backoff.lock();
        let failed = *backoff.unwrap_or_else(PoisonError::into_inner);
        failed.is_some_and(|at| at.elapsed() < OPEN_BACKOFF)
    }

    fn record_opened(&self, is_open: bool) {
        let backoff = self.0.backoff.lock();
        let mut failed = backoff.unwrap_or_else(PoisonError::into_inner);
        *failed = (!is_open).then(Instant::now);
    }

    /// Closes idle connections without a message to the server, which may be gone.
    pub(super) fn discard_idle(&self) {
        while let Some(connection) = self.0.pool.try_acquire() {
            drop(connection.detach());
        }
    }

    /// See [`super::begin_with`].
    pub(super) async fn begin_with(
        &self,
        statement: String,
    ) -> Result<Transaction<'static, Postgres>, Error> {
        let connection = MaybePoolConnection::PoolConnection(self.acquire().await?);
        let statement = AssertSqlSafe(statement).into_sql_str();
        self.fail_fast(Transaction::begin(connection, Some(statement)))
            .await
    }
}

fn unresponsive() -> Error {
    Error::Io(io::Error::new(io::ErrorKind::NotConnected, Unresponsive))
}

/// Returns whether the circuit breaker was open.
#[must_use]
pub fn is_breaker_open(error: &Error) -> bool {
    let Error::Io(error) = error else {
        return false;
    };
    error
        .get_ref()
        .is_some_and(<dyn std::error::Error + Send + Sync>::is::<Unresponsive>)
}

/// Like sqlx's own for a pool, through [`Db::acquire`].
impl<'p> Executor<'p> for &Db {
    type Database = Postgres;

    fn execute<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<PgQueryResult, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let db = self.clone();
        Box::pin(async move { db.acquire().await?.execute(query).await })
    }

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let db = self.clone();
        // Gathered first: a stream that owns the connection it borrows from is not safe code. Callers
        // stream many rows from a connection.
        let gathered = async move {
            let mut connection = db.acquire().await?;
            let steps: Vec<_> = connection.fetch_many(query).try_collect().await?;
            Ok(stream::iter(steps.into_iter().map(Ok)))
        };
        gathered.try_flatten_stream().boxed()
    }

    fn fetch_all<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Vec<PgRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let db = self.clone();
        Box::pin(async move { db.acquire().await?.fetch_all(query).await })
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let db = self.clone();
        Box::pin(async move { db.acquire().await?.fetch_optional(query).await })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, Error>>
    where
        'p: 'e,
    {
        let db = self.clone();
        Box::pin(async move { db.acquire().await?.prepare_with(sql, parameters).await })
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, Error>>
    where
        'p: 'e,
    {
        let db = self.clone();
        Box::pin(async move { db.acquire().await?.describe(sql).await })
    }
}
