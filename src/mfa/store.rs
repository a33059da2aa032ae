//! Every statement on `mfa_factors` and `recovery_codes`.

use chrono::{DateTime, Utc};
use crypto::Sealed;
use mfa_codes::Failures;
use sqlx::PgExecutor;

use super::model::MfaStatus;
use crate::ids::UserId;
use crate::users::CredentialsVersion;

pub async fn has_second_factor(
    conn: impl PgExecutor<'_>,
    owner: UserId,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT FROM mfa_factors WHERE user_id = $1 AND confirmed_at IS NOT NULL
           ) AS "exists!""#,
        owner.0,
    )
    .fetch_one(conn)
    .await
}

pub async fn find_status(
    conn: impl PgExecutor<'_>,
    owner: UserId,
) -> Result<MfaStatus, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT confirmed_at,
                  (SELECT count(*) FROM recovery_codes WHERE user_id = $1 AND used_at IS NULL) AS "left!"
           FROM mfa_factors WHERE user_id = $1 AND confirmed_at IS NOT NULL"#,
        owner.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(MfaStatus {
        enabled: row.is_some(),
        enabled_at: row.as_ref().and_then(|row| row.confirmed_at),
        recovery_codes_left: row.map_or(0, |row| row.left),
    })
}

/// Replaces a pending authenticator; returns false, and changes nothing, if one is confirmed.
pub(super) async fn insert_pending(
    conn: impl PgExecutor<'_>,
    owner: UserId,
    version: CredentialsVersion,
    secret: &Sealed,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    // Wrong codes stay counted: starting again gives no further guesses.
    let done = sqlx::query!(
        "INSERT INTO mfa_factors AS f (user_id, secret, created_at, credentials_version) VALUES ($1, $2, $3, $4)
         ON CONFLICT ON CONSTRAINT mfa_factors_pkey
         DO UPDATE SET secret = excluded.secret, created_at = excluded.created_at, last_used_step = NULL,
                       credentials_version = excluded.credentials_version
         WHERE f.confirmed_at IS NULL",
        owner.0,
        secret as _,
        now,
        version.0,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

#[derive(Debug)]
pub(super) struct Factor {
    pub(super) secret: Sealed,
    pub(super) created_at: DateTime<Utc>,
    /// When it was added.
    pub(super) version: CredentialsVersion,
    pub(super) is_confirmed: bool,
    pub(super) failures: Failures,
    pub(super) warned_at: Option<DateTime<Utc>>,
}

/// The authenticator, confirmed or not. The lock serializes concurrent attempts, so that each counts.
pub(super) async fn lock(
    conn: impl PgExecutor<'_>,
    owner: UserId,
) -> Result<Option<Factor>, sqlx::Error> {
    sqlx::query_as!(
        Factor,
        r#"SELECT secret AS "secret: Sealed", created_at, credentials_version AS "version: CredentialsVersion",
                  confirmed_at IS NOT NULL AS "is_confirmed!", failed_at AS failures, warned_at
           FROM mfa_factors WHERE user_id = $1 FOR UPDATE"#,
        owner.0,
    )
    .fetch_optional(conn)
    .await
}

/// Uses up the codes of this step and of earlier ones. Atomic: of concurrent calls exactly one returns true.
pub(super) async fn use_step(
    conn: impl PgExecutor<'_>,
    owner: UserId,
    step: i64,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE mfa_factors SET last_used_step = $2
         WHERE user_id = $1 AND (last_used_step IS NULL OR last_used_step < $2)",
        owner.0,
        step,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn confirm(
    conn: impl PgExecutor<'_>,
    owner: UserId,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE mfa_factors SET confirmed_at = $2 WHERE user_id = $1 AND confirmed_at IS NULL",
        owner.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn update_failures(
    conn: impl PgExecutor<'_>,
    owner: UserId,
    failures: &Failures,
    warned_at: Option<DateTime<Utc>>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE mfa_factors SET failed_at = $2, warned_at = $3 WHERE user_id = $1",
        owner.0,
        failures.times(),
        warned_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes the authenticator and the recovery codes: all, or those that were added or confirmed since then.
/// Returns whether the deleted authenticator was on.
pub(super) async fn delete(
    conn: impl PgExecutor<'_>,
    owner: UserId,
    since: Option<DateTime<Utc>>,
) -> Result<bool, sqlx::Error> {
    let was_on = sqlx::query_scalar!(
        r#"WITH codes AS (
               DELETE FROM recovery_codes
               WHERE user_id = $1 AND created_at >= coalesce($2, '-infinity'::timestamptz)
           )
           DELETE FROM mfa_factors
           WHERE user_id = $1 AND greatest(created_at, confirmed_at) >= coalesce($2, '-infinity'::timestamptz)
           RETURNING confirmed_at IS NOT NULL AS "was_on!""#,
        owner.0,
        since,
    )
    .fetch_optional(conn)
    .await?;
    Ok(was_on.unwrap_or(false))
}

pub(super) async fn replace_codes(
    conn: impl PgExecutor<'_>,
    owner: UserId,
    hashes: &[Vec<u8>],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "WITH before AS (DELETE FROM recovery_codes WHERE user_id = $1)
         INSERT INTO recovery_codes (user_id, code_hash, created_at)
         SELECT $1, code_hash, $3 FROM unnest($2::bytea[]) AS new (code_hash)",
        owner.0,
        hashes,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Atomic: of concurrent calls exactly one returns true.
pub(super) async fn use_code(
    conn: impl PgExecutor<'_>,
    owner: UserId,
    hash: [u8; 32],
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE recovery_codes SET used_at = $3 WHERE user_id = $1 AND code_hash = $2 AND used_at IS NULL",
        owner.0,
        &hash,
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes a batch of authenticators that were never confirmed.
pub async fn delete_pending(
    conn: impl PgExecutor<'_>,
    before: DateTime<Utc>,
    most: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM mfa_factors WHERE confirmed_at IS NULL AND user_id IN (
             SELECT user_id FROM mfa_factors WHERE confirmed_at IS NULL AND created_at < $1
             ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED
         )",
        before,
        most,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
