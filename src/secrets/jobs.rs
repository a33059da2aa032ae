//! Emails about secrets that were shown, and the purge of secrets of deleted organisations.

use job_queue::Purges;

use super::model::SecretName;
use super::store;
use crate::ids::{AccountId, UserId};
use crate::mail::{self, EmailMessage, JobError, email_jobs};
use crate::organisations;
use crate::scope::{self, Exception, Scope};
use crate::state::AppState;
use crate::users;

email_jobs! {
    /// To a user who manages the secrets of the account.
    NotifySecretRevealed "secrets.notify_revealed" {
        user_id: UserId,
        account_id: AccountId,
        name: SecretName,
        revealed_by: UserId
    }
}

impl NotifySecretRevealed {
    async fn send(&self, state: &AppState) -> Result<(), JobError> {
        let mut tx = scope::begin(&state.db, Scope::Exception(Exception::Job)).await?;
        let organisation = organisations::find_summary(&mut *tx, self.account_id).await?;
        let recipient = users::find_own_credentials(&mut *tx, self.user_id).await?;
        let revealed_by = users::find_own_credentials(&mut *tx, self.revealed_by).await?;
        tx.commit().await?;
        let Some(recipient) = recipient else {
            return Ok(());
        };
        let message = EmailMessage::SecretRevealed {
            name: self.name.as_str().to_owned(),
            organisation: organisation.map(|organisation| organisation.name),
            by: revealed_by.map(|user| user.email.as_str().to_owned()),
        };
        Ok(mail::send(state, recipient.email.as_str(), &message).await?)
    }
}

job_queue::jobs! {
    /// Runs daily.
    PurgeSecrets "secrets.purge" => purge;
}

async fn purge(state: &AppState) -> Result<(), JobError> {
    let before = state.clock.now() - state.organisations.deletion_grace;
    let mut purges = Purges::new(&state.db, scope::begin_job(state.job_statement_timeout));
    purges
        .run("secrets of deleted organisations", |conn, most| {
            Box::pin(store::delete_of_deleted(conn, before, most))
        })
        .await;
    Ok(purges.finish()?)
}
