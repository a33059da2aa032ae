//! Emails about sign-ups.

use crate::auth::email::{self, JobError, emails};
use crate::auth::links::{self, Purpose};
use crate::mail::EmailMessage;
use crate::state::AppState;
use crate::users::{self, EmailAddress};

emails! {
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
        let life = state.auth.verify_email_ttl;
        let Some(link) = links::issue(state, account, &Purpose::VerifyEmail, life).await? else {
            return Ok(());
        };
        let hours = links::whole_hours(life);
        email::send(
            state,
            &self.email,
            &EmailMessage::VerifyEmail { link, hours },
        )
        .await
    }
}

impl SendAlreadyRegistered {
    async fn send(&self, state: &AppState) -> Result<(), JobError> {
        let email = self.email.as_str().to_owned();
        email::send(
            state,
            &self.email,
            &EmailMessage::AlreadyRegistered { email },
        )
        .await
    }
}
