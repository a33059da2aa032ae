//! Commands that the pages name: they exist, and those of operations are run by a test or marked as not run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use super::{files_below, read};

const RUNBOOK: &str = "docs/PRODUCTION_RUNBOOK.md";

/// Pages for operators. Each of their blocks of shell is run by a test, or the line before it says `Not run by a test`.
const OPERATIONS: [&str; 8] = [
    "docs/INCIDENT_RESPONSE.md",
    "docs/backups.md",
    "docs/deployment.md",
    "docs/go-live.md",
    "docs/key-rotation.md",
    "docs/migrations.md",
    "docs/releases.md",
    "docs/scale/failover.md",
];
const NOT_RUN: &str = "Not run by a test";

/// Where a mark of the runbook says that a command is run. Releases call what reloads nginx.
const MARKS: [(&str, &[&str]); 4] = [
    ("C", &["tests/container"]),
    ("R", &["tests/container/release", "deploy/bin"]),
    ("B", &["tests/restore", "tests/container/restore"]),
    ("T", &["tests/api", "crates", "src"]),
];

/// Programs of others that the pages of operations use, identified by all their options.
const PROGRAMS: [&str; 4] = ["gpg", "pg_dump", "pgbackrest", "postgres"];

/// Words of a command that identify it: the program and its subcommands, or the first option of one that has none.
fn essence(command: &str) -> Option<Vec<String>> {
    let command = command.trim().replace("\\|", "|");
    let mut words = command.split_whitespace();
    let program = match words.next()? {
        "prod" | "docker" => return compose(&command),
        "echo" => return essence(command.split_once("| ")?.1),
        "groundwork" => None,
        first if PROGRAMS.contains(&first) => return Some(with_options(&command)),
        first => Some(first.strip_prefix("deploy/bin/")?.to_owned()),
    };
    let next = words.clone().next();
    let subcommands = words.take_while(|word| is_word(word));
    let mut all: Vec<String> = program.into_iter().collect();
    match next {
        Some(option) if option.starts_with("--") => all.push((*option).to_owned()),
        _ => all.extend(subcommands.map(str::to_owned)),
    }
    Some(all).filter(|all| !all.is_empty())
}

/// Of a command of Compose: that of the service behind the container's name, or the verb with what follows.
fn compose(command: &str) -> Option<Vec<String>> {
    const SERVICES: [&str; 3] = ["app", "migrate", "worker"];
    const VERBS: [&str; 7] = ["up", "down", "stop", "ps", "exec", "logs", "run"];
    let words: Vec<&str> = command.split_whitespace().collect();
    let verb = words.iter().position(|word| VERBS.contains(word))?;
    let after = &words[verb + 1..];
    let service = after.iter().position(|word| SERVICES.contains(word));
    if let (true, Some(place)) = (matches!(words[verb], "run" | "exec"), service) {
        let rest = after[place + 1..].join(" ");
        let rest = rest.strip_prefix("groundwork ").unwrap_or(&rest);
        return match essence(&format!("groundwork {rest}")) {
            None => Some(vec![after[place].to_owned()]),
            some => some,
        };
    }
    let rest = after.iter().take_while(|word| **word != "|");
    let words = [&words[verb]].into_iter().chain(rest);
    Some(words.map(|word| (*word).to_owned()).collect())
}

fn with_options(command: &str) -> Vec<String> {
    let words = command.split_whitespace().take_while(|word| *word != "|");
    let named = words.enumerate();
    let named = named.filter(|(place, word)| *place == 0 || word.starts_with('-'));
    let named = named.map(|(_, word)| word.split('=').next().unwrap_or_default());
    named.map(str::to_owned).collect()
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && text.chars().all(|c| c.is_ascii_lowercase() || c == '-')
}

/// Code between backticks, and lines of blocks of shell without their comments.
fn commands_of(page: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut block: Option<bool> = None;
    let mut carried = String::new();
    for line in read(page).lines() {
        if let Some(language) = line.strip_prefix("```") {
            block = block.is_none().then_some(language == "sh");
            continue;
        }
        match block {
            Some(true) => {
                let line = line.split(" #").next().unwrap_or_default().trim();
                carried.push_str(line.trim_end_matches('\\'));
                if !line.ends_with('\\') {
                    commands.extend(carried.split("&&").map(|part| part.trim().to_owned()));
                    carried.clear();
                }
            }
            Some(false) => (),
            None => {
                let quoted = line.split('`').skip(1).step_by(2);
                commands.extend(
                    quoted
                        .flat_map(|it| it.split("&&"))
                        .map(|it| it.trim().to_owned()),
                );
            }
        }
    }
    commands
}

