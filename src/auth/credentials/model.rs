//! Requests that change a password or an address.

use crypto::{NewPassword, TriedPassword};
use email_transport::EmailAddress;
use serde::Deserialize;
use session_tokens::OpaqueToken;
use utoipa::ToSchema;

use crate::mfa::{RecoveryCode, TotpCode};

/// Request to undo an email address change.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmailUndo {
    /// Token of the link in the email.
    pub(crate) token: OpaqueToken,
    /// The new password.
    pub(crate) password: NewPassword,
}

/// Request to reset a forgotten password.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordReset {
    /// Token of the link in the email.
    pub(crate) token: OpaqueToken,
    /// The new password.
    pub(crate) password: NewPassword,
}

/// Request to change the password.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordChange {
    /// The current password.
    pub(crate) current_password: TriedPassword,
    /// The new password.
    pub(crate) new_password: NewPassword,
    /// Code of the authenticator app. This or a recovery code is required if the account has a second factor.
    #[serde(default)]
    pub(crate) code: Option<TotpCode>,
    /// One of the account's recovery codes.
    #[serde(default)]
    pub(crate) recovery_code: Option<RecoveryCode>,
}

/// Request to change the email address.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmailChange {
    /// The new address, which has to be confirmed.
    pub(crate) email: EmailAddress,
    /// The account's password.
    pub(crate) password: TriedPassword,
    /// Code of the authenticator app. This or a recovery code is required if the account has a second factor.
    #[serde(default)]
    pub(crate) code: Option<TotpCode>,
    /// One of the account's recovery codes.
    #[serde(default)]
    pub(crate) recovery_code: Option<RecoveryCode>,
}
