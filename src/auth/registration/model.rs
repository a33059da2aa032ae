//! Requests of sign-ups.

use crypto::{NewPassword, TriedPassword};
use email_transport::EmailAddress;
use serde::Deserialize;
use session_tokens::OpaqueToken;
use utoipa::ToSchema;

use crate::config::DocumentVersion;
use crate::consents::AcceptedDocuments;
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
    /// Version of the terms that was accepted. Required if the product has terms: `/legal` has the version in force.
    #[serde(default)]
    pub(crate) terms: Option<DocumentVersion>,
    /// Version of the privacy notice that was shown. Required if the product has one.
    #[serde(default)]
    pub(crate) privacy_notice: Option<DocumentVersion>,
}

impl NewAccount {
    pub(crate) fn documents(&self) -> AcceptedDocuments<'_> {
        AcceptedDocuments {
            terms: self.terms.as_ref(),
            privacy_notice: self.privacy_notice.as_ref(),
        }
    }
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
