//! Signed access tokens (JWT), which expire within minutes.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::config::AuthConfig;
use crate::ctx::Principal;
use crate::ids::{SessionId, UserId};
use crate::infra::{InvalidToken, JwtKeys};

/// The `typ` of access tokens, so that no other token passes for one (RFC 8725 §3.11).
const ACCESS: &str = "at+jwt";

#[derive(Clone, Debug, Deserialize, Serialize)]
struct AccessClaims {
    iss: String,
    aud: String,
    sub: UserId,
    sid: SessionId,
    iat: i64,
    nbf: i64,
    exp: i64,
}

pub(crate) fn issue(
    keys: &JwtKeys,
    config: &AuthConfig,
    who: Principal,
    now: DateTime<Utc>,
) -> Result<String, serde_json::Error> {
    let issued = now.timestamp();
    let claims = AccessClaims {
        iss: config.issuer.clone(),
        aud: config.audience.clone(),
        sub: who.user_id,
        sid: who.session_id,
        iat: issued,
        nbf: issued,
        exp: issued.saturating_add_unsigned(config.access_ttl.as_secs()),
    };
    keys.sign(ACCESS, &claims)
}

/// Verifies signature and validity.
pub(crate) fn read(
    keys: &JwtKeys,
    config: &AuthConfig,
    token: &str,
    now: DateTime<Utc>,
) -> Result<Principal, InvalidToken> {
    let claims = keys.verify::<AccessClaims>(ACCESS, token)?;
    let leeway = i64::try_from(config.leeway.as_secs()).unwrap_or_default();
    let now = now.timestamp();
    let is_running =
        claims.nbf <= now.saturating_add(leeway) && now < claims.exp.saturating_add(leeway);
    let who = Principal {
        user_id: claims.sub,
        session_id: claims.sid,
    };
    is_running.then_some(who).ok_or(InvalidToken)
}

/// When the last access token of a session that ends at `ended` has expired.
pub(crate) fn expires_after(config: &AuthConfig, ended: DateTime<Utc>) -> DateTime<Utc> {
    let longest = config
        .access_ttl
        .saturating_add(config.leeway.saturating_mul(2));
    ended + TimeDelta::from_std(longest).unwrap_or_default()
}
