//! The changelog: versions in order, the newest of which is that of the package, and what an owner has to do for each.

use super::read;

/// A release: its version as numbers, its date, and its text.
struct Release {
    version: Vec<u32>,
    date: String,
    text: String,
}

fn releases(changelog: &str) -> Vec<Release> {
    let sections = changelog.split("\n## ").skip(1);
    let named = sections.filter_map(|section| section.split_once('\n'));
    named
        .filter(|(heading, _)| *heading != "Unreleased")
        .map(|(heading, text)| {
            let (version, date) = heading
                .split_once(" - ")
                .unwrap_or_else(|| panic!("`## {heading}` is not `## 1.2.3 - 2026-01-31`"));
            Release {
                version: numbers(version),
                date: date.to_owned(),
                text: text.to_owned(),
            }
        })
        .collect()
}

fn numbers(version: &str) -> Vec<u32> {
    let parts: Option<Vec<u32>> = version.split('.').map(|part| part.parse().ok()).collect();
    let parts = parts.filter(|parts| parts.len() == 3);
    parts.unwrap_or_else(|| panic!("{version} is no version"))
}

#[test]
fn the_changelog_names_the_version_of_the_package_and_what_an_owner_must_do() {
    let releases = releases(&read("CHANGELOG.md"));
    for pair in releases.windows(2) {
        assert!(pair[0].version > pair[1].version, "the newest is first");
        assert!(pair[0].date >= pair[1].date, "{}", pair[0].date);
    }
    for release in &releases {
        let must = release.text.split_once("### An owner must\n");
        let version = &release.version;
        assert!(
            must.is_some_and(|(_, must)| must.trim_start().starts_with("- ")),
            "{version:?}: `### An owner must` is missing, or has no list; `- Nothing.` is one"
        );
    }
    // A product that was just made has no release yet.
    if let Some(newest) = releases.first() {
        assert_eq!(newest.version, numbers(env!("CARGO_PKG_VERSION")));
    }
}
