//! Which passwords an account may have.

use std::sync::LazyLock;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use utoipa::ToSchema;

/// The most common passwords, in lower case and sorted.
static COMMON: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let lines = include_str!("common_passwords.txt").lines();
    lines
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .collect()
});

/// A password that somebody wants to have: 8 to 128 characters of any kind, and not one of the most
/// common ones (NIST SP 800-63B-4 §3.1.1.2).
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, format = Password, min_length = 8, max_length = 128, example = "correct horse battery staple")]
pub struct NewPassword(SecretString);

impl NewPassword {
    /// The password, for the hasher.
    #[must_use]
    pub fn into_secret(self) -> SecretString {
        self.0
    }
}

/// Why a password is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordFault {
    /// Fewer than 8 or more than 128 characters.
    #[error("must be 8 to 128 characters")]
    Length,
    /// Among those that are tried first.
    #[error("is one of the most common passwords")]
    Common,
}

impl TryFrom<String> for NewPassword {
    type Error = PasswordFault;

    fn try_from(raw: String) -> Result<Self, PasswordFault> {
        let password = SecretString::from(raw);
        let text = password.expose_secret();
        // The first comparison keeps a very long text from being counted.
        if text.len() > 4 * 128 || !(8..=128).contains(&text.chars().count()) {
            return Err(PasswordFault::Length);
        }
        if COMMON.binary_search(&text.to_lowercase().as_str()).is_ok() {
            return Err(PasswordFault::Common);
        }
        Ok(Self(password))
    }
}

/// A password that somebody says they have: any text that could be one.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, format = Password, min_length = 1, max_length = 128, example = "correct horse battery staple")]
pub struct TriedPassword(SecretString);

impl TriedPassword {
    /// The password, to hold against a hash.
    #[must_use]
    pub fn into_secret(self) -> SecretString {
        self.0
    }
}

impl TryFrom<String> for TriedPassword {
    type Error = &'static str;

    fn try_from(raw: String) -> Result<Self, &'static str> {
        let password = SecretString::from(raw);
        let text = password.expose_secret();
        let fits = text.len() <= 4 * 128 && (1..=128).contains(&text.chars().count());
        fits.then_some(Self(password))
            .ok_or("must be 1 to 128 characters")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_8_to_128_characters_that_are_not_common_will_do() {
        let parse = |raw: &str| NewPassword::try_from(raw.to_owned()).map(|_| ());
        assert_eq!(parse("correct horse battery staple"), Ok(()));
        assert_eq!(parse(&"🐎".repeat(128)), Ok(()));
        assert_eq!(parse("        "), Ok(()));
        assert_eq!(parse("short 7"), Err(PasswordFault::Length));
        assert_eq!(parse(&"x".repeat(129)), Err(PasswordFault::Length));
        assert_eq!(parse(&"🐎".repeat(1_000_000)), Err(PasswordFault::Length));
        assert_eq!(parse("Password123"), Err(PasswordFault::Common));
        assert_eq!(parse("1234567890"), Err(PasswordFault::Common));
    }

    #[test]
    fn the_list_is_sorted_lower_case_and_long_enough_to_matter() {
        assert!(COMMON.is_sorted());
        assert!(COMMON.len() > 5_000);
        assert!(
            COMMON
                .iter()
                .all(|line| line.chars().count() >= 8 && line.to_lowercase() == **line)
        );
    }

    #[test]
    fn a_password_is_never_printed() {
        let password = NewPassword::try_from("hunter2-hunter2".to_owned()).expect("it is good");
        assert!(!format!("{password:?}").contains("hunter2"));
    }
}
