//! The letters about second factors.

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
enum JobError {
    #[error("the worker was started without its state")]
    NoState,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Mail(#[from] mail::Error),
}

impl TellSecondFactor {
    /// This piece of news for the owner of this account.
    #[must_use]
    pub fn of(user_id: UserId, news: News) -> Self {
        Self { user_id, news }
    }

    async fn send(&self, state: Option<&AppState>) -> Result<(), JobError> {
        let state = state.ok_or(JobError::NoState)?;
        let Some(owner) = users::find_own_credentials(&state.db, self.user_id).await? else {
            return Ok(());
        };
        let letter = match self.news {
            News::TurnedOn => Letter::SecondFactorOn {},
            News::TurnedOff => Letter::SecondFactorOff {},
            News::RecoveryCodeUsed => Letter::RecoveryCodeUsed {},
            News::TooManyFailures => Letter::SecondFactorFailures {},
        };
        Ok(mail::send(&state.mailer, &state.mail, owner.email.as_str(), &letter).await?)
    }
}

impl TaskHandler for TellSecondFactor {
    const IDENTIFIER: &'static str = "mfa.tell_second_factor";

    async fn run(self, ctx: WorkerContext) -> impl IntoTaskHandlerResult {
        let result = self.send(ctx.get_ext::<AppState>()).await;
        jobs::report(&ctx, result)
    }
}
