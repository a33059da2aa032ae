//! The reference page and the example env file, from the declarations.

use std::fmt::Write as _;

use crate::{Entry, Section};

/// The width of the env file.
const WIDTH: usize = 100;

/// Table of the settings that have no default.
#[must_use]
pub fn required_table(sections: &[Section]) -> String {
    let mut page = "| variable | description |\n| --- | --- |\n".to_owned();
    let entries = sections.iter().flat_map(|section| section.entries);
    for entry in entries.filter(|entry| entry.required.is_some()) {
        let _ = writeln!(page, "| `{}` | {} |", entry.name, cell(&entry.help_text()));
    }
    page
}

/// Heading, text and table of a section without its required settings; `None` if it has no others.
#[must_use]
pub fn markdown_section(section: &Section) -> Option<String> {
    let optional = section.entries.iter();
    let mut optional = optional.filter(|entry| entry.required.is_none()).peekable();
    optional.peek()?;
    let mut page = format!("## {}\n\n", section.title);
    if !section.intro.is_empty() {
        let _ = writeln!(page, "{}\n", section.intro);
    }
    page.push_str("| variable | default | bounds | description |\n| --- | --- | --- | --- |\n");
    for entry in optional {
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            entry.name,
            cell(&entry.default_in_words()),
            entry.bounds_text().unwrap_or_default(),
            cell(&entry.help_text()),
        );
    }
    Some(page)
}

/// List of the production rules of each setting.
#[must_use]
pub fn production_list(sections: &[Section]) -> String {
    let mut page = String::new();
    for entry in sections.iter().flat_map(|section| section.entries) {
        let rules: Vec<_> = entry.production.into_iter().flatten().collect();
        if !rules.is_empty() {
            let _ = writeln!(page, "- `{}` {}", entry.name, rules.join("; "));
        }
    }
    page
}

/// A section of the env file: required settings to fill in, the others commented out with their
/// defaults.
#[must_use]
pub fn env_section(section: &Section) -> String {
    let rule = "-".repeat(WIDTH.saturating_sub(section.title.len() + 7));
    let mut page = format!("# --- {} {rule}\n\n", section.title);
    for entry in section.entries {
        let default = entry.fixed_default(true).unwrap_or_default();
        let (mark, value) = match entry.required {
            Some(_) => ("", entry.example),
            None => (
                "#",
                if default.is_empty() {
                    entry.example
                } else {
                    default
                },
            ),
        };
        let mut help = plain(&entry.help_text());
        if entry.required.is_some() {
            help.insert_str(0, "Required. ");
        }
        if let Some(bounds) = entry.bounds_text() {
            let _ = write!(help, " Bounds: {bounds}.");
        }
        if let Some(computed) = entry.computed {
            let _ = write!(help, " Default: {}.", plain(computed.description));
        }
        let _ = writeln!(page, "{}{mark}{}={value}", comment(&help), entry.name);
    }
    page
}

impl Entry {
    fn help_text(&self) -> String {
        let lines: Vec<_> = self.help.iter().map(|line| line.trim()).collect();
        lines.join(" ")
    }

    fn default_in_words(&self) -> String {
        let fixed = self.default.map(|text| format!("`{text}`"));
        let computed = self
            .computed
            .map(|computed| computed.description.to_owned());
        let default = fixed.or(computed).unwrap_or_else(|| "none".to_owned());
        match self.in_development {
            Some(text) => format!("{default}, in development `{text}`"),
            None => default,
        }
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// Markdown without code marks and without the targets of links.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("](") {
        let (before, title) = before.rsplit_once('[').unwrap_or((before, ""));
        plain.push_str(before);
        plain.push_str(title);
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    plain.push_str(rest);
    plain.replace('`', "")
}

/// Lines of a comment.
fn comment(text: &str) -> String {
    let mut comment = String::new();
    let mut width = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count() + 1;
        if width == 0 || width + length > WIDTH {
            comment.push_str(if width == 0 { "#" } else { "\n#" });
            width = 1;
        }
        comment.push(' ');
        comment.push_str(word);
        width += length;
    }
    comment.push('\n');
    comment
}
