//! Every statement on `api_keys`.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use crypto::{GeneratedApiKey, SecretHash};
use email_transport::EmailAddress;
use http_toolkit::{PageSize, TimeCursor};
use job_queue::{Expired, OwnedRows};
use sqlx::PgExecutor;
use uuid::Uuid;

use super::model::{ApiKey, KeyName};
use super::scope::Scopes;
use crate::ids::{AccountId, ApiKeyId, UserId};
use crate::scope;

mod revocation;

pub use revocation::{give_to_owners, revoke_personal, revoke_since};

pub(super) async fn count_active(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    now: DateTime<Utc>,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM api_keys
           WHERE account_id = $1 AND revoked_at IS NULL AND expires_at > $2"#,
        account_id.0,
        now,
    )
    .fetch_one(conn)
    .await
}

pub(super) async fn insert(
    conn: impl PgExecutor<'_>,
    (account_id, created_by, id): (AccountId, UserId, ApiKeyId),
    (name, scopes): (&KeyName, &Scopes),
    key: &GeneratedApiKey,
    expires_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<ApiKey, sqlx::Error> {
    sqlx::query_as!(
        ApiKey,
        r#"INSERT INTO api_keys AS k (id, account_id, user_id, name, scopes, hint, secret_hash, created_at, expires_at)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
           RETURNING id AS "id: ApiKeyId", name AS "name: KeyName", scopes, hint, created_at, rotated_at,
                     previous_expires_at, expires_at, last_used_at, user_id AS "created_by: UserId",
                     (SELECT email FROM users WHERE id = k.user_id) AS "creator_email: EmailAddress",
                     true AS "creator_is_member!""#,
        id.0,
        account_id.0,
        created_by.0,
        name.as_str(),
        &scopes.names(),
        key.hint(),
        key.hash.as_bytes(),
        now,
        expires_at,
    )
    .fetch_one(conn)
    .await
}

/// Keys that are not revoked, newest first. Expired keys are listed until they are purged, so that the owner sees
/// why a program stopped working.
pub(super) async fn list(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    after: Option<TimeCursor>,
    limit: PageSize,
    now: DateTime<Utc>,
) -> Result<Vec<ApiKey>, sqlx::Error> {
    let (created_at, id) = after.map(|TimeCursor(at, id)| (at, id)).unzip();
    sqlx::query_as!(
        ApiKey,
        r#"SELECT k.id AS "id: ApiKeyId", name AS "name: KeyName", scopes, hint, k.created_at, rotated_at,
                  CASE WHEN previous_expires_at > $5 THEN previous_expires_at END AS previous_expires_at,
                  expires_at, last_used_at, user_id AS "created_by: UserId",
                  u.email AS "creator_email?: EmailAddress", (u.id IS NOT NULL) AS "creator_is_member!"
           FROM api_keys AS k
           LEFT JOIN memberships AS m USING (account_id, user_id)
           LEFT JOIN users AS u ON u.id = user_id AND (account_id = user_id OR m.role IS NOT NULL)
           WHERE account_id = $1 AND revoked_at IS NULL
             AND ($2::timestamptz IS NULL OR (k.created_at, k.id) < ($2, $3))
           ORDER BY k.created_at DESC, k.id DESC
           LIMIT $4"#,
        account_id.0,
        created_at,
        id,
        limit.one_more(),
        now,
    )
    .fetch_all(conn)
    .await
}

/// Replaces the secret of an active key, whose lifetime starts again. `None` if there is no such key, or if the
/// previous secret still works and `overlap_until` is in the future. Atomic: of concurrent calls with an overlap
/// exactly one returns `Some`. Its creator is from then on who has rotated it, and knows the secret.
pub(super) async fn rotate(
    conn: impl PgExecutor<'_>,
    (account_id, rotated_by, id): (AccountId, UserId, ApiKeyId),
    key: &GeneratedApiKey,
    overlap_until: DateTime<Utc>,
    expires_at_most: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Option<ApiKey>, sqlx::Error> {
    sqlx::query_as!(
        ApiKey,
        r#"UPDATE api_keys AS k SET
               previous_secret_hash = CASE WHEN $6 > $5 THEN secret_hash END,
               previous_expires_at = CASE WHEN $6 > $5 THEN LEAST($6, expires_at) END,
               user_id = $8, secret_hash = $3, hint = $4, rotated_at = $5,
               expires_at = LEAST($5 + (expires_at - COALESCE(rotated_at, created_at)), $7)
           WHERE account_id = $1 AND id = $2 AND revoked_at IS NULL AND expires_at > $5
             AND ($6 <= $5 OR previous_expires_at IS NULL OR previous_expires_at <= $5)
           RETURNING id AS "id: ApiKeyId", name AS "name: KeyName", scopes, hint, created_at, rotated_at,
                     CASE WHEN previous_expires_at > $5 THEN previous_expires_at END AS previous_expires_at,
                     expires_at, last_used_at, user_id AS "created_by: UserId",
                     (SELECT email FROM users WHERE id = k.user_id) AS "creator_email: EmailAddress",
                     true AS "creator_is_member!""#,
        account_id.0,
        id.0,
        key.hash.as_bytes(),
        key.hint(),
        now,
        overlap_until,
        expires_at_most,
        rotated_by.0,
    )
    .fetch_optional(conn)
    .await
}

pub(super) async fn find_expiry(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    id: ApiKeyId,
) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT expires_at FROM api_keys WHERE account_id = $1 AND id = $2 AND revoked_at IS NULL",
        account_id.0,
        id.0,
    )
    .fetch_optional(conn)
    .await
}

