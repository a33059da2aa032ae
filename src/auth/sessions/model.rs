//! What signing up and signing in are asked and answer.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::password::{NewPassword, TriedPassword};
use super::refresh_token::RefreshToken;
use super::token::OpaqueToken;
use crate::ids::SessionId;
use crate::infra::PublicKey;
use crate::mfa::{Method, RecoveryCode, TotpCode};
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

/// Proof of an address: the link in an email, followed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AddressProof {
    /// The token in the link.
    pub(super) token: OpaqueToken,
    /// The password that was signed up with. Required where several sign-ups with different passwords
    /// wait for the address; given in other cases, it must be right as well. A link that changes the
    /// address needs none.
    #[serde(default)]
    pub(super) password: Option<TriedPassword>,
}

/// A changed address that is to be restored.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EmailUndo {
    /// The token in the link.
    pub(super) token: OpaqueToken,
    /// The password to have from now on.
    pub(super) password: NewPassword,
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
    /// How the tokens are to travel.
    #[serde(default)]
    pub(super) transport: Transport,
}

/// How the tokens of a session travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Transport {
    /// In bodies and the `Authorization` header, for programs.
    #[default]
    Bearer,
    /// As cookies that no script can read, for browsers.
    Cookie,
}

impl Transport {
    /// The stored name.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::Cookie => "cookie",
        }
    }

    /// The one with this stored name. Whatever else there might be one day goes out by cookie, which
    /// is the more guarded of the two.
    pub(super) fn from_stored(name: &str) -> Self {
        match name {
            "bearer" => Self::Bearer,
            _ => Self::Cookie,
        }
    }
}

/// A session that wants to go on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Refresh {
    /// The newest refresh token of the session.
    #[schema(
        value_type = String, min_length = 43, max_length = 112,
        example = "AZgLbnwAcACAAD8qUdbJsQAAAAFtRjlCNWY0MUpxTTBROHIyWnQ3dVl3WGNWYk5hU2RGZ21GOUI1ZjQxSnFNMFE4cjJadDd1WXdYY1ZiTmFTZEZn"
    )]
    pub(super) refresh_token: RefreshToken,
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
    /// The session that they are of.
    #[serde(skip)]
    pub(super) session_id: SessionId,
}

/// A session whose tokens are cookies.
#[derive(Serialize, ToSchema)]
pub(super) struct CookieSession {
    /// Goes into the `X-CSRF-Token` header of each call that is not a GET; good for as long as the
    /// session is.
    #[schema(example = "AZgLbnwAcACAAD8qUdbJsW1GOUI1ZjQxSnFNMFE4cjJadDd1WXdYY1ZiTmFTZEZn")]
    pub(super) csrf_token: String,
    /// Seconds until the access token runs out.
    #[schema(example = 900)]
    pub(super) expires_in: u64,
    /// Seconds until the refresh token runs out.
    #[schema(example = 1_209_600)]
    pub(super) refresh_expires_in: u64,
}

/// A session that has begun or goes on: with its tokens, or with cookies that hold them.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum SignedIn {
    /// The transport is `bearer`.
    Tokens(TokenPair),
    /// The transport is `cookie`.
    Cookies(CookieSession),
}

/// What shows that a call of a browser comes from a page in this session.
#[derive(Serialize, ToSchema)]
pub(super) struct CsrfProof {
    /// Goes into the `X-CSRF-Token` header.
    #[schema(example = "AZgLbnwAcACAAD8qUdbJsW1GOUI1ZjQxSnFNMFE4cjJadDd1WXdYY1ZiTmFTZEZn")]
    pub(super) csrf_token: String,
}

/// What a right password leads to.
pub(super) enum Outcome {
    /// A session has begun.
    Session(TokenPair),
    /// A second factor is asked for first.
    SecondFactor(MfaChallenge),
}

/// A sign-in that waits for its second factor.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MfaChallenge {
    /// Goes to `/auth/login/mfa` with a code; good for nothing else.
    #[schema(example = "mF9B5f41JqM0Q8r2Zt7uYwXcVbNaSdFgHjKlPoIuYtQ")]
    pub(super) mfa_token: String,
    /// Seconds until the token runs out.
    #[schema(example = 300)]
    pub(super) expires_in: u64,
    /// What the account can answer with.
    pub(super) methods: Vec<Method>,
}

