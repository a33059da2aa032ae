//! Passwords: policy, and normalization before hashing.

use std::sync::LazyLock;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroize as _;

use crate::PasswordForms;

/// Maximum characters after normalization.
const LONGEST: usize = 128;

/// Maximum input in bytes: a decomposed character takes up to four code points of four bytes.
const LONGEST_TYPED: usize = 16 * LONGEST;

/// The most common passwords, in lower case and sorted.
static COMMON: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let lines = include_str!("common_passwords.txt").lines();
    lines
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .collect()
});

/// Normalizes a password with the `OpaqueString` profile (RFC 8265 §4.2.2): other spaces become the ASCII space, and
/// characters are composed (NFC), so that input methods make no difference. Case and width stay.
///
/// Unlike the profile it accepts characters that RFC 8264 §9.11 excludes besides controls, such as
/// the joiners in emoji and characters newer than our tables: accounts have such passwords.
fn prepare(text: &str) -> SecretString {
    let spaces = text.chars().map(|c| if is_space(c) { ' ' } else { c });
    let mut prepared: String = spaces.nfc().collect();
    let secret = SecretString::from(prepared.as_str());
    prepared.zeroize();
    secret
}

/// Unicode category Zs.
fn is_space(c: char) -> bool {
    matches!(
        c,
        ' ' | '\u{a0}' | '\u{1680}' | '\u{2000}'
            ..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}'
    )
}

fn prepare_within(text: &str, shortest: usize) -> Option<SecretString> {
    // The first comparison keeps a very long text from being prepared.
    let prepared = (text.len() <= LONGEST_TYPED).then(|| prepare(text))?;
    let length = prepared.expose_secret().chars().count();
    (shortest..=LONGEST).contains(&length).then_some(prepared)
}

/// A new password: 8 to 128 characters except control characters, and none of the most common passwords (NIST SP
/// 800-63B-4 §3.1.1.2). Normalized with NFC.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
#[serde(try_from = "String")]
#[cfg_attr(
    feature = "utoipa",
    schema(value_type = String, format = Password, min_length = 8, max_length = 128, example = "correct horse battery staple")
)]
pub struct NewPassword(SecretString);

impl NewPassword {
    /// The normalized password.
    #[must_use]
    pub fn into_secret(self) -> SecretString {
        self.0
    }
}

/// Why a password is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordFault {
    /// Too short or too long.
    #[error("must be 8 to 128 characters")]
    Length,
    /// Has control characters (RFC 8264 §9.12).
    #[error("must not contain control characters")]
    Control,
    /// On the list of common passwords.
    #[error("is one of the most common passwords")]
    Common,
}

impl TryFrom<String> for NewPassword {
    type Error = PasswordFault;

    fn try_from(raw: String) -> Result<Self, PasswordFault> {
        let typed = SecretString::from(raw);
        let password = prepare_within(typed.expose_secret(), 8).ok_or(PasswordFault::Length)?;
        let text = password.expose_secret();
        if text.contains(char::is_control) {
            return Err(PasswordFault::Control);
        }
        if COMMON.binary_search(&text.to_lowercase().as_str()).is_ok() {
            return Err(PasswordFault::Common);
        }
        Ok(Self(password))
    }
}

/// A password to verify. It is compared as normalized and, if that differs, as typed.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
#[serde(try_from = "String")]
#[cfg_attr(
    feature = "utoipa",
    schema(value_type = String, format = Password, min_length = 1, max_length = 128, example = "correct horse battery staple")
)]
pub struct TriedPassword(PasswordForms);

impl TriedPassword {
    /// The forms to compare.
    #[must_use]
    pub fn into_secret(self) -> PasswordForms {
        self.0
    }
}

impl TryFrom<String> for TriedPassword {
    type Error = &'static str;

    fn try_from(raw: String) -> Result<Self, &'static str> {
        let typed = SecretString::from(raw);
        let prepared =
            prepare_within(typed.expose_secret(), 1).ok_or("must be 1 to 128 characters")?;
        let is_changed = prepared.expose_secret() != typed.expose_secret();
        Ok(Self(PasswordForms {
            prepared,
            typed: is_changed.then_some(typed),
        }))
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
        assert_eq!(parse("correct\thorse"), Err(PasswordFault::Control));
        assert_eq!(parse("correct\u{85}horse"), Err(PasswordFault::Control));
        assert_eq!(parse("Password123"), Err(PasswordFault::Common));
        assert_eq!(parse("1234567890"), Err(PasswordFault::Common));
    }

    #[test]
    fn a_password_is_prepared_as_the_profile_of_its_standard_does() {
        for (typed, prepared) in [
            // RFC 8265, table 4: spaces and capitals are kept.
            (
                "correct horse battery staple",
                "correct horse battery staple",
            ),
            (
                "Correct Horse Battery Staple",
                "Correct Horse Battery Staple",
            ),
            ("πßå", "πßå"),
            ("Jack of ♦s", "Jack of ♦s"),
            ("foo\u{1680}bar", "foo bar"),
            // Composed and decomposed, in several scripts.
            ("zu\u{308}rich", "zürich"),
            ("e\u{323}\u{302}", "ệ"),
            ("\u{1112}\u{1161}\u{11ab}", "한"),
            ("\u{212b}", "\u{c5}"),
            // Spaces of other kinds, and a joiner, which is none.
            ("a\u{a0}b\u{2009}c\u{3000}d", "a b c d"),
            ("👩\u{200d}💻", "👩\u{200d}💻"),
            // Neither width nor compatibility is folded.
            ("ａｂｃ ﬁ", "ａｂｃ ﬁ"),
        ] {
            assert_eq!(prepare(typed).expose_secret(), prepared, "{typed}");
        }
    }

    #[test]
    fn lengths_count_after_preparation() {
        let new = |raw: String| NewPassword::try_from(raw).map(|_| ());
        assert_eq!(new("e\u{301}".repeat(7)), Err(PasswordFault::Length));
        assert_eq!(new("e\u{301}".repeat(128)), Ok(()));
        assert_eq!(new("e\u{301}".repeat(129)), Err(PasswordFault::Length));
        let tried = |raw: String| TriedPassword::try_from(raw).is_ok();
        assert!(tried("e\u{301}".repeat(128)));
        assert!(!tried("e\u{301}".repeat(129)));
        assert!(!tried(String::new()));
        assert!(!tried("x".repeat(1_000_000)));
    }

    #[test]
    fn a_tried_password_keeps_the_typed_form_only_where_it_differs() {
        let typed = |raw: &str| {
            let tried = TriedPassword::try_from(raw.to_owned()).expect("it could be one");
            tried
                .into_secret()
                .typed
                .map(|typed| typed.expose_secret().to_owned())
        };
        assert_eq!(typed("zürich"), None);
        assert_eq!(typed("zu\u{308}rich").as_deref(), Some("zu\u{308}rich"));
        assert_eq!(typed("a\tb"), None);
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
