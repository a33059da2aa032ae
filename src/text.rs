//! Validation of single-line text, such as names and reasons.

/// Trims the text; `None` unless it is 1 to `longest` characters without control characters.
#[must_use]
pub fn one_line(raw: &str, longest: usize) -> Option<String> {
    let text = raw.trim();
    let fits = (1..=longest).contains(&text.chars().count()) && !text.contains(char::is_control);
    fits.then(|| text.to_owned())
}
