//! Statements on `subscriptions`.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::model::{
    Plan, ProvidedSubscription, StoredSubscription, Subscription, SubscriptionStatus,
};
use crate::ids::{AccountId, SubscriptionId, UserId};

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
                  s.cancel_at_period_end AS "cancel_at_period_end!", s.cancel_at AS "cancel_at?",
                  s.past_due_since AS "past_due_since?"
           FROM scope CROSS JOIN LATERAL (
               SELECT plan, status, current_period_start, current_period_end, cancel_at_period_end, cancel_at,
                      past_due_since
               FROM subscriptions
               WHERE account_id = $1 AND status IN ('trialing', 'active', 'past_due') AND NOT is_duplicate
                 AND plan IS NOT NULL AND scope.name IS NOT NULL
               OFFSET 0
           ) AS s"#,
        account_id.0,
    )
    .fetch_optional(conn)
    .await
}

/// Subscriptions of an account, duplicates included only on request, the current one first.
pub async fn list_subscriptions(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    duplicates: bool,
) -> Result<Vec<StoredSubscription>, sqlx::Error> {
    sqlx::query_as!(
        StoredSubscription,
        r#"SELECT stripe_subscription_id, plan AS "plan: Plan", status AS "status: SubscriptionStatus",
                  stripe_price_id, quantity, current_period_start, current_period_end, cancel_at_period_end, cancel_at,
                  trial_end, ended_at, past_due_since
           FROM subscriptions
           WHERE account_id = $1 AND (NOT is_duplicate OR $2)
           ORDER BY status IN ('canceled', 'incomplete_expired'), coalesce(stripe_created_at, created_at) DESC, id DESC
           LIMIT 500"#,
        account_id.0,
        duplicates,
    )
    .fetch_all(conn)
    .await
}

/// Makes way for the subscription that gives the plan: all others that could are duplicates.
pub async fn mark_duplicates(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    current: Option<&str>,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE subscriptions SET is_duplicate = true, updated_at = $3
         WHERE account_id = $1 AND stripe_subscription_id IS DISTINCT FROM $2 AND NOT is_duplicate
           AND status IN ('trialing', 'active', 'past_due')",
        account_id.0,
        current,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Stores a subscription as it is at the payment provider. `user_id` is who bought it, of a new row.
pub async fn upsert_subscription(
    conn: impl PgExecutor<'_>,
    id: SubscriptionId,
    account_id: AccountId,
    user_id: UserId,
    subscription: &ProvidedSubscription,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let it = subscription;
    sqlx::query!(
        "INSERT INTO subscriptions AS s (
             id, account_id, user_id, stripe_subscription_id, plan, status, stripe_price_id, quantity,
             current_period_start, current_period_end, cancel_at_period_end, cancel_at, trial_end, ended_at,
             stripe_created_at, is_duplicate, has_usage_item, past_due_since, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $18,
                 CASE WHEN $6 = 'past_due' THEN $17::timestamptz END, $17, $17)
         ON CONFLICT (stripe_subscription_id) DO UPDATE SET
             plan = excluded.plan, status = excluded.status, stripe_price_id = excluded.stripe_price_id,
             quantity = excluded.quantity, current_period_start = excluded.current_period_start,
             current_period_end = excluded.current_period_end,
             cancel_at_period_end = excluded.cancel_at_period_end, cancel_at = excluded.cancel_at,
             trial_end = excluded.trial_end, ended_at = excluded.ended_at,
             stripe_created_at = excluded.stripe_created_at, is_duplicate = excluded.is_duplicate, has_usage_item = excluded.has_usage_item,
             past_due_since = CASE WHEN excluded.status = 'past_due' THEN coalesce(s.past_due_since, $17) END,
             updated_at = $17
         WHERE s.account_id = $2",
        id.0,
        account_id.0,
        user_id.0,
        it.stripe_subscription_id,
        it.plan as Option<Plan>,
        it.status as SubscriptionStatus,
        it.stripe_price_id,
        it.quantity,
        it.current_period_start,
        it.current_period_end,
        it.cancel_at_period_end,
        it.cancel_at,
        it.trial_end,
        it.ended_at,
        it.created_at,
        it.is_duplicate,
        now,
        it.has_usage_item,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends the subscriptions of an account that the payment provider no longer has, such as those of a deleted customer.
pub async fn end_missing_subscriptions(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    there: &[String],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE subscriptions SET status = 'canceled', ended_at = $3, past_due_since = NULL, updated_at = $3
         WHERE account_id = $1 AND stripe_subscription_id IS NOT NULL AND stripe_subscription_id <> ALL ($2)
           AND status NOT IN ('canceled', 'incomplete_expired')",
        account_id.0,
        there,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Moves subscriptions to the account that keeps the books, without the user; returns how many.
pub async fn move_to_books(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    books: AccountId,
    most: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE subscriptions SET account_id = $2, user_id = NULL
         WHERE id IN (SELECT id FROM subscriptions WHERE account_id = $1 LIMIT $3)",
        account_id.0,
        books.0,
        most,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Removes a user from the subscriptions of organisations; returns from how many.
pub async fn remove_buyer(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
    most: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE subscriptions SET user_id = NULL
         WHERE id IN (SELECT id FROM subscriptions WHERE user_id = $1 AND account_id <> $1 LIMIT $2)",
        user_id.0,
        most,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Deletes subscriptions of accounts that are erased or purged, whose year ended a month before a time, and that no payment is
/// for.
pub async fn delete_books(
    conn: impl PgExecutor<'_>,
    before: DateTime<Utc>,
    most: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM subscriptions WHERE id IN (
             SELECT s.id FROM accounts AS a JOIN subscriptions AS s ON s.account_id = a.id
             WHERE a.deleted_at IS NOT NULL AND a.name = '-'
               AND date_trunc('year', greatest(s.updated_at, s.ended_at), 'UTC') + interval '13 months' < $1
               AND NOT EXISTS (SELECT FROM payments AS p WHERE p.subscription_id = s.id)
             LIMIT $2
         )",
        before,
        most,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
