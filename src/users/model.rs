//! Users, their profile and their credentials.

use std::str::FromStr as _;

use chrono::{DateTime, Utc};
use email_address::Options;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::credentials::CredentialsVersion;
use crate::ids::UserId;
use crate::text::one_line;

/// An e-mail address (RFC 5321 §4.1.2) with a domain name, in lower case: at most 254 characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(try_from = "String")]
#[sqlx(transparent)]
#[schema(value_type = String, format = Email, max_length = 254, example = "ada@example.com")]
pub struct EmailAddress(String);

impl EmailAddress {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for EmailAddress {
    type Error = &'static str;

    fn try_from(raw: String) -> Result<Self, &'static str> {
        let wrong = "must be an e-mail address such as ada@example.com";
        let trimmed = raw.trim();
        // Measured before it is parsed: what is too long costs nothing.
        if trimmed.len() > 254 || !trimmed.is_ascii() {
            return Err(wrong);
        }
        let options = Options::default()
            .with_required_tld()
            .without_domain_literal()
            .without_display_text();
        email_address::EmailAddress::parse_with_options(trimmed, options)
            .ok()
            .filter(|address| !address.local_part().starts_with('"'))
            .filter(|address| lettre::Address::from_str(address.as_str()).is_ok())
            .map(|address| Self(address.as_str().to_ascii_lowercase()))
            .ok_or(wrong)
    }
}

/// A first or last name: 1 to 100 characters in one line, without space around it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(try_from = "String")]
#[sqlx(transparent)]
#[schema(value_type = String, min_length = 1, max_length = 100, example = "Ada")]
pub struct PersonName(String);

impl PersonName {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for PersonName {
    type Error = &'static str;

    fn try_from(raw: String) -> Result<Self, &'static str> {
        one_line(&raw, 100)
            .map(Self)
            .ok_or("must be 1 to 100 characters in one line")
    }
}

/// Role of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Role {
    /// Can use the product.
    User,
    /// Can also administer all accounts.
    Admin,
}

impl Role {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
        }
    }
}

/// An account, as returned to its owner.
#[derive(Clone, Debug, Serialize, ToSchema, sqlx::FromRow)]
pub struct User {
    /// The account's id.
    pub id: UserId,
    /// Email address, also used to sign in.
    pub email: EmailAddress,
    /// Given name.
    pub first_name: Option<PersonName>,
    /// Family name.
    pub last_name: Option<PersonName>,
    /// Role of the account.
    pub role: Role,
    /// When the address was verified.
    pub email_verified_at: Option<DateTime<Utc>>,
    /// When the account was created.
    pub created_at: DateTime<Utc>,
    /// When the profile last changed.
    pub updated_at: DateTime<Utc>,
}

/// Changes to a profile. Omitted fields stay unchanged; `null` clears a field.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProfileChanges {
    /// Given name.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<PersonName>)]
    pub first_name: Option<Option<PersonName>>,
    /// Family name.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<PersonName>)]
    pub last_name: Option<Option<PersonName>>,
}

impl ProfileChanges {
    /// Names of the fields that are present.
    #[must_use]
    pub fn fields(&self) -> Vec<&'static str> {
        let all = [
            ("first_name", self.first_name.is_some()),
            ("last_name", self.last_name.is_some()),
        ];
        all.into_iter()
            .filter_map(|(name, is_present)| is_present.then_some(name))
            .collect()
    }
}

/// Distinguishes `null` from an omitted field.
#[expect(
    clippy::option_option,
    reason = "omitted, null and a value are three cases"
)]
fn present<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Option<PersonName>>, D::Error> {
    Option::deserialize(field).map(Some)
}

#[derive(Clone, Debug)]
pub struct NewUser {
    /// Used only if the address has no account.
    pub id: UserId,
    pub email: EmailAddress,
    /// PHC string.
    pub password_hash: String,
    pub first_name: Option<PersonName>,
    pub last_name: Option<PersonName>,
}

/// Credentials of one pending sign-up.
#[derive(Clone, Debug)]
pub struct SignUpCredentials {
    /// PHC string.
    pub password_hash: String,
    pub first_name: Option<PersonName>,
    pub last_name: Option<PersonName>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignUp {
    /// The account is new or was never verified.
    Pending(UserId),
    /// The address belongs to a verified account, which is not changed.
    Known(UserId),
}

#[derive(Clone, Debug)]
pub struct Credentials {
    pub user_id: UserId,
    /// PHC string.
    pub password_hash: String,
    pub is_verified: bool,
    pub is_disabled: bool,
    pub version: CredentialsVersion,
}

/// Credentials for reauthentication.
#[derive(Clone, Debug)]
pub struct OwnCredentials {
    pub email: EmailAddress,
    /// PHC string.
    pub password_hash: String,
    pub version: CredentialsVersion,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_trimmed_lowered_and_plain() {
        let parse = |raw: &str| EmailAddress::try_from(raw.to_owned());
        assert_eq!(
            parse(" Ada@Example.COM ").expect("it is good").as_str(),
            "ada@example.com"
        );
        assert!(parse("ada+tag@sub.example.co.uk").is_ok());
        let long = format!("{}@example.com", "a".repeat(300));
        for raw in [
            "",
            "ada",
            "ada@",
            "@example.com",
            "ada@localhost",
            "ada@[127.0.0.1]",
            "\"a b\"@example.com",
            "Ada <ada@example.com>",
            "ada@example.com\r\nBcc: eve@example.com",
            "ada@exa mple.com",
            "ada@example.com,eve@example.com",
            "ädä@example.com",
            &long,
        ] {
            assert!(parse(raw).is_err(), "{raw}");
        }
    }

    #[test]
    fn names_are_one_line_of_1_to_100_characters() {
        let parse = |raw: &str| PersonName::try_from(raw.to_owned());
        assert_eq!(
            parse("  Gräfin Ada ").expect("it is good").as_str(),
            "Gräfin Ada"
        );
        assert!(parse(&"ö".repeat(100)).is_ok());
        for raw in [
            "",
            "   ",
            "a\nb",
            "a\0b",
            "Ada\r\nBcc: eve@example.com",
            &"a".repeat(101),
        ] {
            assert!(parse(raw).is_err(), "{raw:?}");
        }
    }

    #[test]
    fn a_field_that_is_null_differs_from_one_left_out() {
        let changes: ProfileChanges =
            serde_json::from_str(r#"{"first_name": null}"#).expect("it parses");
        assert_eq!(changes.first_name, Some(None));
        assert_eq!(changes.last_name, None);
        assert_eq!(changes.fields(), ["first_name"]);
    }
}
