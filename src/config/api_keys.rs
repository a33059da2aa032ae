//! The settings of API keys.

use std::time::Duration;

use super::reader::Reader;
use super::setting::{Setting, days};

/// The product's name as it is shipped, and the prefix that goes with it. A product under another
/// name has that name for a prefix.
const SHIPPED: (&str, &str) = ("Groundwork", "gw");

/// The longest prefix of a key.
const PREFIX_MAX: usize = 12;

/// API keys.
#[derive(Clone, Debug)]
pub struct ApiKeyConfig {
    /// `API_KEY_PREFIX`: what new keys begin with; from the product's name by default.
    pub prefix: String,
    /// From `APP_ENV`, what keys name after the prefix: `live` or `test`.
    pub environment: &'static str,
    /// `API_KEY_MAX_TTL`: the longest life of a key, and that of one whose owner names none.
    pub max_ttl: Duration,
    /// `API_KEY_MAX_COUNT`: living keys that an account may have.
    pub max_count: u32,
}

struct Prefix(String);

impl Setting for Prefix {
    fn parse(text: &str) -> Result<Self, String> {
        let fits = plain(text) == text && !text.is_empty() && text.len() <= PREFIX_MAX;
        fits.then(|| Self(text.to_owned()))
            .ok_or_else(|| "must be 1 to 12 of a-z and 0-9".to_owned())
    }
}

/// The lower-case letters and digits of a text.
fn plain(text: &str) -> String {
    let lower = text.chars().map(|c| c.to_ascii_lowercase());
    lower.filter(char::is_ascii_alphanumeric).collect()
}

/// The prefix of a product that was given none.
fn prefix_of(product: &str) -> String {
    if product == SHIPPED.0 {
        return SHIPPED.1.to_owned();
    }
    let mut prefix = plain(product);
    prefix.truncate(PREFIX_MAX);
    if prefix.is_empty() {
        "key".clone_into(&mut prefix);
    }
    prefix
}

impl Reader<'_> {
    pub(super) fn api_keys(&mut self, product: Option<&str>) -> Option<ApiKeyConfig> {
        let default = Prefix(prefix_of(product.unwrap_or(SHIPPED.0)));
        let prefix = self.or("API_KEY_PREFIX", default);
        let max_ttl = self.duration("API_KEY_MAX_TTL", days(365));
        let max_count = self.within("API_KEY_MAX_COUNT", 20, 1..=1_000);
        Some(ApiKeyConfig {
            prefix: prefix?.0,
            environment: if self.production { "live" } else { "test" },
            max_ttl: max_ttl?,
            max_count: max_count?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_follows_the_products_name() {
        for (product, prefix) in [
            ("Groundwork", "gw"),
            ("Acme", "acme"),
            ("Smith & Sons 2", "smithsons2"),
            ("The Extraordinary Company", "theextraordi"),
            ("Ελληνικά", "key"),
        ] {
            assert_eq!(prefix_of(product), prefix);
            assert!(Prefix::parse(prefix).is_ok());
        }
        for wrong in ["", "a_b", "ACME", "äcme", "abcdefghijklm"] {
            assert!(Prefix::parse(wrong).is_err(), "{wrong}");
        }
    }
}