/// The second step of a sign-in. One of the two codes is required.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MfaAnswer {
    /// What `/auth/login` answered with.
    pub(super) mfa_token: OpaqueToken,
    /// What the authenticator app shows.
    #[serde(default)]
    pub(super) code: Option<TotpCode>,
    /// One of the codes that were written down.
    #[serde(default)]
    pub(super) recovery_code: Option<RecoveryCode>,
}

/// An authenticator app that is to be added.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MfaBegin {
    /// The password, to prove who is asking.
    pub(super) password: TriedPassword,
}

/// An authenticator app that was added.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MfaConfirm {
    /// What it shows.
    pub(super) code: TotpCode,
}

/// Both factors, to prove who is asking. One of the two codes is required.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MfaProof {
    /// The password.
    pub(super) password: TriedPassword,
    /// What the authenticator app shows.
    #[serde(default)]
    pub(super) code: Option<TotpCode>,
    /// One of the codes that were written down.
    #[serde(default)]
    pub(super) recovery_code: Option<RecoveryCode>,
}

/// The public keys that access tokens are signed with (a JWK Set, RFC 7517 §5).
#[derive(Serialize, ToSchema)]
pub(super) struct KeySet {
    /// The keys; the first one signs.
    pub(super) keys: Vec<PublicKey>,
}

/// A forgotten password.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PasswordReset {
    /// The token in the link.
    pub(super) token: OpaqueToken,
    /// The password to have from now on.
    pub(super) password: NewPassword,
}

/// A password that is to be another.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PasswordChange {
    /// The present password, to prove who is asking.
    pub(super) current_password: TriedPassword,
    /// The password to have from now on.
    pub(super) new_password: NewPassword,
    /// What the authenticator app shows; this or a recovery code, where the account has a second
    /// factor.
    #[serde(default)]
    pub(super) code: Option<TotpCode>,
    /// One of the codes that were written down.
    #[serde(default)]
    pub(super) recovery_code: Option<RecoveryCode>,
}

/// An address that is to be another.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EmailChange {
    /// The new address; a letter there asks to confirm it.
    pub(super) email: EmailAddress,
    /// The password, to prove who is asking.
    pub(super) password: TriedPassword,
    /// What the authenticator app shows; this or a recovery code, where the account has a second
    /// factor.
    #[serde(default)]
    pub(super) code: Option<TotpCode>,
    /// One of the codes that were written down.
    #[serde(default)]
    pub(super) recovery_code: Option<RecoveryCode>,
}

/// A sign-in on one device.
#[derive(Debug, Serialize, ToSchema)]
pub struct Device {
    /// The session's id.
    pub id: SessionId,
    /// Whether it is the one that asks.
    pub is_current: bool,
    /// What the device calls itself.
    #[schema(example = "Mozilla/5.0 (X11; Linux x86_64)")]
    pub user_agent: Option<String>,
    /// The address it signed in from.
    #[schema(value_type = Option<String>, example = "203.0.113.7")]
    pub ip: Option<IpAddr>,
    /// When it signed in.
    pub created_at: DateTime<Utc>,
    /// When it last asked for a new pair of tokens.
    pub last_used_at: DateTime<Utc>,
    /// When it ends whatever happens.
    pub expires_at: DateTime<Utc>,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndReason {
    /// Its owner ended it.
    SignedOut,
    /// One of its refresh tokens was used a second time.
    TokenReused,
    /// Its owner ended it from another one.
    EndedRemotely,
    /// The password changed.
    PasswordChanged,
    /// An administrator shut the account.
    AccountDisabled,
    /// An administrator ended all of the account's sessions.
    EndedByAdmin,
    /// The account began more sessions than it may have, and this one was used longest ago.
    SessionLimit,
}

impl EndReason {
    /// The stored name.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::SignedOut => "signed_out",
            Self::TokenReused => "token_reused",
            Self::EndedRemotely => "ended_remotely",
            Self::PasswordChanged => "password_changed",
            Self::AccountDisabled => "account_disabled",
            Self::EndedByAdmin => "ended_by_admin",
            Self::SessionLimit => "session_limit",
        }
    }
}
