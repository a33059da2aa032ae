//! Answers of the owner of a product, as they are kept in `product.json`.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// File in the product that an update reads.
pub(crate) const FILE: &str = "product.json";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answers {
    // In the order of the alphabet, in which `make without` writes them.
    pub(crate) author: String,
    pub(crate) description: String,
    pub(crate) domain: String,
    pub(crate) licence: Licence,
    pub(crate) name: String,
    pub(crate) sender: String,
    /// Removed slices whose tables are left.
    #[serde(default)]
    pub(crate) tables_kept: Vec<String>,
    /// Commit of the template that the product has.
    pub(crate) template_commit: String,
    /// Removed slices.
    #[serde(default)]
    pub(crate) without: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Licence {
    #[serde(rename = "proprietary")]
    Proprietary,
    #[serde(rename = "MIT")]
    Mit,
    #[serde(rename = "Apache-2.0")]
    Apache,
    #[serde(rename = "MIT OR Apache-2.0")]
    MitOrApache,
}

impl Licence {
    pub(crate) const ALL: [(&str, Self); 4] = [
        ("proprietary", Self::Proprietary),
        ("MIT", Self::Mit),
        ("Apache-2.0", Self::Apache),
        ("MIT OR Apache-2.0", Self::MitOrApache),
    ];

    pub(crate) fn parse(text: &str) -> Result<Self> {
        let found = Self::ALL
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text));
        found.map(|(_, licence)| *licence).ok_or_else(|| {
            let names = Self::ALL.map(|(name, _)| name).join(", ");
            Error::refused(format!("the licence {text:?} is none of: {names}"))
        })
    }

    pub(crate) fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(_, licence)| *licence == self);
        found.map_or("", |(name, _)| name)
    }

    /// Identifier by SPDX.
    pub(crate) fn identifier(self) -> &'static str {
        match self {
            Self::Proprietary => "LicenseRef-Proprietary",
            other => other.name(),
        }
    }
}

impl Answers {
    pub(crate) fn read(product: &Path) -> Result<Self> {
        let path = product.join(FILE);
        let text = fs::read_to_string(&path).map_err(|_| {
            Error::refused(format!(
                "there is no {FILE} in {}: it was not made by `make new`, or the file was deleted; restore it from the history",
                product.display()
            ))
        })?;
        serde_json::from_str(&text)
            .map_err(|error| Error::refused(format!("{}: {error}", path.display())))
    }

    pub(crate) fn text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}

pub(crate) fn check_description(text: &str) -> Result<()> {
    one_line("the description", text, 200)
}

pub(crate) fn check_author(text: &str) -> Result<()> {
    one_line("the author", text, 100)
}

fn one_line(name: &str, text: &str, most: usize) -> Result<()> {
    if text.trim().is_empty() || text.trim() != text {
        return Err(Error::refused(format!(
            "{name} is empty, or begins or ends with a space"
        )));
    }
    if text.chars().any(char::is_control) {
        return Err(Error::refused(format!(
            "{name} has a line break or another control character"
        )));
    }
    if text.chars().count() > most {
        return Err(Error::refused(format!(
            "{name} has more than {most} characters"
        )));
    }
    Ok(())
}

pub(crate) fn check_domain(text: &str) -> Result<()> {
    let is_label = |label: &str| {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        (1..=63).contains(&label.len())
            && label.chars().all(fits)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let labels: Vec<&str> = text.split('.').collect();
    let is_number = labels
        .last()
        .is_some_and(|last| last.chars().all(|c| c.is_ascii_digit()));
    if labels.len() < 2 || text.len() > 253 || is_number || !labels.into_iter().all(is_label) {
        return Err(Error::refused(format!(
            "{text:?} is no host name such as api.example.com, without scheme, port and path"
        )));
    }
    Ok(())
}

/// Accepts an email address, or a display name and the address in angle brackets. The name has alphanumeric characters, spaces,
/// dots and dashes.
pub(crate) fn check_sender(text: &str) -> Result<()> {
    let (name, address) = match text
        .strip_suffix('>')
        .and_then(|text| text.split_once(" <"))
    {
        Some((name, address)) => (name, address),
        None => ("", text),
    };
    let names = |c: char| c.is_alphanumeric() || " .-".contains(c);
    let fits = name.chars().all(names) && name.trim() == name && name.chars().count() <= 64;
    let local = |text: &str| {
        !text.is_empty()
            && text.len() <= 64
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._+-".contains(c))
    };
    let is_address = address
        .split_once('@')
        .is_some_and(|(user, host)| local(user) && check_domain(host).is_ok());
    if !fits || !is_address {
        return Err(Error::refused(format!(
            "{text:?} is no sender such as hello@example.com or Acme <hello@example.com>"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_checked() {
        for good in ["a \"quoted\" & $costly {thing} 🚀", "x"] {
            assert!(check_description(good).is_ok(), "{good}");
        }
        for bad in ["", " x", "two\nlines", "tab\tbed", &"x".repeat(201)] {
            assert!(check_description(bad).is_err(), "{bad}");
        }
        for good in ["api.acme.com", "a.b", "xn--ber-goa.example"] {
            assert!(check_domain(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "localhost",
            "https://a.b",
            "a.b/c",
            "a.b:80",
            "-a.b",
            "127.0.0.1",
            "a..b",
            "A.b",
        ] {
            assert!(check_domain(bad).is_err(), "{bad}");
        }
        for good in [
            "hello@acme.com",
            "Acme <hello@acme.com>",
            "O. Neil-Søn <o.neil+x@acme.com>",
        ] {
            assert!(check_sender(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "hello",
            "hello@",
            "Acme <hello@acme.com",
            "A$b <a@b.c>",
            "a b@c.d",
            "A\" <a@b.c>",
            "O'Neil <a@b.c>",
        ] {
            assert!(check_sender(bad).is_err(), "{bad}");
        }
        assert_eq!(Licence::parse("mit").unwrap(), Licence::Mit);
        assert!(Licence::parse("GPL").is_err());
    }
}
