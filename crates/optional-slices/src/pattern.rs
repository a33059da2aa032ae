//! Finds and replaces a piece of text, whatever the line breaks and indentation of either are.

use std::ops::Range;

/// The characters that matter, with their positions: white space only between two words, and no comma before a closing
/// bracket. A formatter changes both with the length of names.
struct Condensed {
    text: Vec<char>,
    positions: Vec<usize>,
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

impl Condensed {
    fn new(text: &str) -> Self {
        let all: Vec<(usize, char)> = text.char_indices().collect();
        let mut condensed = Self {
            text: Vec::new(),
            positions: Vec::new(),
        };
        for (index, &(position, c)) in all.iter().enumerate() {
            let mut following = all[index + 1..].iter().map(|(_, c)| *c);
            if c.is_whitespace() {
                let next = following.find(|c| !c.is_whitespace());
                let separates =
                    condensed.text.last().is_some_and(|c| is_word(*c)) && next.is_some_and(is_word);
                if !separates {
                    continue;
                }
                condensed.text.push(' ');
            } else if c == ','
                && following
                    .find(|c| !c.is_whitespace())
                    .is_some_and(|c| ")]}".contains(c))
            {
                continue;
            } else {
                condensed.text.push(c);
            }
            condensed.positions.push(position);
        }
        condensed
    }
}

/// Every place of `wanted` in `text`, in bytes of `text`. A word is not found in a longer one or at the end of a path. A last
/// comma may be absent before a closing bracket.
pub(crate) fn find(text: &str, wanted: &str) -> Vec<Range<usize>> {
    let haystack = Condensed::new(text);
    let wanted = wanted.trim();
    let item = wanted.strip_suffix(',');
    let needle = Condensed::new(item.unwrap_or(wanted)).text;
    let (Some(first), Some(last)) = (needle.first(), needle.last()) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (start, window) in haystack.text.windows(needle.len()).enumerate() {
        if window != needle.as_slice() {
            continue;
        }
        let end = start + needle.len();
        let from = haystack.positions[start];
        let mut to = haystack.positions[end - 1] + last.len_utf8();
        let continues_before =
            is_word(*first) && text[..from].ends_with(|c| is_word(c) || c == ':');
        let continues_after = is_word(*last) && text[to..].starts_with(is_word);
        if continues_before || continues_after {
            continue;
        }
        if item.is_some() {
            let after = text[to..].trim_start();
            if after.starts_with(',') {
                to = text.len() - after.len() + 1;
            } else if !after.starts_with([')', ']', '}']) {
                continue;
            }
        }
        found.push(from..to);
    }
    found
}

/// Replaces a range by lines, or removes it with the lines that it fills and an empty line that separated it.
pub(crate) fn replace(text: &str, range: &Range<usize>, lines: &[String]) -> String {
    let before = &text[..range.start];
    let after = &text[range.end..];
    let indentation_at = before.rfind('\n').map_or(0, |at| at + 1);
    let indentation = &before[indentation_at..];
    let begins_line = indentation.trim().is_empty();
    if !lines.is_empty() {
        let indentation = if begins_line { indentation } else { "" };
        let new = lines.join(&format!("\n{indentation}"));
        return format!("{before}{new}{after}");
    }
    let rest = after.split_once('\n').map_or(after, |(rest, _)| rest);
    if !(begins_line && rest.trim().is_empty()) {
        // Within a line one of two spaces is enough.
        let has_space = before.ends_with(' ');
        let after = if has_space {
            after.trim_start_matches(' ')
        } else {
            after
        };
        return format!("{before}{after}");
    }
    let before = &before[..indentation_at];
    let mut after = &after[(rest.len() + 1).min(after.len())..];
    let opens = before.trim_end().ends_with(['{', '[', '(']) || before.is_empty();
    if before.ends_with("\n\n") || opens {
        after = after.strip_prefix('\n').unwrap_or(after);
    }
    let closes = after.trim_start().starts_with(['}', ']', ')']) || after.is_empty();
    let before = if closes && before.ends_with("\n\n") {
        &before[..before.len() - 1]
    } else {
        before
    };
    format!("{before}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn removed(text: &str, wanted: &str) -> String {
        let found = find(text, wanted);
        assert_eq!(found.len(), 1, "{wanted} in {text}");
        replace(text, &found[0], &[])
    }

    #[test]
    fn line_breaks_indentation_and_last_commas_do_not_matter() {
        let text = "a\n    .group(\n        API,\n        signed_in(),\n    )\n    .rest()\n";
        assert_eq!(
            removed(text, ".group(API, signed_in())"),
            "a\n    .rest()\n"
        );
        assert_eq!(
            removed("use crate::{a,\n    b, c,\n};\n", "b,"),
            "use crate::{a,\n    c,\n};\n"
        );
    }

    #[test]
    fn a_word_is_not_found_in_a_longer_one() {
        assert!(find("secrets_of my_secrets secretsx", "secrets").is_empty());
        assert_eq!(find("(secrets) secrets.secrets", "secrets").len(), 3);
        assert!(find("mod secrets", "modsecrets").is_empty());
    }

    #[test]
    fn the_last_item_of_a_list_is_found_with_and_without_its_comma() {
        for text in ["[\n    Self::A,\n    A,\n]", "[Self::A, A]"] {
            assert_eq!(find(text, "A,").len(), 1, "{text}");
        }
        assert_eq!(
            removed("enum E {\n    A,\n    B,\n}\n", "B,"),
            "enum E {\n    A,\n}\n"
        );
        assert!(find("A; B", "A,").is_empty());
    }

    #[test]
    fn lines_go_with_the_empty_line_that_separated_them() {
        assert_eq!(removed("# A\n\nb\n\n# C\n\nd\n", "# A\n\nb"), "# C\n\nd\n");
        assert_eq!(
            removed("x {\n    a;\n\n    b;\n}\n", "b;"),
            "x {\n    a;\n}\n"
        );
        assert_eq!(
            removed("x {\n    a;\n\n    b;\n}\n", "a;"),
            "x {\n    b;\n}\n"
        );
        assert_eq!(removed("a\n\nb\n", "b"), "a\n");
    }

    #[test]
    fn a_replacement_keeps_the_indentation() {
        let text = "f(\n    one two\n)";
        let found = find(text, "one two");
        assert_eq!(
            replace(text, &found[0], &["three".into(), "four".into()]),
            "f(\n    three\n    four\n)"
        );
    }
}
