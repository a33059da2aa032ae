//! Rules for the SQL of migrations: no statement that locks a large table while it scans or builds.
//! `docs/migrations.md` has the pattern that each message asks for.

/// The newest migration from before these rules. Applied migrations are never edited.
const LAST_UNCHECKED: &str = "20261121160000";
/// First line of a file of statements that cannot run in a transaction.
const NO_TRANSACTION: &str = "-- no-transaction";

/// A statement without comments, in upper case, and the line that it begins on.
struct Statement {
    words: Vec<String>,
    line: usize,
}

impl Statement {
    fn has(&self, words: &str) -> bool {
        self.position(words).is_some()
    }

    fn begins(&self, words: &str) -> bool {
        self.position(words) == Some(0)
    }

    fn position(&self, words: &str) -> Option<usize> {
        let wanted: Vec<&str> = words.split(' ').collect();
        let mut windows = self.words.windows(wanted.len());
        windows.position(|window| window == wanted)
    }

    /// The word after these.
    fn after(&self, words: &str) -> Option<&str> {
        let at = self.position(words)? + words.split(' ').count();
        self.words.get(at).map(String::as_str)
    }

    /// The table that an index is built on.
    fn indexed_table(&self) -> Option<&str> {
        self.after("ON ONLY").or_else(|| self.after("ON"))
    }

    /// The actions of an `ALTER TABLE`: parts separated by commas outside of parentheses.
    fn actions(&self) -> Vec<Self> {
        let mut depth = 0_i32;
        let parts = self.words.split(|word| {
            match word.as_str() {
                "(" => depth += 1,
                ")" => depth -= 1,
                _ => {}
            }
            word == "," && depth == 0
        });
        let action = |words: &[String]| Self {
            words: words.to_vec(),
            line: self.line,
        };
        parts.map(action).collect()
    }
}

/// The faults of a migration, each with its line.
pub(super) fn check(file: &str, text: &str) -> Vec<(usize, &'static str)> {
    if file.get(..14).is_none_or(|moment| moment <= LAST_UNCHECKED) {
        return Vec::new();
    }
    let statements = statements(text);
    let alone = text.starts_with(NO_TRANSACTION);
    let created: Vec<&str> = statements.iter().filter_map(created_table).collect();
    let is_new = |table: Option<&str>| table.is_some_and(|table| created.contains(&table));
    let mut faults = Vec::new();
    if alone && statements.len() != 1 {
        faults.push((1, "a `-- no-transaction` file has one statement"));
    }
    for statement in &statements {
        let is_index = statement.begins("CREATE INDEX") || statement.begins("CREATE UNIQUE INDEX");
        if is_index && !is_new(statement.indexed_table()) {
            faults.extend(check_index(statement, alone));
        }
        if statement.begins("ALTER TABLE") && !is_new(altered_table(statement)) {
            let found = statement
                .actions()
                .into_iter()
                .filter_map(|it| check_action(&it));
            faults.extend(found.map(|fault| (statement.line, fault)));
        }
        if statement.has("VALIDATE CONSTRAINT") && statements.iter().any(|it| it.has("NOT VALID")) {
            let rule = "VALIDATE CONSTRAINT goes into a later file than NOT VALID: in one transaction \
                it scans under the lock of the first";
            faults.push((statement.line, rule));
        }
        let backfills = statement.begins("UPDATE") || statement.begins("DELETE FROM");
        if backfills && !statement.has("WHERE") {
            let rule = "a backfill of a whole table is a job in batches, not one statement";
            faults.push((statement.line, rule));
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
    Some((statement.line, fault))
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

fn created_table(statement: &Statement) -> Option<&str> {
    let created = statement.begins("CREATE TABLE");
    let named = || {
        let after = statement.after("CREATE TABLE IF NOT EXISTS");
        after.or_else(|| statement.after("CREATE TABLE"))
    };
    created.then(named).flatten()
}

fn altered_table(statement: &Statement) -> Option<&str> {
    let mut words = statement.words.iter().skip(2).map(String::as_str);
    words.find(|word| !["IF", "EXISTS", "ONLY"].contains(word))
}

/// The statements of a file. Comments, strings and bodies of functions are left out.
fn statements(text: &str) -> Vec<Statement> {
    let mut statements = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let mut begins = 1;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let line = 1 + text[..text.len() - rest.len()].matches('\n').count();
        let length = match first {
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '\'' => quoted(rest, "'"),
            '$' => match rest[1..].find('$') {
                Some(tag) => quoted(rest, &rest[..tag + 2]),
                None => 1,
            },
            ';' => {
                if !words.is_empty() {
                    statements.push(Statement {
                        words: std::mem::take(&mut words),
                        line: begins,
                    });
                }
                1
            }
            _ if is_word(first) => {
                let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                if words.is_empty() {
                    begins = line;
                }
                words.push(rest[..length].to_uppercase());
                length
            }
            _ => {
                if "(),".contains(first) {
                    words.push(first.to_string());
                }
                first.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    if !words.is_empty() {
        statements.push(Statement {
            words,
            line: begins,
        });
    }
    statements
}

/// The length of a text between two of these marks, marks included.
fn quoted(text: &str, mark: &str) -> usize {
    let inside = &text[mark.len()..];
    inside
        .find(mark)
        .map_or(text.len(), |end| end + 2 * mark.len())
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '.' || c == '"'
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
ALTER TABLE IF EXISTS t ALTER COLUMN a SET NOT NULL; | write `ADD CONSTRAINT … CHECK (… IS NOT NULL)
ALTER TABLE t ALTER COLUMN a TYPE bigint; | add a column of the new type
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
