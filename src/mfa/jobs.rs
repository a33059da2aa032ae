//! The letters about second factors, and sealing them under the newest key.

use graphile_worker::{IntoTaskHandlerResult, TaskHandler, WorkerContext};
use serde::{Deserialize, Serialize};

use crate::ids::UserId;
use crate::jobs;
use crate::mail::{self, Letter};
use crate::state::AppState;
use crate::users;

/// What happened to a second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum News {
    /// Sign-ins are asked for it from now on.
    TurnedOn,
    /// They are not any more.
    TurnedOff,
    /// They are not any more, and an operator did it.
    Removed,
    /// A recovery code was used.
    RecoveryCodeUsed,
    /// So many wrong codes were given that none is tried for a while.
    TooManyFailures,
}

/// Tells the owner of an account what happened to its second factor.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct TellSecondFactor {
    user_id: UserId,
    news: News,
}

/// Why a job failed; the queue keeps the text and tries again.
#[derive(Debug, thiserror::Error)]
pub(super) enum JobError {
    #[error(transparent)]
    MissingExtension(#[from] jobs::MissingExtension),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Mail(#[from] mail::Error),
    #[error("{0} secret(s) do not open")]
    Closed(usize),
}

impl JobError {
    fn is_permanent(&self) -> bool {
        matches!(self, Self::Mail(error) if error.is_permanent())
    }
}

impl TellSecondFactor {
    /// This piece of news for the owner of this account.
    #[must_use]
    pub fn of(user_id: UserId, news: News) -> Self {
        Self { user_id, news }
    }

    async fn send(&self, state: &AppState) -> Result<(), JobError> {
        let Some(owner) = users::find_own_credentials(&state.db, self.user_id).await? else {
            return Ok(());
        };
        let letter = match self.news {
            News::TurnedOn => Letter::SecondFactorOn {},
            News::TurnedOff => Letter::SecondFactorOff {},
            News::Removed => Letter::SecondFactorRemoved {},
            News::RecoveryCodeUsed => Letter::RecoveryCodeUsed {},
            News::TooManyFailures => Letter::SecondFactorFailures {},
        };
        Ok(mail::send(&state.mailer, &state.mail, owner.email.as_str(), &letter).await?)
    }
}

impl TaskHandler for TellSecondFactor {
    const IDENTIFIER: &'static str = "mfa.tell_second_factor";

    async fn run(self, ctx: WorkerContext) -> impl IntoTaskHandlerResult {
        let result = async { self.send(jobs::extension(&ctx)?).await }.await;
        jobs::report_final(&ctx, result, JobError::is_permanent).await
    }
}
