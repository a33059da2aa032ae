//! The documents against what they speak of: settings, and paths that must be there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The pages that a reader of the repository meets.
const PAGES: [&str; 6] = [
    "README.md",
    "CLAUDE.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/architecture.md",
    "docs/configuration.md",
];

fn read(path: impl AsRef<Path>) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files that name variables: each section of the configuration has its own.
fn section_files() -> impl Iterator<Item = String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config");
    let entries = fs::read_dir(folder).expect("the folder is there");
    let names = entries.map(|entry| entry.expect("it can be listed").file_name());
    let names = names.map(|name| name.into_string().expect("it is text"));
    names
        .filter(|name| name != "tests.rs")
        .map(|name| format!("src/config/{name}"))
}

#[test]
fn every_setting_is_described_and_nothing_else() {
    let is_name = |text: &&str| {
        text.len() > 3
            && text
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte == b'_')
            && !text.starts_with('_')
            && !text.ends_with('_')
    };
    let files = section_files().map(read);
    let without_tests = |code: String| code.split("#[cfg(test)]").next().map(str::to_owned);
    let code: String = files.filter_map(without_tests).collect();
    let mut read_by_code: BTreeSet<&str> = code.split('"').filter(is_name).collect();
    read_by_code.remove("CARGO_PKG_VERSION");
    let page = read("docs/configuration.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let described: BTreeSet<&str> = rows.filter_map(|row| row.split('`').next()).collect();
    let undescribed: Vec<_> = read_by_code.difference(&described).collect();
    let unknown: Vec<_> = described.difference(&read_by_code).collect();
    assert!(
        undescribed.is_empty() && unknown.is_empty(),
        "undescribed {undescribed:?}, unknown {unknown:?}"
    );
}

#[test]
fn every_path_that_a_page_names_is_there() {
    let mut missing = Vec::new();
    for page in PAGES {
        let text = read(page);
        let quoted = text.split('`').skip(1).step_by(2);
        let paths = quoted.filter(|text| is_path_of_ours(text));
        let folder = Path::new(page).parent().unwrap_or(Path::new(""));
        let links = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split([')', '#']).next());
        let links = links.filter(|link| !link.is_empty() && !link.contains("://"));
        let linked = links.map(|link| folder.join(link));
        for path in paths.map(Into::into).chain(linked) {
            if !Path::new(env!("CARGO_MANIFEST_DIR")).join(&path).exists() {
                missing.push(format!("{page}: {}", path.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Whether this reads like a path from the root, and one that is kept: no placeholder, no command.
fn is_path_of_ours(text: &str) -> bool {
    let folders = [
        "src/",
        "tests/",
        "docs/",
        "dev/",
        "migrations/",
        ".ci/",
        ".github/",
    ];
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "./_-".contains(c);
    folders.iter().any(|folder| text.starts_with(folder))
        && text.chars().all(is_plain)
        && !text.contains("YYYY")
}
