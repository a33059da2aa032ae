//! The text of a product: names of the template replaced, and parts removed that only the template needs.

use crate::answers::{Answers, Licence};
use crate::error::{Error, Result};
use crate::names::{Names, TEMPLATE};

/// A line with this is not in products, nor are those from one with `: begin` behind it to one with `: end`.
const MARK: &str = "template-only";

/// Prefix of the template's API keys.
const KEY_PREFIX: &str = "gw";

/// Beginning of the template's advisory locks.
const LOCKS: &str = "0x6772_6f75_6e64_";

/// Replaces each form of the template's name. `groundwork` is the crate in Rust where an identifier stands, elsewhere the package.
pub(crate) fn rename(text: &str, names: &Names) -> String {
    let lower = text.to_ascii_lowercase();
    let mut renamed = String::with_capacity(text.len());
    let mut done = 0;
    for (at, _) in lower.match_indices(TEMPLATE) {
        let end = at + TEMPLATE.len();
        let (before, after) = (&text[..at], &text[end..]);
        renamed.push_str(&text[done..at]);
        renamed.push_str(&form(&text[at..end], before, after, names));
        done = end;
    }
    renamed.push_str(&text[done..]);
    let renamed = renamed.replace(LOCKS, &names.locks());
    replace_key_prefix(&renamed, &names.key_prefix)
}

fn form(found: &str, before: &str, after: &str, names: &Names) -> String {
    let identifies = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let touches = before.ends_with(identifies) || after.starts_with(identifies);
    if found.starts_with("GR") {
        names.upper.clone()
    } else if found.starts_with('G') {
        let in_url = before.ends_with("totp/") || before.ends_with("issuer=");
        match (touches && !in_url, in_url) {
            (true, _) => names.pascal.clone(),
            (_, true) => names.title.replace(' ', "%20"),
            _ => names.title.clone(),
        }
    } else if is_crate(before, after) {
        names.snake.clone()
    } else {
        names.kebab.clone()
    }
}

fn is_crate(before: &str, after: &str) -> bool {
    const LEVELS: [&str; 6] = ["=trace", "=debug", "=info", "=warn", "=error", "=off"];
    if before.ends_with("CARGO_BIN_EXE_") {
        return false;
    }
    after.starts_with("::")
        || after.starts_with('_')
        || before.ends_with('_')
        || before.ends_with("use ")
        || LEVELS.iter().any(|level| after.starts_with(level))
}

fn replace_key_prefix(text: &str, prefix: &str) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut done = 0;
    for (at, _) in text.match_indices(KEY_PREFIX) {
        let end = at + KEY_PREFIX.len();
        let is_inside = text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        if !is_inside && text[end..].starts_with(['_', '"']) {
            replaced.push_str(&text[done..at]);
            replaced.push_str(prefix);
            done = end;
        }
    }
    replaced.push_str(&text[done..]);
    replaced
}

/// Removes the marked lines of a file that has marks.
pub(crate) fn remove_marked_if_any(text: &str) -> String {
    if text.contains(MARK) {
        remove_marked(text)
    } else {
        text.to_owned()
    }
}

/// Removes the marked lines, and the empty line behind them where one is before them as well.
fn remove_marked(text: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut is_marked = false;
    let mut has_ended = false;
    for line in text.lines() {
        if line.contains(MARK) {
            if line.contains(": begin") {
                is_marked = true;
            } else if line.contains(": end") {
                is_marked = false;
                has_ended = true;
            }
            continue;
        }
        let is_double = has_ended
            && line.trim().is_empty()
            && kept.last().is_none_or(|last| last.trim().is_empty());
        has_ended = false;
        if !is_marked && !is_double {
            kept.push(line);
        }
    }
    let mut text = kept.join("\n");
    text.push('\n');
    text
}

/// Sorts the packages of a `Cargo.lock` again, and their lists of dependencies.
pub(crate) fn sort_lock(text: &str, without: &str) -> String {
    const SEPARATOR: &str = "\n\n[[package]]\n";
    let mut parts = text.trim_end().split(SEPARATOR);
    let head = parts.next().unwrap_or_default();
    let key = |part: &str, field: &str| {
        let line = part.lines().find(|line| line.starts_with(field));
        line.unwrap_or_default().to_owned()
    };
    let unwanted = format!("name = \"{without}\"");
    let mut packages: Vec<String> = parts
        .filter(|part| key(part, "name = ") != unwanted)
        .map(sort_dependencies)
        .collect();
    packages.sort_by_key(|part| (key(part, "name = "), version(&key(part, "version = "))));
    let mut all = vec![head.to_owned()];
    all.extend(packages);
    let mut text = all.join(SEPARATOR);
    text.push('\n');
    text
}

