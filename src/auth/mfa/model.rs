//! Requests that change the second factor.

use crypto::TriedPassword;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::mfa::{RecoveryCode, TotpCode};

/// Request to add an authenticator app.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MfaBegin {
    /// The account's password.
    pub(crate) password: TriedPassword,
}

/// Request to turn on the second factor.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MfaConfirm {
    /// Code of the authenticator app.
    pub(crate) code: TotpCode,
}

/// Proof of both factors. One of the two codes is required.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MfaProof {
    /// The account's password.
    pub(crate) password: TriedPassword,
    /// Code of the authenticator app.
    #[serde(default)]
    pub(crate) code: Option<TotpCode>,
    /// One of the account's recovery codes.
    #[serde(default)]
    pub(crate) recovery_code: Option<RecoveryCode>,
}
