//! Writing to the audit log, with the caller and the origin of a request context.

use super::entry::Entry;
use super::store;
use crate::ctx::{Ctx, Tx};

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
