//! Sessions and their tokens on the wire.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use session_tokens::{OpaqueToken, SessionToken};
use utoipa::ToSchema;

use crate::ids::SessionId;

/// How the tokens of a session are transported.
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
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::Cookie => "cookie",
        }
    }

    /// An unknown name of a later release is taken as `Cookie`, the stricter of the two.
    pub(crate) fn from_stored(name: &str) -> Self {
        match name {
            "bearer" => Self::Bearer,
            _ => Self::Cookie,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum RefreshToken {
    /// A generation of a session.
    Session(SessionToken),
    /// A row of `refresh_tokens`, issued by the previous release.
    Legacy(OpaqueToken),
}

impl TryFrom<String> for RefreshToken {
    type Error = &'static str;

    fn try_from(raw: String) -> Result<Self, &'static str> {
        if raw.len() == SessionToken::CHARACTERS {
            SessionToken::try_from(raw).map(Self::Session)
        } else {
            OpaqueToken::try_from(raw).map(Self::Legacy)
        }
    }
}

/// Request for the next pair of tokens.
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

/// A pair of tokens (token response of RFC 6749 §5.1, with the lifetime of the refresh token).
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenPair {
    /// Sent in the `Authorization` header of each request.
    #[schema(
        example = "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFZERTQSIsImtpZCI6Ii4uLiJ9.eyJzdWIiOiIuLi4ifQ.c2lnbmF0dXJl"
    )]
    pub(crate) access_token: String,
    /// Always `Bearer` (RFC 6750).
    #[schema(example = "Bearer")]
    pub(crate) token_type: &'static str,
    /// Seconds until the access token expires.
    #[schema(example = 900)]
    pub(crate) expires_in: u64,
    /// Valid for one `/auth/refresh`, which returns the next one.
    #[schema(
        example = "AZgLbnwAcACAAD8qUdbJsQAAAAFtRjlCNWY0MUpxTTBROHIyWnQ3dVl3WGNWYk5hU2RGZ21GOUI1ZjQxSnFNMFE4cjJadDd1WXdYY1ZiTmFTZEZn"
    )]
    pub(crate) refresh_token: String,
    /// Seconds until the refresh token expires.
    #[schema(example = 1_209_600)]
    pub(crate) refresh_expires_in: u64,
    #[serde(skip)]
    pub(crate) session_id: SessionId,
}

/// A session whose tokens are cookies.
#[derive(Serialize, ToSchema)]
pub(crate) struct CookieSession {
    /// Sent in the `X-CSRF-Token` header of every request but GET; valid as long as the session.
    #[schema(example = "AZgLbnwAcACAAD8qUdbJsW1GOUI1ZjQxSnFNMFE4cjJadDd1WXdYY1ZiTmFTZEZn")]
    pub(crate) csrf_token: String,
    /// Seconds until the access token expires.
    #[schema(example = 900)]
    pub(crate) expires_in: u64,
    /// Seconds until the refresh token expires.
    #[schema(example = 1_209_600)]
    pub(crate) refresh_expires_in: u64,
}

/// A started or refreshed session: its tokens, or what accompanies its cookies.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum SignedIn {
    /// Transport `bearer`.
    Tokens(TokenPair),
    /// Transport `cookie`.
    Cookies(CookieSession),
}

/// CSRF token of a session.
#[derive(Serialize, ToSchema)]
pub(crate) struct CsrfProof {
    /// Sent in the `X-CSRF-Token` header.
    #[schema(example = "AZgLbnwAcACAAD8qUdbJsW1GOUI1ZjQxSnFNMFE4cjJadDd1WXdYY1ZiTmFTZEZn")]
    pub(crate) csrf_token: String,
}

/// An active session.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Device)]
pub struct SessionInfo {
    /// The session's id.
    pub id: SessionId,
    /// Whether it is the session of this request.
    pub is_current: bool,
    /// The client's `User-Agent`.
    #[schema(example = "Mozilla/5.0 (X11; Linux x86_64)")]
    pub user_agent: Option<String>,
    /// IP address at sign-in.
    #[schema(value_type = Option<String>, example = "203.0.113.7")]
    pub ip: Option<IpAddr>,
    /// Time of sign-in.
    pub created_at: DateTime<Utc>,
    /// Time of the last token refresh.
    pub last_used_at: DateTime<Utc>,
    /// When the session ends at the latest.
    pub expires_at: DateTime<Utc>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    SignedOut,
    TokenReused,
    /// By its owner, from another session.
    EndedRemotely,
    PasswordChanged,
    AccountDisabled,
    EndedByAdmin,
    /// Least recently used session of an account above `SESSION_MAX_COUNT`.
    SessionLimit,
}

impl EndReason {
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
