//! Types of single-line text, such as names and reasons.

/// Declares types of text in one line without space around it and control characters, of 1 to so many characters.
#[macro_export]
macro_rules! one_line_types {
    ($($(#[$attribute:meta])* $visibility:vis struct $name:ident($longest:tt);)+) => {$(
        #[derive(
            Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema, sqlx::Type,
        )]
        #[serde(try_from = "String")]
        #[sqlx(transparent)]
        #[schema(value_type = String, min_length = 1, max_length = $longest)]
        $(#[$attribute])*
        $visibility struct $name(String);

        impl $name {
            $visibility fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = &'static str;

            fn try_from(raw: String) -> Result<Self, &'static str> {
                $crate::one_line(&raw, $longest)
                    .map(Self)
                    .ok_or(concat!("must be 1 to ", $longest, " characters in one line"))
            }
        }
    )+};
}

/// Trims the text; `None` unless it is 1 to `longest` characters without control characters.
#[must_use]
pub fn one_line(raw: &str, longest: usize) -> Option<String> {
    let text = raw.trim();
    let fits = (1..=longest).contains(&text.chars().count()) && !text.contains(char::is_control);
    fits.then(|| text.to_owned())
}
