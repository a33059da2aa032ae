//! What signing up and signing in are asked and answer.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::password::{NewPassword, TriedPassword};
use super::token::OpaqueToken;
use crate::infra::PublicKey;
use crate::users::{EmailAddress, PersonName};

/// Somebody who wants an account.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewAccount {
    /// Where the letter with the link goes.
    pub(super) email: EmailAddress,
    /// What to sign in with.
    pub(super) password: NewPassword,
    /// Given name.
    #[serde(default)]
    pub(super) first_name: Option<PersonName>,
    /// Family name.
    #[serde(default)]
    pub(super) last_name: Option<PersonName>,
}

/// The link in the letter, followed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EmailProof {
    /// The token in the link.
    pub(super) token: OpaqueToken,
}

/// A new letter is wanted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LetterRequest {
    /// The address that was signed up with.
    pub(super) email: EmailAddress,
}

/// Somebody who wants to sign in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SignIn {
    /// The account's address.
    pub(super) email: EmailAddress,
    /// The account's password.
    pub(super) password: TriedPassword,
}

/// A session that wants to go on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Refresh {
    /// The newest refresh token of the session.
    pub(super) refresh_token: OpaqueToken,
}

/// A pair of tokens (the token response of RFC 6749 §5.1, with the refresh token's own life).
#[derive(Serialize, ToSchema)]
pub(super) struct TokenPair {
    /// Goes into the `Authorization` header of each call.
    #[schema(
        example = "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFZERTQSIsImtpZCI6Ii4uLiJ9.eyJzdWIiOiIuLi4ifQ.c2lnbmF0dXJl"
    )]
    pub(super) access_token: String,
    /// Always `Bearer` (RFC 6750).
    #[schema(example = "Bearer")]
    pub(super) token_type: &'static str,
    /// Seconds until the access token runs out.
    #[schema(example = 900)]
    pub(super) expires_in: u64,
    /// Good for one `/auth/refresh`, which answers with the next one.
    #[schema(example = "mF9B5f41JqM0Q8r2Zt7uYwXcVbNaSdFgHjKlPoIuYtQ")]
    pub(super) refresh_token: String,
    /// Seconds until the refresh token runs out.
    #[schema(example = 1_209_600)]
    pub(super) refresh_expires_in: u64,
}

/// The public keys that access tokens are signed with (a JWK Set, RFC 7517 §5).
#[derive(Serialize, ToSchema)]
pub(super) struct KeySet {
    /// The keys; the first one signs.
    pub(super) keys: Vec<PublicKey>,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndReason {
    /// Its owner ended it.
    SignedOut,
    /// One of its refresh tokens was used a second time.
    TokenReused,
}

impl EndReason {
    /// The stored name.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::SignedOut => "signed_out",
            Self::TokenReused => "token_reused",
        }
    }
}
