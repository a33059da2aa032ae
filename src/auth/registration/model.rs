//! Requests of sign-ups.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::auth::opaque_token::OpaqueToken;
use crate::auth::password::{NewPassword, TriedPassword};
use crate::users::{EmailAddress, PersonName};

/// Somebody who wants an account.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAccount {
    /// Where the letter with the link goes.
    pub(crate) email: EmailAddress,
    /// What to sign in with.
    pub(crate) password: NewPassword,
    /// Given name.
    #[serde(default)]
    pub(crate) first_name: Option<PersonName>,
    /// Family name.
    #[serde(default)]
    pub(crate) last_name: Option<PersonName>,
}

/// Proof of an address: the link in an email, followed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddressProof {
    /// The token in the link.
    pub(crate) token: OpaqueToken,
    /// The password that was signed up with. Required where several sign-ups with different passwords
    /// wait for the address; given in other cases, it must be right as well. A link that changes the
    /// address needs none.
    #[serde(default)]
    pub(crate) password: Option<TriedPassword>,
}
