//! Checks the documents: settings, paths and tests that they name, and retired words.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "documents/anchors.rs"]
mod anchors;
#[path = "documents/changelog.rs"]
mod changelog;
#[path = "documents/commands.rs"]
mod commands;

/// The pages whose paths are checked.
const PAGES: [&str; 34] = [
    "README.md",
    "CLAUDE.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/adding.md",
    "docs/architecture.md",
    "docs/backups.md",
    "docs/billing.md",
    "docs/browser.md",
    "docs/configuration.md",
    "docs/deploy/fly.md",
    "docs/deploy/kubernetes.md",
    "docs/deploy/one-host.md",
    "docs/deploy/railway.md",
    "docs/deploy/render.md",
    "docs/deployment.md",
    "docs/fake-stripe.md",
    "docs/faults.md",
    "docs/glossary.md",
    "docs/idempotency.md",
    "docs/key-rotation.md",
    "docs/limits.md",
    "docs/migrations.md",
    "docs/observability.md",
    "docs/performance.md",
    "docs/privacy/data.md",
    "docs/privacy/erasure.md",
    "docs/scale.md",
    "docs/scale/distribution.md",
    "docs/scale/failover.md",
    "docs/scale/reads.md",
    "docs/scale/redis.md",
    "docs/security/asvs.md",
    "docs/security/threat-model.md",
];

/// Goes through a standard by requirement, with the test that shows each.
const ASVS: &str = "docs/security/asvs.md";

/// Goes through attacks, with the test that shows what stops each.
const THREAT_MODEL: &str = "docs/security/threat-model.md";

/// Has the steps for each kind of change, with the test that fails when one is forgotten.
const ADDING: &str = "docs/adding.md";

/// How many requirements of level 1 and 2 each section of the standard has, the first one first.
const REQUIREMENTS: [(&str, usize); 26] = [
    ("6.1", 3),
    ("6.2", 12),
    ("6.3", 4),
    ("6.4", 4),
    ("6.5", 5),
    ("6.6", 3),
    ("6.8", 4),
    ("7.1", 3),
    ("7.2", 4),
    ("7.3", 2),
    ("7.4", 5),
    ("7.5", 2),
    ("7.6", 2),
    ("8.1", 2),
    ("8.2", 3),
    ("8.3", 1),
    ("8.4", 1),
    ("9.1", 3),
    ("9.2", 4),
    ("10.1", 2),
    ("10.2", 2),
    ("10.3", 4),
    ("10.4", 11),
    ("10.5", 5),
    ("10.6", 2),
    ("10.7", 3),
];

fn read(path: impl AsRef<Path>) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_setting_is_described_and_nothing_else() {
    for (path, format) in [
        ("docs/configuration.md", "--markdown"),
        (".env.production.example", "--env"),
    ] {
        let stale = format!("{path} is not what src/config/ declares: `make settings` writes it");
        assert!(read(path) == rendered(&["config", format]), "{stale}");
    }
}

#[test]
fn the_record_of_processing_is_that_of_the_inventory() {
    let stale = "docs/privacy/data.md is not what src/privacy/ declares: `make privacy` writes it";
    let rendered = rendered(&["privacy", "record"]);
    assert!(read("docs/privacy/data.md") == rendered, "{stale}");
}

