//! Emails about API keys, and the purge of old keys.

use chrono::{DateTime, Utc};
use email_transport::EmailAddress;
use job_queue::{Expired, Purges};

use super::store;
use crate::mail::{self, EmailMessage, JobError, email_jobs};
use crate::scope;
use crate::state::AppState;

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

/// Rows that are deleted once their time has passed, each with that time.
pub fn retained(state: &AppState) -> [(Expired, DateTime<Utc>); 2] {
    let before = clock::before(state.clock.now(), state.api_keys.retention);
    [(store::EXPIRED, before), (store::REVOKED, before)]
}

async fn purge(state: &AppState) -> Result<(), JobError> {
    let mut purges = Purges::new(&state.db, scope::begin_job(state.job_statement_timeout));
    purges.run_all(&retained(state)).await;
    Ok(purges.finish()?)
}
