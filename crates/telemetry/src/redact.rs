//! Redaction of texts in error reports: addresses, tokens, keys and query strings.
//!
//! Second to the allow-list of fields, for what libraries put into the text of an error.

use uuid::Uuid;

const HIDDEN: &str = "[hidden]";

/// Suffixes of words that a secret value follows.
const SECRETS: [&str; 11] = [
    "-access",
    "-refresh",
    "authorization",
    "bearer",
    "cookie",
    "csrf",
    "key",
    "passwd",
    "password",
    "secret",
    "token",
];

/// Length from which a word with digits in it is taken for a token.
const SHORTEST_TOKEN: usize = 20;

#[must_use]
pub(crate) fn redact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut after_secret = false;
    while let Some(first) = rest.chars().next() {
        if is_of_a_word(first) {
            let end = rest.find(|c| !is_of_a_word(c)).unwrap_or(rest.len());
            let (word, tail) = rest.split_at(end);
            let hide = after_secret || looks_secret(word);
            out.push_str(if hide { HIDDEN } else { word });
            after_secret = is_name_of_secret(word) && tail.starts_with([':', '=', ' ', '"', '\'']);
            rest = tail;
        } else if first == '?' && rest[1..].starts_with(is_of_a_word) {
            rest = &rest[rest.find(char::is_whitespace).unwrap_or(rest.len())..];
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

fn is_of_a_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | '@' | '%' | '~')
}

fn is_name_of_secret(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    SECRETS.iter().any(|name| word.ends_with(name))
}

fn looks_secret(word: &str) -> bool {
    let has_digit = word.bytes().any(|b| b.is_ascii_digit());
    let is_key = word.contains("_live_") || word.contains("_test_");
    let is_id = Uuid::parse_str(word).is_ok();
    let is_path = word.contains('.') && !word.starts_with("ey");
    word.contains('@')
        || is_key
        || (word.len() >= SHORTEST_TOKEN && has_digit && !is_id && !is_path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_secret_is_hidden() {
        for (text, left) in [
            ("to ada@example.com now", "to [hidden] now"),
            ("to <ada+x@example.com>", "to <[hidden]>"),
            ("token mF9B5f41JqM0Q8r2Zt7uYwXc", "token [hidden]"),
            ("password=hunter2", "password=[hidden]"),
            (
                "\"refresh_token\":\"short\"",
                "\"refresh_token\":\"[hidden]\"",
            ),
            (
                "cookie: a=b; __Host-access=short; __Secure-refresh=other",
                "cookie: [hidden]=b; __Host-access=[hidden]; __Secure-refresh=[hidden]",
            ),
            (
                "set-cookie: __Host-access=short; Path=/",
                "set-cookie: [hidden]=[hidden]; Path=/",
            ),
            ("x-csrf-token: short", "x-csrf-token: [hidden]"),
            ("GET /a/b?token=x&y=z failed", "GET /a/b failed"),
            ("eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIx.c2ln", "[hidden]"),
            ("is acme_live_abc_xyz known", "is [hidden] known"),
        ] {
            assert_eq!(redact(text), left);
        }
    }

    #[test]
    fn what_helps_is_left() {
        for text in [
            "relation \"users\" does not exist",
            "src/auth/service.rs:120: called `Option::unwrap()` on a `None` value",
            "01980b6e-7c00-7000-8000-000000000001",
            "is it there? no",
            "index out of bounds: the len is 3 but the index is 7",
        ] {
            assert_eq!(redact(text), text);
        }
    }
}
