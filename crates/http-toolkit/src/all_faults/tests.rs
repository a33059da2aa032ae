//! Several faults in one body.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;

use super::*;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its reading is tested")]
struct Order {
    handle: Handle,
    count: u8,
    items: Items,
    #[serde(default)]
    note: Option<Note>,
    #[serde(default)]
    data: serde_json::Map<String, Value>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its reading is tested")]
struct Item {
    name: String,
    size: u8,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its reading is tested")]
struct Note {
    text: String,
    author: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String)]
struct Handle(#[expect(dead_code, reason = "only its reading is tested")] String);

impl TryFrom<String> for Handle {
    type Error = &'static str;
    fn try_from(raw: String) -> Result<Self, &'static str> {
        (raw.len() >= 3).then_some(Self(raw)).ok_or("is too short")
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(try_from = "Vec<Item>")]
#[schema(value_type = Vec<Item>)]
struct Items(#[expect(dead_code, reason = "only its reading is tested")] Vec<Item>);

impl TryFrom<Vec<Item>> for Items {
    type Error = &'static str;
    fn try_from(raw: Vec<Item>) -> Result<Self, &'static str> {
        (1..=3)
            .contains(&raw.len())
            .then_some(Self(raw))
            .ok_or("must be 1 to 3")
    }
}

/// The faults that reading this text comes to, as the extractor starts them.
fn faults(text: &str) -> Vec<FieldError> {
    let with_nul = with_nul::<Order>(text);
    if !with_nul.is_empty() {
        return with_nul;
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let error = serde_path_to_error::deserialize::<_, Order>(&mut json).expect_err("it is wrong");
    let message = error.inner().to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    let first = fault::describe(&fault::steps(error.path()), message);
    of_body::<Order>(text, first)
}

fn named(body: &Value) -> Vec<(String, String)> {
    let faults = faults(&body.to_string()).into_iter();
    let mut named: Vec<_> = faults
        .map(|fault| (fault.field.into_owned(), fault.code.into_owned()))
        .collect();
    named.sort();
    named
}

fn assert_faults(body: &Value, expected: &[(&str, &str)]) {
    let owned = |(field, code): &(&str, &str)| ((*field).to_owned(), (*code).to_owned());
    let mut expected: Vec<_> = expected.iter().map(owned).collect();
    expected.sort();
    assert_eq!(named(body), expected, "{body}");
}

#[test]
fn every_fault_of_every_kind_is_named_once() {
    assert_faults(
        &json!({}),
        &[
            ("handle", "required"),
            ("count", "required"),
            ("items", "required"),
        ],
    );
    assert_faults(
        &json!({
            "handle": "ab", "count": 300, "extra": 1, "more": { "deep": [] },
            "items": [{ "name": "x", "size": 1 }], "note": { "text": 7, "x": 1 }, "data": [],
        }),
        &[
            ("handle", "invalid"),
            ("count", "invalid_value"),
            ("extra", "unknown_field"),
            ("more", "unknown_field"),
            ("note.text", "wrong_type"),
            ("note.x", "unknown_field"),
            ("note.author", "required"),
            ("data", "wrong_type"),
        ],
    );
    // A field that is there with a wrong value is not missing as well.
    assert_faults(
        &json!({ "handle": null, "count": [], "items": "x" }),
        &[
            ("handle", "wrong_type"),
            ("count", "wrong_type"),
            ("items", "wrong_type"),
        ],
    );
}

#[test]
fn faults_in_an_array_keep_the_index_of_their_item() {
    assert_faults(
        &json!({
            "handle": "ada", "zzz": 1,
            "items": [
                { "name": "good", "size": 1 },
                { "name": 7, "size": 1 },
                5,
                { "nam": "x", "size": 300, "y": 1 },
                { "name": "good", "size": 1 },
                {},
                { "name": "good" },
            ],
        }),
        &[
            ("count", "required"),
            ("zzz", "unknown_field"),
            ("items[1].name", "wrong_type"),
            ("items[2]", "wrong_type"),
            ("items[3].nam", "unknown_field"),
            ("items[3].name", "required"),
            ("items[3].size", "invalid_value"),
            ("items[3].y", "unknown_field"),
            ("items[5].name", "required"),
            ("items[5].size", "required"),
            ("items[6].size", "required"),
        ],
    );
}

#[test]
fn a_rule_for_a_whole_is_checked_on_the_whole_only() {
    let good = json!({ "name": "x", "size": 1 });
    // Four items of which one is wrong: what is left would be three or none.
    for wrong in 0..4 {
        let mut items = vec![good.clone(); 4];
        items[wrong]["size"] = json!("x");
        let body = json!({ "handle": "ada", "count": 1, "items": items });
        assert_faults(&body, &[(&format!("items[{wrong}].size"), "wrong_type")]);
    }
    let body = json!({ "handle": "a", "count": 1, "items": [] });
    assert_faults(&body, &[("handle", "invalid"), ("items", "invalid")]);
}

#[test]
fn the_first_fault_of_the_text_is_the_first_of_the_list() {
    let text = r#"{"zeta": 1, "alpha": 1, "handle": "secret", "count": "secret"}"#;
    let found = faults(text);
    assert_eq!(found[0].field, "zeta");
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(!format!("{found:?}").contains("secret"), "{found:?}");
    let twice = r#"{"handle": "ada", "handle": "eve", "count": -1}"#;
    let found = faults(twice);
    assert_eq!(
        (&*found[0].field, &*found[0].code),
        ("handle", "duplicate_field")
    );
    assert!(
        found.iter().any(|fault| fault.field == "count"),
        "{found:?}"
    );
}

#[test]
fn the_nul_character_is_one_fault_of_several() {
    let body = json!({
        "handle": "a\0", "count": 300, "items": [{ "name": "\0", "size": 1 }],
        "data": { "deep": ["", "\0"], "k\0": 1 },
    });
    assert_faults(
        &body,
        &[
            ("handle", "invalid"),
            ("count", "invalid_value"),
            ("items[0].name", "invalid"),
            ("data.deep[1]", "invalid"),
            ("data.k\0", "invalid"),
        ],
    );
    assert!(with_nul::<Order>(r#"{"handle": "a\\u0000"}"#).is_empty());
}

#[test]
fn a_large_body_of_faults_is_read_in_linear_time_and_cut() {
    let wide: serde_json::Map<_, _> = (0..60_000).map(|n| (format!("k{n}"), json!(1))).collect();
    let item = json!({ "name": "x".repeat(200), "size": "x" });
    let data: serde_json::Map<_, _> = (0..40_000).map(|n| (format!("k{n}"), json!(1))).collect();
    for body in [
        json!(wide),
        json!({ "items": vec![item; 4_000] }),
        json!({ "data": data, "zzz": wide }),
        json!({ "items": vec![json!({}); 100_000] }),
    ] {
        let text = body.to_string();
        let started = Instant::now();
        let found = faults(&text);
        assert!(found.len() <= MAX && !found.is_empty());
        let took = started.elapsed();
        assert!(
            took < Duration::from_secs(20),
            "{took:?} for {} bytes",
            text.len()
        );
    }
}
