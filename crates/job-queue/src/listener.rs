//! The worker's database behind a pooler: statements by the pool, notifications by `DATABASE_DIRECT_URL`.

use std::any::Any;

use database::Db;
use futures_util::StreamExt as _;
use graphile_worker::sqlx::SqlxDatabase;
use graphile_worker::{
    BoxFuture, Database, DatabaseDriver, DbError, DbExecutor, DbParams, DbRow, DbTransaction,
    Notification, NotificationStream,
};

/// The channel that the library listens to.
const CHANNEL: &str = "jobs:insert";

#[derive(Debug)]
struct Driver {
    pool: SqlxDatabase,
    db: Db,
}

/// The library's database, whose notifications come by `DATABASE_DIRECT_URL` if it is set.
pub(crate) fn driver(db: &Db) -> Database {
    let pool = SqlxDatabase::new(db.pool().clone());
    Database::new(Driver {
        pool,
        db: db.clone(),
    })
}

impl DatabaseDriver for Driver {
    /// The library finds the pool by it.
    fn as_any(&self) -> &dyn Any {
        &self.pool
    }

    fn begin(&self) -> BoxFuture<'_, Result<DbTransaction, DbError>> {
        self.pool.begin()
    }

    fn listen<'a>(
        &'a self,
        channel: &'a str,
    ) -> BoxFuture<'a, Result<Option<NotificationStream>, DbError>> {
        let direct = (channel == CHANNEL)
            .then(|| database::listen(&self.db, CHANNEL))
            .flatten();
        let Some(payloads) = direct else {
            return self.pool.listen(channel);
        };
        let notifications = payloads.map(|payload| {
            Ok(Notification {
                channel: CHANNEL.to_owned(),
                payload,
            })
        });
        Box::pin(async move { Ok(Some(Box::pin(notifications) as NotificationStream)) })
    }
}

impl DbExecutor for Driver {
    fn execute<'a>(
        &'a self,
        sql: &'a str,
        params: DbParams,
    ) -> BoxFuture<'a, Result<u64, DbError>> {
        self.pool.execute(sql, params)
    }

    fn fetch_all<'a>(
        &'a self,
        sql: &'a str,
        params: DbParams,
    ) -> BoxFuture<'a, Result<Vec<DbRow>, DbError>> {
        self.pool.fetch_all(sql, params)
    }
}
