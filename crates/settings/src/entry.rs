//! Declaration of a setting: name, type, default, bounds, help and production rules.

use crate::Reader;

/// A setting's declaration.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The variable's name.
    pub name: &'static str,
    /// Its help: the lines of the doc comment, in Markdown.
    pub help: &'static [&'static str],
    pub(crate) default: Option<&'static str>,
    pub(crate) in_development: Option<&'static str>,
    pub(crate) computed: Option<Computed>,
    pub(crate) bounds: Option<(Option<&'static str>, &'static str)>,
    pub(crate) required: Option<&'static str>,
    pub(crate) is_secret: bool,
    pub(crate) example: &'static str,
    pub(crate) production: [Option<&'static str>; 4],
}

/// A default that follows from other settings or from the machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Computed {
    pub(crate) description: &'static str,
    pub(crate) text: fn(&Reader<'_>) -> Option<String>,
}

/// Settings that are declared and described together.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// The heading.
    pub title: &'static str,
    /// Text below the heading, in Markdown; may be empty.
    pub intro: &'static str,
    /// The settings, in order.
    pub entries: &'static [Entry],
}

#[doc(hidden)]
impl Entry {
    #[must_use]
    pub const fn new(name: &'static str, help: &'static [&'static str]) -> Self {
        Self {
            name,
            help,
            default: None,
            in_development: None,
            computed: None,
            bounds: None,
            required: None,
            is_secret: false,
            example: "",
            production: [None; 4],
        }
    }

    #[must_use]
    pub const fn default_text(mut self, text: &'static str) -> Self {
        self.default = Some(text);
        self
    }

    #[must_use]
    pub const fn in_development(mut self, text: &'static str) -> Self {
        self.in_development = Some(text);
        self
    }

    #[must_use]
    pub const fn computed(
        mut self,
        description: &'static str,
        text: fn(&Reader<'_>) -> Option<String>,
    ) -> Self {
        self.computed = Some(Computed { description, text });
        self
    }

    #[must_use]
    pub const fn bounds(mut self, low: Option<&'static str>, high: &'static str) -> Self {
        self.bounds = Some((low, high));
        self
    }

    #[must_use]
    pub const fn required(mut self, hint: &'static str) -> Self {
        self.required = Some(hint);
        self
    }

    #[must_use]
    pub const fn secret(mut self) -> Self {
        self.is_secret = true;
        self
    }

    #[must_use]
    pub const fn example(mut self, text: &'static str) -> Self {
        self.example = text;
        self
    }

    /// # Panics
    ///
    /// At compile time, above four rules.
    #[must_use]
    pub const fn production(mut self, message: &'static str) -> Self {
        let mut free = 0;
        while self.production[free].is_some() {
            free += 1;
        }
        self.production[free] = Some(message);
        self
    }
}

impl Entry {
    /// Marks a secret, whose value is never shown.
    #[must_use]
    pub const fn is_secret(&self) -> bool {
        self.is_secret
    }

    /// The default's text, where it is fixed.
    pub(crate) fn fixed_default(&self, production: bool) -> Option<&'static str> {
        self.in_development.filter(|_| !production).or(self.default)
    }

    /// The bounds in words: `1 to 10`, `at most 1h`.
    pub(crate) fn bounds_text(&self) -> Option<String> {
        self.bounds.map(|(low, high)| match low {
            Some(low) => format!("{low} to {high}"),
            None => format!("at most {high}"),
        })
    }
}