fn pages() -> Vec<String> {
    let below = files_below("docs").into_iter();
    let pages = below.filter(|path| path.extension().is_some_and(|it| it == "md"));
    let pages = pages.filter_map(|path| Some(path.to_str()?.to_owned()));
    let first = ["README.md", "CONTRIBUTING.md", "CLAUDE.md"].map(str::to_owned);
    pages.chain(first).collect()
}

/// Text of files with nothing between its words that quotes or separates them.
fn words_below(path: &str) -> Vec<(String, BTreeSet<String>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let files = if root.is_file() {
        vec![root]
    } else {
        files_below(path)
    };
    let read = files.into_iter().filter_map(|path| {
        let text = fs::read_to_string(&path).ok()?;
        let separates = |c: char| c.is_whitespace() || "\"'`,[](){};&$|/=".contains(c);
        let words = text.split(separates).filter(|word| !word.is_empty());
        Some((
            path.display().to_string(),
            words.map(str::to_owned).collect(),
        ))
    });
    read.collect()
}

fn is_run_in(essence: &[String], files: &[(String, BTreeSet<String>)]) -> bool {
    files
        .iter()
        .any(|(_, words)| essence.iter().all(|word| words.contains(word)))
}

#[test]
fn each_command_of_the_runbook_is_run_by_the_tests_that_it_names() {
    let mut faults = Vec::new();
    let mut checked = 0;
    for line in read(RUNBOOK).lines().filter(|line| line.starts_with("| ")) {
        let line = line.replace("\\|", "¦");
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let Some((command, mark)) = cells.get(2).zip(cells.get(3)) else {
            continue;
        };
        let Some(command) = command.split('`').nth(1) else {
            continue;
        };
        // A row below another one may name only what differs.
        if command.starts_with("--") {
            continue;
        }
        let Some(names) = mark.strip_prefix("✓ ") else {
            if !mark.starts_with("– ") && !mark.is_empty() {
                faults.push(format!("`{command}` is neither run by a test nor marked"));
            }
            continue;
        };
        checked += 1;
        let essence = essence(&command.replace('¦', "|"));
        for name in names.split_whitespace() {
            let known = MARKS.iter().find(|(known, _)| *known == name);
            let (_, paths) = known.unwrap_or_else(|| panic!("{name} names no tests"));
            let files: Vec<_> = paths.iter().flat_map(|path| words_below(path)).collect();
            if !essence
                .as_ref()
                .is_some_and(|essence| is_run_in(essence, &files))
            {
                faults.push(format!("`{command}` is not run by {paths:?}: {essence:?}"));
            }
        }
    }
    assert!(checked > 20, "only {checked} rows have a mark");
    assert!(faults.is_empty(), "{RUNBOOK}:\n{}", faults.join("\n"));
}

#[test]
fn each_block_of_commands_is_run_by_a_test_or_marked() {
    let files: Vec<_> = ["tests", "crates", "src"]
        .iter()
        .flat_map(|path| words_below(path))
        .collect();
    let runbooks = files_below("docs/runbooks").into_iter();
    let runbooks = runbooks.map(|path| path.display().to_string());
    let pages = OPERATIONS.map(str::to_owned).into_iter().chain(runbooks);
    let mut faults = Vec::new();
    for page in pages {
        let text = read(&page);
        let mut before = "";
        let mut block: Option<bool> = None;
        for line in text.lines() {
            if let Some(language) = line.strip_prefix("```") {
                let needs =
                    (language == "sh" || page.contains("runbooks/")) && !before.contains(NOT_RUN);
                block = block.is_none().then_some(needs);
            } else if block == Some(true) {
                let command = line.split(" #").next().unwrap_or_default().trim();
                let essence = essence(command).or_else(|| essence(command.split_once(" -- ")?.1));
                match essence {
                    _ if command.is_empty() || command.starts_with("prod()") => (),
                    Some(essence) if is_run_in(&essence, &files) => (),
                    essence => faults.push(format!("{page}: {command}: {essence:?}")),
                }
            }
            if !line.is_empty() {
                before = line;
            }
        }
    }
    let advice = "lines of blocks that no test runs; run them, or write \"Not run by a test: REASON\" before the block";
    assert!(faults.is_empty(), "{advice}:\n{}", faults.join("\n"));
}