/// What the binary prints. Linking the library into this test would cost seconds at each build.
fn rendered(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_groundwork"))
        .args(args)
        .output();
    let output = output.expect("the binary runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
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

#[test]
fn the_page_of_the_architecture_lists_the_layers_of_the_code() {
    let lib = read("src/lib.rs");
    let layer = |text: &str| -> BTreeSet<String> {
        let lines = text
            .lines()
            .filter_map(|line| line.strip_prefix("pub mod "));
        lines
            .map(|line| line.trim_end_matches(';').to_owned())
            .collect()
    };
    let mut layers: Vec<_> = lib.split("\n\n").map(layer).collect();
    layers.retain(|layer| !layer.is_empty());
    layers.reverse();
    let page = read("docs/architecture.md");
    let list = page.split("## The layers").nth(1);
    let list = list.and_then(|rest| rest.split("```").nth(1));
    let list = list.expect("the page lists them").lines().skip(1);
    let modules = list.map(|line| line.split("  ").next().unwrap_or_default());
    let listed: Vec<BTreeSet<String>> = modules
        .map(|line| line.split(" · ").map(str::to_owned).collect())
        .collect();
    assert_eq!(
        listed, layers,
        "docs/architecture.md (left), src/lib.rs (right)"
    );
}

#[test]
fn every_test_that_a_page_names_is_there() {
    for page in [ASVS, THREAT_MODEL] {
        let text = read(page);
        let quoted = text.split('`').skip(1).step_by(2);
        let names: BTreeSet<_> = quoted.filter(|text| is_name_of_a_test(text)).collect();
        assert!(names.len() > 50, "{page} names {} tests", names.len());
        let missing: Vec<_> = names.iter().filter(|name| !is_test(name)).collect();
        assert!(missing.is_empty(), "{page}: {missing:#?}");
    }
    // This page names functions of the code as well; those of tests are sentences.
    let text = read(ADDING);
    let quoted = text.split('`').filter(|text| is_name_of_a_test(text));
    let is_sentence = |name: &&str| name.matches('_').count() > 4;
    let names: BTreeSet<_> = quoted.filter(is_sentence).collect();
    assert!(names.len() > 10, "{ADDING} names {} tests", names.len());
    let missing: Vec<_> = names.iter().filter(|name| !is_test(name)).collect();
    assert!(missing.is_empty(), "{ADDING}: {missing:#?}");
}

/// Rows of `tests/retired_words.txt`: a word, what to say instead, and how often it may be left.
const RETIRED_WORDS: &str = "tests/retired_words.txt";

#[test]
fn retired_words_do_not_come_back() {
    let list = read(RETIRED_WORDS);
    let rows = list
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut left: BTreeMap<&str, (&str, usize)> = BTreeMap::new();
    for row in rows {
        let [word, instead, count] = row.split(" | ").collect::<Vec<_>>()[..] else {
            panic!("a row has three cells: {row}");
        };
        let count = count.parse().expect("a number");
        let before = left.insert(word, (instead, count));
        assert!(before.is_none(), "{word} is listed twice");
    }
    // The names of the product itself are none of them.
    let answers = Path::new(env!("CARGO_MANIFEST_DIR")).join("product.json");
    let own = env!("CARGO_PKG_NAME").to_owned() + &fs::read_to_string(answers).unwrap_or_default();
    for word in words(&own) {
        left.remove(word.as_str());
    }
    let mut found: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for path in ["src", "crates", "docs"].iter().flat_map(files_below) {
        let name = path.file_name().unwrap_or_default();
        // Others' words: a list of passwords, and a document that is generated from the code.
        if name == "common_passwords.txt" || name == "openapi.json" {
            continue;
        }
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        for word in words(&text) {
            if let Some((word, _)) = left.get_key_value(word.as_str()) {
                let place = path.strip_prefix(env!("CARGO_MANIFEST_DIR"));
                let place = place.unwrap_or(&path).display().to_string();
                found.entry(*word).or_default().push(place);
            }
        }
    }
    for (word, mut places) in found {
        let (instead, most) = left[word];
        let count = places.len();
        places.dedup();
        assert!(
            count <= most,
            "`{word}` occurs {count} times, {most} are left; write: {instead}. In {places:#?}"
        );
    }
}

fn files_below(folder: impl AsRef<Path>) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.expect("it can be listed").path());
    let files = paths.flat_map(|path| {
        if path.is_dir() {
            files_below(path)
        } else {
            vec![path]
        }
    });
    files.collect()
}

/// Lower-case words of prose and of identifiers, `snake_case` and `CamelCase` taken apart.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for c in text.chars() {
        if !c.is_ascii_alphabetic() || (before.is_ascii_lowercase() && c.is_ascii_uppercase()) {
            words.push(String::new());
        }
        if c.is_ascii_alphabetic()
            && let Some(word) = words.last_mut()
        {
            word.push(c.to_ascii_lowercase());
        }
        before = c;
    }
    words
}

