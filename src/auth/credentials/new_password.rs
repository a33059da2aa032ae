//! Checks of a new password: words of the account's context (NIST SP 800-63B-4 §3.1.1.2, OWASP ASVS 5.0
//! §6.2.11), and known breaches.

use crypto::NewPassword;
use email_transport::EmailAddress;
use password_checks::ContextWords;
use secrecy::{ExposeSecret as _, SecretString};

use crate::auth::error::Error;
use crate::state::AppState;

/// Returns the password, prepared for hashing. The outcome depends on the request alone, so it does not reveal
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
        && breaches.contains(&password).await?
    {
        return Err(Error::BreachedPassword(field));
    }
    Ok(password)
}
