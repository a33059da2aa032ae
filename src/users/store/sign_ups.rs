//! Statements on pending sign-ups: unverified accounts, and `sign_ups`, the credentials of earlier sign-ups for the
//! same address.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

use crate::ids::UserId;
use crate::users::model::{
    CredentialsChange, NewUser, PersonName, Role, SignUp, SignUpCredentials,
};

/// Maximum of earlier sign-ups for an address; the oldest are deleted.
const KEPT: i32 = 4;

/// Adds a pending account, or for an unverified one another set of credentials. A verified account is not changed.
/// The statements are the same in every case, so that timing does not differ.
pub async fn sign_up(
    conn: &mut PgConnection,
    new: &NewUser,
    now: DateTime<Utc>,
) -> Result<SignUp, sqlx::Error> {
    let (first_name, last_name) = (
        new.first_name.as_ref().map(PersonName::as_str),
        new.last_name.as_ref().map(PersonName::as_str),
    );
    let account = loop {
        super::insert(&mut *conn, new, Role::User, None, now).await?;
        // A separate statement, so that the next one sees what a concurrent sign-up has committed.
        let locked = sqlx::query!(
            r#"SELECT id AS "id: UserId", email_verified_at IS NOT NULL AS "is_verified!"
               FROM users WHERE email = $1 FOR NO KEY UPDATE"#,
            new.email.as_str(),
        )
        .fetch_optional(&mut *conn)
        .await?;
        // None when the row was deleted between the two statements.
        if let Some(account) = locked {
            break account;
        }
    };
    sqlx::query!(
        "WITH account AS (
             SELECT id, password_hash, first_name, last_name FROM users WHERE id = $1 AND email_verified_at IS NULL
         ), dropped AS (
             DELETE FROM sign_ups WHERE user_id = $1 AND password_hash IN (
                 SELECT password_hash FROM sign_ups WHERE user_id = $1
                 ORDER BY created_at DESC, password_hash OFFSET $6 - 1
             ) AND password_hash NOT IN (SELECT password_hash FROM account)
         ), earlier AS (
             INSERT INTO sign_ups (user_id, password_hash, first_name, last_name, created_at)
             SELECT id, password_hash, first_name, last_name, $5 FROM account WHERE password_hash <> $2
             ON CONFLICT ON CONSTRAINT sign_ups_pkey DO NOTHING
         )
         UPDATE users AS u SET
             password_hash = CASE WHEN u.email_verified_at IS NULL THEN $2 ELSE u.password_hash END,
             first_name = CASE WHEN u.email_verified_at IS NULL THEN $3 ELSE u.first_name END,
             last_name = CASE WHEN u.email_verified_at IS NULL THEN $4 ELSE u.last_name END,
             updated_at = CASE WHEN u.email_verified_at IS NULL THEN $5 ELSE u.updated_at END
         WHERE u.id = $1",
        account.id.0,
        new.password_hash,
        first_name,
        last_name,
        now,
        KEPT,
    )
    .execute(conn)
    .await?;
    Ok(if account.is_verified {
        SignUp::Known(account.id)
    } else {
        SignUp::Pending(account.id)
    })
}

/// Newest first, each password once; empty if the address is verified or the account is gone.
pub async fn list_sign_ups(
    conn: impl PgExecutor<'_>,
    id: UserId,
) -> Result<Vec<SignUpCredentials>, sqlx::Error> {
    sqlx::query_as!(
        SignUpCredentials,
        r#"SELECT u.password_hash AS "password_hash!", u.first_name AS "first_name: PersonName",
                  u.last_name AS "last_name: PersonName"
           FROM users AS u
           WHERE u.id = $1 AND u.email_verified_at IS NULL AND u.deleted_at IS NULL
           UNION ALL
           SELECT s.password_hash, s.first_name, s.last_name
           FROM sign_ups AS s
           JOIN users AS u ON u.id = s.user_id AND u.password_hash <> s.password_hash
           WHERE s.user_id = $1 AND u.email_verified_at IS NULL AND u.deleted_at IS NULL"#,
        id.0,
    )
    .fetch_all(conn)
    .await
}

/// Verifies the address with the credentials of this sign-up, and deletes the others; false if the address was
/// verified before.
pub async fn confirm_sign_up(
    conn: impl PgExecutor<'_>,
    change: &CredentialsChange,
    chosen: &SignUpCredentials,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "WITH others AS (DELETE FROM sign_ups WHERE user_id = $1)
         UPDATE users SET password_hash = $2, first_name = $3, last_name = $4, email_verified_at = $5, updated_at = $5
         WHERE id = $1 AND email_verified_at IS NULL AND deleted_at IS NULL",
        change.user_id().0,
        chosen.password_hash,
        chosen.first_name.as_ref().map(PersonName::as_str),
        chosen.last_name.as_ref().map(PersonName::as_str),
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes sign-ups of accounts that a replica of an earlier release has verified. Returns their number.
pub async fn delete_verified_sign_ups(
    conn: impl PgExecutor<'_>,
    most: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM sign_ups WHERE ctid = ANY (ARRAY(
             SELECT s.ctid FROM sign_ups AS s
             JOIN users AS u ON u.id = s.user_id AND u.email_verified_at IS NOT NULL
             LIMIT $1
             FOR UPDATE OF s SKIP LOCKED
         ))",
        most,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Deletes at most `most` unverified accounts without a valid link, and returns their ids. Skips locked rows: one
/// may be in the process of verification.
pub async fn delete_unverified(
    conn: impl PgExecutor<'_>,
    before: DateTime<Utc>,
    now: DateTime<Utc>,
    most: i64,
) -> Result<Vec<UserId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"DELETE FROM users WHERE email_verified_at IS NULL AND id IN (
               SELECT id FROM users AS u
               WHERE email_verified_at IS NULL AND created_at < $1 AND updated_at < $1
                 AND NOT EXISTS (
                     SELECT FROM one_time_tokens AS t WHERE t.user_id = u.id AND t.expires_at > $2
                 )
                 AND NOT EXISTS (SELECT FROM legal_holds AS h WHERE h.user_id = u.id)
               ORDER BY created_at
               LIMIT $3
               FOR UPDATE SKIP LOCKED
           )
           RETURNING id AS "id: UserId""#,
        before,
        now,
        most,
    )
    .fetch_all(conn)
    .await
}
