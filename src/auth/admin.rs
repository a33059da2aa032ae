//! What administrators see and end of other people's sessions. Who they are is for the caller to
//! have found out.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::jobs::NotifyNewAdmin;
use super::model::{Device, EndReason};
use super::store;
use crate::ids::{SessionId, UserId};
use crate::infra::Db;
use crate::jobs;
use crate::users::{self, CredentialsChange};
use crate::web::{Moment, Page, Paged};

/// A page of the living sessions of an account, the last used first; `current` is the one that asks.
pub async fn list_sessions_of(
    db: &Db,
    user_id: UserId,
    current: SessionId,
    paged: &Paged<Moment>,
    now: DateTime<Utc>,
) -> Result<Page<Device>, sqlx::Error> {
    let (after, limit) = (paged.after, paged.limit);
    let rows = store::list_sessions(db, user_id, current, after, limit, now).await?;
    let position = |device: &Device| Moment(device.last_used_at, device.id.0);
    Ok(Page::cut(rows, limit, position))
}

/// How many sessions live, of all accounts.
pub async fn count_living_sessions(db: &Db, now: DateTime<Utc>) -> Result<i64, sqlx::Error> {
    store::count_living(db, now).await
}

/// Ends all sessions of an account. Their access tokens are refused here once the caller has
/// committed and passed them to [`super::deny_sessions`], and by other processes within a second.
pub async fn end_sessions_of(
    conn: &mut PgConnection,
    change: &CredentialsChange,
    now: DateTime<Utc>,
) -> Result<Vec<SessionId>, sqlx::Error> {
    store::end_sessions(conn, change.user_id(), None, EndReason::EndedByAdmin, now).await
}

/// Ends all sessions of an account that is being disabled.
pub async fn shut_out(
    conn: &mut PgConnection,
    change: &CredentialsChange,
    now: DateTime<Utc>,
) -> Result<Vec<SessionId>, sqlx::Error> {
    let why = EndReason::AccountDisabled;
    store::end_sessions(conn, change.user_id(), None, why, now).await
}

/// Enqueues an email to every administrator, the new one included, that somebody has become one.
pub async fn announce_admin(
    conn: &mut PgConnection,
    change: &CredentialsChange,
) -> Result<(), sqlx::Error> {
    for admin in users::list_admins(&mut *conn).await? {
        // One job each: a failure must not send the emails of the others again.
        let job = NotifyNewAdmin::to(admin, change.user_id());
        jobs::enqueue(&mut *conn, &job, None).await?;
    }
    Ok(())
}
