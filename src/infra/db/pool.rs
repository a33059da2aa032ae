//! The connection pool behind a circuit breaker: while PostgreSQL does not respond a request is
//! refused at once and opens no connection.

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
use sqlx::{Describe, Either, Error, Execute, Executor, PgPool, Postgres, SqlStr, Transaction};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use tracing::{Instrument as _, Span};

use super::Pulse;

/// Connections that are opened at the same time. Opening one costs the server a process and us the
/// key derivation of SCRAM: after an outage the first few serve requests while the others follow.
const OPENING_MAX: usize = 4;

/// How often a request that waits for others to open connections looks for an idle one.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The pause after a connection that could not be opened, while the pool has none.
const OPEN_BACKOFF: Duration = Duration::from_millis(250);

/// How exactly it is noted when a connection was free, in milliseconds.
const LAST_FREE_EVERY: u64 = 50;

/// The part of `DB_POOL_TIMEOUT` that a request waits while the pool has long been exhausted.
const QUEUED_FRACTION: u32 = 4;

/// The pool of connections that stores are given; a clone is another handle on it.
#[derive(Clone)]
pub struct Db(Arc<Inner>);

struct Inner {
    pool: PgPool,
    pulse: Pulse,
    acquire_timeout: Duration,
    opening: Arc<Semaphore>,
    backoff: Mutex<Option<Instant>>,
    started: Instant,
    /// When a connection was last free, in milliseconds since `started`.
    last_free: AtomicU64,
}

/// Why a request is refused without a connection: the circuit breaker is open.
#[derive(Debug, thiserror::Error)]
#[error("PostgreSQL does not respond")]
struct Unresponsive;

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Db")
    }
}

impl Db {
    pub(super) fn new(pool: PgPool, pulse: Pulse, acquire_timeout: Duration) -> Self {
        Self(Arc::new(Inner {
            pool,
            pulse,
            acquire_timeout,
            opening: Arc::new(Semaphore::new(OPENING_MAX)),
            backoff: Mutex::default(),
            started: Instant::now(),
            last_free: AtomicU64::new(0),
        }))
    }

    /// The pool itself, for a library that asks for one. It does not pass the circuit breaker.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.0.pool
    }

    /// Open connections, and those being opened.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.0.pool.size()
    }

    /// Connections that nobody uses.
    #[must_use]
    pub fn num_idle(&self) -> usize {
        self.0.pool.num_idle()
    }

    /// The most connections that are opened.
    #[must_use]
    pub fn max_connections(&self) -> u32 {
        self.0.pool.options().get_max_connections()
    }

    /// Closes every connection, and refuses requests from now on.
    pub async fn close(&self) {
        self.0.pool.close().await;
    }

    /// A connection, within `DB_POOL_TIMEOUT`; an error at once while PostgreSQL does not respond.
    pub async fn acquire(&self) -> Result<PoolConnection<Postgres>, Error> {
        if self.0.pulse.is_silent() {
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
            () = self.0.pulse.silenced() => Err(unresponsive()),
            () = sleep(self.patience()) => Err(Error::PoolTimedOut),
        }
    }

    /// How long to wait for a connection: less once none has been free for half of `DB_POOL_TIMEOUT`.
    /// A request acquires several times. Were each of its waits as long as the first, it would take
    /// several times as long to be refused.
    fn patience(&self) -> Duration {
        let now = self.0.started.elapsed();
        let now_millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let last_free = self.0.last_free.load(Ordering::Relaxed);
        if self.num_idle() > 0 || self.size() < self.max_connections() {
            // Not for every request: a write would take the cache line from the other threads.
            if now_millis > last_free + LAST_FREE_EVERY {
                self.0.last_free.store(now_millis, Ordering::Relaxed);
            }
            return self.0.acquire_timeout;
        }
        if now > Duration::from_millis(last_free) + self.0.acquire_timeout / 2 {
            return self.0.acquire_timeout / QUEUED_FRACTION;
        }
        self.0.acquire_timeout
    }

    async fn acquire_or_open(&self) -> Result<PoolConnection<Postgres>, Error> {
        while self.must_open() {
            if self.size() == 0 && self.is_backing_off() {
                return Err(unresponsive());
            }
            if let Ok(turn) = Arc::clone(&self.0.opening).try_acquire_owned() {
                return self.open(turn).await;
            }
            sleep(LOOK_AGAIN).await;
        }
        self.0.pool.acquire().await
    }

    /// Returns whether the next connection has to be opened.
    fn must_open(&self) -> bool {
        self.num_idle() == 0 && self.size() < self.max_connections() && !self.0.pool.is_closed()
    }

    /// Opens a connection in a task of its own: a request that is refused meanwhile, or whose client
    /// hangs up, does not break the handshake off, and the next one finds the connection open.
    async fn open(&self, turn: OwnedSemaphorePermit) -> Result<PoolConnection<Postgres>, Error> {
        let db = self.clone();
        let opening = tokio::spawn(async move {
            let _turn = turn;
            let opened = db.unless_silent(db.0.pool.acquire()).await;
            db.note_opened(opened.is_ok());
            opened
        });
        opening.await.unwrap_or(Err(Error::WorkerCrashed))
    }

    /// An error as soon as PostgreSQL does not respond.
    pub(super) async fn unless_silent<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::select! {
            biased;
            done = work => done,
            () = self.0.pulse.silenced() => Err(unresponsive()),
        }
    }

    fn is_backing_off(&self) -> bool {
        let backoff = self.0.backoff.lock();
        let failed = *backoff.unwrap_or_else(PoisonError::into_inner);
        failed.is_some_and(|at| at.elapsed() < OPEN_BACKOFF)
    }

    fn note_opened(&self, is_open: bool) {
        let backoff = self.0.backoff.lock();
        let mut failed = backoff.unwrap_or_else(PoisonError::into_inner);
        *failed = (!is_open).then(Instant::now);
    }

    /// Closes the idle connections without a word to the server, which may not be there.
    pub(super) fn discard_idle(&self) {
        while let Some(connection) = self.0.pool.try_acquire() {
            drop(connection.detach());
        }
    }

    /// Begins a transaction: see [`super::begin`].
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Postgres>, Error> {
        let connection = MaybePoolConnection::PoolConnection(self.acquire().await?);
        self.unless_silent(Transaction::begin(connection, None))
            .await
    }
}

fn unresponsive() -> Error {
    Error::Io(io::Error::new(io::ErrorKind::NotConnected, Unresponsive))
}

/// Returns whether `error` says that no connection was asked for, since PostgreSQL does not respond.
#[must_use]
pub fn is_breaker_open(error: &Error) -> bool {
    let Error::Io(error) = error else {
        return false;
    };
    error
        .get_ref()
        .is_some_and(<dyn std::error::Error + Send + Sync>::is::<Unresponsive>)
}

/// As sqlx's own for a pool, through [`Db::acquire`].
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
        // Gathered first: a stream that borrows from the connection beside it cannot be written
        // in safe code, and callers with many rows to read stream them from a connection.
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
