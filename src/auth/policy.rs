//! What a password must be beside long and uncommon: not the account's own words, and not known
//! from a breach.

use secrecy::{ExposeSecret as _, SecretString};

use super::error::Error;
use super::guessable::ContextWords;
use super::password::NewPassword;
use crate::state::AppState;
use crate::users::EmailAddress;

/// The password, if the account of this address may have it; `field` is where the request has it.
/// The answer depends on what the request says alone, and so tells nothing of who has an account.
pub(super) async fn admit(
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
        && breaches.knows(&password).await?
    {
        return Err(Error::BreachedPassword(field));
    }
    Ok(password)
}
