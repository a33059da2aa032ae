//! E-mail addresses as customers give them.

use email_address::Options;
use serde::{Deserialize, Serialize};
use settings::Setting;
use utoipa::ToSchema;

/// An e-mail address (RFC 5321 §4.1.2) with a domain name, in lower case: at most 254 characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(try_from = "String")]
#[sqlx(transparent)]
#[schema(value_type = String, format = Email, max_length = 254, example = "ada@example.com")]
pub struct EmailAddress(String);

impl EmailAddress {
    /// The address in lower case.
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
            .filter(|address| address.as_str().parse::<lettre::Address>().is_ok())
            .map(|address| Self(address.as_str().to_ascii_lowercase()))
            .ok_or(wrong)
    }
}

impl Setting for EmailAddress {
    type Value = Self;

    fn parse(text: &str) -> Result<Self, String> {
        Self::try_from(text.to_owned()).map_err(str::to_owned)
    }
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
}
