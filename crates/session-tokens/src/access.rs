//! Signed access tokens (JWT), which expire within minutes.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use crypto::{BadKey, InvalidToken, JwtKeys, Key32};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The `typ` of access tokens, so that no other token passes for one (RFC 8725 §3.11).
const ACCESS: &str = "at+jwt";

/// Claims and lifetime of access tokens.
#[derive(Clone, Debug)]
pub struct AccessTokenOptions {
    /// The `iss`.
    pub issuer: String,
    /// The `aud`.
    pub audience: String,
    /// Time from `iat` to `exp`.
    pub ttl: Duration,
    /// Clock difference that is tolerated in `nbf` and `exp`.
    pub leeway: Duration,
}

/// Issues and verifies access tokens under a ring of signing keys.
#[derive(Debug)]
pub struct AccessTokens {
    keys: JwtKeys,
    options: AccessTokenOptions,
}

/// Claims of an access token.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct AccessClaims {
    iss: String,
    aud: String,
    /// The user.
    pub sub: Uuid,
    /// The session.
    pub sid: Uuid,
    /// True if the user had documents to accept when the session began.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub must_accept: bool,
    iat: i64,
    nbf: i64,
    exp: i64,
}

impl AccessTokens {
    /// The first key signs, all verify.
    pub fn new(keys: &[Key32], options: AccessTokenOptions) -> Result<Self, BadKey> {
        let keys = JwtKeys::new(keys, &options.issuer, &options.audience)?;
        Ok(Self { keys, options })
    }

    /// The signing keys.
    #[must_use]
    pub fn keys(&self) -> &JwtKeys {
        &self.keys
    }

    /// Signs a token of a user's session.
    pub fn issue(
        &self,
        user: Uuid,
        session: Uuid,
        must_accept: bool,
        now: DateTime<Utc>,
    ) -> Result<String, serde_json::Error> {
        let issued = now.timestamp();
        let claims = AccessClaims {
            iss: self.options.issuer.clone(),
            aud: self.options.audience.clone(),
            sub: user,
            sid: session,
            must_accept,
            iat: issued,
            nbf: issued,
            exp: issued.saturating_add_unsigned(self.options.ttl.as_secs()),
        };
        self.keys.sign(ACCESS, &claims)
    }

    /// Verifies signature and validity.
    pub fn verify(
        &self,
        token: &str,
        now: DateTime<Utc>,
    ) -> Result<Arc<AccessClaims>, InvalidToken> {
        let claims = self.keys.verify::<AccessClaims>(ACCESS, token)?;
        let leeway = i64::try_from(self.options.leeway.as_secs()).unwrap_or_default();
        let now = now.timestamp();
        let is_running =
            claims.nbf <= now.saturating_add(leeway) && now < claims.exp.saturating_add(leeway);
        is_running.then_some(claims).ok_or(InvalidToken)
    }

    /// How long after its issue a token is accepted at most, by any replica.
    #[must_use]
    pub fn longest_validity(&self) -> TimeDelta {
        let AccessTokenOptions { ttl, leeway, .. } = &self.options;
        let longest = ttl.saturating_add(leeway.saturating_mul(2));
        TimeDelta::from_std(longest).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_valid_from_its_issue_to_its_expiry_give_or_take_the_leeway() {
        let options = AccessTokenOptions {
            issuer: "us".to_owned(),
            audience: "them".to_owned(),
            ttl: Duration::from_mins(15),
            leeway: Duration::from_secs(30),
        };
        let tokens = AccessTokens::new(&[Key32::new([1; 32])], options).expect("the key works");
        let issued = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(20_000);
        let [user, session] = [1, 2].map(Uuid::from_u128);
        let issue = |must_accept| tokens.issue(user, session, must_accept, issued);
        let token = issue(false).expect("it is signed");
        let verify = |seconds| tokens.verify(&token, issued + TimeDelta::seconds(seconds));
        for (seconds, is_valid) in [
            (-31, false),
            (-30, true),
            (0, true),
            (929, true),
            (930, false),
        ] {
            assert_eq!(verify(seconds).is_ok(), is_valid, "{seconds}");
        }
        let claims = verify(0).expect("it is valid");
        assert_eq!((claims.sub, claims.sid), (user, session));
        assert!(!claims.must_accept);
        let bound = issue(true).expect("it is signed");
        let claims = tokens.verify(&bound, issued).expect("it is valid");
        assert!(claims.must_accept);
        assert_eq!(tokens.longest_validity(), TimeDelta::seconds(960));
    }
}
