//! The letters about accounts, and cleaning up behind sessions.
//!
//! A letter's token is made when the letter is sent and never before: what waits in the queue is an
//! address, so that nobody who reads the queue can follow a link.

use std::time::Duration;

use chrono::TimeDelta;
use graphile_worker::{IntoTaskHandlerResult, TaskHandler, WorkerContext};
use serde::{Deserialize, Serialize};
use url::Url;

use super::store::{self, Purpose};
use super::token::OpaqueToken;
use crate::audit::{self, Entry, Event, Origin};
use crate::ids::UserId;
use crate::infra::{after, before, begin};
use crate::jobs;
use crate::mail::{self, Letter};
use crate::mfa;
use crate::state::AppState;
use crate::users::{self, EmailAddress};

/// How long what is good for nothing is kept, for whoever looks into an incident.
const KEPT: TimeDelta = TimeDelta::days(30);

/// How long an authenticator is kept that nobody has confirmed.
const UNCONFIRMED: TimeDelta = TimeDelta::days(1);

/// Accounts that one transaction deletes.
const PURGED_AT_ONCE: i64 = 500;

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
    ($($(#[$doc:meta])* $name:ident $identifier:literal $class:ident { $($field:ident: $type:ty),+ })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Deserialize, Serialize)]
        pub struct $name {
            $($field: $type,)+
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
    SendReset "auth.send_reset" SignIn { email: EmailAddress }
    /// Sends the link that lets the owner of an account try again, if there is one with this address
    /// that could be signed in to.
    SendUnlock "auth.send_unlock" SignIn { email: EmailAddress }
    /// Tells the owner of an account that its password is another now.
    TellPasswordChanged "auth.tell_password_changed" Notice { email: EmailAddress }
    /// Asks the owner of an address to confirm it as that of this account, and tells the owner of
    /// the present address.
    ConfirmNewEmail "auth.confirm_new_email" Open { user_id: UserId, email: EmailAddress }
    /// Tells the owner of an address that the account is about to leave it.
    TellEmailChanging "auth.tell_email_changing" Notice { email: EmailAddress }
}

impl SendVerification {
    async fn send(&self, state: &AppState) -> Result<(), JobError> {
        let Some(user_id) = users::find_unverified(&state.db, &self.email).await? else {
            return Ok(());
        };
        let life = state.auth.verify_email_ttl;
        let link = new_link(state, user_id, &Purpose::VerifyEmail, life).await?;
        post(
            state,
            &self.email,
            &Letter::VerifyEmail {
                link,
                hours: hours(life),
            },
        )
        .await
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
        let life = state.auth.reset_password_ttl;
        let link = new_link(state, user_id, &Purpose::ResetPassword, life).await?;
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
        let life = state.attempts.unlock_ttl;
        let link = new_link(state, known.user_id, &Purpose::Unlock, life).await?;
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
        let Some(present) = users::find_own_credentials(&state.db, self.user_id).await? else {
            return Ok(());
        };
        if users::find_by_email(&state.db, &self.email)
            .await?
            .is_some()
        {
            return Ok(()); // it is somebody's: the one who asked learns nothing
        }
        let life = state.auth.verify_email_ttl;
        let purpose = Purpose::ChangeEmail(self.email.clone());
        let link = new_link(state, self.user_id, &purpose, life).await?;
        post(
            state,
            &self.email,
            &Letter::ConfirmNewEmail {
                link,
                hours: hours(life),
            },
        )
        .await?;
        // A job of its own: its failure must not send the first letter again.
        jobs::enqueue(&state.db, &TellEmailChanging::to(present.email), None).await?;
        Ok(())
    }
}

impl TellEmailChanging {
    async fn send(&self, state: &AppState) -> Result<(), JobError> {
        post(state, &self.email, &Letter::EmailChanging {}).await
    }
}

/// Makes a link that is good for this and replaces the one before.
async fn new_link(
    state: &AppState,
    user_id: UserId,
    purpose: &Purpose,
    life: Duration,
) -> Result<Url, JobError> {
    let now = state.clock.now();
    let token = OpaqueToken::new(&state.rng);
    store::put_link(
        &state.db,
        user_id,
        purpose,
        token.hash(),
        now,
        after(now, life),
    )
    .await?;
    let page = match purpose {
        Purpose::VerifyEmail | Purpose::ChangeEmail(_) => "verify-email",
        Purpose::ResetPassword => "reset-password",
        Purpose::Unlock => "unlock",
    };
    // The configured address, never the host of the request that caused the letter.
    let mut link = state.mail.link_url.clone();
    if let Ok(mut path) = link.path_segments_mut() {
        path.pop_if_empty().push(page);
    }
    link.query_pairs_mut().append_pair("token", &token.encode());
    Ok(link)
}

fn hours(life: Duration) -> u64 {
    life.as_secs().div_ceil(3_600)
}

async fn post(state: &AppState, to: &EmailAddress, letter: &Letter) -> Result<(), JobError> {
    Ok(mail::send(&state.mailer, &state.mail, to.as_str(), letter).await?)
}

/// Deletes accounts that nobody ever confirmed, and links, tokens and sessions that have long been
/// good for nothing. Runs daily.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct PurgeExpired {}

impl PurgeExpired {
    async fn purge(&self, state: &AppState) -> Result<(), JobError> {
        while purge_unverified(state).await? {}
        let now = state.clock.now();
        mfa::purge_pending(&state.db, now - UNCONFIRMED).await?;
        Ok(store::purge(&state.db, now - KEPT).await?)
    }
}

/// Deletes some accounts that nobody confirmed in time; answers whether there may be more.
async fn purge_unverified(state: &AppState) -> Result<bool, JobError> {
    let now = state.clock.now();
    let since = before(now, state.auth.unverified_ttl);
    let mut tx = begin(&state.db).await?;
    let purged = store::purge_unverified(&mut *tx, since, now, PURGED_AT_ONCE).await?;
    let origin = Origin::default();
    for user_id in &purged {
        let entry = Entry::befell(Event::UnverifiedPurged, Some(*user_id), None, &origin);
        audit::record(&mut *tx, entry, now, &state.rng).await?;
    }
    tx.commit().await?;
    Ok(!purged.is_empty())
}

impl TaskHandler for PurgeExpired {
    const IDENTIFIER: &'static str = "auth.purge_expired";

    async fn run(self, ctx: WorkerContext) -> impl IntoTaskHandlerResult {
        let result = async { self.purge(jobs::given(&ctx)?).await }.await;
        jobs::report(&ctx, result)
    }
}
