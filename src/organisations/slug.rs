//! Slugs, and references to accounts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::AccountId;

const MIN_LENGTH: usize = 3;
const MAX_LENGTH: usize = 40;

/// Slugs that could be mistaken for a part of the product, or for its operator.
const RESERVED: [&str; 44] = [
    "about",
    "account",
    "accounts",
    "admin",
    "administrator",
    "api",
    "app",
    "assets",
    "auth",
    "billing",
    "blog",
    "contact",
    "dashboard",
    "docs",
    "email",
    "health",
    "help",
    "home",
    "invitation",
    "invitations",
    "legal",
    "login",
    "logout",
    "mail",
    "me",
    "metrics",
    "new",
    "null",
    "organisation",
    "organisations",
    "organization",
    "personal",
    "pricing",
    "privacy",
    "register",
    "root",
    "security",
    "settings",
    "signup",
    "static",
    "status",
    "support",
    "system",
    "www",
];

/// Name of an organisation in URLs and in `X-Account`: 3 to 40 of a-z and 0-9, with single hyphens between them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(try_from = "String")]
#[sqlx(transparent)]
#[schema(value_type = String, min_length = 3, max_length = 40, pattern = "^[a-z0-9]+(-[a-z0-9]+)*$", example = "acme")]
pub struct Slug(String);

impl Slug {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A slug that exists may be reserved by a later release, so that looking one up is no reason to reject it.
    fn is_well_formed(text: &str) -> bool {
        let is_part = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        (MIN_LENGTH..=MAX_LENGTH).contains(&text.len())
            && text.split('-').all(is_part)
            && uuid::Uuid::try_parse(text).is_err()
    }
}

impl TryFrom<String> for Slug {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        if !Self::is_well_formed(&text) {
            return Err("must be 3 to 40 of a-z and 0-9, with single hyphens between them");
        }
        if RESERVED.contains(&text.as_str()) {
            return Err("is reserved");
        }
        Ok(Self(text))
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Of a slug that exists.
impl FromStr for Slug {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::is_well_formed(text)
            .then(|| Self(text.to_owned()))
            .ok_or(())
    }
}

/// An account as a request names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountRef {
    Id(AccountId),
    Slug(Slug),
    /// Neither an id nor a slug: an account that does not exist.
    Unknown,
}

impl AccountRef {
    #[must_use]
    pub fn parse(text: &str) -> Self {
        if let Ok(id) = text.parse() {
            return Self::Id(AccountId(id));
        }
        text.parse().map_or(Self::Unknown, Self::Slug)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_have_one_spelling_and_cannot_be_mistaken() {
        for good in ["acme", "a1b", "acme-2", "a-b-c", "0x0", &"a".repeat(40)] {
            assert!(Slug::try_from(good.to_owned()).is_ok(), "{good}");
        }
        for bad in [
            "",
            "ab",
            "-a",
            "abc-",
            "a--b",
            "Acme",
            "ac me",
            "acme_1",
            "аcme",
            "acmé",
            "ａcme",
            "admin",
            "api",
            "01980b6e7c0070008000000000000001",
            "01980b6e-7c00-7000-8000-000000000001",
            &"a".repeat(41),
            &"a".repeat(64),
        ] {
            assert!(Slug::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_account_is_named_by_its_id_or_its_slug() {
        let id = "01980b6e-7c00-7000-8000-000000000001";
        let parsed = AccountRef::parse(id);
        assert!(matches!(parsed, AccountRef::Id(AccountId(it)) if it.to_string() == id));
        assert!(matches!(AccountRef::parse("acme"), AccountRef::Slug(_)));
        for other in ["", "a", "ACME", "a/b", &"x".repeat(64)] {
            assert_eq!(AccountRef::parse(other), AccountRef::Unknown, "{other}");
        }
    }
}
