//! Requests that change the second factor.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::auth::password::TriedPassword;
use crate::mfa::{RecoveryCode, TotpCode};

/// An authenticator app that is to be added.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MfaBegin {
    /// The password, to prove who is asking.
    pub(crate) password: TriedPassword,
}

/// An authenticator app that was added.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MfaConfirm {
    /// What it shows.
    pub(crate) code: TotpCode,
}

/// Both factors, to prove who is asking. One of the two codes is required.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MfaProof {
    /// The password.
    pub(crate) password: TriedPassword,
    /// What the authenticator app shows.
    #[serde(default)]
    pub(crate) code: Option<TotpCode>,
    /// One of the codes that were written down.
    #[serde(default)]
    pub(crate) recovery_code: Option<RecoveryCode>,
}
