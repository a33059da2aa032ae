//! Sign-ins on the wire: the password, and the second factor.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::opaque_token::OpaqueToken;
use crate::auth::password::TriedPassword;
use crate::auth::sessions::{TokenPair, Transport};
use crate::mfa::{Method, RecoveryCode, TotpCode};
use crate::users::EmailAddress;

/// Somebody who wants to sign in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignIn {
    /// The account's address.
    pub(crate) email: EmailAddress,
    /// The account's password.
    pub(crate) password: TriedPassword,
    /// How the tokens are to travel.
    #[serde(default)]
    pub(crate) transport: Transport,
}

/// What a right password leads to.
pub(crate) enum Outcome {
    /// A session has begun.
    Session(TokenPair),
    /// A second factor is asked for first.
    SecondFactor(MfaChallenge),
}

/// A sign-in that waits for its second factor.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MfaChallenge {
    /// Goes to `/auth/login/mfa` with a code; good for nothing else.
    #[schema(example = "mF9B5f41JqM0Q8r2Zt7uYwXcVbNaSdFgHjKlPoIuYtQ")]
    pub(crate) mfa_token: String,
    /// Seconds until the token runs out.
    #[schema(example = 300)]
    pub(crate) expires_in: u64,
    /// What the account can answer with.
    pub(crate) methods: Vec<Method>,
}

/// The second step of a sign-in. One of the two codes is required.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MfaAnswer {
    /// What `/auth/login` answered with.
    pub(crate) mfa_token: OpaqueToken,
    /// What the authenticator app shows.
    #[serde(default)]
    pub(crate) code: Option<TotpCode>,
    /// One of the codes that were written down.
    #[serde(default)]
    pub(crate) recovery_code: Option<RecoveryCode>,
}
