//! Rules for the SQL of migrations: no statement that locks a large table while it scans or builds.
//! `docs/migrations.md` has the pattern that each message asks for.

use database::migrations::incompatibilities;
use database::migrations::statements::{Statement, statements};

/// The newest migration from before these rules. Applied migrations are never edited.
const LAST_UNCHECKED: &str = "20261121160000";
/// First line of a file of statements that cannot run in a transaction.
const NO_TRANSACTION: &str = "-- no-transaction";

/// The faults of a migration, each with its line.
pub(super) fn check(file: &str, text: &str) -> Vec<(usize, &'static str)> {
    if file.get(..14).is_none_or(|moment| moment <= LAST_UNCHECKED) {
        return Vec::new();
    }
    let statements = statements(text);
    let alone = text.starts_with(NO_TRANSACTION);
    let created: Vec<&str> = statements
        .iter()
        .filter_map(Statement::created_table)
        .collect();
    let is_new = |table: Option<&str>| table.is_some_and(|table| created.contains(&table));
    let mut faults = Vec::new();
    if !incompatibilities(text).is_empty() && !file.starts_with("20261128") {
        let rule = "it takes away what the release before may use: say in a comment `-- contract: …` why that \
            release no longer uses it";
        faults.push((1, rule));
    }
    if alone && statements.len() != 1 {
        faults.push((1, "a `-- no-transaction` file has one statement"));
    }
    for statement in &statements {
        let is_index = statement.begins("CREATE INDEX") || statement.begins("CREATE UNIQUE INDEX");
        if is_index && !is_new(statement.indexed_table()) {
            faults.extend(check_index(statement, alone));
        }
        if statement.begins("ALTER TABLE") && !is_new(statement.altered_table()) {
            let found = statement
                .actions()
                .into_iter()
                .filter_map(|it| check_action(&it));
            faults.extend(found.map(|fault| (statement.line(), fault)));
        }
        if statement.has("VALIDATE CONSTRAINT") && statements.iter().any(|it| it.has("NOT VALID")) {
            let rule = "VALIDATE CONSTRAINT goes into a later file than NOT VALID: in one transaction \
                it scans under the lock of the first";
            faults.push((statement.line(), rule));
        }
        let backfills = statement.begins("UPDATE") || statement.begins("DELETE FROM");
        if backfills && !statement.has("WHERE") {
            let rule = "a backfill of a whole table is a job in batches, not one statement";
            faults.push((statement.line(), rule));
        }
    }
    faults
}

fn check_index(statement: &Statement, alone: bool) -> Option<(usize, &'static str)> {
    // On a partitioned table `ON ONLY` builds nothing: docs/migrations.md.
    let fault = if statement.has("ON ONLY") {
        return None;
    } else if !statement.has("INDEX CONCURRENTLY") {
        "an index on an existing table is `CREATE INDEX CONCURRENTLY IF NOT EXISTS …`, alone in a \
        file that begins with `-- no-transaction`"
    } else if !alone {
        "CREATE INDEX CONCURRENTLY needs a file that begins with `-- no-transaction`"
    } else if !statement.has("IF NOT EXISTS") {
        "write CREATE INDEX CONCURRENTLY IF NOT EXISTS, so that a run that was interrupted can be repeated"
    } else {
        return None;
    };
    Some((statement.line(), fault))
}

/// The fault of one action of an `ALTER TABLE` on an existing table.
fn check_action(action: &Statement) -> Option<&'static str> {
    let adds_column = action.has("ADD COLUMN");
    let is_check = action.has("CHECK");
    let is_reference = action.has("REFERENCES");
    let is_unique = action.has("UNIQUE") || action.has("PRIMARY KEY");
    if adds_column && (is_check || is_reference || is_unique) {
        Some(
            "add the column alone, then `ADD CONSTRAINT … NOT VALID`, and VALIDATE CONSTRAINT in \
            the next file: a constraint within ADD COLUMN scans the table under a lock",
        )
    } else if action.has("ADD") && (is_check || is_reference) && !action.has("NOT VALID") {
        Some(
            "write `ADD CONSTRAINT … NOT VALID`, and `VALIDATE CONSTRAINT …` in the next file: the \
            scan then blocks no writer",
        )
    } else if action.has("ADD") && is_unique && !action.has("USING INDEX") {
        Some(
            "build the unique index with CREATE UNIQUE INDEX CONCURRENTLY in a file before, and \
            write ADD CONSTRAINT … USING INDEX",
        )
    } else if action.has("SET NOT NULL") {
        Some(
            "write `ADD CONSTRAINT … CHECK (… IS NOT NULL) NOT VALID` and validate it in the next \
            file: SET NOT NULL scans the table under a lock",
        )
    } else if action.has("TYPE") && action.has("ALTER") {
        Some(
            "add a column of the new type and move the values in batches: ALTER COLUMN TYPE rewrites the table",
        )
    } else {
        None
    }
}

