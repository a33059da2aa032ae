//! An account as administrators see it: what they find it by, and what they may do to it.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::model::{EmailAddress, PersonName, Role};
use crate::ids::UserId;
use crate::text::one_line;

/// An account, as administrators see it.
#[derive(Clone, Debug, Serialize, ToSchema, sqlx::FromRow)]
pub struct Account {
    /// The account's id.
    pub id: UserId,
    /// Where letters go, and what to sign in with.
    pub email: EmailAddress,
    /// Given name.
    pub first_name: Option<PersonName>,
    /// Family name.
    pub last_name: Option<PersonName>,
    /// What the account may do.
    pub role: Role,
    /// When the address was shown to be the owner's.
    pub email_verified_at: Option<DateTime<Utc>>,
    /// Since when the account is shut.
    pub disabled_at: Option<DateTime<Utc>>,
    /// Why it was shut, for administrators.
    pub disabled_reason: Option<DisabledReason>,
    /// When the account was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

impl Account {
    /// Whether it is shut.
    #[must_use]
    pub fn is_disabled(&self) -> bool {
        self.disabled_at.is_some()
    }
}

/// Which accounts.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AccountFilter {
    /// What the address, the full name or the family name begins with, in any case of letters.
    #[param(value_type = Option<String>, min_length = 1, max_length = 100, example = "ada")]
    pub search: Option<SearchText>,
    /// What they may do.
    #[param(inline)]
    pub role: Option<Role>,
    /// Whether they are shut.
    pub disabled: Option<bool>,
    /// Whether their address is verified.
    pub verified: Option<bool>,
}

/// What somebody looks for: 1 to 100 characters in one line.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SearchText(String);

impl SearchText {
    /// The least text that begins with this, and one that is greater than all that do, byte by byte.
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

/// Why an account is shut: 1 to 500 characters in one line, for administrators alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(try_from = "String")]
#[sqlx(transparent)]
#[schema(value_type = String, min_length = 1, max_length = 500, example = "sends spam")]
pub struct DisabledReason(String);

impl DisabledReason {
    /// The reason as text.
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

/// How many accounts there are in each state.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct AccountCounts {
    /// All of them.
    #[schema(example = 1_250)]
    pub total: i64,
    /// Those whose address is verified.
    #[schema(example = 1_100)]
    pub verified: i64,
    /// Those that wait for their address to be verified.
    #[schema(example = 150)]
    pub unverified: i64,
    /// Those that are shut.
    #[schema(example = 4)]
    pub disabled: i64,
    /// Those that may look after others, and are not shut.
    #[schema(example = 3)]
    pub admins: i64,
}

/// How many accounts were made on one day.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct SignUps {
    /// The day, in UTC.
    pub day: NaiveDate,
    /// How many of that day's accounts there are.
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
