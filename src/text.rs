//! What names and reasons have in common: text that somebody typed into one line.

/// The text without space around it, if it is 1 to `longest` characters in one line.
#[must_use]
pub fn one_line(raw: &str, longest: usize) -> Option<String> {
    let text = raw.trim();
    let fits = (1..=longest).contains(&text.chars().count()) && !text.contains(char::is_control);
    fits.then(|| text.to_owned())
}
