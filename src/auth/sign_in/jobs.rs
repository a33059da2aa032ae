//! The email to the owner of a locked account.
use email_transport::EmailAddress;

use crate::auth::links::{self, Purpose};
use crate::mail::{JobError, email_jobs};
use crate::state::AppState;
use crate::users::{self, CredentialsVersion};

email_jobs! {
    /// Unless the address has no enabled, verified account.
    SendUnlock "auth.send_unlock" SignIn { email: EmailAddress, #[serde(default)] version: CredentialsVersion }
}

impl SendUnlock {
    async fn send(&self, state: &AppState) -> Result<(), JobError> {
        let found = users::find_credentials(&state.db, &self.email).await?;
        let Some(known) = found.filter(|known| known.is_verified && !known.is_disabled) else {
            return Ok(());
        };
        let account = (known.user_id, self.version);
        links::send(state, &self.email, account, &Purpose::Unlock).await
    }
}