/// The numbers of a version, by which Cargo orders packages of one name.
fn version(text: &str) -> Vec<u64> {
    let numbers = text.split(|c: char| !c.is_ascii_digit());
    numbers.filter_map(|number| number.parse().ok()).collect()
}

fn sort_dependencies(package: &str) -> String {
    const BEGIN: &str = "dependencies = [\n";
    let Some((before, rest)) = package.split_once(BEGIN) else {
        return package.to_owned();
    };
    let Some((list, after)) = rest.split_once("\n]") else {
        return package.to_owned();
    };
    let mut list: Vec<&str> = list.lines().collect();
    list.sort_by_key(|line| {
        let (name, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        (name.trim_matches(['"', ',']), version(rest))
    });
    format!("{before}{BEGIN}{}\n]{after}", list.join("\n"))
}

/// A replacement in one file, whose text must be there exactly once.
struct Edit {
    path: &'static str,
    from: &'static str,
    to: String,
}

/// The edits that must be possible: all in the newest state of the template; an earlier one may have other text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edits {
    All,
    WherePossible,
}

/// Applies what the answers change in a file.
pub(crate) fn apply(path: &str, text: &str, answers: &Answers, which: Edits) -> Result<String> {
    let mut text = text.to_owned();
    for edit in edits(answers).into_iter().filter(|edit| edit.path == path) {
        if text.matches(edit.from).count() != 1 {
            if which == Edits::WherePossible {
                continue;
            }
            return Err(Error::Stale {
                path: edit.path,
                expected: edit.from,
            });
        }
        text = text.replace(edit.from, &edit.to);
    }
    Ok(text)
}

fn edits(answers: &Answers) -> Vec<Edit> {
    let licence = answers.licence;
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut edits = vec![
        Edit {
            path: "Cargo.toml",
            from: "\"A SaaS backend to take over, rename and own: accounts, sessions, billing plans, API keys, emails and background jobs that already work.\"",
            to: quoted(&answers.description),
        },
        Edit {
            path: "Cargo.toml",
            from: "\"dev\", \"generate\"]",
            to: "\"dev\"]".into(),
        },
        Edit {
            path: "Dockerfile",
            from: "\"A SaaS backend to generate, rename and own\"",
            to: docker_string(&answers.description),
        },
        Edit {
            path: "Dockerfile",
            from: "licenses=\"MIT OR Apache-2.0\"",
            to: format!("licenses={}", quoted(licence.identifier())),
        },
        Edit {
            path: "src/app/document.rs",
            from: "license(name = \"MIT OR Apache-2.0\", identifier = \"MIT OR Apache-2.0\")",
            to: format!(
                "license(name = {}, identifier = {})",
                quoted(licence.name()),
                quoted(licence.identifier())
            ),
        },
        Edit {
            path: "docs/openapi.json",
            from: "      \"name\": \"MIT OR Apache-2.0\",\n      \"identifier\": \"MIT OR Apache-2.0\"",
            to: format!(
                "      \"name\": {},\n      \"identifier\": {}",
                quoted(licence.name()),
                quoted(licence.identifier())
            ),
        },
        npm_licence("sdk/typescript/package.json", licence),
        npm_licence("sdk/typescript/package-lock.json", licence),
        Edit {
            path: "CONTRIBUTING.md",
            from: "Contributions are taken under the licence of the project, MIT or Apache-2.0 at the user's choice.",
            to: format!(
                "The licence of the product is {}.",
                licence_in_words(licence)
            ),
        },
    ];
    edits.push(match licence {
        Licence::Proprietary => Edit {
            path: "Cargo.toml",
            from: "license = \"MIT OR Apache-2.0\"",
            to: "license-file = \"LICENSE\"".into(),
        },
        other => Edit {
            path: "Cargo.toml",
            from: "license = \"MIT OR Apache-2.0\"",
            to: format!("license = {}", quoted(other.name())),
        },
    });
    edits
}

fn npm_licence(path: &'static str, licence: Licence) -> Edit {
    let name = match licence {
        Licence::Proprietary => "UNLICENSED",
        other => other.name(),
    };
    Edit {
        path,
        from: "\"license\": \"MIT OR Apache-2.0\"",
        to: format!("\"license\": \"{name}\""),
    }
}

