//! The name of a product in each form in which it is written.

use std::collections::BTreeSet;

use crate::error::{Error, Result};

/// The template's own name, which products replace.
pub(crate) const TEMPLATE: &str = "groundwork";

const LENGTH: std::ops::RangeInclusive<usize> = 2..=40;

/// Longest prefix of API keys.
const PREFIX_MAX: usize = 12;

/// Keywords of Rust, also reserved ones, that have the form of a name.
const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate",
    "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl",
    "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref",
    "return", "self", "static", "struct", "super", "trait", "true", "try", "type", "typeof",
    "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// Crates of the standard library, names that Cargo reserves, and devices of Windows.
const RESERVED: &[&str] = &[
    "alloc",
    "aux",
    "build",
    "con",
    "core",
    "deps",
    "examples",
    "incremental",
    "nul",
    "prn",
    "proc-macro",
    "std",
    "test",
];

/// Names of one product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// `acme-billing`: package, binary, image.
    pub(crate) kebab: String,
    /// `acme_billing`: crate in Rust.
    pub(crate) snake: String,
    /// `ACME_BILLING`: environment variables of tests.
    pub(crate) upper: String,
    /// `AcmeBilling`: types.
    pub(crate) pascal: String,
    /// `Acme Billing`: what people read.
    pub(crate) title: String,
    /// `acmebilling`: beginning of API keys.
    pub(crate) key_prefix: String,
}

impl Names {
    /// Names by the one that the owner gives. `crates` are those that the product depends on.
    pub(crate) fn new(kebab: &str, crates: &BTreeSet<String>) -> Result<Self> {
        if let Some(rule) = broken_rule(kebab, crates) {
            let proposal = proposal(kebab, crates);
            return Err(Error::refused(format!(
                "{kebab:?} is no name for a product: {rule}; {proposal} would do"
            )));
        }
        let words: Vec<&str> = kebab.split('-').collect();
        let capitals: Vec<String> = words.iter().map(|word| capitalised(word)).collect();
        let mut key_prefix = words.concat();
        key_prefix.truncate(PREFIX_MAX);
        Ok(Self {
            kebab: kebab.to_owned(),
            snake: words.join("_"),
            upper: words.join("_").to_ascii_uppercase(),
            pascal: capitals.concat(),
            title: capitals.join(" "),
            key_prefix,
        })
    }

    /// Beginning of the numbers of advisory locks, which no other product in the same database has.
    pub(crate) fn locks(&self) -> String {
        let mut bytes = self.kebab.bytes().chain(std::iter::repeat(0));
        let mut groups = Vec::new();
        for _ in 0..3 {
            let high = bytes.next().unwrap_or_default();
            let low = bytes.next().unwrap_or_default();
            groups.push(format!("{high:02x}{low:02x}"));
        }
        format!("0x{}_", groups.join("_"))
    }
}

fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    let first = chars.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

fn broken_rule(name: &str, crates: &BTreeSet<String>) -> Option<String> {
    if !LENGTH.contains(&name.chars().count()) {
        return Some(format!(
            "it needs {} to {} characters",
            LENGTH.start(),
            LENGTH.end()
        ));
    }
    if !name
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    {
        return Some("it may have a-z, 0-9 and dashes".into());
    }
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Some("the first character must be one of a-z".into());
    }
    if name.split('-').any(str::is_empty) {
        return Some("a dash stands between two words".into());
    }
    if name == TEMPLATE {
        return Some("it is the template's own".into());
    }
    if KEYWORDS.contains(&name) {
        return Some("it is a keyword of Rust".into());
    }
    if RESERVED.contains(&name) {
        return Some("Rust, Cargo or Windows reserves it".into());
    }
    let packages = [
        name.to_owned(),
        format!("{name}-dev"),
        format!("{name}-bench"),
    ];
    let taken = packages
        .into_iter()
        .find(|package| crates.contains(package));
    taken.map(|package| format!("the product depends on a crate {package}"))
}

/// A name that keeps the rules, made of one that does not.
fn proposal(name: &str, crates: &BTreeSet<String>) -> String {
    let mut plain = String::new();
    for c in name.to_lowercase().chars() {
        match c {
            'a'..='z' | '0'..='9' => plain.push(c),
            'ä' => plain.push_str("ae"),
            'ö' => plain.push_str("oe"),
            'ü' => plain.push_str("ue"),
            'ß' => plain.push_str("ss"),
            _ if !plain.ends_with('-') => plain.push('-'),
            _ => (),
        }
    }
    let mut plain = plain.trim_matches('-').to_owned();
    if !plain.starts_with(|c: char| c.is_ascii_lowercase()) {
        plain = format!("app-{plain}");
    }
    plain.truncate(*LENGTH.end());
    let plain = plain.trim_matches('-');
    [
        plain.to_owned(),
        format!("{plain}-app"),
        "my-product".to_owned(),
    ]
    .into_iter()
    .find(|candidate| broken_rule(candidate, crates).is_none())
    .unwrap_or_default()
}

/// Names of all packages of a `Cargo.lock`, those of the template itself excepted.
pub(crate) fn locked_packages(lock: &str) -> BTreeSet<String> {
    let names = lock
        .lines()
        .filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    names
        .filter(|name| !name.starts_with(TEMPLATE))
        .map(|name| name.replace('_', "-"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crates() -> BTreeSet<String> {
        ["axum", "cache", "serde-json", "h2-dev"]
            .map(str::to_owned)
            .into()
    }

    #[test]
    fn every_form_is_derived_from_the_name() {
        let names = Names::new("acme-billing", &crates()).unwrap();
        assert_eq!(names.snake, "acme_billing");
        assert_eq!(names.upper, "ACME_BILLING");
        assert_eq!(names.pascal, "AcmeBilling");
        assert_eq!(names.title, "Acme Billing");
        assert_eq!(names.key_prefix, "acmebilling");
        assert_eq!(names.locks(), "0x6163_6d65_2d62_");
        for good in [
            "a1",
            "my-app-2",
            "self-service",
            "dev",
            "bench-mark",
            "groundwork-two",
        ] {
            assert_eq!(Names::new(good, &crates()).unwrap().kebab, good);
        }
        assert_eq!(
            Names::new("a1", &crates()).unwrap().locks(),
            "0x6131_0000_0000_"
        );
    }

    #[test]
    fn a_bad_name_is_refused_with_its_rule_and_one_that_would_do() {
        let long = "a".repeat(60);
        for (bad, rule, proposal) in [
            ("Acme", "a-z, 0-9 and dashes", "acme would do"),
            ("a", "2 to 40 characters", "a-app would do"),
            ("1st", "must be one of a-z", "app-1st would do"),
            ("my--app", "between two words", "my-app would do"),
            ("self", "keyword", "self-app would do"),
            ("test", "reserves it", "test-app would do"),
            ("core", "reserves it", "core-app would do"),
            (
                "groundwork",
                "the template's own",
                "groundwork-app would do",
            ),
            ("über", "a-z, 0-9 and dashes", "ueber would do"),
            (long.as_str(), "2 to 40 characters", "aaaa would do"),
            ("match", "keyword", "match-app would do"),
            ("axum", "a crate axum", "axum-app would do"),
            (
                "serde-json",
                "a crate serde-json",
                "serde-json-app would do",
            ),
            ("h2", "a crate h2-dev", "h2-app would do"),
            ("", "2 to 40 characters", "app would do"),
        ] {
            let error = Names::new(bad, &crates()).unwrap_err().to_string();
            assert!(error.contains(rule) && error.ends_with(proposal), "{error}");
        }
    }
}
