//! Emails about second factors.

use graphile_worker::{IntoTaskHandlerResult, TaskHandler, WorkerContext};
use serde::{Deserialize, Serialize};

use crate::ids::UserId;
use crate::jobs;
use crate::mail::{self, EmailMessage};
use crate::state::AppState;
use crate::users;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FactorEvent {
    TurnedOn,
    TurnedOff,
    /// By a CLI command.
    Removed,
    RecoveryCodeUsed,
    /// No code is accepted for a while.
    TooManyFailures,
}

/// Emails the owner of an account.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct NotifySecondFactor {
    user_id: UserId,
    #[serde(rename = "news")]
    event: FactorEvent,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum JobError {
    #[error(transparent)]
    MissingExtension(#[from] jobs::MissingExtension),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Mail(#[from] mail::Error),
    #[error("{0} secret(s) cannot be decrypted")]
    Undecryptable(usize),
}

impl JobError {
    fn is_permanent(&self) -> bool {
        matches!(self, Self::Mail(error) if error.is_permanent())
    }
}

impl NotifySecondFactor {
    #[must_use]
    pub fn of(user_id: UserId, event: FactorEvent) -> Self {
        Self { user_id, event }
    }

    async fn send(&self, state: &AppState) -> Result<(), JobError> {
        let Some(owner) = users::find_own_credentials(&state.db, self.user_id).await? else {
            return Ok(());
        };
        let message = match self.event {
            FactorEvent::TurnedOn => EmailMessage::SecondFactorOn {},
            FactorEvent::TurnedOff => EmailMessage::SecondFactorOff {},
            FactorEvent::Removed => EmailMessage::SecondFactorRemoved {},
            FactorEvent::RecoveryCodeUsed => EmailMessage::RecoveryCodeUsed {},
            FactorEvent::TooManyFailures => EmailMessage::SecondFactorFailures {},
        };
        Ok(mail::send(&state.mailer, &state.mail, owner.email.as_str(), &message).await?)
    }
}

impl TaskHandler for NotifySecondFactor {
    const IDENTIFIER: &'static str = "mfa.tell_second_factor";

    async fn run(self, ctx: WorkerContext) -> impl IntoTaskHandlerResult {
        let result = async { self.send(jobs::extension(&ctx)?).await }.await;
        jobs::report_final(&ctx, result, JobError::is_permanent).await
    }
}