#[test]
fn each_command_that_a_page_names_exists() {
    // Pages of the template name a target that products alone have.
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("generate/product/Makefile");
    let makefile = read("Makefile") + &fs::read_to_string(ours).unwrap_or_default();
    let mut help = BTreeMap::new();
    let mut faults = Vec::new();
    let mut checked = 0;
    for page in pages() {
        for command in commands_of(&page) {
            let words: Vec<&str> = command.split_whitespace().collect();
            let fault = match words.as_slice() {
                ["make", target, ..] if is_word(target) => (!makefile
                    .contains(&format!("\n{target}:")))
                .then(|| "no such target".to_owned()),
                [first, ..] if first.starts_with("deploy/bin/") => unknown_to_script(first, &words),
                ["groundwork", ..] => unknown_to_binary(&words, &mut help),
                ["prod", "run", rest @ ..] => {
                    let app = rest.iter().position(|word| *word == "app");
                    app.and_then(|place| unknown_to_binary(&rest[place..], &mut help))
                }
                _ => continue,
            };
            checked += 1;
            faults.extend(fault.map(|fault| format!("{page}: `{command}`: {fault}")));
        }
    }
    assert!(checked > 100, "only {checked} commands were found");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Options and subcommands that the text of a script does not have.
fn unknown_to_script(script: &str, words: &[&str]) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
    let Ok(mut text) = fs::read_to_string(path) else {
        return Some("no such script".into());
    };
    // It hands its arguments to the script of the container.
    if script.ends_with("/backup") {
        text.push_str(&read("deploy/postgres/backup"));
    }
    let named = words[1..].iter().take_while(|word| **word != "|");
    let named = named
        .enumerate()
        .filter(|(place, word)| word.starts_with("--") || (*place == 0 && is_word(word)));
    let mut named = named.map(|(_, word)| *word);
    // Compose has verbs of its own.
    if script.ends_with("/compose") {
        return None;
    }
    named
        .find(|word| !text.contains(word))
        .map(|word| format!("{word} is unknown to it"))
}

/// A subcommand that the binary does not have, or an option that its help does not name.
fn unknown_to_binary(
    words: &[&str],
    help: &mut BTreeMap<Vec<String>, Option<String>>,
) -> Option<String> {
    let subcommands: Vec<String> = words[1..]
        .iter()
        .take_while(|word| is_word(word))
        .map(|word| (*word).to_owned())
        .collect();
    let known = help.entry(subcommands.clone()).or_insert_with(|| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_groundwork"));
        let output = command.args(&subcommands).arg("--help").output();
        let output = output.expect("the binary runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(text)
    });
    let Some(known) = known else {
        return Some(format!("{} is no subcommand", subcommands.join(" ")));
    };
    let mut options = words.iter().filter(|word| word.starts_with("--"));
    let unknown =
        options.find(|word| !known.contains(word.trim_end_matches('…')) && **word != "--help");
    unknown.map(|word| format!("{word} is no option of it"))
}

#[test]
fn a_command_is_identified_by_its_subcommands() {
    for (command, expected) in [
        ("groundwork keys rotate --step …", "keys rotate"),
        (
            "prod run --rm --no-deps -T app privacy reapply",
            "privacy reapply",
        ),
        ("prod run --rm migrate migrate --check", "migrate"),
        ("prod run --rm migrate", "migrate"),
        ("docker compose exec app groundwork doctor", "doctor"),
        ("prod up --detach --wait", "up --detach --wait"),
        (
            "prod exec nginx nginx -s reload",
            "exec nginx nginx -s reload",
        ),
        ("deploy/bin/release IMAGE", "release"),
        ("deploy/bin/release finish", "release finish"),
        ("deploy/bin/restore --switch NEW", "restore --switch"),
        (
            "echo secret | docker compose run -T app users create",
            "users create",
        ),
    ] {
        assert_eq!(
            essence(command).map(|it| it.join(" ")).as_deref(),
            Some(expected),
            "{command}"
        );
    }
    assert_eq!(essence("psql app"), None);
}
