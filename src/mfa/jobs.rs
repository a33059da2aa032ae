//! Emails about second factors, and the re-encryption of TOTP secrets after a key rotation.

use database::begin;
use job_queue::MissingExtension;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{secret, store};
use crate::ids::UserId;
use crate::mail::{self, EmailMessage, JobError, email_jobs};
use crate::state::AppState;
use crate::users;

/// Secrets of one transaction.
const BATCH: i64 = 200;

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

#[derive(Debug, thiserror::Error)]
enum ResealError {
    #[error(transparent)]
    MissingExtension(#[from] MissingExtension),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error("{0} secret(s) cannot be decrypted")]
    Undecryptable(usize),
}

job_queue::jobs! {
    /// Re-encrypts under the first key of the ring what is encrypted under another, so that the other can be removed
    /// from the ring. Runs daily.
    ResealSecrets "mfa.seal_anew" => reseal;
}

async fn reseal(state: &AppState) -> Result<(), ResealError> {
    let key = state.cipher.sealing_key();
    let (mut after, mut failed) = (UserId(Uuid::nil()), 0);
    loop {
        let mut tx = begin(&state.db).await?;
        let found = store::lock_with_other_keys(&mut *tx, key, after, BATCH).await?;
        for (owner, sealed) in &found {
            match secret::reseal(state, *owner, sealed) {
                Ok(sealed) => store::update_secret(&mut *tx, *owner, &sealed).await?,
                Err(_) => failed += 1,
            }
        }
        tx.commit().await?;
        match found.last() {
            Some((last, _)) => after = *last,
            None if failed > 0 => return Err(ResealError::Undecryptable(failed)),
            None => return Ok(()),
        }
    }
}
