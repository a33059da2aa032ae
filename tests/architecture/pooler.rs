//! Pooled connections use nothing that a pooler in transaction mode loses: settings and locks of a session, and unnamed statements
//! between two messages.

use super::read;

/// Text that needs a session, and the files that may have it: they use a direct connection or a transaction.
const NEEDS_SESSION: [(&str, &[&str]); 6] = [
    // Inside of a transaction, which has one session.
    (".persistent(false)", &["src/privacy/exports/store.rs"]),
    ("pg_advisory_lock(", &[]),
    (
        "pg_try_advisory_lock(",
        &["crates/database/src/migrations.rs"],
    ),
    (", false)\"", &["crates/database/src/migrations.rs"]),
    (
        "raw_sql(\"SET ",
        &[
            "crates/database/src/migrations.rs",
            "crates/job-queue/src/migrations.rs",
        ],
    ),
    ("WITH HOLD", &[]),
];

/// Returns the texts of a file that are for sessions and not listed for it.
fn sessions_of<'a>(path: &'a str, text: &'a str) -> impl Iterator<Item = String> + 'a {
    let lines = text.lines().enumerate();
    lines.flat_map(move |(at, line)| {
        NEEDS_SESSION
            .iter()
            .filter(move |(needle, files)| line.contains(needle) && !files.contains(&path))
            .filter(|(needle, _)| *needle != ", false)\"" || line.contains("set_config("))
            .map(move |(needle, _)| format!("{path}:{}: {needle}", at + 1))
    })
}

#[test]
fn nothing_on_a_pooled_connection_needs_a_session() {
    let mut files = read("src", ".rs");
    files.append(&mut read("crates", ".rs"));
    let found: Vec<_> = files
        .iter()
        .flat_map(|(path, text)| sessions_of(path, text))
        .collect();
    assert!(
        found.is_empty(),
        "a pooler of transactions loses it (docs/scale/pooler.md):\n{}",
        found.join("\n")
    );
    for (needle, listed) in NEEDS_SESSION {
        for path in listed {
            assert!(
                files[*path].contains(needle),
                "{path} is listed for {needle} without need"
            );
        }
    }
}

#[test]
fn what_needs_a_session_is_found() {
    for line in [
        "query.persistent(false)",
        "SELECT pg_advisory_lock(1)",
        "sqlx::raw_sql(\"SET lock_timeout = 1\")",
        "\"SELECT set_config('a', $1, false)\"",
    ] {
        assert_eq!(sessions_of("src/users/store.rs", line).count(), 1, "{line}");
    }
    for line in [
        "query.persistent(true)",
        "SELECT pg_advisory_xact_lock(1)",
        "\"SELECT set_config('a', $1, true)\"",
    ] {
        assert_eq!(sessions_of("src/users/store.rs", line).count(), 0, "{line}");
    }
}
