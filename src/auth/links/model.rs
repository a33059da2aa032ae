//! Requests for emailed links, and with them.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::auth::opaque_token::{OpaqueToken, TokenHash};
use crate::ids::UserId;
use crate::users::{CredentialsVersion, EmailAddress};

/// The link in the letter, followed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmailProof {
    /// The token in the link.
    pub(crate) token: OpaqueToken,
}

/// A new letter is wanted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmailRequest {
    /// The address that was signed up with.
    pub(crate) email: EmailAddress,
}

/// Purpose of a link.
#[derive(Clone, Debug)]
pub(crate) enum Purpose {
    /// Shows that the account's address is its owner's.
    VerifyEmail,
    /// Sets a new password.
    ResetPassword,
    /// Clears the waits of failed sign-ins.
    Unlock,
    /// Shows that this new address, asked for at this time, is the owner's as well.
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

/// A link to store.
pub(crate) struct NewLink<'a> {
    pub(crate) user_id: UserId,
    /// The version of the account's credentials that the link was asked for under.
    pub(crate) version: CredentialsVersion,
    pub(crate) purpose: &'a Purpose,
    pub(crate) token: TokenHash,
    pub(crate) expires_at: DateTime<Utc>,
}

/// A link that somebody has followed. It is used up by beginning a change of the credentials at its
/// version, which of any number that race one does.
pub(crate) struct Link {
    pub(crate) user_id: UserId,
    pub(crate) version: CredentialsVersion,
    /// When it was made; when the change was asked for, where it changes the address.
    pub(crate) created_at: DateTime<Utc>,
    /// The new address, where it changes that.
    pub(crate) new_email: Option<EmailAddress>,
}
