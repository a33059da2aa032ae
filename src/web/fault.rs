//! Turns what serde says about a value into a field and a sentence that names no Rust type and
//! quotes nothing of the caller's but a field's name.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_path_to_error::{Path, Segment};

use super::problem::FieldError;

pub(super) const PATH_MAX: usize = 128;
const MESSAGE_MAX: usize = 240;

/// What is wrong at `path`, from serde's `message`.
pub(super) fn describe(path: &Path, message: &str) -> FieldError {
    let (name, code, text) = tidy(message);
    FieldError {
        field: locate(path, name).into(),
        code: code.into(),
        message: match text {
            Cow::Borrowed(text) => cut(text, MESSAGE_MAX).into_owned().into(),
            Cow::Owned(text) => cut(&text, MESSAGE_MAX).into_owned().into(),
        },
    }
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

/// `address.city`, `items[3].name`; a missing or unknown field is named after its parent.
fn locate(path: &Path, name: Option<&str>) -> String {
    let mut place = String::new();
    let named = name.map(|key| Segment::Map {
        key: key.to_owned(),
    });
    let already = matches!(
        (path.iter().next_back(), &named),
        (Some(Segment::Map { key: last }), Some(Segment::Map { key })) if last == key
    );
    let added = named.as_ref().filter(|_| !already);
    for segment in path.iter().chain(added) {
        if place.len() > PATH_MAX {
            break;
        }
        push(&mut place, segment);
    }
    cut(&place, PATH_MAX).into_owned()
}

fn push(place: &mut String, segment: &Segment) {
    let key = match segment {
        Segment::Seq { index } => {
            let _ = write!(place, "[{index}]");
            return;
        }
        Segment::Map { key } => key,
        Segment::Enum { variant } => variant,
        Segment::Unknown => "?",
    };
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

/// Where a JSON document holds U+0000, which PostgreSQL cannot store in a text.
pub(super) fn find_nul(json: &str) -> Option<String> {
    if !escapes_nul(json.as_bytes()) {
        return None;
    }
    let mut place = String::new();
    let document = serde_json::from_str(json).ok()?;
    walk(&document, &mut place).then(|| cut(&place, PATH_MAX).into_owned())
}

/// Whether `\u0000` stands there as an escape; a cheap look before a costly one.
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

fn walk(value: &serde_json::Value, place: &mut String) -> bool {
    use serde_json::Value;
    let kept = place.len();
    let found = match value {
        Value::String(text) => return text.contains('\0'),
        Value::Array(items) => items.iter().enumerate().any(|(index, item)| {
            place.truncate(kept);
            push(place, &Segment::Seq { index });
            walk(item, place)
        }),
        Value::Object(fields) => fields.iter().any(|(key, field)| {
            place.truncate(kept);
            push(place, &Segment::Map { key: key.clone() });
            key.contains('\0') || walk(field, place)
        }),
        _ => false,
    };
    if !found {
        place.truncate(kept);
    }
    found
}
