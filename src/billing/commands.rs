//! CLI commands: `billing reconcile` and `billing replay`.

use chrono::{DateTime, Utc};

use super::error::Error;
use super::queue::SyncEvent;
use super::store::accounts;
use super::{queue, reconcile as compare, webhook};
use crate::ctx::Ctx;
use crate::ids::AccountId;
use crate::scope::{Exception, Scope};

/// Customers of one page.
const PAGE: i64 = 100;

/// Outcome of a reconciliation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reconciled {
    pub accounts: usize,
    /// Accounts that differed.
    pub different: usize,
    /// Accounts that could not be compared.
    pub failed: usize,
}

/// Compares all accounts, or one, with Stripe; `report` gets a line for each difference.
pub async fn reconcile(
    ctx: &Ctx,
    only: Option<AccountId>,
    applies: bool,
    mut report: impl FnMut(String),
) -> Result<Reconciled, Error> {
    let mut outcome = Reconciled::default();
    let mut after = None;
    loop {
        let mut tx = ctx.begin_scoped(Scope::Exception(Exception::Job)).await?;
        let page = accounts::list_customers(&mut *tx, after, PAGE).await?;
        tx.commit().await?;
        let Some((last, _)) = page.last() else {
            return Ok(outcome);
        };
        after = Some(*last);
        for (account_id, customer) in page {
            if only.is_some_and(|only| only != account_id) {
                continue;
            }
            outcome.accounts += 1;
            match compare::reconcile(ctx, account_id, &customer, applies).await {
                Ok(differences) => {
                    outcome.different += usize::from(!differences.is_empty());
                    for difference in differences {
                        report(format!("{account_id} {difference}"));
                    }
                }
                Err(error) => {
                    outcome.failed += 1;
                    report(format!("{account_id} cannot be compared: {error}"));
                }
            }
        }
    }
}

/// Processes again the events since a time, or those that were never processed; returns how many customers that are.
pub async fn replay(ctx: &Ctx, since: Option<DateTime<Utc>>) -> Result<usize, Error> {
    let mut tx = ctx.begin_scoped(Scope::Exception(Exception::Job)).await?;
    let customers = webhook::list_customers_to_replay(&mut *tx, since).await?;
    for customer in &customers {
        queue::enqueue_sync(&mut *tx, customer).await?;
    }
    for event in webhook::list_events_without_customer(&mut *tx).await? {
        let job = SyncEvent::of(event);
        job_queue::enqueue(&mut *tx, &job, None).await?;
    }
    tx.commit().await?;
    Ok(customers.len())
}
