//! The migrations of a slice: its table, and the scopes of API keys.

use chrono::{NaiveDateTime, TimeDelta};

use super::names::Names;
use super::tree::Tree;
use crate::error::{Error, Result};

const FORMAT: &str = "%Y%m%d%H%M%S";
const CHECK: &str = "api_keys_scopes_check";
/// Longest line of the list of scopes.
const WIDTH: usize = 100;

/// Adds three migrations: all later than the existing ones, the first not before `now`.
pub(super) fn add(tree: &mut Tree, names: &Names, create: &str, now: NaiveDateTime) -> Result<()> {
    let all = tree.migrations()?;
    let newest = all.keys().next_back().and_then(|path| time_of(path));
    let newest = newest.map_or(now, |newest| now.max(newest + TimeDelta::minutes(1)));
    let naming = all.values().rev().find_map(|text| scopes(text));
    let mut scopes = naming
        .ok_or_else(|| Error::Other(format!("no migration has the list of scopes of {CHECK}")))?;
    for access in ["read", "write"] {
        scopes.push(format!("{}:{access}", names.plural));
    }
    let widen = format!(
        "-- Scopes of {words}. Checked for new rows at once, for old ones by the next file.\n\
         ALTER TABLE api_keys\n    DROP CONSTRAINT {CHECK},\n    ADD CONSTRAINT {CHECK} CHECK (\n        \
         cardinality(scopes) > 0 AND scopes <@ ARRAY[\n{list}\n        ]) NOT VALID;\n",
        words = names.words(),
        list = lines(&scopes),
    );
    let validate = format!(
        "-- Scans the table beside its writers.\nALTER TABLE api_keys VALIDATE CONSTRAINT {CHECK};\n"
    );
    let plural = &names.plural;
    for (minute, (name, text)) in [
        (format!("create_{plural}"), create.to_owned()),
        (format!("add_{plural}_scopes"), widen),
        (format!("validate_{plural}_scopes"), validate),
    ]
    .into_iter()
    .enumerate()
    {
        let minutes = TimeDelta::minutes(i64::try_from(minute).unwrap_or_default());
        let time = (newest + minutes).format(FORMAT);
        tree.create(format!("migrations/{time}_{name}.sql"), text)?;
    }
    Ok(())
}

fn time_of(path: &str) -> Option<NaiveDateTime> {
    let digits = path.strip_prefix("migrations/")?.get(..14)?;
    NaiveDateTime::parse_from_str(digits, FORMAT).ok()
}

/// The scopes that a migration allows.
fn scopes(text: &str) -> Option<Vec<String>> {
    let rest = text
        .split(CHECK)
        .find(|part| part.trim_start().starts_with("CHECK"))?;
    let list = rest.split("ARRAY[").nth(1)?.split(']').next()?;
    Some(
        list.split('\'')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect(),
    )
}

fn lines(scopes: &[String]) -> String {
    let mut lines = Vec::new();
    let mut line = String::new();
    for (at, scope) in scopes.iter().enumerate() {
        let comma = if at + 1 == scopes.len() { "" } else { "," };
        let item = format!("'{scope}'{comma}");
        if !line.is_empty() && line.len() + item.len() + 13 > WIDTH {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&item);
    }
    lines.push(line);
    let indented: Vec<_> = lines
        .iter()
        .map(|line| format!("            {line}"))
        .collect();
    indented.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_scopes_is_read_and_written_in_short_lines() {
        let text = "scopes text[] NOT NULL CONSTRAINT api_keys_scopes_check CHECK (\n cardinality(scopes) > 0 AND \
            scopes <@ ARRAY[\n 'read', 'write',\n 'users:read'\n ]),";
        let found = scopes(text).expect("it is there");
        assert_eq!(found, ["read", "write", "users:read"]);
        assert_eq!(
            scopes("ALTER TABLE api_keys VALIDATE CONSTRAINT api_keys_scopes_check;"),
            None
        );
        let many: Vec<String> = (0..30)
            .map(|number| format!("area_{number}:read"))
            .collect();
        let written = lines(&many);
        assert!(written.lines().all(|line| line.len() <= WIDTH), "{written}");
        assert_eq!(
            scopes(&format!("{CHECK} CHECK (scopes <@ ARRAY[{written}])")),
            Some(many)
        );
    }

    #[test]
    fn a_time_is_read_of_the_name() {
        let time = time_of("migrations/20261203100200_add_x.sql").expect("it is one");
        assert_eq!(time.format(FORMAT).to_string(), "20261203100200");
        assert_eq!(time_of("migrations/readme.sql"), None);
    }
}
