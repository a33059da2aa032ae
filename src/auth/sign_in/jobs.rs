//! The email to the owner of a locked account.

use crate::auth::email::{self, JobError, emails};
use crate::auth::links::{self, Purpose};
use crate::mail::EmailMessage;
use crate::state::AppState;
use crate::users::{self, CredentialsVersion, EmailAddress};

emails! {
    /// Unless the address has no enabled, verified account.
    SendUnlock "auth.send_unlock" SignIn { email: EmailAddress, #[serde(default)] version: CredentialsVersion }
}

impl SendUnlock {
    async fn send(&self, state: &AppState) -> Result<(), JobError> {
        let found = users::find_credentials(&state.db, &self.email).await?;
        let Some(known) = found.filter(|known| known.is_verified && !known.is_disabled) else {
            return Ok(());
        };
        let (account, life) = ((known.user_id, self.version), state.attempts.unlock_ttl);
        let Some(link) = links::issue(state, account, &Purpose::Unlock, life).await? else {
            return Ok(());
        };
        let minutes = life.as_secs().div_ceil(60);
        email::send(state, &self.email, &EmailMessage::Unlock { link, minutes }).await
    }
}
