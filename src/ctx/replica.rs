//! Reads that tolerate lag, from the standby of `DATABASE_READ_URL` or else from the primary.

use axum::http::Extensions;
use database::{Reading, Replica};
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres, Transaction};

use super::Ctx;
use crate::scope::{self, Scope};

/// Extension of the requests of a group whose policy is `reads_replica`, where there is a replica.
#[derive(Clone, Copy, Debug)]
pub struct ReplicaAllowed;

impl ReplicaAllowed {
    pub(super) fn is_in(extensions: &Extensions) -> bool {
        extensions.get::<Self>().is_some()
    }
}

/// Runs statements that only read, such as `read_replica!(ctx.lagging_reads(), conn => store::list(conn, account_id))`, and
/// again on the primary if the replica fails. Evaluates to their result.
///
/// A macro, since the compiler does not see that the future of an async closure with a borrowed argument is `Send`.
macro_rules! read_replica {
    ($reads:expr, $conn:ident => $read:expr) => {{
        let mut reads = $reads;
        loop {
            let mut begun = match reads.begin().await {
                Ok(begun) => begun,
                Err(error) => break Err(error),
            };
            let result = match begun.connection() {
                Ok($conn) => reads.bounded($read).await,
                Err(error) => Err(error),
            };
            if let Some(result) = reads.end(begun, result).await {
                break result;
            }
        }
    }};
}
pub(crate) use read_replica;

/// Reads of one request, for [`read_replica!`].
#[derive(Debug)]
pub struct LaggingReads<'a> {
    ctx: &'a Ctx,
    scope: Option<Scope>,
    is_transaction: bool,
    /// `None` on the primary.
    replica: Option<&'a Replica>,
}

/// Where the statements run.
#[derive(Debug)]
pub enum Begun {
    Replica(Reading),
    Primary(Transaction<'static, Postgres>),
    /// Of the primary, where each statement is a transaction of its own.
    Connection(PoolConnection<Postgres>),
}

impl Ctx {
    /// Reads rows of the account acted for, in a read-only transaction of the replica: what was committed within
    /// `DATABASE_READ_MAX_LAG` may be missing. The primary is asked where there is no replica or it is not near enough, and in
    /// routes whose policy does not say `reads_replica`.
    #[must_use]
    pub fn lagging_reads(&self) -> LaggingReads<'_> {
        let caller = self.caller;
        LaggingReads {
            scope: caller.map(|caller| Scope::Account(caller.account_id())),
            is_transaction: true,
            ..self.lagging_reads_unscoped()
        }
    }

    /// As [`Ctx::lagging_reads`], of tables without an account. Without a replica it costs no transaction.
    #[must_use]
    pub fn lagging_reads_unscoped(&self) -> LaggingReads<'_> {
        LaggingReads {
            ctx: self,
            scope: None,
            is_transaction: false,
            replica: self.replica.as_ref().filter(|_| self.allows_replica),
        }
    }
}

impl LaggingReads<'_> {
    /// Begins on the replica, or else on the primary.
    pub async fn begin(&mut self) -> Result<Begun, sqlx::Error> {
        let settings = self.scope.map(Scope::set_config).unwrap_or_default();
        if let Some(replica) = self.replica {
            if let Some(reading) = replica.begin(&settings).await {
                return Ok(Begun::Replica(reading));
            }
            self.replica = None;
        }
        let db = &self.ctx.db;
        if self.is_transaction {
            let begun = scope::begin_read_only(db, &settings).await?;
            return Ok(Begun::Primary(begun));
        }
        Ok(Begun::Connection(db.acquire().await?))
    }

    /// Awaits the statements; fails those of a replica that has stopped to respond.
    pub async fn bounded<T>(
        &self,
        read: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        match self.replica {
            Some(replica) => replica.bounded(read).await,
            None => read.await,
        }
    }

    /// Ends the transaction. Returns `None` if the statements must run again, on the primary.
    pub async fn end<T>(
        &mut self,
        begun: Begun,
        result: Result<T, sqlx::Error>,
    ) -> Option<Result<T, sqlx::Error>> {
        match begun {
            Begun::Replica(reading) => {
                let replica = self.replica.take()?;
                replica.end(reading, result).await
            }
            Begun::Primary(transaction) => Some(match result {
                Ok(rows) => transaction.commit().await.map(|()| rows),
                Err(error) => Err(refuse_write(error)),
            }),
            Begun::Connection(_) => Some(result),
        }
    }
}

impl Begun {
    /// The connection of the statements.
    pub fn connection(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        Ok(match self {
            Self::Replica(reading) => reading.connection()?,
            Self::Primary(transaction) => &mut *transaction,
            Self::Connection(connection) => &mut *connection,
        })
    }
}

/// A write in a read-only transaction is a fault of the code; as an error of the database it would read as an outage.
fn refuse_write(error: sqlx::Error) -> sqlx::Error {
    if database::is_write_refused(&error) {
        return sqlx::Error::Protocol("a read that tolerates lag writes".to_owned());
    }
    error
}
