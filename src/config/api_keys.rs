//! API keys.

use std::time::Duration;

use settings::{Reader, Setting};

settings::settings! {
    /// API keys.
    pub struct ApiKeyConfig {
        /// From `APP_ENV`, what keys name after the prefix: `live` or `test`.
        environment: &'static str,
    }
    "API keys": "After the prefix a key names its environment, `live` in production and `test` in development; one of the other is
refused.", ApiKeySettings {
        /// Beginning of new keys, 1 to 12 of a-z and 0-9; keys under an earlier prefix stay valid.
        API_KEY_PREFIX => prefix: Prefix, computed("from `PRODUCT_NAME`", default_prefix);
        /// Longest life of a key, and that of one whose owner names none.
        API_KEY_MAX_TTL => max_ttl: Duration = "365d";
        /// Active keys that an account may have.
        API_KEY_MAX_COUNT => max_count: u32 = 20, within(1..=1000);
        /// How long revoked and expired keys are kept, to investigate incidents.
        API_KEY_RETENTION => retention: Duration = "30d", within("1d"..="365d");
    }
}

/// The default name of the product, and the prefix for it. Other names are prefixes themselves.
const DEFAULT: (&str, &str) = ("Groundwork", "gw");

const PREFIX_MAX: usize = 12;

pub struct Prefix;

impl Setting for Prefix {
    type Value = String;

    fn parse(text: &str) -> Result<String, String> {
        let fits = plain(text) == text && !text.is_empty() && text.len() <= PREFIX_MAX;
        fits.then(|| text.to_owned())
            .ok_or_else(|| "must be 1 to 12 of a-z and 0-9".to_owned())
    }
}

fn plain(text: &str) -> String {
    let lower = text.chars().map(|c| c.to_ascii_lowercase());
    lower.filter(char::is_ascii_alphanumeric).collect()
}

fn prefix_of(product: &str) -> String {
    if product == DEFAULT.0 {
        return DEFAULT.1.to_owned();
    }
    let mut prefix = plain(product);
    prefix.truncate(PREFIX_MAX);
    if prefix.is_empty() {
        "key".clone_into(&mut prefix);
    }
    prefix
}

fn default_prefix(reader: &Reader<'_>) -> Option<String> {
    reader.text("PRODUCT_NAME").map(prefix_of)
}

impl ApiKeySettings {
    pub(super) fn into_config(self, production: bool) -> Option<ApiKeyConfig> {
        self.build(if production { "live" } else { "test" })
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
