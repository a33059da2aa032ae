//! Writing to the audit log, with the caller and the origin of a request context.

use chrono::{DateTime, Utc};
use clock::Rng;
use sqlx::PgExecutor;

use super::entry::Entry;
use super::store;
use crate::ctx::{Ctx, Origin, Tx};

/// Writes an entry of the audit log where there is no context, since the database is being migrated.
pub async fn record_for_process(
    conn: impl PgExecutor<'_>,
    entry: impl Into<Entry>,
    now: DateTime<Utc>,
    rng: &Rng,
) -> Result<(), sqlx::Error> {
    store::insert(conn, &entry.into(), &Origin::default(), now, rng).await
}

impl Tx<'_> {
    /// Writes an entry of the audit log.
    pub async fn audit(&mut self, entry: impl Into<Entry>) -> Result<(), sqlx::Error> {
        let ctx = self.ctx();
        let entry = entry.into().with_caller(ctx.caller());
        store::insert(&mut **self, &entry, ctx.origin(), ctx.now(), &ctx.rng).await
    }
}

impl Ctx {
    /// Writes an entry of the audit log that belongs to no transaction.
    pub async fn audit(&self, entry: impl Into<Entry>) -> Result<(), sqlx::Error> {
        let entry = entry.into().with_caller(self.caller());
        store::insert(&self.db, &entry, self.origin(), self.now(), &self.rng).await
    }
}
