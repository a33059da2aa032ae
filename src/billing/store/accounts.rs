//! Accounts whose state at Stripe is not theirs. The lists are in random order: accounts whose calls to Stripe fail keep
//! no other account from its turn.

use sqlx::PgExecutor;

use crate::ids::AccountId;

/// Subscription that has not ended.
pub(in crate::billing) struct RunningSubscription {
    pub account_id: AccountId,
    pub customer: String,
    pub stripe_subscription_id: String,
}

/// Organisation that pays for another number of seats than it has members.
pub(in crate::billing) struct SeatChange {
    pub account_id: AccountId,
    pub customer: String,
    pub stripe_subscription_id: String,
    pub members: i64,
}

/// Account whose invoices go to another address.
pub(in crate::billing) struct AddressChange {
    pub account_id: AccountId,
    pub customer: String,
    pub email: String,
}

/// Deleted accounts, and those whose deletion is pending, with a subscription that has not ended.
pub(in crate::billing) async fn list_deleted(
    conn: impl PgExecutor<'_>,
    limit: i64,
) -> Result<Vec<RunningSubscription>, sqlx::Error> {
    sqlx::query_as!(
        RunningSubscription,
        r#"SELECT s.account_id AS "account_id!: AccountId", c.stripe_customer_id AS "customer!",
                  s.stripe_subscription_id AS "stripe_subscription_id!"
           FROM subscriptions AS s
           JOIN accounts AS a ON a.id = s.account_id
           JOIN billing_customers AS c ON c.account_id = s.account_id AND c.stripe_customer_id IS NOT NULL
           LEFT JOIN users AS u ON u.id = a.user_id
           WHERE s.status NOT IN ('canceled', 'incomplete_expired') AND s.stripe_subscription_id IS NOT NULL
             AND (a.deleted_at IS NOT NULL OR u.deleted_at IS NOT NULL OR u.erase_at IS NOT NULL)
           ORDER BY random() LIMIT $1"#,
        limit,
    )
    .fetch_all(conn)
    .await
}

pub(in crate::billing) async fn list_seat_changes(
    conn: impl PgExecutor<'_>,
    limit: i64,
) -> Result<Vec<SeatChange>, sqlx::Error> {
    sqlx::query_as!(
        SeatChange,
        r#"SELECT s.account_id AS "account_id!: AccountId", c.stripe_customer_id AS "customer!",
                  s.stripe_subscription_id AS "stripe_subscription_id!", m.members AS "members!"
           FROM subscriptions AS s
           JOIN accounts AS a ON a.id = s.account_id AND a.kind = 'organisation' AND a.deleted_at IS NULL
           JOIN billing_customers AS c ON c.account_id = s.account_id AND c.stripe_customer_id IS NOT NULL
           CROSS JOIN LATERAL (
               SELECT greatest(count(*), 1) AS members FROM memberships WHERE account_id = s.account_id
           ) AS m
           WHERE s.status IN ('trialing', 'active', 'past_due') AND NOT s.is_duplicate AND s.plan IS NOT NULL
             AND s.stripe_subscription_id IS NOT NULL AND s.quantity <> m.members
           ORDER BY random() LIMIT $1"#,
        limit,
    )
    .fetch_all(conn)
    .await
}

pub(in crate::billing) async fn list_address_changes(
    conn: impl PgExecutor<'_>,
    limit: i64,
) -> Result<Vec<AddressChange>, sqlx::Error> {
    sqlx::query_as!(
        AddressChange,
        r#"SELECT c.account_id AS "account_id!: AccountId", c.stripe_customer_id AS "customer!", u.email AS "email!"
           FROM billing_customers AS c
           JOIN accounts AS a ON a.id = c.account_id AND a.deleted_at IS NULL
           LEFT JOIN LATERAL (
               SELECT user_id FROM memberships
               WHERE account_id = a.id AND role = 'owner'
               ORDER BY created_at, user_id LIMIT 1
           ) AS o ON a.user_id IS NULL
           JOIN users AS u ON u.id = coalesce(a.user_id, o.user_id) AND u.deleted_at IS NULL
           WHERE c.stripe_customer_id IS NOT NULL AND u.email <> c.email
           ORDER BY random() LIMIT $1"#,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Accounts whose stored subscription should have changed by now.
pub(in crate::billing) async fn list_stale(
    conn: impl PgExecutor<'_>,
    before: chrono::DateTime<chrono::Utc>,
    limit: i64,
) -> Result<Vec<(AccountId, String)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT s.account_id AS "account_id!: AccountId", c.stripe_customer_id AS "customer!"
           FROM subscriptions AS s
           JOIN billing_customers AS c ON c.account_id = s.account_id AND c.stripe_customer_id IS NOT NULL
           WHERE s.status NOT IN ('canceled', 'incomplete_expired')
             AND (c.synced_at IS NULL OR c.synced_at < $1)
             AND (s.status NOT IN ('trialing', 'active')
                  OR least(s.current_period_end, s.cancel_at) < $1)
           GROUP BY s.account_id, c.stripe_customer_id ORDER BY random() LIMIT $2"#,
        before,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.account_id, row.customer))
        .collect())
}

/// Customers after an account, in the order of their ids.
pub(in crate::billing) async fn list_customers(
    conn: impl PgExecutor<'_>,
    after: Option<AccountId>,
    limit: i64,
) -> Result<Vec<(AccountId, String)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT account_id AS "account_id!: AccountId", stripe_customer_id AS "customer!"
           FROM billing_customers
           WHERE stripe_customer_id IS NOT NULL AND ($1::uuid IS NULL OR account_id > $1)
           ORDER BY account_id LIMIT $2"#,
        after.map(|id| id.0),
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.account_id, row.customer))
        .collect())
}
