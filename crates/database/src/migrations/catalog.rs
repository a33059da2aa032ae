//! Objects of a schema with their definitions, and comparison of two schemas.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;

const READ: &str = include_str!("catalog.sql");

/// Longest part of a definition that a message quotes, in characters.
const QUOTED: usize = 160;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Object {
    /// Table that it belongs to.
    table: Option<String>,
    definition: String,
}

/// Objects by their kind and name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Catalog(BTreeMap<String, Object>);

impl Catalog {
    /// Reads the catalog with `search_path = public`, on which definitions depend.
    pub(super) async fn read(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let rows: Vec<(String, Option<String>, String)> =
            sqlx::query_as(READ).fetch_all(connection).await?;
        let objects = rows.into_iter().map(|(name, table, definition)| {
            let definition = definition.trim().to_owned();
            (name, Object { table, definition })
        });
        Ok(Self(objects.collect()))
    }

    /// Returns whether something exists here that a migration creates, which leads from `before` to `after`.
    pub(super) fn has_created(&self, before: &Self, after: &Self) -> bool {
        let mut created = after.0.keys().filter(|name| !before.0.contains_key(*name));
        created.any(|name| self.0.contains_key(name))
    }

    /// Returns how this differs from what a migration makes, which leads from `before` to `after`: objects that are
    /// missing, others than they should be, or too many. `last` is the schema after all migrations: what later ones add
    /// to a new table is not too much.
    pub(super) fn differences(&self, before: &Self, after: &Self, last: &Self) -> Vec<String> {
        let mut found = Vec::new();
        for (name, wanted) in &after.0 {
            if before.0.get(name) == Some(wanted) {
                continue;
            }
            match self.0.get(name) {
                None => found.push(format!("{name} is missing")),
                Some(it) if it != wanted => found.push(difference(name, it, wanted)),
                Some(_) => {}
            }
        }
        let removed = before.0.keys().filter(|name| !after.0.contains_key(*name));
        let left = removed.filter(|name| self.0.contains_key(*name));
        found.extend(left.map(|name| format!("{name} should not be there")));
        let tables = |catalog: &Self| -> BTreeSet<String> {
            let objects = catalog.0.values();
            objects.filter_map(|it| it.table.clone()).collect()
        };
        let new_tables = &tables(after) - &tables(before);
        for (name, it) in &self.0 {
            let is_new = it.table.as_ref().is_some_and(|it| new_tables.contains(it));
            if is_new && !after.0.contains_key(name) && last.0.get(name) != Some(it) {
                found.push(format!("{name} should not be there"));
            }
        }
        found
    }
}

/// Quotes the first line in which two definitions differ.
fn difference(name: &str, is: &Object, wanted: &Object) -> String {
    let mut wanted_lines = wanted.definition.lines();
    for line in is.definition.lines() {
        let should_be = wanted_lines.next().unwrap_or("nothing");
        if line != should_be {
            let (is, wanted) = (quoted(line), quoted(should_be));
            return format!("{name} is {is}, and should be {wanted}");
        }
    }
    let rest = wanted_lines.next().unwrap_or("on another table");
    format!("{name} lacks {}", quoted(rest))
}

fn quoted(line: &str) -> String {
    line.trim().chars().take(QUOTED).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(objects: &[(&str, &str, &str)]) -> Catalog {
        let object = |&(name, table, definition): &(&str, &str, &str)| {
            let table = (!table.is_empty()).then(|| table.to_owned());
            let definition = definition.to_owned();
            (name.to_owned(), Object { table, definition })
        };
        Catalog(objects.iter().map(object).collect())
    }

    #[test]
    fn what_a_migration_makes_is_compared_and_nothing_else() {
        let before = catalog(&[("column a.x", "a", "text")]);
        let made = [
            ("column a.x", "a", "text"),
            ("table b", "b", "table"),
            ("column b.y", "b", "integer not null"),
        ];
        let after = catalog(&made);
        let last = catalog(&[&made[..], &[("column b.z", "b", "text")]].concat());
        let differences =
            |objects: &[(&str, &str, &str)]| catalog(objects).differences(&before, &after, &last);
        assert_eq!(differences(&made), [""; 0]);
        let later = [&made[..], &[("column b.z", "b", "text")]].concat();
        assert_eq!(differences(&later), [""; 0], "of a later migration");
        let others = [&made[..], &[("column a.z", "a", "text")]].concat();
        assert_eq!(differences(&others), [""; 0], "of a table that was there");
        let more = [&made[..], &[("column b.w", "b", "text")]].concat();
        assert_eq!(differences(&more), ["column b.w should not be there"]);
        assert_eq!(differences(&made[..2]), ["column b.y is missing"]);
        let other = [&made[..2], &[("column b.y", "b", "bigint")]].concat();
        let wanted = "column b.y is bigint, and should be integer not null";
        assert_eq!(differences(&other), [wanted]);
        assert!(!before.has_created(&before, &after));
        assert!(catalog(&made[..2]).has_created(&before, &after));
    }
}