pub(crate) fn licence_in_words(licence: Licence) -> &'static str {
    match licence {
        Licence::Proprietary => "proprietary: [LICENSE](LICENSE)",
        Licence::Mit => "[MIT](LICENSE)",
        Licence::Apache => "[Apache-2.0](LICENSE)",
        Licence::MitOrApache => {
            "[MIT](LICENSE-MIT) or [Apache-2.0](LICENSE-APACHE), as the user likes"
        }
    }
}

/// A string of a Dockerfile, where a dollar begins a variable.
fn docker_string(text: &str) -> String {
    let escaped = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('$', "\\$");
    format!("\"{escaped}\"")
}

/// Text of Markdown that is shown as it is.
pub(crate) fn markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    // At the beginning of a line these begin a list or a rule.
    let number = text.chars().take_while(char::is_ascii_digit).count();
    for (at, c) in text.chars().enumerate() {
        let begins =
            (at == 0 && "-+=".contains(c)) || (at == number && number > 0 && ".)".contains(c));
        if begins || "\\`*_{}[]<>#|~&".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn names() -> Names {
        Names::new("acme-billing", &BTreeSet::new()).unwrap()
    }

    #[test]
    fn each_form_of_the_name_is_replaced_by_its_own() {
        for (from, to) in [
            ("use groundwork::app;", "use acme_billing::app;"),
            ("use groundwork_dev::S3;", "use acme_billing_dev::S3;"),
            (
                "env!(\"CARGO_BIN_EXE_groundwork\")",
                "env!(\"CARGO_BIN_EXE_acme-billing\")",
            ),
            ("groundwork-dev db", "acme-billing-dev db"),
            ("name = \"groundwork\"", "name = \"acme-billing\""),
            ("info,groundwork=debug", "info,acme_billing=debug"),
            ("GROUNDWORK_DEV", "ACME_BILLING_DEV"),
            ("# Groundwork", "# Acme Billing"),
            (
                "totp/Groundwork:ada&issuer=Groundwork&x",
                "totp/Acme%20Billing:ada&issuer=Acme%20Billing&x",
            ),
            ("GroundworkThing", "AcmeBillingThing"),
            ("groundwork and groundwork", "acme-billing and acme-billing"),
            (
                "gw_live_x \"gw\" hgw_ gwx",
                "acmebilling_live_x \"acmebilling\" hgw_ gwx",
            ),
            (
                "LOCK: i64 = 0x6772_6f75_6e64_0001;",
                "LOCK: i64 = 0x6163_6d65_2d62_0001;",
            ),
        ] {
            assert_eq!(rename(from, &names()), to);
        }
        let longer = Names::new("groundwork-two", &BTreeSet::new()).unwrap();
        assert_eq!(rename("groundwork", &longer), "groundwork-two");
    }

    #[test]
    fn marked_lines_are_removed() {
        let text = "a\n\n# template-only: begin\nb\n# template-only: end\n\nc\n";
        assert_eq!(remove_marked(text), "a\n\nc\n");
        assert_eq!(remove_marked("a\nb <!-- template-only -->\nc\n"), "a\nc\n");
        assert_eq!(remove_marked("a\nb\n"), "a\nb\n");
    }

    #[test]
    fn a_lock_file_is_sorted_again() {
        let lock = "# head\nversion = 4\n\n[[package]]\nname = \"b\"\nversion = \"1\"\ndependencies = [\n \"z\",\n \"y\",\n]\n\n\
            [[package]]\nname = \"a\"\nversion = \"1\"\n\n[[package]]\nname = \"gone\"\nversion = \"1\"\n";
        let sorted = "# head\nversion = 4\n\n[[package]]\nname = \"a\"\nversion = \"1\"\n\n\
            [[package]]\nname = \"b\"\nversion = \"1\"\ndependencies = [\n \"y\",\n \"z\",\n]\n";
        assert_eq!(sort_lock(lock, "gone"), sorted);
    }

    #[test]
    fn a_description_comes_out_as_it_went_in() {
        assert_eq!(
            docker_string("a \"b\" $c \\d {e} 🚀"),
            "\"a \\\"b\\\" \\$c \\\\d {e} 🚀\""
        );
        assert_eq!(markdown("1. a"), "1\\. a");
        assert_eq!(markdown("- a - b"), "\\- a - b");
        assert_eq!(
            markdown("a *b* <c> & `d` 🚀"),
            "a \\*b\\* \\<c\\> \\& \\`d\\` 🚀"
        );
    }
}
