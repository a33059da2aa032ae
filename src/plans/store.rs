//! Statements on `subscriptions`.

use sqlx::PgExecutor;

use super::model::{LIVE_STATUSES, Plan, Subscription, SubscriptionStatus};
use crate::ids::AccountId;

/// Finds the subscription that can entitle this account to a plan. One statement, which names the account for
/// row-level security itself: the lateral join is read after the name is set.
pub(super) async fn find_live(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
) -> Result<Option<Subscription>, sqlx::Error> {
    sqlx::query_as!(
        Subscription,
        r#"WITH scope AS MATERIALIZED (SELECT set_config('app.account', $1::uuid::text, true) AS name)
           SELECT s.plan AS "plan!: Plan", s.status AS "status!: SubscriptionStatus",
                  s.current_period_start AS "current_period_start!", s.current_period_end AS "current_period_end!",
                  s.cancel_at_period_end AS "cancel_at_period_end!"
           FROM scope CROSS JOIN LATERAL (
               SELECT plan, status, current_period_start, current_period_end, cancel_at_period_end
               FROM subscriptions
               WHERE account_id = $1 AND status = ANY ($2) AND scope.name IS NOT NULL
               OFFSET 0
           ) AS s"#,
        account_id.0,
        &LIVE_STATUSES as &[&str],
    )
    .fetch_optional(conn)
    .await
}
