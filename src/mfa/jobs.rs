//! Emails about second factors.

use serde::{Deserialize, Serialize};

use crate::ids::UserId;
use crate::mail::{self, EmailMessage, JobError, email_jobs};
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

email_jobs! {
    /// To the owner of an account.
    NotifySecondFactor "mfa.tell_second_factor" { user_id: UserId, #[serde(rename = "news")] event: FactorEvent }
}

impl NotifySecondFactor {
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
        Ok(mail::send(state, owner.email.as_str(), &message).await?)
    }
}
