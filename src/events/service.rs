//! Storing a batch of events: all of them, or none.

use clock::Month;
use std::time::Duration;
use tracing::Instrument as _;

use super::error::Error;
use super::model::{NewEvent, StoredEvent, Volume};
use super::store::{self, Columns};
use crate::ctx::{CallerCtx, Ctx};
use crate::metrics::{self, Quota};
use crate::plans;

/// How long a request waits for a slot.
const WAIT: Duration = Duration::from_secs(5);

/// Events of one request, to be stored together.
#[derive(Debug, Default)]
pub(super) struct EventBatch {
    columns: Columns,
    has_caller_ids: bool,
}

impl EventBatch {
    /// Adds an event; `None` if the caller's id is invalid.
    pub(super) fn add(&mut self, ctx: &Ctx, event: NewEvent) -> Option<StoredEvent> {
        self.has_caller_ids |= event.id.is_some();
        let stored = StoredEvent::identify(event.id, ctx.now(), &ctx.rng)?;
        self.columns.push(stored, event);
        Some(stored)
    }

    /// Stores the events, except those that are stored already with the same content. Stores none if they
    /// exceed a quota of the plan.
    ///
    /// Writes of an account wait for each other at the row of its month. The slots let most of them wait
    /// without holding a connection. The task keeps the slot until the statements end, also when the client
    /// disconnects.
    pub(super) async fn store(self, ctx: &CallerCtx) -> Result<(), Error> {
        let slot = ctx.event_writes.acquire(ctx.account_id().0, WAIT).await;
        let slot = slot.map_err(|_| Error::Busy)?;
        let ctx = ctx.clone();
        let storing = async move {
            let stored = self.store_now(&ctx).await;
            drop(slot);
            stored
        };
        tokio::spawn(storing.in_current_span()).await?
    }

    async fn store_now(&self, ctx: &CallerCtx) -> Result<(), Error> {
        let (account_id, now) = (ctx.account_id(), ctx.now());
        let plan = plans::plan_of(ctx, account_id).await?;
        let quota = Volume::of(plan.tier(&ctx.plans));
        let month = Month::of(now);
        let columns = &self.columns;
        let reject = async |more: Volume| {
            let mut tx = ctx.begin().await?;
            let stored = store::stored_in(&mut *tx, account_id, month).await?;
            tx.commit().await?;
            // Neither is exceeded if another request was rolled back in the meantime.
            let quota = quota.exceeded_by(stored, more).unwrap_or(Quota::Events);
            metrics::count_quota_refusal(quota);
            let wait = (month.end() - now).to_std().unwrap_or_default();
            Err(Error::Quota { quota, wait })
        };
        if !self.has_caller_ids {
            if store::insert_new(&ctx.db, account_id, columns, month, quota).await? {
                return Ok(());
            }
            return reject(columns.volume(None)).await;
        }
        let count = columns.len();
        let mut tx = ctx.begin().await?;
        let inserted = store::insert(&mut *tx, account_id, columns).await?;
        let is_whole = inserted.len() == count;
        if !is_whole && store::count_same(&mut *tx, account_id, columns).await? < count {
            return Err(Error::IdTaken);
        }
        let more = columns.volume(Some(&inserted));
        if !store::charge(&mut *tx, account_id, month, more, quota).await? {
            tx.rollback().await?;
            return reject(more).await;
        }
        tx.commit().await?;
        Ok(())
    }
}
