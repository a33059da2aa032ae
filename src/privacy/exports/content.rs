//! Texts of an archive: the README and the schemas of its tables.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::model::Subject;
use super::store::included;
use crate::ids::FileId;
use crate::privacy::inventory::TABLES;
use crate::privacy::model::{Export, Kind, Store};

/// README in plain words: what is in the archive, what is not, and why.
pub(super) fn readme(product: &str, subject: &Subject, now: DateTime<Utc>) -> String {
    let mut text = format!(
        "Your data at {product}\n\n\
         This archive has the personal data that {product} keeps about {} ({}), as of {} UTC.\n\
         It answers a request under Art. 15 and 20 of the General Data Protection Regulation.\n\n\
         data/     One JSON file for each table: a list of objects, one for each row.\n\
         schemas/  The JSON Schema of each of these files.\n\
         files/    Your own files and your picture, as they were uploaded. Each begins with its id in data/files.json.\n\n\
         Times are in UTC. Amounts of money are in the smallest unit of their currency.\n\n\
         Tables\n\n",
        subject.email.as_str(),
        subject.user_id,
        now.format("%Y-%m-%d %H:%M"),
    );
    let tables = || TABLES.iter().copied().flatten();
    for table in tables().filter(|table| table.export == Export::Included) {
        let _ = writeln!(
            text,
            "- {}: {}. Kept: {}.",
            table.name,
            table.purpose.title(),
            plain(&table.retention.to_string())
        );
        for column in table.columns {
            if let Export::LeftOut(reason) = table.export_of(column) {
                let _ = writeln!(text, "    without {}: {reason}", column.name);
            }
        }
    }
    text.push_str("\nLeft out\n\n");
    for table in tables().filter(|table| !table.owners.is_empty()) {
        if let Export::LeftOut(reason) = table.export {
            let _ = writeln!(text, "- {}: {reason}", table.name);
        }
    }
    text.push_str(
        "- Data of organisations that you are a member of, which belong to the organisation.\n",
    );
    text
}

/// Without the marks of Markdown.
fn plain(text: &str) -> String {
    text.replace('`', "")
}

/// JSON Schema of a table's file.
pub(super) fn schema(table: &'static Store, types: &[(String, String)]) -> String {
    let mut properties = Map::new();
    for column in included(table) {
        let data_type = types.iter().find(|(name, _)| name == column.name);
        let data_type = data_type.map_or("text", |(_, data_type)| data_type.as_str());
        let mut property = type_of(data_type);
        property["description"] = json!(describe(column.kind));
        properties.insert(column.name.to_owned(), property);
    }
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": table.name,
        "description": table.purpose.description(),
        "type": "array",
        "items": { "type": "object", "properties": properties, "additionalProperties": false },
    });
    format!("{schema:#}\n")
}

const fn describe(kind: Kind) -> &'static str {
    match kind {
        Kind::Technical => "Nothing about a person.",
        Kind::Identifies => "Identifies a person or an account.",
        Kind::Describes => "About the person.",
        Kind::OfOthers => "About other persons.",
        Kind::Secret => "A credential.",
    }
}

/// Schema of the values that `row_to_json` writes of a type.
fn type_of(data_type: &str) -> Value {
    let text = |format: &str| json!({ "type": ["string", "null"], "format": format });
    match data_type {
        "boolean" => json!({ "type": ["boolean", "null"] }),
        "smallint" | "integer" | "bigint" => json!({ "type": ["integer", "null"] }),
        "numeric" | "real" | "double precision" => json!({ "type": ["number", "null"] }),
        "timestamp with time zone" => text("date-time"),
        "date" => text("date"),
        "uuid" => text("uuid"),
        "json" | "jsonb" => json!({}),
        list if list.ends_with("[]") => json!({ "type": ["array", "null"] }),
        _ => json!({ "type": ["string", "null"] }),
    }
}

/// Name of a file in the archive. What could be part of a path is replaced, and its id makes it unique.
pub(super) fn file_name(id: FileId, name: &str) -> String {
    let is_kept = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ' ');
    let kept = name.chars().take(80);
    let kept: String = kept.map(|c| if is_kept(c) { c } else { '_' }).collect();
    format!("files/{id} {}", kept.trim_matches(['.', ' ']))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_name_of_a_file_is_no_path() {
        let id = FileId(Uuid::from_u128(1));
        for (name, kept) in [
            ("a b.pdf", "a b.pdf"),
            ("../../etc/passwd", "_.._etc_passwd"),
            ("C:\\x\r\n", "C__x__"),
            ("\u{202e}fdp", "_fdp"),
            ("...", ""),
        ] {
            assert_eq!(file_name(id, name), format!("files/{id} {kept}"));
        }
    }

    #[test]
    fn a_schema_describes_each_column_that_is_included() {
        let table = TABLES.iter().copied().flatten();
        let table = table
            .clone()
            .find(|table| table.name == "users")
            .expect("it is a table");
        let types = [("id".to_owned(), "uuid".to_owned())];
        let schema: Value = serde_json::from_str(&schema(table, &types)).expect("it is JSON");
        let properties = &schema["items"]["properties"];
        assert_eq!(properties["id"]["format"], "uuid");
        assert_eq!(properties["email"]["type"], json!(["string", "null"]));
        assert!(properties["password_hash"].is_null() && properties["disabled_reason"].is_null());
    }
}
