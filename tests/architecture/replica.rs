//! Handlers that read from the replica only read, and the document says which they are (docs/scale/reads.md).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

/// Calls that a handler that reads from the replica must not make: it could write, or read on both sides.
const WRITES: [&str; 5] = [".begin(", ".begin_scoped(", ".audit(", "ctx.db", "enqueue("];

/// Bodies of the functions of a file, by name.
fn functions(text: &str) -> BTreeMap<&str, &str> {
    let parts = text.split("\nasync fn ").skip(1);
    let named = parts.filter_map(|part| {
        let (name, _) = part.split_once(['(', '<'])?;
        let body = part.split("\n}\n").next()?;
        Some((name, body))
    });
    named.collect()
}

/// Functions that read from the replica, with their faults.
fn handlers(text: &str) -> Vec<(&str, Vec<&str>)> {
    let reading = functions(text);
    let reading = reading
        .into_iter()
        .filter(|(_, body)| body.contains("read_replica!("));
    let with_faults = reading.map(|(name, body)| {
        let faults = WRITES.iter().filter(|word| body.contains(**word));
        (name, faults.copied().collect())
    });
    with_faults.collect()
}

fn routes(directory: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).expect("it is there") {
        let path = entry.expect("it is listed").path();
        if path.is_dir() {
            routes(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(fs::read_to_string(&path).expect("it is text"));
        }
    }
}

/// Ids of the operations that the document marks, all of which are GET.
fn marked(document: &Value) -> BTreeSet<&str> {
    let paths = document["paths"].as_object().expect("it has paths");
    let operations = paths.values().filter_map(Value::as_object).flatten();
    let marked =
        operations.filter(|(_, operation)| operation["responses"]["200"]["x-read-replica"] == true);
    marked
        .map(|(method, operation)| {
            assert_eq!(method, "get", "{operation}");
            let description = operation["description"].as_str().unwrap_or_default();
            assert!(description.contains("at most 5 by default"), "{operation}");
            operation["operationId"].as_str().expect("it has an id")
        })
        .collect()
}

#[test]
fn handlers_that_read_the_replica_write_nothing_and_are_those_that_the_document_marks() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts = Vec::new();
    routes(&root.join("src"), &mut texts);
    let all: Vec<_> = texts.iter().flat_map(|text| handlers(text)).collect();
    for (name, faults) in &all {
        assert!(faults.is_empty(), "{name} has {faults:?}");
    }
    let names: BTreeSet<&str> = all.iter().map(|(name, _)| *name).collect();
    let uses: usize = texts
        .iter()
        .map(|text| text.matches("= read_replica!(").count())
        .sum();
    assert_eq!(uses, names.len(), "each use is in a handler of its own");
    let document = fs::read_to_string(root.join("docs/openapi.json")).expect("it is there");
    let document: Value = serde_json::from_str(&document).expect("it is JSON");
    assert_eq!(names, marked(&document), "src/app.rs mounts others");
    assert!(names.len() >= 5);
}

/// Header of the table of operations.
const HEADER: &str = "| operation | why it tolerates lag |";

#[test]
fn the_page_lists_the_operations_that_read_the_replica() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(root.join("docs/openapi.json")).expect("it is there");
    let document: Value = serde_json::from_str(&document).expect("it is JSON");
    let paths = document["paths"].as_object().expect("it has paths");
    let marked = paths
        .iter()
        .filter(|(_, item)| item["get"]["responses"]["200"]["x-read-replica"] == true);
    let marked: BTreeSet<String> = marked.map(|(path, _)| format!("GET {path}")).collect();
    let page = fs::read_to_string(root.join("docs/scale/reads.md")).expect("it is there");
    let table = page.lines().skip_while(|line| *line != HEADER);
    let table = table.take_while(|line| !line.is_empty());
    let rows = table.filter_map(|line| line.strip_prefix("| `GET /api"));
    let rows = rows.filter_map(|row| row.split_once('`'));
    let listed: BTreeSet<String> = rows.map(|(path, _)| format!("GET /api{path}")).collect();
    assert_eq!(
        listed, marked,
        "docs/scale/reads.md (left), docs/openapi.json (right)"
    );
}

#[test]
fn a_handler_that_writes_is_found() {
    let text = "use x;\n\nasync fn list_things(ctx: Ctx) {\n    let rows = read_replica!(ctx.lagging_reads(), conn => list(conn));\n    \
                let mut tx = ctx.begin().await?;\n}\n\nasync fn get_thing() {\n    ctx.begin();\n}\n";
    assert_eq!(handlers(text), [("list_things", vec![".begin("])]);
}
