//! API keys in requests and responses.

use std::time::Duration;

use chrono::{DateTime, Utc};
use crypto::TriedPassword;
use email_transport::EmailAddress;
use http_toolkit::one_line_types;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::scope::Scopes;
use crate::ids::{ApiKeyId, UserId};
use crate::mfa::{RecoveryCode, TotpCode};

/// Seconds.
const LIFE_MIN: u32 = 60;

/// Seconds: one week.
const OVERLAP_MAX: u32 = 7 * 24 * 60 * 60;

one_line_types! {
    /// Name of a key: 1 to 100 characters in one line.
    #[schema(example = "Nightly import")]
    pub(super) struct KeyName(100);
}

/// Lifetime of a key in seconds.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(try_from = "u32")]
#[schema(as = Life, value_type = u32, minimum = 60, example = 7_776_000)]
pub(super) struct Lifetime(u32);

impl Lifetime {
    pub(super) fn get(self) -> Duration {
        Duration::from_secs(self.0.into())
    }
}

impl TryFrom<u32> for Lifetime {
    type Error = &'static str;

    fn try_from(seconds: u32) -> Result<Self, &'static str> {
        (seconds >= LIFE_MIN)
            .then_some(Self(seconds))
            .ok_or("must be at least 60 seconds")
    }
}

/// Seconds that the previous secret keeps working.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(try_from = "u32")]
#[schema(value_type = u32, minimum = 0, maximum = 604_800, default = 86_400, example = 86_400)]
pub(super) struct Overlap(u32);

impl Overlap {
    pub(super) fn get(self) -> Duration {
        Duration::from_secs(self.0.into())
    }
}

impl Default for Overlap {
    fn default() -> Self {
        Self(24 * 60 * 60)
    }
}

impl TryFrom<u32> for Overlap {
    type Error = &'static str;

    fn try_from(seconds: u32) -> Result<Self, &'static str> {
        (seconds <= OVERLAP_MAX)
            .then_some(Self(seconds))
            .ok_or("must be 0 to 604800 seconds")
    }
}

/// Request to create an API key.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewApiKey {
    /// Name for the owner's list.
    pub(super) name: KeyName,
    /// What the key is allowed to do.
    pub(super) scopes: Scopes,
    /// Lifetime in seconds; the maximum if omitted.
    #[serde(default)]
    pub(super) expires_in: Option<Lifetime>,
    /// The account's password.
    pub(super) password: TriedPassword,
    /// Code of the authenticator app. This or a recovery code is required if the account has a second factor.
    #[serde(default)]
    pub(super) code: Option<TotpCode>,
    /// One of the account's recovery codes.
    #[serde(default)]
    pub(super) recovery_code: Option<RecoveryCode>,
}

/// Request to rotate an API key.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rotation {
    /// Seconds that the current secret keeps working.
    #[serde(default)]
    pub(super) overlap: Overlap,
    /// The account's password.
    pub(super) password: TriedPassword,
    /// Code of the authenticator app. This or a recovery code is required if the account has a second factor.
    #[serde(default)]
    pub(super) code: Option<TotpCode>,
    /// One of the account's recovery codes.
    #[serde(default)]
    pub(super) recovery_code: Option<RecoveryCode>,
}

/// An API key, without its secret.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct ApiKey {
    /// The key's id.
    pub(super) id: ApiKeyId,
    /// Name for the owner's list.
    pub(super) name: KeyName,
    /// What the key is allowed to do.
    pub(super) scopes: Scopes,
    /// The last four characters of the key.
    #[schema(example = "3fYk")]
    pub(super) hint: String,
    /// When the key was created.
    pub(super) created_at: DateTime<Utc>,
    /// When the key was last rotated.
    pub(super) rotated_at: Option<DateTime<Utc>>,
    /// When the previous secret stops working.
    pub(super) previous_expires_at: Option<DateTime<Utc>>,
    /// When the key stops working.
    pub(super) expires_at: DateTime<Utc>,
    /// Time of last use, accurate to about a minute.
    pub(super) last_used_at: Option<DateTime<Utc>>,
    /// The user who created the key, or rotated it last.
    pub(super) created_by: UserId,
    /// Their email address, while they are a member of the account.
    pub(super) creator_email: Option<EmailAddress>,
    /// False once the creator is no longer a member of the account.
    pub(super) creator_is_member: bool,
}

/// An API key with its secret, which is returned only once.
#[derive(Serialize, ToSchema)]
pub(super) struct IssuedApiKey {
    /// The key. Sent in the `Authorization` header of each request, after `Bearer`.
    #[schema(
        example = "gw_live_02tDhiSYBZFLHPVwaSGzLp_hR3nCxW7kQpE9sVbTzL2mYfD8uJgA5oXiK4wNcH6rPqB1dMtG0a3fYk"
    )]
    pub(super) key: String,
    #[serde(flatten)]
    pub(super) about: ApiKey,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_bounds() {
        assert!(Lifetime::try_from(59).is_err() && Lifetime::try_from(60).is_ok());
        assert!(Overlap::try_from(604_801).is_err() && Overlap::try_from(604_800).is_ok());
        assert_eq!(Overlap::default().get(), Duration::from_hours(24));
    }

    #[test]
    fn names_are_one_line_of_1_to_100_characters() {
        let parse = |raw: &str| KeyName::try_from(raw.to_owned());
        assert_eq!(parse(" CI ").expect("it is good").as_str(), "CI");
        for wrong in ["", "  ", "a\nb", &"ö".repeat(101)] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
