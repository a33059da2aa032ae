//! Sign-ins on the wire: the password, and the second factor.

use crypto::TriedPassword;
use email_transport::EmailAddress;
use serde::{Deserialize, Serialize};
use session_tokens::OpaqueToken;
use utoipa::ToSchema;

use crate::auth::sessions::{TokenPair, Transport};
use crate::mfa::{Method, RecoveryCode, TotpCode};

/// Request to sign in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignIn {
    /// The account's address.
    pub(crate) email: EmailAddress,
    /// The account's password.
    pub(crate) password: TriedPassword,
    /// How the tokens are transported.
    #[serde(default)]
    pub(crate) transport: Transport,
}

/// The password and, where the account has one, the second factor, of somebody who is not signed in.
#[derive(Debug)]
pub struct SignInProof {
    pub email: EmailAddress,
    pub password: TriedPassword,
    pub code: Option<TotpCode>,
    pub recovery_code: Option<RecoveryCode>,
}

/// Result of a correct password.
pub(crate) enum Outcome {
    Session(TokenPair),
    SecondFactor(MfaChallenge),
}

/// A pending sign-in that requires a second factor.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MfaChallenge {
    /// Sent to `/auth/login/mfa` with a code.
    #[schema(example = "mF9B5f41JqM0Q8r2Zt7uYwXcVbNaSdFgHjKlPoIuYtQ")]
    pub(crate) mfa_token: String,
    /// Seconds until the token expires.
    #[schema(example = 300)]
    pub(crate) expires_in: u64,
    /// Second factors that the account can use.
    pub(crate) methods: Vec<Method>,
}

/// The second step of a sign-in. One of the two codes is required.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MfaAnswer {
    /// The `mfa_token` returned by `/auth/login`.
    pub(crate) mfa_token: OpaqueToken,
    /// Code of the authenticator app.
    #[serde(default)]
    pub(crate) code: Option<TotpCode>,
    /// One of the account's recovery codes.
    #[serde(default)]
    pub(crate) recovery_code: Option<RecoveryCode>,
}
