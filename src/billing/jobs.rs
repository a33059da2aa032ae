//! Jobs of the schedule.

use chrono::TimeDelta;
use job_queue::{Expired, Purges};

use super::{accounts, reconcile, usage};
use crate::scope;
use crate::state::AppState;

/// How long finished checkouts are kept.
const CHECKOUTS_KEPT: TimeDelta = TimeDelta::days(90);

const OLD_CHECKOUTS: Expired = Expired::new("checkouts", "checkouts", "created_at");
/// How long the hours that were sent are kept.
const BILLED_USAGE_KEPT: TimeDelta = TimeDelta::days(90);

const OLD_BILLED_USAGE: Expired = Expired::new("billed usage", "billed_usage", "hour");
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

async fn purge(state: &AppState) -> Result<(), job_queue::JobError> {
    let now = state.clock.now();
    let events_before =
        now - TimeDelta::from_std(state.billing.event_retention).unwrap_or(TimeDelta::MAX);
    let mut purges = Purges::new(&state.db, scope::begin_job(state.job_statement_timeout));
    purges.run_expired(OLD_EVENTS, events_before).await;
    purges
        .run_expired(OLD_CHECKOUTS, now - CHECKOUTS_KEPT)
        .await;
    purges
        .run_expired(OLD_BILLED_USAGE, now - BILLED_USAGE_KEPT)
        .await;
    Ok(purges.finish()?)
}
