//! Emails about sign-ups.
use email_transport::EmailAddress;

use crate::auth::links::{self, Purpose};
use crate::mail::{self, EmailMessage, JobError, email_jobs};
use crate::state::AppState;
use crate::users;

email_jobs! {
    SendVerification "auth.send_verification" Open { email: EmailAddress }
    SendAlreadyRegistered "auth.send_already_registered" Open { email: EmailAddress }
}

impl SendVerification {
    async fn send(&self, state: &AppState) -> Result<(), JobError> {
        let found = users::find_credentials(&state.db, &self.email).await?;
        let Some(found) = found.filter(|found| !found.is_verified) else {
            return Ok(());
        };
        let account = (found.user_id, found.version);
        links::send(state, &self.email, account, &Purpose::VerifyEmail).await
    }
}

impl SendAlreadyRegistered {
    async fn send(&self, state: &AppState) -> Result<(), JobError> {
        let to = self.email.as_str();
        let email = to.to_owned();
        Ok(mail::send(state, to, &EmailMessage::AlreadyRegistered { email }).await?)
    }
}