#[test]
fn every_requirement_has_its_row_with_a_test_or_a_reason() {
    let page = read(ASVS);
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let rows = rows.map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    let rows: Vec<_> = rows
        .filter(|cells| cells[1].starts_with(|c: char| c.is_ascii_digit()))
        .collect();
    let given: Vec<_> = rows.iter().map(|cells| cells[1].to_owned()).collect();
    let sections = REQUIREMENTS.iter();
    let wanted: Vec<_> = sections
        .flat_map(|(section, count)| (1..=*count).map(move |n| format!("{section}.{n}")))
        .collect();
    assert_eq!(given, wanted);
    for cells in rows {
        let [_, number, asks, how, shown, state, _] = cells[..] else {
            panic!("a row has five cells: {cells:?}");
        };
        assert!(!asks.is_empty(), "{number}");
        let check_second_factor =
            shown.split('`').any(is_name_of_a_test) || shown.starts_with("no test: ");
        match state.split([':', ',']).next() {
            Some("met") => assert!(check_second_factor && !how.is_empty(), "{number}"),
            Some("partly") => {
                assert!(check_second_factor && !how.is_empty(), "{number}");
                assert!(has_gap(&page, number), "{number} is not among the gaps");
            }
            Some("n/a") => assert!(state.len() > "n/a: ".len(), "{number} gives no reason"),
            _ => panic!("{number}: {state} is no state"),
        }
    }
}

/// Whether the list of gaps, at the top of the page, names this requirement.
fn has_gap(page: &str, number: &str) -> bool {
    let gaps = page
        .split("\n## ")
        .find(|part| part.starts_with("The gaps"));
    let mut rows = gaps.unwrap_or_default().lines();
    rows.any(|row| row.split(['|', ',']).any(|cell| cell.trim() == number))
}

/// Whether this reads like a test as the runner names it: `file::function`.
fn is_name_of_a_test(text: &str) -> bool {
    let parts: Vec<_> = text.split("::").collect();
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    parts.len() > 1
        && parts
            .iter()
            .all(|part| !part.is_empty() && part.chars().all(is_plain))
}

/// Returns whether there is such a test: in `tests/api/`, `tests/faults/`, in a binary of its own, or beside the code.
fn is_test(name: &str) -> bool {
    let (module, function) = name.rsplit_once("::").expect("a test has a module");
    let path = module.replace("::", "/");
    let beside = path.trim_end_matches("/tests");
    let (krate, in_crate) = beside.split_once('/').unwrap_or((beside, "lib"));
    let places = [
        format!("crates/{}/src/{in_crate}.rs", krate.replace('_', "-")),
        format!("crates/{}/src/{in_crate}/tests.rs", krate.replace('_', "-")),
        format!("tests/api/{path}.rs"),
        format!("tests/faults/{path}.rs"),
        format!("tests/{path}.rs"),
        format!("src/{beside}.rs"),
        format!("src/{path}.rs"),
    ];
    let head = format!("fn {function}() {{");
    places.iter().any(|place| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(place);
        let Ok(text) = fs::read_to_string(path) else {
            return false;
        };
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        let is_head = |line: &&str| line.trim_start_matches("async ") == head;
        let Some(at) = lines.iter().position(is_head) else {
            return false;
        };
        let attributes = lines[..at].iter().rev().take(5);
        attributes
            .take_while(|line| !line.is_empty())
            .any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    })
}

/// Whether this reads like a path from the root, and one that is kept: no placeholder, no command, no
/// secret.
fn is_path_of_ours(text: &str) -> bool {
    let folders = [
        "src/",
        "crates/",
        "tests/",
        "docs/",
        "dev/",
        "bench/",
        "deploy/",
        "migrations/",
        ".ci/",
        ".github/",
    ];
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "./_-".contains(c);
    folders.iter().any(|folder| text.starts_with(folder))
        && !text.starts_with("deploy/secrets/")
        && text.chars().all(is_plain)
        && !text.contains("YYYY")
}
