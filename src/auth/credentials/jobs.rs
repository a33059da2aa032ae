//! Emails about passwords and addresses.
//!
//! A job carries the version of the account's credentials: when that has advanced before the job runs, no
//! link is issued. A job that the previous release enqueued has no version and counts as of the first.

use chrono::{DateTime, Utc};
use email_transport::EmailAddress;
use session_tokens::OpaqueToken;
use uuid::Uuid;

use super::store;
use crate::auth::links::{self, Purpose};
use crate::ids::UserId;
use crate::mail::{self, EmailMessage, JobError, email_jobs};
use crate::state::AppState;
use crate::users::{self, CredentialsVersion};

email_jobs! {
    /// Unless the address has no enabled account.
    SendReset "auth.send_reset" SignIn { email: EmailAddress, #[serde(default)] version: CredentialsVersion }
    NotifyPasswordChanged "auth.tell_password_changed" Notice { email: EmailAddress }
    ConfirmNewEmail "auth.confirm_new_email" Open {
        user_id: UserId,
        email: EmailAddress,
        #[serde(default)] version: CredentialsVersion,
        #[serde(default)] requested_at: Option<DateTime<Utc>>
    }
    NotifyEmailChanging "auth.tell_email_changing" Notice { email: EmailAddress }
    /// The link that undoes an email address change, to the old address.
    SendEmailUndo "auth.send_email_undo" { change: Uuid }
}

impl SendReset {
    async fn send(&self, state: &AppState) -> Result<(), JobError> {
        let found = users::find_credentials(&state.db, &self.email).await?;
        let Some(found) = found.filter(|found| !found.is_disabled) else {
            return Ok(());
        };
        let account = (found.user_id, self.version);
        links::send(state, &self.email, account, &Purpose::ResetPassword).await
    }
}

impl NotifyPasswordChanged {
    async fn send(&self, state: &AppState) -> Result<(), JobError> {
        let message = EmailMessage::PasswordChanged {};
        Ok(mail::send(state, self.email.as_str(), &message).await?)
    }
}

impl ConfirmNewEmail {
    async fn send(&self, state: &AppState) -> Result<(), JobError> {
        if users::is_address_taken(&state.db, &self.email).await? {
            return Ok(()); // do not reveal it to the requester
        }
        let requested_at = self.requested_at.unwrap_or_else(|| state.clock.now());
        let purpose = Purpose::ChangeEmail(self.email.clone(), requested_at);
        let account = (self.user_id, self.version);
        links::send(state, &self.email, account, &purpose).await
    }
}

impl NotifyEmailChanging {
    async fn send(&self, state: &AppState) -> Result<(), JobError> {
        let message = EmailMessage::EmailChanging {};
        Ok(mail::send(state, self.email.as_str(), &message).await?)
    }
}

impl SendEmailUndo {
    async fn send(&self, state: &AppState) -> Result<(), JobError> {
        let now = state.clock.now();
        let token = OpaqueToken::new(&state.rng);
        let undo = store::update_undo_token(&state.db, self.change, token.hash(), now).await?;
        let Some((email, expires_at)) = undo else {
            return Ok(());
        };
        let link = links::link_to(state, "undo-email-change", &token);
        let hours = (expires_at - now).num_minutes().div_euclid(60).max(1);
        let message = EmailMessage::EmailChanged { link, hours };
        Ok(mail::send(state, email.as_str(), &message).await?)
    }
}
