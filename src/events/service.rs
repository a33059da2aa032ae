//! Storing events: all that are told together, or none.

use std::time::Duration;
use tracing::Instrument as _;

use super::error::Error;
use super::model::{NewEvent, StoredEvent, Volume};
use super::store::{self, Columns};
use crate::ctx::{CallerCtx, Ctx};
use crate::metrics::{self, Quota};
use crate::plans::{self, Month};

/// How long a request waits for the account's others.
const WAIT: Duration = Duration::from_secs(5);

/// Events that are told together.
#[derive(Debug, Default)]
pub(super) struct Told {
    columns: Columns,
    may_repeat: bool,
}

impl Told {
    /// Adds an event; `None` when the caller's id is rejected.
    pub(super) fn add(&mut self, ctx: &Ctx, event: NewEvent) -> Option<StoredEvent> {
        self.may_repeat |= event.id.is_some();
        let stored = StoredEvent::identify(event.id, ctx.now(), &ctx.rng)?;
        self.columns.push(stored, event);
        Some(stored)
    }

    /// Stores the events of an account, except those that are stored already and the same. All of
    /// them fit into the quotas of its plan, or none is stored.
    ///
    /// An account's writes wait for each other at the row of its month. Here they wait without a
    /// connection, except for a few. In a task of its own: a slot is taken for as long as the
    /// statements run, also when the client hangs up.
    pub(super) async fn store(self, ctx: &CallerCtx) -> Result<(), Error> {
        let slot = ctx.event_writes.acquire(ctx.user_id().0, WAIT).await;
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
        let (user_id, now) = (ctx.user_id(), ctx.now());
        let plan = plans::plan_of(ctx, user_id).await?;
        let quota = Volume::of(plan.tier(&ctx.plans));
        let month = Month::of(now);
        let columns = &self.columns;
        let refuse = async |more: Volume| {
            let stored = store::stored_in(&ctx.db, user_id, month).await?;
            // Another request may have been rolled back since: then either name is as good.
            let quota = quota.exceeded_by(stored, more).unwrap_or(Quota::Events);
            metrics::count_quota_refusal(quota);
            let wait = (month.end() - now).to_std().unwrap_or_default();
            Err(Error::Quota { quota, wait })
        };
        if !self.may_repeat {
            if store::insert_new(&ctx.db, user_id, columns, month, quota).await? {
                return Ok(());
            }
            return refuse(columns.volume(None)).await;
        }
        let count = columns.len();
        let mut tx = ctx.begin().await?;
        let inserted = store::insert(&mut *tx, user_id, columns).await?;
        let is_whole = inserted.len() == count;
        if !is_whole && store::count_same(&mut *tx, user_id, columns).await? < count {
            return Err(Error::IdTaken);
        }
        let more = columns.volume(Some(&inserted));
        if !store::charge(&mut *tx, user_id, month, more, quota).await? {
            tx.rollback().await?;
            return refuse(more).await;
        }
        tx.commit().await?;
        Ok(())
    }
}
