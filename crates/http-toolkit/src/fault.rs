//! Translates serde errors into field errors that name no Rust type and quote nothing of the request but a field
//! name.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_path_to_error::{Path, Segment};

use crate::problem::FieldError;

pub(super) const PATH_MAX: usize = 128;
const MESSAGE_MAX: usize = 240;

/// A step from a value to one within it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// A field of an object.
    Key(String),
    /// An item of an array.
    Index(usize),
}

/// The steps of serde's path.
pub(super) fn steps(path: &Path) -> Vec<Step> {
    let steps = path.iter().map(|segment| match segment {
        Segment::Seq { index } => Step::Index(*index),
        Segment::Map { key } => Step::Key(key.clone()),
        Segment::Enum { variant } => Step::Key(variant.clone()),
        Segment::Unknown => Step::Key("?".to_owned()),
    });
    steps.collect()
}

/// A fault at a path.
pub(super) fn at(path: &[Step], code: &'static str, message: &'static str) -> FieldError {
    FieldError {
        field: locate(path, None).into(),
        code: code.into(),
        message: message.into(),
    }
}

/// What is wrong at `path`, from serde's `message`.
pub(super) fn describe(path: &[Step], message: &str) -> FieldError {
    let (name, code, text) = tidy(message);
    // The path to an unknown field ends with it, that to a missing or a repeated one with its parent.
    let name = name.filter(|_| code != "unknown_field" || path.is_empty());
    FieldError {
        field: locate(path, name).into(),
        code: code.into(),
        message: match text {
            Cow::Borrowed(text) => cut(text, MESSAGE_MAX).into_owned().into(),
            Cow::Owned(text) => cut(&text, MESSAGE_MAX).into_owned().into(),
        },
    }
}

/// The name of the parameter that serde's `message` is about.
pub(super) fn named<'a>(path: &'a [Step], message: &'a str) -> Option<&'a str> {
    match path.first() {
        Some(Step::Key(key)) => Some(key),
        _ => tidy(message).0,
    }
}

/// The field that is missing, where that is what serde's `message` says.
pub(super) fn missing_field(message: &str) -> Option<&str> {
    quoted(message, "missing field `")
}

/// A name of a field, a code and a sentence.
fn tidy(message: &str) -> (Option<&str>, &'static str, Cow<'_, str>) {
    if let Some(name) = quoted(message, "missing field `") {
        return (Some(name), "required", "is required".into());
    }
    if let Some(name) = quoted(message, "unknown field `") {
        return (Some(name), "unknown_field", "is not a known field".into());
    }
    if let Some(name) = quoted(message, "duplicate field `") {
        return (
            Some(name),
            "duplicate_field",
            "is given more than once".into(),
        );
    }
    let kinds = [
        ("unknown variant ", "invalid_value"),
        ("invalid type: ", "wrong_type"),
        ("invalid value: ", "invalid_value"),
        ("invalid length ", "invalid_length"),
    ];
    for (start, code) in kinds {
        if !message.starts_with(start) {
            continue;
        }
        if let Some((_, expected)) = message.rsplit_once(", expected ") {
            return (None, code, format!("must be {}", plain(expected)).into());
        }
    }
    if message.starts_with("data did not match any variant") {
        return (
            None,
            "invalid_value",
            "has none of the accepted forms".into(),
        );
    }
    (None, "invalid", message.into())
}

/// The name between `start` and the next backtick that ends it.
fn quoted<'a>(message: &'a str, start: &str) -> Option<&'a str> {
    let rest = message.strip_prefix(start)?;
    let end = rest.find("`, ").or_else(|| rest.rfind('`'))?;
    Some(&rest[..end])
}

/// What was expected, in the words of JSON instead of Rust's.
fn plain(expected: &str) -> &str {
    match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "u128" | "usize" => "a whole number of 0 or more",
        "i8" => "a whole number from -128 to 127",
        "i16" => "a whole number from -32768 to 32767",
        "i32" => "a whole number from -2147483648 to 2147483647",
        "i64" | "i128" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a sequence" => "a list",
        "a map" => "an object",
        "unit" => "null",
        "string or map" => "a string or an object",
        other if other.starts_with("a tuple") || other.starts_with("tuple ") => "a list",
        other if other.starts_with("an array") => "a list of another length",
        other
            if ["struct ", "enum ", "variant "]
                .iter()
                .any(|word| other.contains(word)) =>
        {
            "an object"
        }
        other => other,
    }
}

/// `address.city`, `items[3].name`, with the `name` of a field below the path.
fn locate(path: &[Step], name: Option<&str>) -> String {
    let mut place = String::new();
    for step in path {
        if place.len() > PATH_MAX {
            break;
        }
        match step {
            Step::Index(index) => {
                let _ = write!(place, "[{index}]");
            }
            Step::Key(key) => push(&mut place, key),
        }
    }
    if let Some(name) = name {
        push(&mut place, name);
    }
    cut(&place, PATH_MAX).into_owned()
}

fn push(place: &mut String, key: &str) {
    if !place.is_empty() {
        place.push('.');
    }
    place.push_str(&cut(key, PATH_MAX));
}

/// At most `max` bytes of `text`, marked when it was longer.
pub(super) fn cut(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return text.into();
    }
    let end = text.floor_char_boundary(max);
    format!("{}…", &text[..end]).into()
}

/// Returns whether a JSON text has `\u0000` as an escape; PostgreSQL cannot store that character in a text.
pub(super) fn escapes_nul(bytes: &[u8]) -> bool {
    let mut at = 0;
    while let Some(found) = bytes[at..].iter().position(|b| *b == b'\\') {
        at += found;
        if bytes[at..].starts_with(b"\\u0000") {
            return true;
        }
        at = (at + 2).min(bytes.len());
    }
    false
}
