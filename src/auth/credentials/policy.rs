//! What a password must be beside long and uncommon: not the account's own words, and not known
//! from a breach.

use secrecy::{ExposeSecret as _, SecretString};

use super::guessable::ContextWords;
use crate::auth::error::Error;
use crate::auth::password::NewPassword;
use crate::state::AppState;
use crate::telemetry;
use crate::users::EmailAddress;

/// The password, if the account of this address may have it; `field` is where the request has it.
/// The answer depends on what the request says alone, and so tells nothing of who has an account.
pub(crate) async fn check_new_password(
    state: &AppState,
    password: NewPassword,
    email: &EmailAddress,
    field: &'static str,
) -> Result<SecretString, Error> {
    let password = password.into_secret();
    let words = ContextWords::of(email.as_str(), &state.mail.product_name);
    if words.are_most_of(password.expose_secret()) {
        return Err(Error::GuessablePassword(field));
    }
    if let Some(breaches) = &state.breaches
        && breaches
            .knows(&password, telemetry::traceparent().as_deref())
            .await?
    {
        return Err(Error::BreachedPassword(field));
    }
    Ok(password)
}
