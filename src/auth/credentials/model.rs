//! Requests that change a password or an address.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::auth::opaque_token::OpaqueToken;
use crate::auth::password::{NewPassword, TriedPassword};
use crate::mfa::{RecoveryCode, TotpCode};
use crate::users::EmailAddress;

/// A changed address that is to be restored.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmailUndo {
    /// The token in the link.
    pub(crate) token: OpaqueToken,
    /// The password to have from now on.
    pub(crate) password: NewPassword,
}

/// A forgotten password.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordReset {
    /// The token in the link.
    pub(crate) token: OpaqueToken,
    /// The password to have from now on.
    pub(crate) password: NewPassword,
}

/// A password that is to be another.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordChange {
    /// The present password, to prove who is asking.
    pub(crate) current_password: TriedPassword,
    /// The password to have from now on.
    pub(crate) new_password: NewPassword,
    /// What the authenticator app shows; this or a recovery code, where the account has a second
    /// factor.
    #[serde(default)]
    pub(crate) code: Option<TotpCode>,
    /// One of the codes that were written down.
    #[serde(default)]
    pub(crate) recovery_code: Option<RecoveryCode>,
}

/// An address that is to be another.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmailChange {
    /// The new address; a letter there asks to confirm it.
    pub(crate) email: EmailAddress,
    /// The password, to prove who is asking.
    pub(crate) password: TriedPassword,
    /// What the authenticator app shows; this or a recovery code, where the account has a second
    /// factor.
    #[serde(default)]
    pub(crate) code: Option<TotpCode>,
    /// One of the codes that were written down.
    #[serde(default)]
    pub(crate) recovery_code: Option<RecoveryCode>,
}
