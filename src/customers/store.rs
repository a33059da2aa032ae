//! Every statement on `billing_customers`.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::ids::{AccountId, UserId};

/// Customer of an account.
#[derive(Clone, Debug)]
pub struct Customer {
    /// `None` until Stripe has confirmed it.
    pub stripe_customer_id: Option<String>,
    pub(super) creation_began_at: DateTime<Utc>,
    /// As last sent to Stripe.
    pub email: String,
    pub trial_used_at: Option<DateTime<Utc>>,
}

/// Address that invoices of the account go to: the user's, or that of the first owner of an organisation.
pub(super) async fn find_address(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT u.email
           FROM accounts AS a
           LEFT JOIN LATERAL (
               SELECT user_id FROM memberships
               WHERE account_id = a.id AND role = 'owner'
               ORDER BY created_at, user_id LIMIT 1
           ) AS o ON a.user_id IS NULL
           JOIN users AS u ON u.id = coalesce(a.user_id, o.user_id) AND u.deleted_at IS NULL
           WHERE a.id = $1 AND a.deleted_at IS NULL"#,
        account_id.0,
    )
    .fetch_optional(conn)
    .await
}

/// User of an account's payments: its own, or the first owner of an organisation.
pub async fn find_payer(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
) -> Result<Option<UserId>, sqlx::Error> {
    let user_id = sqlx::query_scalar!(
        r#"SELECT coalesce(a.user_id, (
               SELECT user_id FROM memberships
               WHERE account_id = a.id AND role = 'owner'
               ORDER BY created_at, user_id LIMIT 1
           )) AS "id: UserId"
           FROM accounts AS a WHERE a.id = $1"#,
        account_id.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(user_id.flatten())
}

pub async fn find(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
) -> Result<Option<Customer>, sqlx::Error> {
    sqlx::query_as!(
        Customer,
        "SELECT stripe_customer_id, creation_began_at, email, trial_used_at
         FROM billing_customers WHERE account_id = $1",
        account_id.0,
    )
    .fetch_optional(conn)
    .await
}

/// As [`find`], until the end of the transaction: of two that begin or end something at Stripe for one account the second
/// waits.
pub async fn lock(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
) -> Result<Option<Customer>, sqlx::Error> {
    sqlx::query_as!(
        Customer,
        "SELECT stripe_customer_id, creation_began_at, email, trial_used_at
         FROM billing_customers WHERE account_id = $1 FOR UPDATE",
        account_id.0,
    )
    .fetch_optional(conn)
    .await
}

/// Stores that the creation begins; does nothing if it has begun.
pub(super) async fn insert(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    email: &str,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO billing_customers (account_id, creation_began_at, email, created_at, updated_at)
         VALUES ($1, $2, $3, $2, $2)
         ON CONFLICT (account_id) DO NOTHING",
        account_id.0,
        now,
        email,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Stores the customer that a creation made, unless one is stored. Returns the stored one.
pub(super) async fn set_customer(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    stripe_customer_id: &str,
    now: DateTime<Utc>,
) -> Result<Option<String>, sqlx::Error> {
    let stored = sqlx::query_scalar!(
        "UPDATE billing_customers
         SET stripe_customer_id = coalesce(stripe_customer_id, $2), updated_at = $3
         WHERE account_id = $1
         RETURNING stripe_customer_id",
        account_id.0,
        stripe_customer_id,
        now,
    )
    .fetch_optional(conn)
    .await?;
    Ok(stored.flatten())
}

/// Begins the creation again, unless somebody else has.
pub(super) async fn restart_creation(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    began_at: DateTime<Utc>,
    email: &str,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE billing_customers SET email = $3, updated_at = $4,
             creation_began_at = greatest($4, creation_began_at + interval '1 microsecond')
         WHERE account_id = $1 AND creation_began_at = $2 AND stripe_customer_id IS NULL",
        account_id.0,
        began_at,
        email,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes a customer that was deleted at Stripe, so that the next purchase creates another one, under another key.
pub async fn clear(
    conn: impl PgExecutor<'_>,
    stripe_customer_id: &str,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE billing_customers SET stripe_customer_id = NULL, updated_at = $2,
             creation_began_at = greatest($2, creation_began_at + interval '1 microsecond')
         WHERE stripe_customer_id = $1",
        stripe_customer_id,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn find_account(
    conn: impl PgExecutor<'_>,
    stripe_customer_id: &str,
) -> Result<Option<AccountId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT account_id AS "id: AccountId" FROM billing_customers WHERE stripe_customer_id = $1"#,
        stripe_customer_id,
    )
    .fetch_optional(conn)
    .await
}

pub async fn mark_trial_used(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE billing_customers SET trial_used_at = coalesce(trial_used_at, $2) WHERE account_id = $1",
        account_id.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Numbers a read of Stripe that is about to begin. `None` if this is not the account's customer.
pub async fn begin_read(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    stripe_customer_id: &str,
) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar!(
        "UPDATE billing_customers SET reads_begun = reads_begun + 1
         WHERE account_id = $1 AND stripe_customer_id = $2 RETURNING reads_begun",
        account_id.0,
        stripe_customer_id,
    )
    .fetch_optional(conn)
    .await
}

/// Returns whether no later read is stored, and then counts this one as stored. Locks the customer until the end of the
/// transaction, in which the caller stores what was read.
pub async fn is_newest_read(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    read: i64,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE billing_customers SET last_read_stored = $2, synced_at = $3
         WHERE account_id = $1 AND last_read_stored < $2",
        account_id.0,
        read,
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Stores the address that was sent to Stripe.
pub async fn set_email(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    email: &str,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE billing_customers SET email = $2, updated_at = $3 WHERE account_id = $1",
        account_id.0,
        email,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes the customer of an account that is erased. A read that stores its objects holds the row.
pub async fn delete(conn: impl PgExecutor<'_>, account_id: AccountId) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM billing_customers WHERE account_id = $1",
        account_id.0
    )
    .execute(conn)
    .await?;
    Ok(())
}
