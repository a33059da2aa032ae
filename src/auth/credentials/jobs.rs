//! Emails about passwords and addresses.
//!
//! A job carries the version of the account's credentials: when that has advanced before the job runs, no
//! link is issued. A job that the previous release enqueued has no version and counts as of the first.

use chrono::{DateTime, Utc};
use graphile_worker::{IntoTaskHandlerResult, TaskHandler, WorkerContext};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::store;
use crate::auth::email::{self, JobError, emails};
use crate::auth::links::{self, Purpose};
use crate::ids::UserId;
use crate::infra::OpaqueToken;
use crate::jobs;
use crate::mail::EmailMessage;
use crate::state::AppState;
use crate::users::{self, CredentialsVersion, EmailAddress};

emails! {
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
}

impl SendReset {
    async fn send(&self, state: &AppState) -> Result<(), JobError> {
        let Some(user_id) = users::find_enabled(&state.db, &self.email).await? else {
            return Ok(());
        };
        let (account, life) = ((user_id, self.version), state.auth.reset_password_ttl);
        let Some(link) = links::issue(state, account, &Purpose::ResetPassword, life).await? else {
            return Ok(());
        };
        let minutes = life.as_secs().div_ceil(60);
        email::send(
            state,
            &self.email,
            &EmailMessage::ResetPassword { link, minutes },
        )
        .await
    }
}

impl NotifyPasswordChanged {
    async fn send(&self, state: &AppState) -> Result<(), JobError> {
        email::send(state, &self.email, &EmailMessage::PasswordChanged {}).await
    }
}

impl ConfirmNewEmail {
    async fn send(&self, state: &AppState) -> Result<(), JobError> {
        if users::is_address_taken(&state.db, &self.email).await? {
            return Ok(()); // do not reveal it to the requester
        }
        let requested_at = self.requested_at.unwrap_or_else(|| state.clock.now());
        let purpose = Purpose::ChangeEmail(self.email.clone(), requested_at);
        let (account, life) = ((self.user_id, self.version), state.auth.verify_email_ttl);
        let Some(link) = links::issue(state, account, &purpose, life).await? else {
            return Ok(());
        };
        let hours = links::whole_hours(life);
        email::send(
            state,
            &self.email,
            &EmailMessage::ConfirmNewEmail { link, hours },
        )
        .await
    }
}

impl NotifyEmailChanging {
    async fn send(&self, state: &AppState) -> Result<(), JobError> {
        email::send(state, &self.email, &EmailMessage::EmailChanging {}).await
    }
}

/// Sends the link that undoes an email address change, to the old address.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SendEmailUndo {
    change: Uuid,
}

impl SendEmailUndo {
    pub(crate) fn of(change: Uuid) -> Self {
        Self { change }
    }

    async fn send(&self, state: &AppState) -> Result<(), JobError> {
        let now = state.clock.now();
        let token = OpaqueToken::new(&state.rng);
        let undo = store::update_undo_token(&state.db, self.change, token.hash(), now).await?;
        let Some((email, expires_at)) = undo else {
            return Ok(());
        };
        let link = links::link_to(state, "undo-email-change", &token);
        let hours = (expires_at - now).num_minutes().div_euclid(60).max(1);
        email::send(state, &email, &EmailMessage::EmailChanged { link, hours }).await
    }
}

impl TaskHandler for SendEmailUndo {
    const IDENTIFIER: &'static str = "auth.send_email_undo";

    async fn run(self, ctx: WorkerContext) -> impl IntoTaskHandlerResult {
        let result = async { self.send(jobs::extension(&ctx)?).await }.await;
        jobs::report_final(&ctx, result, JobError::is_permanent).await
    }
}
