//! Accounts as administrators see and search them.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::model::{EmailAddress, PersonName, Role};
use crate::ids::UserId;
use crate::text::one_line;

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
    #[must_use]
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

/// Search prefix: 1 to 100 characters in one line.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SearchText(String);

impl SearchText {
    /// Half-open byte-wise range of all texts with this prefix.
    pub(super) fn range(&self) -> [String; 2] {
        [self.0.clone(), format!("{}{}", self.0, char::MAX)]
    }
}

impl TryFrom<String> for SearchText {
    type Error = &'static str;

    fn try_from(raw: String) -> Result<Self, &'static str> {
        one_line(&raw, 100)
            .map(Self)
            .ok_or("must be 1 to 100 characters in one line")
    }
}

/// Why an account is disabled, visible only to administrators: 1 to 500 characters in one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(try_from = "String")]
#[sqlx(transparent)]
#[schema(value_type = String, min_length = 1, max_length = 500, example = "sends spam")]
pub struct DisabledReason(String);

impl DisabledReason {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for DisabledReason {
    type Error = &'static str;

    fn try_from(raw: String) -> Result<Self, &'static str> {
        one_line(&raw, 500)
            .map(Self)
            .ok_or("must be 1 to 500 characters in one line")
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
