//! Jobs of the schedule.

use chrono::{DateTime, Utc};
use clock::before;
use job_queue::{Expired, Purges};

use super::{accounts, reconcile, usage};
use crate::scope;
use crate::state::AppState;

const OLD_CHECKOUTS: Expired = Expired::new("checkouts", "checkouts", "created_at")
    .unless_held(scope::LEGAL_HOLDS, "account_id");
const OLD_BILLED_USAGE: Expired = Expired::new("billed usage", "billed_usage", "hour")
    .unless_held(scope::LEGAL_HOLDS, "account_id");
const OLD_EVENTS: Expired = Expired::new("webhook events", "stripe_events", "received_at");

job_queue::jobs! {
    /// Runs every minute: seats, addresses and deletions of accounts follow at Stripe.
    FollowAccounts "billing.follow_accounts" => accounts::follow;
    /// Runs every half hour: reads subscriptions whose renewal, end or payment no event has reported.
    ReconcileStale "billing.reconcile" => reconcile::reconcile_stale;
    /// Runs every hour, soon after it has begun: an invoice is finalised an hour after its period.
    SendUsage "billing.send_usage" => usage::send_recent;
    /// Runs daily: compares usage with that at Stripe, and sends what was written late.
    CompareUsage "billing.compare_usage" => usage::compare_and_send;
    /// Runs daily.
    PurgeBilling "billing.purge" => purge;
}

/// Rows that are deleted once their time has passed, each with that time.
pub fn retained(state: &AppState) -> [(Expired, DateTime<Utc>); 3] {
    let (now, billing) = (state.clock.now(), &state.billing);
    [
        (OLD_EVENTS, before(now, billing.event_retention)),
        (OLD_CHECKOUTS, before(now, billing.checkout_retention)),
        (
            OLD_BILLED_USAGE,
            before(now, billing.billed_usage_retention),
        ),
    ]
}

async fn purge(state: &AppState) -> Result<(), job_queue::JobError> {
    let mut purges = Purges::new(&state.db, scope::begin_job(state.job_statement_timeout));
    purges.run_all(&retained(state)).await;
    Ok(purges.finish()?)
}