/// Returns false if there is no such key, or it was revoked before.
pub(super) async fn revoke(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    id: ApiKeyId,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE api_keys SET revoked_at = $3 WHERE account_id = $1 AND id = $2 AND revoked_at IS NULL",
        account_id.0,
        id.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) struct StoredKey {
    /// Creator of the key, or the user who last rotated it.
    pub(super) user_id: UserId,
    pub(super) account_id: AccountId,
    secret_hash: Vec<u8>,
    previous_secret_hash: Option<Vec<u8>>,
    pub(super) scopes: Scopes,
    pub(super) last_used_at: Option<DateTime<Utc>>,
    pub(super) is_disabled: bool,
}

impl StoredKey {
    /// Current secret, or the previous one during the overlap.
    pub(super) fn has(&self, secret: &SecretHash) -> bool {
        let previous = self.previous_secret_hash.as_ref();
        secret.matches(&self.secret_hash)
            || previous.is_some_and(|previous| secret.matches(previous))
    }
}

/// Finds a key of any account in one statement: it sets the exception of row-level security, and reads the rest only
/// then, since the lateral join depends on it. A key does not work while its creator is disabled or its account
/// deleted.
pub(super) async fn find_active(
    conn: impl PgExecutor<'_>,
    id: ApiKeyId,
    now: DateTime<Utc>,
) -> Result<Option<StoredKey>, sqlx::Error> {
    sqlx::query_as!(
        StoredKey,
        r#"WITH scope AS MATERIALIZED (SELECT set_config('app.exception', 'authentication', true) AS name)
           SELECT k.user_id AS "user_id!: UserId", k.account_id AS "account_id!: AccountId",
                  k.secret_hash AS "secret_hash!", k.previous_secret_hash, k.scopes AS "scopes!", k.last_used_at,
                  k.is_disabled AS "is_disabled!"
           FROM scope CROSS JOIN LATERAL (
               SELECT k.user_id, k.account_id, k.secret_hash,
                      CASE WHEN k.previous_expires_at > $2 THEN k.previous_secret_hash END AS previous_secret_hash,
                      k.scopes, k.last_used_at, u.disabled_at IS NOT NULL AS is_disabled
               FROM api_keys AS k
               JOIN users AS u ON u.id = k.user_id AND u.deleted_at IS NULL AND u.email_verified_at IS NOT NULL
               JOIN accounts AS a ON a.id = k.account_id AND a.deleted_at IS NULL
               WHERE k.id = $1 AND k.revoked_at IS NULL AND k.expires_at > $2 AND scope.name IS NOT NULL
               OFFSET 0
           ) AS k"#,
        id.0,
        now,
    )
    .fetch_optional(conn)
    .await
}

/// At most once a minute for each key, across replicas.
pub(super) async fn update_last_used(
    conn: impl PgExecutor<'_>,
    uses: &HashMap<ApiKeyId, DateTime<Utc>>,
) -> Result<(), sqlx::Error> {
    let (ids, times): (Vec<Uuid>, Vec<_>) = uses.iter().map(|(id, at)| (id.0, *at)).unzip();
    sqlx::query!(
        "UPDATE api_keys AS k SET last_used_at = u.used_at
         FROM unnest($1::uuid[], $2::timestamptz[]) AS u (id, used_at)
         WHERE k.id = u.id AND (k.last_used_at IS NULL OR k.last_used_at <= u.used_at - interval '1 minute')",
        &ids,
        &times,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) const EXPIRED: Expired = Expired::new("expired API keys", "api_keys", "expires_at")
    .unless_held(scope::LEGAL_HOLDS, "user_id");
pub(super) const REVOKED: Expired = Expired::new("revoked API keys", "api_keys", "revoked_at")
    .unless_held(scope::LEGAL_HOLDS, "user_id");

/// Rows that the erasure of a user deletes, by the id of the user, which is that of the personal account.
pub const ERASED: [OwnedRows; 1] = [OwnedRows::new("api_keys", "account_id")];
