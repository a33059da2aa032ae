//! Secrets in requests and responses.

use chrono::{DateTime, Utc};
use crypto::TriedPassword;
use http_toolkit::{Etag, Position};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::ids::SecretId;
use crate::mfa::{RecoveryCode, TotpCode};

/// In bytes of UTF-8.
const LONGEST_VALUE: usize = 64 * 1024;

/// In JSON a control character takes six bytes.
pub(super) const BODY_LIMIT: usize = 6 * LONGEST_VALUE + 1024;

/// Characters of the shortest value whose end is shown.
const SHORTEST_HINTED: usize = 16;

/// Versions that are kept, the current one included.
pub(super) const KEPT_VERSIONS: i32 = 5;

/// Name of a secret within its account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(try_from = "String")]
#[sqlx(transparent)]
#[schema(value_type = String, min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
    example = "stripe.api_key")]
pub struct SecretName(String);

impl SecretName {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for SecretName {
    type Error = &'static str;

    fn try_from(raw: String) -> Result<Self, &'static str> {
        let is_valid = (1..=64).contains(&raw.len())
            && raw.starts_with(|c: char| c.is_ascii_alphanumeric())
            && raw
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        is_valid.then_some(Self(raw)).ok_or(
            "must be 1 to 64 of A-Z, a-z, 0-9, `_`, `.` and `-`, and not begin with one of the last three",
        )
    }
}

/// Value of a secret, redacted in `Debug` and wiped on drop.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, min_length = 1, max_length = 65_536, example = "token_4eC39HqLyjWDarjtT1zdp7dc")]
pub struct SecretValue(SecretString);

impl SecretValue {
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// The last four characters, unless the value is so short that they would give much of it away.
    pub(super) fn last_four(&self) -> Option<String> {
        let value = self.expose();
        let count = value.chars().count();
        (count >= SHORTEST_HINTED).then(|| value.chars().skip(count - 4).collect())
    }
}

impl TryFrom<String> for SecretValue {
    type Error = &'static str;

    fn try_from(raw: String) -> Result<Self, &'static str> {
        let value = Self(raw.into());
        let length = value.expose().len();
        if !(1..=LONGEST_VALUE).contains(&length) {
            return Err("must be 1 to 65536 bytes of UTF-8");
        }
        if value.expose().contains('\0') {
            return Err("must not contain U+0000");
        }
        Ok(value)
    }
}

/// Number of a version: 1 for the first, and one more for each after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(try_from = "i32")]
#[sqlx(transparent)]
#[schema(value_type = i32, minimum = 1, example = 3)]
pub(super) struct Version(pub(super) i32);

impl Version {
    pub(super) const FIRST: Self = Self(1);

    pub(super) const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// As a part of the associated data.
    pub(super) const fn as_uuid(self) -> Uuid {
        Uuid::from_u128(self.0.unsigned_abs() as u128)
    }
}

impl TryFrom<i32> for Version {
    type Error = &'static str;

    fn try_from(number: i32) -> Result<Self, &'static str> {
        (number >= 1)
            .then_some(Self(number))
            .ok_or("must be at least 1")
    }
}

/// Request to store a value.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewValue {
    /// Text of up to 64 KiB in UTF-8, without U+0000.
    pub(super) value: SecretValue,
}

/// Request to make an earlier version the current one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Restoration {
    /// One of the versions that are kept.
    pub(super) version: Version,
}

/// Request to show a value.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Reveal {
    /// The caller's password.
    pub(super) password: TriedPassword,
    /// Code of the authenticator app. This or a recovery code is required if the caller has a second factor.
    #[serde(default)]
    pub(super) code: Option<TotpCode>,
    /// One of the caller's recovery codes.
    #[serde(default)]
    pub(super) recovery_code: Option<RecoveryCode>,
}

/// A secret, without its value.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Secret {
    #[serde(skip)]
    pub(super) id: SecretId,
    /// Name of the secret.
    pub(super) name: SecretName,
    /// Number of the current version.
    pub(super) version: Version,
    /// The last four characters of the value; `null` if it has less than 16.
    #[schema(example = "p7dc")]
    pub(super) last_four: Option<String>,
    /// When the secret was created.
    pub(super) created_at: DateTime<Utc>,
    /// When the current version was stored.
    pub(super) updated_at: DateTime<Utc>,
    /// When the value was last shown to a person.
    pub(super) revealed_at: Option<DateTime<Utc>>,
}

impl Secret {
    /// Entity tag of the current version. A secret that was deleted and created again has others.
    pub(super) fn etag(&self) -> Etag {
        Etag::of(&[&self.id.0.as_bytes()[..], &self.version.0.to_be_bytes()].concat())
    }
}

/// A secret with its entity tag.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct TaggedSecret {
    #[serde(flatten)]
    pub(super) secret: Secret,
    /// Entity tag of the version, for `If-Match`.
    #[schema(example = "\"tYzuHTQSIk9jWjFM\"")]
    pub(super) etag: String,
}

impl From<Secret> for TaggedSecret {
    fn from(secret: Secret) -> Self {
        let etag = secret.etag().header();
        let etag = String::from_utf8_lossy(etag.as_bytes()).into_owned();
        Self { secret, etag }
    }
}

/// The value of a secret.
#[derive(Serialize, ToSchema)]
pub(super) struct RevealedSecret {
    /// Name of the secret.
    pub(super) name: SecretName,
    /// Number of the current version.
    pub(super) version: Version,
    /// The value.
    #[schema(example = "token_4eC39HqLyjWDarjtT1zdp7dc")]
    pub(super) value: String,
}

/// A version of a secret, without its value.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct SecretVersion {
    /// Number of the version.
    pub(super) version: Version,
    /// The last four characters of its value; `null` if it has less than 16.
    #[schema(example = "p7dc")]
    pub(super) last_four: Option<String>,
    /// When it was stored.
    pub(super) created_at: DateTime<Utc>,
}

/// The versions that are kept.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct SecretVersions {
    /// The current version first.
    pub(super) items: Vec<SecretVersion>,
}

/// Position in the list of secrets, which is ordered by name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct NameCursor(pub(super) SecretName);

impl Position for NameCursor {
    const ORDER: &'static str = "secret_name.1";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(raw: &str) -> Result<SecretValue, &'static str> {
        SecretValue::try_from(raw.to_owned())
    }

    #[test]
    fn names_have_no_character_that_means_something_elsewhere() {
        let parse = |raw: &str| SecretName::try_from(raw.to_owned());
        for good in ["a", "0", "AWS_KEY", "stripe.api-key", &"x".repeat(64)] {
            assert!(parse(good).is_ok(), "{good:?}");
        }
        for bad in [
            "",
            ".",
            "..",
            "../x",
            "_a",
            "-a",
            "a b",
            "a/b",
            "a\n",
            "é",
            "a\"",
            &"x".repeat(65),
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn values_are_1_to_65536_bytes_and_never_printed() {
        assert!(value("").is_err() && value("a\0b").is_err());
        assert!(value(&"ü".repeat(32_768)).is_ok());
        assert!(value(&"x".repeat(65_537)).is_err());
        let debug = format!("{:?}", value("hunter2").expect("it is good"));
        assert!(!debug.contains("hunter2"), "{debug}");
    }

    #[test]
    fn the_end_is_shown_of_values_of_16_characters() {
        let last_four = |raw: &str| value(raw).expect("it is good").last_four();
        assert_eq!(last_four("123456789012345"), None);
        assert_eq!(last_four("ööööööööööööööö"), None);
        assert_eq!(last_four("1234567890abcdéf").as_deref(), Some("cdéf"));
    }
}