/// A statement for each line, and the fault that it must have; a `-` for none.
const SAMPLES: &str = "
CREATE INDEX a_idx ON t (a); | an index on an existing table is
CREATE UNIQUE INDEX a_idx ON t (a); | an index on an existing table is
CREATE INDEX CONCURRENTLY IF NOT EXISTS a_idx ON t (a); | CREATE INDEX CONCURRENTLY needs a file
-- no-transaction¶CREATE INDEX CONCURRENTLY a_idx ON t (a); | write CREATE INDEX CONCURRENTLY IF NOT
-- no-transaction¶CREATE INDEX CONCURRENTLY IF NOT EXISTS a_idx ON t (a); SELECT 1; | a `-- no-transaction` file has
-- no-transaction¶-- Names are searched.¶CREATE INDEX CONCURRENTLY IF NOT EXISTS a_idx ON t (a); | -
create table if not exists t (a int);¶create index a_idx on t (a); | -
CREATE TABLE other (a int);¶CREATE INDEX a_idx ON t (a); | an index on an existing table is
CREATE INDEX a_idx ON ONLY events (a); | -
ALTER TABLE t ADD CONSTRAINT a_check CHECK (a > 0); | write `ADD CONSTRAINT … NOT VALID`
ALTER TABLE t ADD CONSTRAINT a_fkey FOREIGN KEY (a) REFERENCES u (id); | write `ADD CONSTRAINT … NOT VALID`
ALTER TABLE t ADD CHECK (a IN (1, 2)), DROP CONSTRAINT b_check; | write `ADD CONSTRAINT … NOT VALID`
ALTER TABLE t DROP CONSTRAINT a_check, ADD CONSTRAINT a_check CHECK (a > 0) NOT VALID; | -
ALTER TABLE t VALIDATE CONSTRAINT a_check; | -
ALTER TABLE t ADD CONSTRAINT a_check CHECK (a > 0) NOT VALID;¶ALTER TABLE t VALIDATE CONSTRAINT a_check; | VALIDATE CONSTRAINT goes into
ALTER TABLE t ADD COLUMN a int CONSTRAINT a_check CHECK (a > 0); | add the column alone
ALTER TABLE t ADD COLUMN a uuid REFERENCES u (id); | add the column alone
ALTER TABLE t ADD COLUMN a int, ADD COLUMN b int NOT NULL DEFAULT 0; | -
ALTER TABLE t ADD CONSTRAINT a_key UNIQUE (a); | build the unique index
ALTER TABLE t ADD CONSTRAINT a_key UNIQUE USING INDEX a_idx; | -
-- contract: written since 1.4¶ALTER TABLE IF EXISTS t ALTER COLUMN a SET NOT NULL; | write `ADD CONSTRAINT … CHECK (… IS NOT NULL)
-- contract: not used since 1.4¶ALTER TABLE t ALTER COLUMN a TYPE bigint; | add a column of the new type
DROP TABLE t; | it takes away what
-- contract: not used since 1.4¶DROP TABLE t; | -
ALTER TABLE t ALTER COLUMN a SET DEFAULT 'ADD CHECK (x)'; | -
CREATE TABLE t (a int);¶ALTER TABLE t ADD CONSTRAINT a_check CHECK (a > 0); | -
UPDATE t SET a = 1; | a backfill of a whole table
UPDATE t SET a = 1 WHERE id = 7; | -
CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ UPDATE t SET a = 1; $$; | -
CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $body$ CREATE INDEX a ON t (a); $body$; | -
-- CREATE INDEX a_idx ON t (a);¶SELECT 'it''s; CREATE INDEX a ON t (a)'; | -
";

#[test]
fn statements_that_lock_a_large_table_are_faults_and_the_safe_forms_are_not() {
    for sample in SAMPLES.lines().filter(|line| !line.is_empty()) {
        let (text, wanted) = sample.split_once(" | ").expect("two cells");
        let text = text.replace('¶', "\n");
        let found = check("20270101000000_change_things.sql", &text);
        match wanted {
            "-" => assert_eq!(found, [], "{text}"),
            _ => assert!(
                matches!(&found[..], [(_, fault)] if fault.starts_with(wanted)),
                "wanted {wanted}, found {found:?} in {text}"
            ),
        }
        assert_eq!(check("20261121160000_change_things.sql", &text), []);
    }
}
