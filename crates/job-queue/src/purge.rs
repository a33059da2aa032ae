//! Purges in batches: short transactions, a separate statement timeout, and a failure that ends one purge
//! and not the others.

use chrono::{DateTime, Utc};
use database::{Db, begin_with};
use futures_util::future::BoxFuture;
use sqlx::PgConnection;

use crate::Expired;

/// Maximum number of rows of one statement, so that a purge of millions of rows holds neither locks nor a
/// snapshot for long.
pub const PURGE_BATCH: i64 = 1_000;

/// Purges of one job.
#[derive(Debug)]
pub struct Purges<'a> {
    db: &'a Db,
    begin: String,
    failed: Option<sqlx::Error>,
}

impl<'a> Purges<'a> {
    /// Purges whose transactions `begin` begins and sets up.
    #[must_use]
    pub const fn new(db: &'a Db, begin: String) -> Self {
        Self {
            db,
            begin,
            failed: None,
        }
    }

    /// Deletes in batches, each in its own transaction, until one is incomplete. `delete` takes the
    /// connection and the maximum number of rows, and returns how many it deleted; it needs an index that
    /// finds them. Returns how many were deleted. A failure is logged and returned by [`Purges::finish`].
    pub async fn run<F>(&mut self, what: &'static str, delete: F) -> u64
    where
        F: for<'c> Fn(&'c mut PgConnection, i64) -> BoxFuture<'c, Result<u64, sqlx::Error>>,
    {
        let mut total = 0;
        let result = loop {
            match self.batch(&delete).await {
                Ok(deleted) => {
                    total += deleted;
                    if deleted < PURGE_BATCH.unsigned_abs() {
                        break Ok(());
                    }
                }
                Err(error) => break Err(error),
            }
        };
        if total > 0 {
            tracing::info!(what, rows = total, "purged");
        }
        if let Err(error) = result {
            tracing::warn!(what, %error, "a purge failed");
            self.failed.get_or_insert(error);
        }
        total
    }

    async fn run_expired(&mut self, rows: Expired, before: DateTime<Utc>) {
        self.run(rows.what, |conn, most| {
            Box::pin(rows.delete(conn, before, most))
        })
        .await;
    }

    /// Deletes rows whose time is before the one beside them.
    pub async fn run_all(&mut self, retained: &[(Expired, DateTime<Utc>)]) {
        for (rows, before) in retained {
            self.run_expired(*rows, *before).await;
        }
    }

    async fn batch<F>(&self, delete: &F) -> Result<u64, sqlx::Error>
    where
        F: for<'c> Fn(&'c mut PgConnection, i64) -> BoxFuture<'c, Result<u64, sqlx::Error>>,
    {
        let mut tx = begin_with(self.db, self.begin.clone()).await?;
        let deleted = delete(&mut tx, PURGE_BATCH).await?;
        tx.commit().await?;
        Ok(deleted)
    }

    /// Returns the first failure.
    pub fn finish(self) -> Result<(), sqlx::Error> {
        self.failed.map_or(Ok(()), Err)
    }
}
