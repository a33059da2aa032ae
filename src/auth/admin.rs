//! Emails to administrators about each other.

use sqlx::PgConnection;

use crate::ids::UserId;
use crate::mail::{self, EmailMessage, JobError, email_jobs};
use crate::state::AppState;
use crate::users::{self, CredentialsChange};

/// Enqueues an email to every administrator, the new one included, that somebody has become one.
pub async fn announce_admin(
    conn: &mut PgConnection,
    change: &CredentialsChange,
) -> Result<(), sqlx::Error> {
    for admin in users::list_admins(&mut *conn).await? {
        // One job each: a failure must not send the emails of the others again.
        let job = NotifyNewAdmin {
            user_id: admin,
            admin: change.user_id(),
        };
        job_queue::enqueue(&mut *conn, &job, None).await?;
    }
    Ok(())
}

email_jobs! {
    NotifyNewAdmin "auth.notify_new_admin" { user_id: UserId, admin: UserId }
}

impl NotifyNewAdmin {
    async fn send(&self, state: &AppState) -> Result<(), JobError> {
        let recipient = users::find_own_credentials(&state.db, self.user_id).await?;
        let admin = users::find_own_credentials(&state.db, self.admin).await?;
        let (Some(recipient), Some(admin)) = (recipient, admin) else {
            return Ok(());
        };
        let email = admin.email.as_str().to_owned();
        let message = EmailMessage::NewAdmin { email };
        Ok(mail::send(state, recipient.email.as_str(), &message).await?)
    }
}
