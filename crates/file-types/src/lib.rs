//! Types of files by their first bytes. A type with active content (HTML, SVG, XML, scripts, programs) cannot be named.

use settings::Setting;

/// Bytes that the type is decided by.
pub const START: usize = 4096;

const TEXT: [&str; 2] = ["text/plain", "text/csv"];

/// Types that browsers or systems run.
const ACTIVE: [&str; 4] = [
    "text/",
    "application/x-",
    "application/vnd.microsoft.portable-executable",
    "application/wasm",
];

/// Markup and code in an image, in lower case: read as another type it would be run.
const MARKUP: [&[u8]; 8] = [
    b"<script",
    b"<html",
    b"<!doctype",
    b"<svg",
    b"<body",
    b"<iframe",
    b"<?php",
    b"javascript:",
];

/// Media type of a file, such as `image/png`: one that is known by its first bytes, or `text/plain` or `text/csv`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileType(String);

impl FileType {
    /// `None` for an unknown type, and for one with active content.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let is_active = ACTIVE.iter().any(|prefix| name.starts_with(prefix));
        let is_known = TEXT.contains(&name) || !is_active && infer::is_mime_supported(name);
        is_known.then(|| Self(name.to_owned()))
    }

    /// Type by the first [`START`] bytes of a file, or all of a shorter one. `hint` decides between types that have the same
    /// bytes, and is used for nothing else.
    #[must_use]
    pub fn detect(start: &[u8], hint: Option<&str>) -> Option<Self> {
        let name = match infer::get(start) {
            Some(found) => found.mime_type(),
            None if hint == Some("text/csv") => "text/csv",
            None => "text/plain",
        };
        Self::named(name).filter(|it| it.fits(start))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The type with its character encoding, for the header `Content-Type`.
    #[must_use]
    pub fn header(&self) -> String {
        if self.is_text() {
            format!("{}; charset=utf-8", self.0)
        } else {
            self.0.clone()
        }
    }

    /// Returns whether the first [`START`] bytes of a file, or all of a shorter one, are of this type.
    #[must_use]
    pub fn fits(&self, start: &[u8]) -> bool {
        if self.is_text() {
            return is_text(start);
        }
        let is_image = self.0.starts_with("image/");
        infer::get(start).is_some_and(|found| found.mime_type() == self.0)
            && !(is_image && has_code(start))
    }

    fn is_text(&self) -> bool {
        TEXT.contains(&self.as_str())
    }
}

impl Setting for FileType {
    type Value = Self;

    fn parse(text: &str) -> Result<Self, String> {
        Self::named(text).ok_or_else(|| {
            "must be media types known by their first bytes, without active content, such as image/png"
                .to_owned()
        })
    }
}

/// UTF-8 without control characters, which does not begin as markup or as a script.
fn is_text(start: &[u8]) -> bool {
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        // A character that the end of `start` cuts.
        Err(error) if error.error_len().is_none() && start.len() >= START => {
            let (whole, _) = start.split_at(error.valid_up_to());
            std::str::from_utf8(whole).unwrap_or_default()
        }
        Err(_) => return false,
    };
    let is_control = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{c}');
    let begin = text.trim_start_matches('\u{feff}').trim_start();
    let is_code = ["<", "#!", "%!PS", "%PDF-"]
        .iter()
        .any(|code| begin.starts_with(code));
    !text.is_empty() && !text.contains(is_control) && !is_code
}

