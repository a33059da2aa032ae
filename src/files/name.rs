//! Names of files.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

const NAME_MAX: usize = 255;

/// Name of a file: 1 to 255 bytes of UTF-8 in one line. It is a label, and part of no path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(try_from = "String")]
#[sqlx(transparent)]
#[schema(value_type = String, min_length = 1, max_length = 255, example = "invoice 2026-03.pdf")]
pub(super) struct FileName(String);

impl FileName {
    /// Value of the header `Content-Disposition` (RFC 6266, RFC 8187). Clients save under a name without separators.
    pub(super) fn disposition(&self) -> String {
        let name: String = self.0.chars().map(plain).collect();
        let ascii: String = name
            .chars()
            .map(|c| if c.is_ascii() { c } else { '_' })
            .collect();
        let encoded: String = name.bytes().map(percent_encode).collect();
        format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{encoded}")
    }
}

/// Replaces what a path, a quoted string or a URL would read.
fn plain(c: char) -> char {
    if matches!(c, '/' | '\\' | '"' | '%' | ':') {
        '_'
    } else {
        c
    }
}

fn percent_encode(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        char::from(byte).into()
    } else {
        format!("%{byte:02X}")
    }
}

/// Controls of text direction, which let a name look like another, and line breaks besides the control characters.
const fn is_deceptive(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

impl TryFrom<String> for FileName {
    type Error = &'static str;

    fn try_from(raw: String) -> Result<Self, &'static str> {
        let is_bad = |c: char| c.is_control() || is_deceptive(c);
        let fits = (1..=NAME_MAX).contains(&raw.len()) && !raw.contains(is_bad);
        (fits && !raw.trim().is_empty())
            .then_some(Self(raw))
            .ok_or("must be 1 to 255 bytes in one line, without controls of text direction")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(raw: &str) -> Option<FileName> {
        FileName::try_from(raw.to_owned()).ok()
    }

    #[test]
    fn names_are_labels_of_one_line() {
        for good in [
            "a.png",
            "../../etc/passwd",
            "it's \"quoted\".txt",
            "דוח.pdf",
            "a\u{200f}b",
        ] {
            assert!(name(good).is_some(), "{good}");
        }
        for bad in [
            "",
            " ",
            "a\0b",
            "a\r\nb",
            "gpj.\u{202e}exe",
            "a\u{2066}b",
            &"x".repeat(256),
            &"é".repeat(128),
        ] {
            assert!(name(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_disposition_is_one_header_value_with_a_plain_name() {
        let disposition = |raw| name(raw).expect("it is good").disposition();
        assert_eq!(
            disposition("../a\"b;c.png"),
            "attachment; filename=\".._a_b;c.png\"; filename*=UTF-8''.._a_b%3Bc.png"
        );
        assert_eq!(
            disposition("é.txt"),
            "attachment; filename=\"_.txt\"; filename*=UTF-8''%C3%A9.txt"
        );
    }
}
