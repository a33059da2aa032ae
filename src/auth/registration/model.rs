//! Requests of sign-ups.

use crypto::{NewPassword, TriedPassword};
use email_transport::EmailAddress;
use serde::Deserialize;
use session_tokens::OpaqueToken;
use utoipa::ToSchema;

use crate::users::PersonName;

/// Request to sign up.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAccount {
    /// The email address, which has to be verified.
    pub(crate) email: EmailAddress,
    /// The password.
    pub(crate) password: NewPassword,
    /// Given name.
    #[serde(default)]
    pub(crate) first_name: Option<PersonName>,
    /// Family name.
    #[serde(default)]
    pub(crate) last_name: Option<PersonName>,
}

/// Request to verify an email address.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddressProof {
    /// Token of the link in the email.
    pub(crate) token: OpaqueToken,
    /// The password of the sign-up. Required if several sign-ups with different passwords are pending for the
    /// address; if present in other cases, it must be correct. Not used for a changed address.
    #[serde(default)]
    pub(crate) password: Option<TriedPassword>,
}
