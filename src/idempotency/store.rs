//! Every statement on `idempotency_keys`.

use chrono::{DateTime, Utc};
use crypto::Sealed;
use job_queue::{Expired, OwnedRows};
use sqlx::PgExecutor;

use super::model::{NewReservation, UsedKey};
use crate::ctx::{Reservation, ReservedKey};
use crate::scope;

pub(super) const EXPIRED: Expired =
    Expired::new("idempotency keys", "idempotency_keys", "expires_at")
        .unless_held(scope::LEGAL_HOLDS, "user_id");

/// Reserves a key that is new, expired, or reserved by a request whose lease has ended; returns false for all others.
/// One statement, which names the account for row-level security itself, and does not wait for the disk: a crash of the
/// database that loses the reservation also loses all that its request has committed later.
pub(super) async fn insert(
    conn: impl PgExecutor<'_>,
    new: &NewReservation,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "WITH scope AS MATERIALIZED (SELECT set_config('app.account', $1::uuid::text, true) AS name,
                                            set_config('synchronous_commit', 'off', true) AS commits)
         INSERT INTO idempotency_keys AS k
             (account_id, user_id, key_hash, request_mac, holder, locked_until, created_at, expires_at)
         SELECT $1, $2, $3, $4, $5, $6, $7, $8 FROM scope
         WHERE scope.name IS NOT NULL AND scope.commits IS NOT NULL
         ON CONFLICT ON CONSTRAINT idempotency_keys_pkey DO UPDATE SET
             request_mac = excluded.request_mac, holder = excluded.holder, locked_until = excluded.locked_until,
             status = NULL, body = NULL, created_at = excluded.created_at, expires_at = excluded.expires_at
         WHERE k.expires_at <= $7 OR (k.status IS NULL AND k.locked_until <= $7)",
        new.key.account_id.0,
        new.key.user_id.0,
        &new.key.hash,
        &new.request_mac,
        new.holder,
        new.locked_until,
        now,
        new.expires_at,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

pub(super) async fn find(
    conn: impl PgExecutor<'_>,
    key: &ReservedKey,
) -> Result<Option<UsedKey>, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT request_mac, status, body AS "body: Sealed" FROM idempotency_keys
           WHERE account_id = $1 AND user_id = $2 AND key_hash = $3"#,
        key.account_id.0,
        key.user_id.0,
        &key.hash,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| UsedKey {
        request_mac: row.request_mac,
        status: row.status.and_then(|status| status.try_into().ok()),
        body: row.body,
    }))
}

/// Stores the reply; returns false if the key is no longer reserved by this request.
pub(super) async fn update_reply(
    conn: impl PgExecutor<'_>,
    reservation: &Reservation,
    status: i16,
    body: Option<&Sealed>,
) -> Result<bool, sqlx::Error> {
    let key = reservation.key();
    let done = sqlx::query!(
        "UPDATE idempotency_keys SET status = $5, body = $6
         WHERE account_id = $1 AND user_id = $2 AND key_hash = $3 AND holder = $4 AND status IS NULL",
        key.account_id.0,
        key.user_id.0,
        &key.hash,
        reservation.holder(),
        status,
        body as Option<&Sealed>,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Deletes a reservation unless the request has committed its reply.
pub(super) async fn delete(
    conn: impl PgExecutor<'_>,
    reservation: &Reservation,
) -> Result<(), sqlx::Error> {
    let key = reservation.key();
    sqlx::query!(
        "DELETE FROM idempotency_keys
         WHERE account_id = $1 AND user_id = $2 AND key_hash = $3 AND holder = $4 AND status IS NULL",
        key.account_id.0,
        key.user_id.0,
        &key.hash,
        reservation.holder(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Rows that the erasure of a user deletes, by the id of the user, which is that of the personal account.
pub const ERASED: [OwnedRows; 2] = [
    OwnedRows::new("idempotency_keys", "account_id"),
    OwnedRows::new("idempotency_keys", "user_id"),
];
