//! Checks of a new password against the account's own words and against known breaches.

use secrecy::{ExposeSecret as _, SecretString};

use super::guessable::ContextWords;
use crate::auth::error::Error;
use crate::auth::password::NewPassword;
use crate::state::AppState;
use crate::users::EmailAddress;

/// Returns the password, prepared for hashing. The outcome depends on the request alone, so it does not tell
/// whether an account exists.
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
        && breaches.knows(&password).await?
    {
        return Err(Error::BreachedPassword(field));
    }
    Ok(password)
}
