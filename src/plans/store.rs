//! Statements on `subscriptions`.

use sqlx::PgExecutor;

use super::model::{LIVE_STATUSES, Plan, Subscription, SubscriptionStatus};
use crate::ids::AccountId;

/// Finds the subscription that can entitle this account to a plan.
pub(super) async fn find_live(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
) -> Result<Option<Subscription>, sqlx::Error> {
    sqlx::query_as!(
        Subscription,
        r#"SELECT plan AS "plan: Plan", status AS "status: SubscriptionStatus",
                  current_period_start, current_period_end, cancel_at_period_end
           FROM subscriptions
           WHERE account_id = $1 AND status = ANY ($2)"#,
        account_id.0,
        &LIVE_STATUSES as &[&str],
    )
    .fetch_optional(conn)
    .await
}
