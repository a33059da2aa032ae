//! Sessions and their tokens on the wire.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::refresh_token::RefreshToken;
use crate::ids::SessionId;
use crate::infra::PublicKey;

/// How the tokens of a session travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Transport {
    /// In bodies and the `Authorization` header, for programs.
    #[default]
    Bearer,
    /// As cookies that no script can read, for browsers.
    Cookie,
}

impl Transport {
    /// The stored name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::Cookie => "cookie",
        }
    }

    /// The one with this stored name. Whatever else there might be one day goes out by cookie, which
    /// is the more guarded of the two.
    pub(crate) fn from_stored(name: &str) -> Self {
        match name {
            "bearer" => Self::Bearer,
            _ => Self::Cookie,
        }
    }
}

/// A session that wants to go on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Refresh {
    /// The newest refresh token of the session.
    #[schema(
        value_type = String, min_length = 43, max_length = 112,
        example = "AZgLbnwAcACAAD8qUdbJsQAAAAFtRjlCNWY0MUpxTTBROHIyWnQ3dVl3WGNWYk5hU2RGZ21GOUI1ZjQxSnFNMFE4cjJadDd1WXdYY1ZiTmFTZEZn"
    )]
    pub(crate) refresh_token: RefreshToken,
}

/// A pair of tokens (the token response of RFC 6749 §5.1, with the refresh token's own life).
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenPair {
    /// Goes into the `Authorization` header of each call.
    #[schema(
        example = "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFZERTQSIsImtpZCI6Ii4uLiJ9.eyJzdWIiOiIuLi4ifQ.c2lnbmF0dXJl"
    )]
    pub(crate) access_token: String,
    /// Always `Bearer` (RFC 6750).
    #[schema(example = "Bearer")]
    pub(crate) token_type: &'static str,
    /// Seconds until the access token runs out.
    #[schema(example = 900)]
    pub(crate) expires_in: u64,
    /// Good for one `/auth/refresh`, which answers with the next one.
    #[schema(example = "mF9B5f41JqM0Q8r2Zt7uYwXcVbNaSdFgHjKlPoIuYtQ")]
    pub(crate) refresh_token: String,
    /// Seconds until the refresh token runs out.
    #[schema(example = 1_209_600)]
    pub(crate) refresh_expires_in: u64,
    /// The session that they are of.
    #[serde(skip)]
    pub(crate) session_id: SessionId,
}

/// A session whose tokens are cookies.
#[derive(Serialize, ToSchema)]
pub(crate) struct CookieSession {
    /// Goes into the `X-CSRF-Token` header of each call that is not a GET; good for as long as the
    /// session is.
    #[schema(example = "AZgLbnwAcACAAD8qUdbJsW1GOUI1ZjQxSnFNMFE4cjJadDd1WXdYY1ZiTmFTZEZn")]
    pub(crate) csrf_token: String,
    /// Seconds until the access token runs out.
    #[schema(example = 900)]
    pub(crate) expires_in: u64,
    /// Seconds until the refresh token runs out.
    #[schema(example = 1_209_600)]
    pub(crate) refresh_expires_in: u64,
}

/// A session that has begun or goes on: with its tokens, or with cookies that hold them.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum SignedIn {
    /// The transport is `bearer`.
    Tokens(TokenPair),
    /// The transport is `cookie`.
    Cookies(CookieSession),
}

/// What shows that a call of a browser comes from a page in this session.
#[derive(Serialize, ToSchema)]
pub(crate) struct CsrfProof {
    /// Goes into the `X-CSRF-Token` header.
    #[schema(example = "AZgLbnwAcACAAD8qUdbJsW1GOUI1ZjQxSnFNMFE4cjJadDd1WXdYY1ZiTmFTZEZn")]
    pub(crate) csrf_token: String,
}

/// The public keys that access tokens are signed with (a JWK Set, RFC 7517 §5).
#[derive(Serialize, ToSchema)]
pub(crate) struct KeySet {
    /// The keys; the first one signs.
    pub(crate) keys: Vec<PublicKey>,
}

/// An active session.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Device)]
pub struct SessionInfo {
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
pub enum EndReason {
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
    pub(crate) fn as_str(self) -> &'static str {
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