/// True for an image that another program would read as markup or as a script.
fn has_code(start: &[u8]) -> bool {
    let lower = start.to_ascii_lowercase();
    let has_markup = MARKUP
        .iter()
        .any(|markup| lower.windows(markup.len()).any(|window| window == *markup));
    // The size in the header of a GIF, or of the first segment of a JPEG, that begins a comment or an assignment.
    let after = |magic: &[u8]| start.strip_prefix(magic).unwrap_or_default();
    let opens = |rest: &[u8]| {
        [&b"/*"[..], b"//", b"="]
            .iter()
            .any(|code| rest.starts_with(code))
    };
    let is_script = [
        &b"GIF87a"[..],
        b"GIF89a",
        b"\xff\xd8\xff\xe0",
        b"\xff\xd8\xff\xe1",
    ]
    .into_iter()
    .any(|magic| opens(after(magic)));
    has_markup || is_script
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(name: &str, start: &[u8]) -> bool {
        FileType::named(name).expect("it is known").fits(start)
    }

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0";
    const JPEG: &[u8] = b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01";
    const GIF: &[u8] = b"GIF89a\x01\0\x01\0\x80\0\0";

    #[test]
    fn the_first_bytes_decide() {
        for (name, start) in [
            ("image/png", PNG),
            ("image/jpeg", JPEG),
            ("image/gif", GIF),
            ("image/webp", b"RIFF\x24\0\0\0WEBPVP8 "),
            ("application/pdf", b"%PDF-1.7\n"),
            ("application/zip", b"PK\x03\x04\x14\0\0\0"),
            ("text/plain", "MZ are two bytes, é is one".as_bytes()),
            ("text/csv", b"id,name\r\n1,Ada <ada@example.com>\r\n"),
        ] {
            assert!(fits(name, start), "{name}");
            for other in ["image/png", "image/jpeg", "application/pdf", "text/plain"] {
                let is_both = name.starts_with("text/") && other.starts_with("text/");
                assert!(
                    other == name || is_both || !fits(other, start),
                    "{name} as {other}"
                );
            }
        }
    }

    #[test]
    fn a_hint_decides_between_texts_alone() {
        let detect = |start, hint| FileType::detect(start, hint).map(|it| it.0);
        let png = || Some("image/png".to_owned());
        for hint in [None, Some("image/png"), Some("text/csv"), Some("text/html")] {
            assert_eq!(detect(PNG, hint), png(), "{hint:?}");
            let text = if hint == Some("text/csv") {
                "text/csv"
            } else {
                "text/plain"
            };
            assert_eq!(
                detect(b"a,b\r\n1,2", hint).as_deref(),
                Some(text),
                "{hint:?}"
            );
            for none in [
                &b"<html>"[..],
                b"\0\0",
                b"",
                b"GIF89a=1;alert(1)",
                b"\x7fELF",
            ] {
                assert_eq!(detect(none, hint), None, "{none:?}");
            }
        }
    }

    #[test]
    fn markup_and_scripts_are_no_file_of_any_type() {
        for code in [
            &b"<!doctype html><script>alert(1)</script>"[..],
            b"\xef\xbb\xbf  <svg xmlns='http://www.w3.org/2000/svg'/>",
            b"<?xml version='1.0'?>",
            b"#!/bin/sh\necho",
            b"",
            b"\0\0\0",
            b"caf\xe9",
        ] {
            for name in [
                "image/png",
                "image/gif",
                "application/pdf",
                "application/zip",
                "text/plain",
                "text/csv",
            ] {
                assert!(!fits(name, code), "{name}: {code:?}");
            }
        }
    }

    #[test]
    fn an_image_that_is_also_a_script_is_none() {
        for (name, image, code) in [
            ("image/png", PNG, &b"tEXt<ScRiPt>alert(1)</script>"[..]),
            ("image/jpeg", JPEG, b"<?php system($_GET['c']);"),
            ("image/gif", &b"GIF89a"[..], b"/*\0\0*/=1;alert(1)"),
            ("image/gif", b"GIF89a", b"=1;alert(1)"),
            ("image/jpeg", b"\xff\xd8\xff\xe0", b"/*\0\0"),
        ] {
            assert!(!fits(name, &[image, code].concat()), "{name}");
        }
    }

    #[test]
    fn a_character_that_the_start_cuts_is_text() {
        let long = "é".repeat(START);
        assert!(fits("text/plain", &long.as_bytes()[..START]));
        let odd = format!("x{long}");
        assert!(fits("text/plain", &odd.as_bytes()[..START]));
        assert!(
            !fits("text/plain", &odd.as_bytes()[..10]),
            "the file ends there"
        );
    }

    #[test]
    fn active_and_unknown_types_cannot_be_named() {
        for name in [
            "text/html",
            "image/svg+xml",
            "text/xml",
            "application/xhtml+xml",
            "text/javascript",
            "application/javascript",
            "text/x-shellscript",
            "application/vnd.microsoft.portable-executable",
            "application/x-executable",
            "IMAGE/PNG",
            "image/*",
            "",
        ] {
            assert_eq!(FileType::named(name), None, "{name}");
        }
        assert_eq!(
            FileType::named("text/csv").map(|it| it.header()),
            Some("text/csv; charset=utf-8".to_owned())
        );
    }
}
