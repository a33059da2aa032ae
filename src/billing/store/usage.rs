//! Statements on `billed_usage`.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::ids::AccountId;

/// Account whose subscription bills usage.
pub(in crate::billing) struct BilledAccount {
    pub account_id: AccountId,
    pub customer: String,
    pub subscribed_at: DateTime<Utc>,
}

/// Count of an hour.
pub(in crate::billing) struct BilledHour {
    pub hour: DateTime<Utc>,
    pub count: i64,
    pub revision: i32,
}

/// Accounts after one, with a subscription that lives or has ended since `ended_after`, in the order of their ids.
pub(in crate::billing) async fn list_accounts(
    conn: impl PgExecutor<'_>,
    after: Option<AccountId>,
    ended_after: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<BilledAccount>, sqlx::Error> {
    sqlx::query_as!(
        BilledAccount,
        r#"SELECT s.account_id AS "account_id!: AccountId", c.stripe_customer_id AS "customer!",
                  min(coalesce(s.stripe_created_at, s.created_at)) AS "subscribed_at!"
           FROM subscriptions AS s
           JOIN billing_customers AS c ON c.account_id = s.account_id AND c.stripe_customer_id IS NOT NULL
           WHERE s.has_usage_item AND NOT s.is_duplicate
             AND (s.status IN ('trialing', 'active', 'past_due') OR s.ended_at > $2)
             AND ($1::uuid IS NULL OR s.account_id > $1)
           GROUP BY s.account_id, c.stripe_customer_id ORDER BY s.account_id LIMIT $3"#,
        after.map(|id| id.0),
        ended_after,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Stores counts. One that has changed is to be sent again, under another identifier.
pub(in crate::billing) async fn record(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    hours: &[(DateTime<Utc>, i64)],
) -> Result<(), sqlx::Error> {
    let (starts, counts): (Vec<_>, Vec<_>) = hours.iter().copied().unzip();
    sqlx::query!(
        "INSERT INTO billed_usage AS b (account_id, hour, count)
         SELECT $1, u.hour, u.count FROM unnest($2::timestamptz[], $3::int8[]) AS u (hour, count)
         ON CONFLICT (account_id, hour) DO UPDATE
         SET count = excluded.count, revision = b.revision + 1, sent_at = NULL
         WHERE b.count <> excluded.count",
        account_id.0,
        &starts,
        &counts,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Hours since a time that are to be sent, the oldest first.
pub(in crate::billing) async fn list_unsent(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    since: DateTime<Utc>,
) -> Result<Vec<BilledHour>, sqlx::Error> {
    sqlx::query_as!(
        BilledHour,
        "SELECT hour, count, revision FROM billed_usage
         WHERE account_id = $1 AND sent_at IS NULL AND hour >= $2 ORDER BY hour",
        account_id.0,
        since,
    )
    .fetch_all(conn)
    .await
}

/// Hours that Stripe has accepted.
pub(in crate::billing) async fn list_sent(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Vec<BilledHour>, sqlx::Error> {
    sqlx::query_as!(
        BilledHour,
        "SELECT hour, count, revision FROM billed_usage
         WHERE account_id = $1 AND sent_at IS NOT NULL AND hour >= $2 AND hour < $3",
        account_id.0,
        from,
        until,
    )
    .fetch_all(conn)
    .await
}

pub(in crate::billing) async fn mark_sent(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    hour: &BilledHour,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE billed_usage SET sent_at = $4 WHERE account_id = $1 AND hour = $2 AND revision = $3",
        account_id.0,
        hour.hour,
        hour.revision,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Hours that Stripe has not counted, though it had accepted them.
pub(in crate::billing) async fn mark_unsent(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    hours: &[DateTime<Utc>],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE billed_usage SET revision = revision + 1, sent_at = NULL
         WHERE account_id = $1 AND hour = ANY ($2)",
        account_id.0,
        hours,
    )
    .execute(conn)
    .await?;
    Ok(())
}
