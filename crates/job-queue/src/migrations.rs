//! The queue's schema, which the library migrates, and an index of our own.

use std::error::Error;
use std::time::Duration;

use database::migrations::{drop_invalid_index, set_lock_timeout};
use graphile_worker::WorkerUtils;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgConnection, PgPool};

/// Schema of the queue.
pub const SCHEMA: &str = "graphile_worker";

/// The queue's schema could not be migrated.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// A statement failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// A migration of the library failed.
    #[error(transparent)]
    Library(Box<dyn Error + Send + Sync>),
}

/// Migrates the queue's schema as its owner. The caller holds the migration lock.
pub async fn migrate(owner: PgConnectOptions) -> Result<(), MigrateError> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .after_connect(|connection, _| {
            let set = sqlx::raw_sql("SET search_path = public");
            Box::pin(async move { set.execute(connection).await.map(drop) })
        })
        .connect_with(owner)
        .await?;
    let result = migrate_with(&pool).await;
    pool.close().await;
    result
}

async fn migrate_with(pool: &PgPool) -> Result<(), MigrateError> {
    let queue = WorkerUtils::new(pool.clone(), SCHEMA);
    let result = queue.migrate().await;
    result.map_err(|error| MigrateError::Library(Box::new(error)))?;
    Ok(index_dead_jobs(&mut *pool.acquire().await?).await?)
}

/// Adds an index on dead jobs to the library's table, for counting and purging them.
async fn index_dead_jobs(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    set_lock_timeout(connection, Duration::ZERO).await?;
    drop_invalid_index(connection, "graphile_worker.jobs_dead_idx").await?;
    sqlx::raw_sql(
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS jobs_dead_idx
         ON graphile_worker._private_jobs (run_at) WHERE attempts >= max_attempts",
    )
    .execute(connection)
    .await?;
    Ok(())
}
