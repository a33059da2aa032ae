//! Every statement on the rows of an account names the account, so that a database can be distributed by `account_id`
//! (docs/scale/distribution.md). It reads what `make sqlx` has recorded.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

/// Statements that read or write rows of all accounts, by a part of their text, each with its reason. A distributed database
/// runs them on every shard.
const WITHOUT: [(&str, &str); 14] = [
    (
        "DELETE FROM files WHERE id IN ( SELECT id FROM files WHERE state = 'pending'",
        "the sweep of uploads that never came",
    ),
    (
        "DELETE FROM files WHERE id IN ( SELECT id FROM files WHERE state = 'infected'",
        "the purge of infected files",
    ),
    (
        "FROM files WHERE state IN ('scanning', 'complete', 'lost')",
        "how many files have been verified",
    ),
    ("SELECT min(completed_at) FROM files", "a metric"),
    ("FROM files WHERE difference IS NOT NULL", "a metric"),
    (
        "FROM files WHERE id = ANY($1)",
        "objects of the bucket that no row names",
    ),
    ("DELETE FROM event_totals", "retention"),
    ("DELETE FROM account_slugs", "retention"),
    ("DELETE FROM usage_totals", "retention"),
    (
        "FROM memberships WHERE user_id = $1 AND role = 'owner'",
        "organisations of a user",
    ),
    (
        "FROM api_usage WHERE (user_id, created_at) >= ($1, $2)",
        "the backfill of rollups, by the id of the account in user_id",
    ),
    (
        "UPDATE api_keys AS k SET last_used_at",
        "keys of many accounts in one batch",
    ),
    (
        "UPDATE api_keys SET revoked_at = $3 WHERE user_id = $1",
        "keys of a user, in all accounts",
    ),
    (
        "UPDATE billing_customers SET stripe_customer_id = NULL",
        "a customer that Stripe says is deleted, by its id",
    ),
];

/// Tables with a column of the account, by the inventory of data.
fn tables(root: &Path) -> BTreeSet<String> {
    let mut tables = BTreeSet::new();
    for entry in fs::read_dir(root.join("src/privacy/inventory")).expect("it is there") {
        let text = fs::read_to_string(entry.expect("it is listed").path()).expect("it is text");
        for store in text.split("Store {").skip(1) {
            let name = store
                .split("name: \"")
                .nth(1)
                .and_then(|it| it.split('"').next());
            if store.contains("column(\"account_id\"") {
                tables.extend(name.map(str::to_owned));
            }
        }
    }
    tables
}

/// Words of a statement, so that line breaks do not matter.
fn flat(statement: &str) -> String {
    statement.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn uses(statement: &str, table: &str) -> bool {
    let words: Vec<_> = statement
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
        .collect();
    words.windows(2).any(|pair| {
        ["FROM", "JOIN", "INTO", "UPDATE", "USING"].contains(&pair[0]) && pair[1] == table
    })
}

fn names_the_account(statement: &str) -> bool {
    statement.contains("account_id")
}

#[test]
fn statements_on_rows_of_an_account_name_the_account() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tables = tables(root);
    assert!(tables.len() > 15, "{tables:?}");
    let (mut checked, mut unused) = (0, BTreeSet::from(WITHOUT.map(|it| it.0)));
    let mut wrong = Vec::new();
    for entry in fs::read_dir(root.join(".sqlx")).expect("it is there") {
        let text = fs::read_to_string(entry.expect("it is listed").path()).expect("it is text");
        let recorded: Value = serde_json::from_str(&text).expect("it is JSON");
        let statement = flat(recorded["query"].as_str().expect("it has a statement"));
        if !tables.iter().any(|table| uses(&statement, table)) {
            continue;
        }
        checked += 1;
        if names_the_account(&statement) {
            continue;
        }
        let parts: Vec<_> = WITHOUT
            .iter()
            .map(|(part, _)| *part)
            .filter(|part| statement.contains(part))
            .collect();
        if parts.is_empty() {
            wrong.push(statement);
        }
        unused.retain(|part| !parts.contains(part));
    }
    assert!(checked > 100, "{checked}");
    assert!(
        wrong.is_empty(),
        "these statements use rows of an account without its id; add `account_id = …`, or a line to WITHOUT:\n{}",
        wrong.join("\n")
    );
    assert!(
        unused.is_empty(),
        "no statement has these any more: {unused:?}"
    );
}

#[test]
fn a_statement_without_the_account_is_found() {
    let forgotten = flat("SELECT *\n  FROM files WHERE id = $1");
    assert!(uses(&forgotten, "files") && !names_the_account(&forgotten));
    assert!(!uses("SELECT files FROM users", "files"));
    assert!(uses("DELETE FROM ONLY x USING files", "files"));
}
