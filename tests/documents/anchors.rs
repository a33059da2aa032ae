//! Links into a page lead to one of its headings.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{files_below, read};

/// Anchors of a page, as GitHub makes them of headings: lower case, dashes for spaces, without punctuation.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    let mut is_code = false;
    for line in text.lines() {
        if line.starts_with("```") {
            is_code = !is_code;
        }
        let heading = line.trim_start_matches('#');
        if is_code || heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let slug: String = heading
            .trim()
            .to_lowercase()
            .chars()
            .filter_map(slug)
            .collect();
        let repeated = (1..).map(|n| format!("{slug}-{n}"));
        let mut candidates = std::iter::once(slug.clone()).chain(repeated);
        anchors.extend(candidates.find(|it| !anchors.contains(it)));
    }
    anchors
}

fn slug(c: char) -> Option<char> {
    match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        _ => c.is_alphanumeric().then_some(c),
    }
}

#[test]
fn every_link_to_a_heading_leads_to_one() {
    let mut missing = Vec::new();
    let mut checked = 0;
    let below = ["docs", "crates", "sdk"].into_iter().flat_map(files_below);
    let below = below.filter(|path| path.extension().is_some_and(|it| it == "md"));
    let below = below.filter(|path| !path.components().any(|it| it.as_os_str() == "node_modules"));
    let first = [
        "README.md",
        "CONTRIBUTING.md",
        "CLAUDE.md",
        "SECURITY.md",
        "CHANGELOG.md",
    ];
    for page in below.chain(first.map(PathBuf::from)) {
        let text = read(&page);
        let links = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        for (path, anchor) in links.filter_map(|link| link.split_once('#')) {
            if path.contains("://") {
                continue;
            }
            let target = match path {
                "" => page.clone(),
                path => page.parent().unwrap_or(Path::new("")).join(path),
            };
            if target.extension().is_none_or(|it| it != "md") {
                continue;
            }
            checked += 1;
            if !anchors(&read(&target)).contains(anchor) {
                missing.push(format!("{}: {path}#{anchor}", page.display()));
            }
        }
    }
    assert!(checked > 100, "only {checked} links were found");
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn anchors_are_those_of_github() {
    let text = "# On one host: `docker-compose.prod.yml`\n```sh\n# no heading\n```\n## Files\n## Files\n#hash\n";
    let expected = ["files", "files-1", "on-one-host-docker-composeprodyml"];
    assert_eq!(anchors(text), expected.map(str::to_owned).into());
}
