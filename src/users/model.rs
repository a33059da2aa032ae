//! Users, their profile, their credentials, and accounts as administrators see and search them.

use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};
use email_transport::EmailAddress;
use http_toolkit::one_line_types;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::ids::UserId;

one_line_types! {
    /// A first or last name: 1 to 100 characters in one line, without space around it.
    #[schema(example = "Ada")]
    pub struct PersonName(100);

    /// Search prefix: 1 to 100 characters in one line.
    pub struct SearchText(100);

    /// Why an account is disabled, visible only to administrators: 1 to 500 characters in one line.
    #[schema(example = "sends spam")]
    pub struct DisabledReason(500);
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

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
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
    /// Public address of the picture.
    #[schema(
        example = "https://api.example.com/api/v1/avatars/8b3f6a0e-93c1-4f0e-a8a4-1f0d5c2b7e69"
    )]
    pub avatar_url: Option<String>,
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
    /// Fields that are present, by the names of their columns.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, Option<&PersonName>)> {
        let all = [
            ("first_name", &self.first_name),
            ("last_name", &self.last_name),
        ];
        all.into_iter()
            .filter_map(|(name, field)| Some((name, field.as_ref()?.as_ref())))
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
    /// When the account is erased, while its deletion is pending.
    pub erase_at: Option<DateTime<Utc>>,
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

/// Advanced by everything that changes or defends an account's credentials: what was issued or proved under an
/// earlier version is void.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, sqlx::Type)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct CredentialsVersion(pub i32);

/// Proof that the account's row is locked and its version advanced. Statements that write credentials take one, so
/// that no code path forgets it; `auth::begin_credentials_change` is the only constructor.
#[derive(Debug)]
pub struct CredentialsChange {
    user_id: UserId,
}

impl CredentialsChange {
    pub(super) fn of(user_id: UserId) -> Self {
        Self { user_id }
    }

    pub fn user_id(&self) -> UserId {
        self.user_id
    }
}

/// An account, as returned to administrators.
#[derive(Clone, Debug, Serialize, ToSchema, sqlx::FromRow)]
pub struct Account {
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
    /// When the account was disabled.
    pub disabled_at: Option<DateTime<Utc>>,
    /// Why it was disabled.
    pub disabled_reason: Option<DisabledReason>,
    /// When the account was created.
    pub created_at: DateTime<Utc>,
    /// When the account last changed.
    pub updated_at: DateTime<Utc>,
}

impl Account {
    pub fn is_disabled(&self) -> bool {
        self.disabled_at.is_some()
    }
}

/// Filter for accounts.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AccountFilter {
    /// Prefix of the address, the full name or the family name; case-insensitive.
    #[param(value_type = Option<String>, min_length = 1, max_length = 100, example = "ada")]
    pub search: Option<SearchText>,
    /// Role of the account.
    #[param(inline)]
    pub role: Option<Role>,
    /// Whether the account is disabled.
    pub disabled: Option<bool>,
    /// Whether the address is verified.
    pub verified: Option<bool>,
}

impl SearchText {
    /// Half-open byte-wise range of all texts with this prefix.
    #[must_use]
    pub fn range(&self) -> [String; 2] {
        [self.0.clone(), format!("{}{}", self.0, char::MAX)]
    }
}

/// Number of accounts by state.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct AccountCounts {
    /// All accounts.
    #[schema(example = 1_250)]
    pub total: i64,
    /// With a verified address.
    #[schema(example = 1_100)]
    pub verified: i64,
    /// Without a verified address.
    #[schema(example = 150)]
    pub unverified: i64,
    /// Disabled accounts.
    #[schema(example = 4)]
    pub disabled: i64,
    /// Enabled administrators.
    #[schema(example = 3)]
    pub admins: i64,
}

/// Number of sign-ups on one day.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct SignUps {
    /// The day, in UTC.
    pub day: NaiveDate,
    /// Accounts created on that day.
    #[schema(example = 12)]
    pub count: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(changes.fields().collect::<Vec<_>>(), [("first_name", None)]);
    }

    #[test]
    fn what_begins_with_a_text_lies_in_its_range_and_nothing_else() {
        let range = |raw: &str| {
            SearchText::try_from(raw.to_owned())
                .expect("it is good")
                .range()
        };
        for (text, inside, outside) in [
            (" ada ", ["ada", "adaž@example.com"], ["ad", "adb"]),
            ("a_b", ["a_b", "a_bc"], ["axb", "a"]),
            ("ö", ["ö", "ö\u{10fffe}"], ["o", "ø"]),
        ] {
            let [least, above] = range(text);
            let fits = |other: &str| *least <= *other && *other < *above;
            assert!(inside.iter().all(|other| fits(other)), "{text}");
            assert!(!outside.iter().any(|other| fits(other)), "{text}");
        }
        for raw in ["", "  ", "a\nb", "a\0b", &"a".repeat(101)] {
            assert!(SearchText::try_from(raw.to_owned()).is_err(), "{raw:?}");
        }
    }

    #[test]
    fn a_reason_is_one_line_of_1_to_500_characters() {
        let parse = |raw: String| DisabledReason::try_from(raw);
        assert!(parse("ö".repeat(500)).is_ok());
        for raw in ["", " ", "a\nb", &"a".repeat(501)] {
            assert!(parse(raw.to_owned()).is_err(), "{raw:?}");
        }
    }
}
