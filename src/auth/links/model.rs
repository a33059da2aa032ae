//! Requests for emailed links, and with them.

use chrono::{DateTime, Utc};
use email_transport::EmailAddress;
use serde::Deserialize;
use session_tokens::{OpaqueToken, TokenHash};
use utoipa::ToSchema;

use crate::ids::UserId;
use crate::users::CredentialsVersion;

/// Token of an emailed link.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmailProof {
    /// Token of the link in the email.
    pub(crate) token: OpaqueToken,
}

/// Request for an email with a link.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmailRequest {
    /// The address of the account.
    pub(crate) email: EmailAddress,
}

#[derive(Clone, Debug)]
pub(crate) enum Purpose {
    VerifyEmail,
    ResetPassword,
    Unlock,
    /// To this address, requested at this time.
    ChangeEmail(EmailAddress, DateTime<Utc>),
}

impl Purpose {
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify_email",
            Self::ResetPassword => "reset_password",
            Self::Unlock => "unlock",
            Self::ChangeEmail(..) => "change_email",
        }
    }
}

/// Purposes of links that prove an address.
pub(crate) const ADDRESS_LINKS: &[&str] = &["verify_email", "change_email"];

pub(crate) const RESET_LINKS: &[&str] = &["reset_password"];

pub(crate) struct NewLink<'a> {
    pub(crate) user_id: UserId,
    /// At the time of the request.
    pub(crate) version: CredentialsVersion,
    pub(crate) purpose: &'a Purpose,
    pub(crate) token: TokenHash,
    pub(crate) expires_at: DateTime<Utc>,
}

/// A valid link. Beginning a change of the credentials at its version uses it up, atomically.
pub(crate) struct Link {
    pub(crate) user_id: UserId,
    pub(crate) version: CredentialsVersion,
    /// For a change of the address: when that was requested.
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) new_email: Option<EmailAddress>,
}
