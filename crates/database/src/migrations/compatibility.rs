//! Changes that the release before cannot live with, as far as statements show it.

use super::statements::{Statement, statements};

/// Begins the line of a comment that says why the release before no longer uses what the file removes.
const MARK: &str = "-- contract:";

/// Kinds of objects whose removal or new name breaks statements that use them.
const OBJECTS: &[&str] = &[
    "TABLE",
    "VIEW",
    "MATERIALIZED VIEW",
    "FUNCTION",
    "PROCEDURE",
    "TYPE",
    "SEQUENCE",
    "SCHEMA",
];

/// Returns what a migration takes away from a release that runs beside it, in words. Empty if nothing is found, or if the
/// file has a comment `-- contract: …` with the reason why it may.
///
/// Bodies of functions are not read, and a constraint that the release before violates is not found.
#[must_use]
pub fn incompatibilities(sql: &str) -> Vec<String> {
    if sql.lines().any(|line| line.trim_start().starts_with(MARK)) {
        return Vec::new();
    }
    let statements = statements(sql);
    let created: Vec<&str> = statements
        .iter()
        .filter_map(Statement::created_table)
        .collect();
    let is_new = |table: Option<&str>| table.is_some_and(|table| created.contains(&table));
    let mut found = Vec::new();
    for statement in &statements {
        if statement.begins("TRUNCATE") {
            found.push(describe("removes rows", statement));
        }
        if OBJECTS
            .iter()
            .any(|it| statement.begins(&format!("DROP {it}")))
        {
            found.push(describe("removes what it may use", statement));
        }
        let is_altered = OBJECTS
            .iter()
            .any(|it| statement.begins(&format!("ALTER {it}")));
        if is_altered && !is_new(statement.altered_table()) {
            let actions = statement.actions();
            let broken = actions.iter().filter_map(broken_by);
            found.extend(broken.map(|why| describe(why, statement)));
        }
    }
    found
}

/// Returns the reason why an action of an `ALTER` on an existing object breaks the release before, if it does.
fn broken_by(action: &Statement) -> Option<&'static str> {
    let requires = action.has("NOT NULL") && !action.has("DROP NOT NULL");
    if action.has("DROP COLUMN") {
        Some("removes a column")
    } else if action.has("RENAME") {
        Some("renames what it may use")
    } else if action.has("SET SCHEMA") {
        Some("moves what it may use")
    } else if action.has("ALTER") && action.has("TYPE") && !action.begins("ALTER TYPE") {
        Some("changes the type of a column")
    } else if action.has("SET NOT NULL") {
        Some("requires a value that it may not write")
    } else if action.has("ADD COLUMN")
        && requires
        && !(action.has("DEFAULT") || action.has("GENERATED"))
    {
        Some("requires a value that it does not write")
    } else {
        None
    }
}

fn describe(why: &str, statement: &Statement) -> String {
    let (line, begins) = (statement.line(), statement.beginning(6));
    format!("line {line} {why}: {begins} …")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_release_before_may_use_is_found_and_additions_are_not() {
        for (sql, found) in [
            ("ALTER TABLE t ADD COLUMN a int", None),
            ("ALTER TABLE t ADD COLUMN a int NOT NULL DEFAULT 0", None),
            (
                "ALTER TABLE t ADD CONSTRAINT c CHECK (a IS NOT NULL) NOT VALID",
                None,
            ),
            ("ALTER TABLE t ALTER COLUMN a DROP NOT NULL", None),
            ("ALTER TYPE e ADD VALUE 'x'", None),
            ("DROP INDEX CONCURRENTLY i", None),
            (
                "CREATE TABLE t (a int); ALTER TABLE t RENAME COLUMN a TO b",
                None,
            ),
            (
                "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ DROP TABLE t $$",
                None,
            ),
            ("-- contract: t is not used since 1.4\nDROP TABLE t", None),
            ("DROP TABLE IF EXISTS t", Some("removes what it may use")),
            ("DROP FUNCTION f(int)", Some("removes what it may use")),
            ("TRUNCATE t", Some("removes rows")),
            (
                "ALTER TABLE t ADD COLUMN b int, DROP COLUMN a",
                Some("removes a column"),
            ),
            ("ALTER TABLE t RENAME TO u", Some("renames what it may use")),
            (
                "ALTER TABLE t SET SCHEMA other",
                Some("moves what it may use"),
            ),
            (
                "ALTER TABLE t ALTER COLUMN a TYPE bigint",
                Some("changes the type of a column"),
            ),
            (
                "ALTER TABLE t ALTER a SET NOT NULL",
                Some("requires a value that it may not write"),
            ),
            (
                "ALTER TABLE t ADD COLUMN a int NOT NULL",
                Some("requires a value that it does not write"),
            ),
        ] {
            let lines = incompatibilities(sql);
            match found {
                None => assert_eq!(lines, [""; 0], "{sql}"),
                Some(why) => {
                    assert_eq!(lines.len(), 1, "{sql}: {lines:?}");
                    assert!(
                        lines[0].starts_with(&format!("line 1 {why}: ")),
                        "{sql}: {lines:?}"
                    );
                }
            }
        }
    }
}
