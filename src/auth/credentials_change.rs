//! The one way to change an account's credentials: what was issued under those before is voided in the
//! same transaction.

use sqlx::PgConnection;

use super::store;
use crate::ids::UserId;
use crate::users::{self, CredentialsChange, CredentialsVersion};

/// Begins a change, or a defence, of an account's credentials: locks the account's row, advances the
/// version of its credentials, and deletes the links and waiting sign-ins issued under the one before.
/// Jobs in the queue carry the version, so that they issue nothing afterwards. `None` when the account
/// is gone, or its version is not the one that the caller has `proven`.
///
/// Links that undo a change of the address are the one exemption: they are for the owner whose password
/// and address an intruder has replaced, so an intruder's later changes must not void them.
pub async fn begin_credentials_change(
    conn: &mut PgConnection,
    user_id: UserId,
    proven: Option<CredentialsVersion>,
) -> Result<Option<CredentialsChange>, sqlx::Error> {
    let change = users::advance_credentials(&mut *conn, user_id, proven).await?;
    if change.is_some() {
        // After the row is locked, by a statement of its own: nothing can be added meanwhile.
        store::delete_outstanding(conn, user_id).await?;
    }
    Ok(change)
}
