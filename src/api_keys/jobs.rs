//! Emails about API keys, and the purge of old keys.

use chrono::TimeDelta;
use email_transport::EmailAddress;
use job_queue::Purges;

use super::store;
use crate::mail::{self, EmailMessage, JobError, email_jobs};
use crate::scope;
use crate::state::AppState;

/// How long expired and revoked keys are kept, to investigate incidents.
const KEPT: TimeDelta = TimeDelta::days(30);

email_jobs! {
    /// `hint` is the end of the key.
    NotifyKeyCreated "api_keys.tell_created" { email: EmailAddress, hint: String }
    /// `hint` is the end of the key.
    NotifyKeyRotated "api_keys.tell_rotated" { email: EmailAddress, hint: String }
}

impl NotifyKeyCreated {
    async fn send(&self, state: &AppState) -> Result<(), JobError> {
        let message = EmailMessage::ApiKeyCreated {
            hint: self.hint.clone(),
        };
        Ok(mail::send(state, self.email.as_str(), &message).await?)
    }
}

impl NotifyKeyRotated {
    async fn send(&self, state: &AppState) -> Result<(), JobError> {
        let message = EmailMessage::ApiKeyRotated {
            hint: self.hint.clone(),
        };
        Ok(mail::send(state, self.email.as_str(), &message).await?)
    }
}

job_queue::jobs! {
    /// Runs daily.
    PurgeKeys "api_keys.purge" => purge;
}

async fn purge(state: &AppState) -> Result<(), JobError> {
    let before = state.clock.now() - KEPT;
    let mut purges = Purges::new(&state.db, scope::begin_job(state.job_statement_timeout));
    purges.run_expired(store::EXPIRED, before).await;
    purges.run_expired(store::REVOKED, before).await;
    Ok(purges.finish()?)
}
