//! Emails about API keys, and the purge of old keys.

use chrono::TimeDelta;
use graphile_worker::{IntoTaskHandlerResult, TaskHandler, WorkerContext};
use serde::{Deserialize, Serialize};

use super::store;
use crate::jobs::{self, Purges};
use crate::mail::{self, EmailMessage};
use crate::state::AppState;
use crate::users::EmailAddress;

/// How long expired and revoked keys are kept, to investigate incidents.
const KEPT: TimeDelta = TimeDelta::days(30);

#[derive(Debug, thiserror::Error)]
enum JobError {
    #[error(transparent)]
    MissingExtension(#[from] jobs::MissingExtension),
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

macro_rules! emails {
    ($($(#[$doc:meta])* $name:ident $identifier:literal $message:ident)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Deserialize, Serialize)]
        pub struct $name {
            email: EmailAddress,
            hint: String,
        }

        impl $name {
            /// `hint` is the end of the key.
            pub(super) fn to(email: EmailAddress, hint: String) -> Self {
                Self { email, hint }
            }

            async fn send(self, state: &AppState) -> Result<(), JobError> {
                let message = EmailMessage::$message { hint: self.hint };
                Ok(mail::send(&state.mailer, &state.mail, self.email.as_str(), &message).await?)
            }
        }

        impl TaskHandler for $name {
            const IDENTIFIER: &'static str = $identifier;

            async fn run(self, ctx: WorkerContext) -> impl IntoTaskHandlerResult {
                let result = async { self.send(jobs::extension(&ctx)?).await }.await;
                jobs::report_final(&ctx, result, JobError::is_permanent).await
            }
        }
    )+};
}

emails! {
    NotifyKeyCreated "api_keys.tell_created" ApiKeyCreated
    NotifyKeyRotated "api_keys.tell_rotated" ApiKeyRotated
}

/// Runs daily.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct PurgeKeys {}

impl TaskHandler for PurgeKeys {
    const IDENTIFIER: &'static str = "api_keys.purge";

    async fn run(self, ctx: WorkerContext) -> impl IntoTaskHandlerResult {
        let result = async {
            let state: &AppState = jobs::extension(&ctx)?;
            let before = state.clock.now() - KEPT;
            let mut purges = Purges::new(&state.db, state.job_statement_timeout);
            purges.run_expired(store::EXPIRED, before).await;
            purges.run_expired(store::REVOKED, before).await;
            Ok::<_, JobError>(purges.finish()?)
        }
        .await;
        jobs::report(&ctx, result)
    }
}
