//! The letters about accounts, and cleaning up behind sessions.
//!
//! A letter's token is made when the letter is sent and never before: what waits in the queue is an
//! address, so that nobody who reads the queue can follow a link. With it is the version of the
//! account's credentials: when that has advanced before the job runs, the job issues nothing. A job that
//! the release before enqueued has no version and counts as of the first.

use std::time::Duration;

use chrono::{DateTime, Utc};
use graphile_worker::{IntoTaskHandlerResult, TaskHandler, WorkerContext};
use serde::{Deserialize, Serialize};
use url::Url;
use uuid::Uuid;

use super::store::{self, NewLink, Purpose};
use super::token::OpaqueToken;
use crate::ids::UserId;
use crate::infra::after;
use crate::jobs;
use crate::mail::{self, Letter};
use crate::state::AppState;
use crate::users::{self, CredentialsVersion, EmailAddress};

/// Why a job failed; the queue keeps the text and tries again.
#[derive(Debug, thiserror::Error)]
enum JobError {
    #[error(transparent)]
    NotGiven(#[from] jobs::NotGiven),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Mail(#[from] mail::Error),
}

impl JobError {
    fn is_permanent(&self) -> bool {
        matches!(self, Self::Mail(error) if error.is_permanent())
    }
}

macro_rules! letters {
    ($($(#[$doc:meta])* $name:ident $identifier:literal $class:ident { $($(#[$attribute:meta])* $field:ident: $type:ty),+ })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Deserialize, Serialize)]
        pub struct $name {
            $($(#[$attribute])* $field: $type,)+
        }

        impl $name {
            /// A letter to this address.
            #[must_use]
            pub fn to($($field: $type),+) -> Self {
                Self { $($field),+ }
            }

            /// Two that wait for the same address are one.
            #[must_use]
            pub fn key(&self) -> String {
                format!("{}:{}", Self::IDENTIFIER, self.email.as_str())
            }
        }

        impl TaskHandler for $name {
            const IDENTIFIER: &'static str = $identifier;

            async fn run(self, ctx: WorkerContext) -> impl IntoTaskHandlerResult {
                let result = async {
                    let state = jobs::given(&ctx)?;
                    let (class, to) = (mail::Class::$class, self.email.as_str());
                    // A further try was counted with the first.
                    if *ctx.job().attempts() <= 1
                        && !class.admits(state, Self::IDENTIFIER, to).await
                    {
                        return Ok(());
                    }
                    self.send(state).await
                }
                .await;
                jobs::report_final(&ctx, result, JobError::is_permanent).await
            }
        }
    )+};
}

letters! {
    /// Sends the link that verifies an address, if there is an account that waits for it.
    SendVerification "auth.send_verification" Open { email: EmailAddress }
    /// Tells the owner of an account that somebody signed up with its address.
    SendAlreadyRegistered "auth.send_already_registered" Open { email: EmailAddress }
    /// Sends the link that sets a new password, if there is an account with this address that is
    /// not shut.
    SendReset "auth.send_reset" SignIn { email: EmailAddress, #[serde(default)] version: CredentialsVersion }
    /// Sends the link that lets the owner of an account try again, if there is one with this address
    /// that could be signed in to.
    SendUnlock "auth.send_unlock" SignIn { email: EmailAddress, #[serde(default)] version: CredentialsVersion }
    /// Tells the owner of an account that its password is another now.
    TellPasswordChanged "auth.tell_password_changed" Notice { email: EmailAddress }
    /// Asks the owner of an address to confirm it as that of this account.
    ConfirmNewEmail "auth.confirm_new_email" Open {
        user_id: UserId,
        email: EmailAddress,
        #[serde(default)] version: CredentialsVersion,
        #[serde(default)] requested_at: Option<DateTime<Utc>>
    }
    /// Tells the owner of an address that the account is about to leave it.
    TellEmailChanging "auth.tell_email_changing" Notice { email: EmailAddress }
}

impl SendVerification {
    async fn send(&self, state: &AppState) -> Result<(), JobError> {
        let Some(account) = users::find_unverified(&state.db, &self.email).await? else {
            return Ok(());
        };
        let life = state.auth.verify_email_ttl;
        let Some(link) = new_link(state, account, &Purpose::VerifyEmail, life).await? else {
            return Ok(());
        };
        let hours = hours(life);
        post(state, &self.email, &Letter::VerifyEmail { link, hours }).await
    }
}

impl SendAlreadyRegistered {
    async fn send(&self, state: &AppState) -> Result<(), JobError> {
        let email = self.email.as_str().to_owned();
        post(state, &self.email, &Letter::AlreadyRegistered { email }).await
    }
}

impl SendReset {
    async fn send(&self, state: &AppState) -> Result<(), JobError> {
        let Some(user_id) = users::find_enabled(&state.db, &self.email).await? else {
            return Ok(());
        };
        let (account, life) = ((user_id, self.version), state.auth.reset_password_ttl);
        let Some(link) = new_link(state, account, &Purpose::ResetPassword, life).await? else {
            return Ok(());
        };
        let minutes = life.as_secs().div_ceil(60);
        post(state, &self.email, &Letter::ResetPassword { link, minutes }).await
    }
}

impl SendUnlock {
    async fn send(&self, state: &AppState) -> Result<(), JobError> {
        let found = users::find_credentials(&state.db, &self.email).await?;
        let Some(known) = found.filter(|known| known.is_verified && !known.is_disabled) else {
            return Ok(());
        };
        let (account, life) = ((known.user_id, self.version), state.attempts.unlock_ttl);
        let Some(link) = new_link(state, account, &Purpose::Unlock, life).await? else {
            return Ok(());
        };
        let minutes = life.as_secs().div_ceil(60);
        post(state, &self.email, &Letter::Unlock { link, minutes }).await
    }
}

impl TellPasswordChanged {
    async fn send(&self, state: &AppState) -> Result<(), JobError> {
        post(state, &self.email, &Letter::PasswordChanged {}).await
    }
}

impl ConfirmNewEmail {
    async fn send(&self, state: &AppState) -> Result<(), JobError> {
        if users::is_address_taken(&state.db, &self.email).await? {
            return Ok(()); // the one who asked learns nothing
        }
        let requested_at = self.requested_at.unwrap_or_else(|| state.clock.now());
        let purpose = Purpose::ChangeEmail(self.email.clone(), requested_at);
        let (account, life) = ((self.user_id, self.version), state.auth.verify_email_ttl);
        let Some(link) = new_link(state, account, &purpose, life).await? else {
            return Ok(());
        };
        let hours = hours(life);
        post(state, &self.email, &Letter::ConfirmNewEmail { link, hours }).await
    }
}

impl TellEmailChanging {
    async fn send(&self, state: &AppState) -> Result<(), JobError> {
        post(state, &self.email, &Letter::EmailChanging {}).await
    }
}

/// Sends the link that undoes a change of an address to that address.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SendEmailUndo {
    change: Uuid,
}

impl SendEmailUndo {
    /// The email about this change.
    pub(super) fn of(change: Uuid) -> Self {
        Self { change }
    }

    async fn send(&self, state: &AppState) -> Result<(), JobError> {
        let now = state.clock.now();
        let token = OpaqueToken::new(&state.rng);
        let undo = store::put_undo_token(&state.db, self.change, token.hash(), now).await?;
        let Some((email, expires_at)) = undo else {
            return Ok(());
        };
        let link = link_to(state, "undo-email-change", &token);
        let hours = (expires_at - now).num_minutes().div_euclid(60).max(1);
        post(state, &email, &Letter::EmailChanged { link, hours }).await
    }
}

impl TaskHandler for SendEmailUndo {
    const IDENTIFIER: &'static str = "auth.send_email_undo";

    async fn run(self, ctx: WorkerContext) -> impl IntoTaskHandlerResult {
        let result = async { self.send(jobs::given(&ctx)?).await }.await;
        jobs::report_final(&ctx, result, JobError::is_permanent).await
    }
}

/// Tells an administrator that somebody has become one.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct NotifyNewAdmin {
    user_id: UserId,
    admin: UserId,
}

impl NotifyNewAdmin {
    /// An email to `user_id` about `admin`.
    pub(super) fn to(user_id: UserId, admin: UserId) -> Self {
        Self { user_id, admin }
    }

    async fn send(&self, state: &AppState) -> Result<(), JobError> {
        let recipient = users::find_own_credentials(&state.db, self.user_id).await?;
        let admin = users::find_own_credentials(&state.db, self.admin).await?;
        let (Some(recipient), Some(admin)) = (recipient, admin) else {
            return Ok(());
        };
        let email = admin.email.as_str().to_owned();
        post(state, &recipient.email, &Letter::NewAdmin { email }).await
    }
}

impl TaskHandler for NotifyNewAdmin {
    const IDENTIFIER: &'static str = "auth.notify_new_admin";

    async fn run(self, ctx: WorkerContext) -> impl IntoTaskHandlerResult {
        let result = async { self.send(jobs::given(&ctx)?).await }.await;
        jobs::report_final(&ctx, result, JobError::is_permanent).await
    }
}

/// Makes a link that is good for this and replaces the one before; none when the account's credentials
/// have changed since it was asked for.
async fn new_link(
    state: &AppState,
    (user_id, version): (UserId, CredentialsVersion),
    purpose: &Purpose,
    life: Duration,
) -> Result<Option<Url>, JobError> {
    let now = state.clock.now();
    let token = OpaqueToken::new(&state.rng);
    let link = NewLink {
        user_id,
        version,
        purpose,
        token: token.hash(),
        expires_at: after(now, life),
    };
    if !store::put_link(&state.db, &link, now).await? {
        return Ok(None);
    }
    let page = match purpose {
        Purpose::VerifyEmail | Purpose::ChangeEmail(..) => "verify-email",
        Purpose::ResetPassword => "reset-password",
        Purpose::Unlock => "unlock",
    };
    Ok(Some(link_to(state, page, &token)))
}

/// The address of a page with a token. It is at the configured address, never at the host of the request
/// that caused the email. The token is in the fragment, which browsers do not send: no proxy, log or
/// `Referer` header gets it.
fn link_to(state: &AppState, page: &str, token: &OpaqueToken) -> Url {
    let mut link = state.mail.link_url.clone();
    if let Ok(mut path) = link.path_segments_mut() {
        path.pop_if_empty().push(page);
    }
    link.set_fragment(Some(&format!("token={}", token.encode())));
    link
}

fn hours(life: Duration) -> u64 {
    life.as_secs().div_ceil(3_600)
}

async fn post(state: &AppState, to: &EmailAddress, letter: &Letter) -> Result<(), JobError> {
    Ok(mail::send(&state.mailer, &state.mail, to.as_str(), letter).await?)
}
