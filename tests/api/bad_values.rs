//! Values that nobody sends by mistake: no query string, cursor or body of a signed-in user is a 500.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use groundwork::app;
use http_toolkit::Problem;
use reqwest::Method;
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::harness::{Session, TestApp};
use crate::organisations::fill_path;

/// Timestamps at and beyond the edges of our range, chrono's and PostgreSQL's.
const TIMES: [&str; 22] = [
    "1970-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999999Z",
    "2016-12-31T23:59:60Z",
    "2026-03-14T09:26:53.000000001Z",
    "2026-03-14T09:26:53+23:59",
    "1969-12-31T23:59:59Z",
    "1970-01-01T00:00:00+23:59",
    "9999-12-31T23:59:60Z",
    "9999-12-31T23:59:59-23:59",
    "0000-01-01T00:00:00Z",
    "-0001-01-01T00:00:00Z",
    "-4714-11-23T00:00:00Z",
    "-4714-11-24T00:00:00Z",
    "-262143-01-01T00:00:00Z",
    "+10000-01-01T00:00:00Z",
    "+262142-12-31T23:59:59Z",
    "+294276-12-31T23:59:59Z",
    "+294277-01-01T00:00:00Z",
    "2026-02-30T00:00:00Z",
    "infinity",
    "-infinity",
    "epoch",
];

/// Values of every other kind.
const ODD: [&str; 25] = [
    "",
    " ",
    "\0",
    "a\0b",
    "\\u0000",
    "\u{feff}",
    "\u{10ffff}",
    "%",
    "%_\\",
    "' OR 1=1 --",
    "0",
    "7",
    "-1",
    "1.5",
    "1e400",
    "NaN",
    "255",
    "256",
    "4294967296",
    "18446744073709551616",
    "true",
    "null",
    "[]",
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
];

/// A GET route with the names of its query parameters.
struct List {
    path: String,
    parameters: Vec<String>,
}

/// Every route that reads a query string, by the document.
fn lists(id: &str, organisation: &str) -> Vec<List> {
    let document = serde_json::to_value(app::openapi()).expect("it is JSON");
    let paths = document["paths"].as_object().expect("there are paths");
    let lists = paths.iter().filter_map(|(path, item)| {
        let parameters = item["get"]["parameters"].as_array()?;
        let of_query = parameters.iter().filter(|one| one["in"] == "query");
        let names = of_query.filter_map(|one| Some(one["name"].as_str()?.to_owned()));
        let parameters: Vec<_> = names.collect();
        let is_api = path.starts_with("/api/") && !parameters.is_empty();
        is_api.then(|| List {
            path: fill_path(path, organisation, id),
            parameters,
        })
    });
    lists.collect()
}

fn query<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(pairs).finish()
}

/// Sends the query, and holds that the reply is a list or names one of the parameters.
async fn ask(session: &Session, path: &str, pairs: &[(&str, &str)]) -> u16 {
    let target = format!("{path}?{}", query(pairs.iter().copied()));
    let answer = session.get(&target).await;
    if answer.status == 200 {
        return 200;
    }
    answer.assert_problem(400, "bad_request");
    let errors = answer.body["errors"].as_array();
    let fields: Vec<_> = errors
        .into_iter()
        .flatten()
        .map(|it| &it["field"])
        .collect();
    let is_asked = |field: &&Value| pairs.iter().any(|(name, _)| **field == *name);
    let all_asked = fields.iter().all(is_asked) || fields == ["from"];
    assert!(!fields.is_empty() && all_asked, "{target}: {}", answer.body);
    400
}

#[tokio::test]
async fn no_value_of_a_query_parameter_fails_a_list() {
    let app = TestApp::new().await;
    let root = app.sign_in_admin("root").await;
    let long = "9".repeat(4_000);
    let mut accepted = BTreeSet::new();
    let organisation = root.new_organisation("roots").await;
    for list in lists(&root.user_id().await, &organisation) {
        for name in &list.parameters {
            for value in TIMES.into_iter().chain(ODD).chain([long.as_str()]) {
                if ask(&root, &list.path, &[(name, value)]).await == 200 {
                    accepted.insert(name.clone());
                }
            }
            let value = "2026-03-14T09:26:53Z";
            let twice = [(name.as_str(), value), (name.as_str(), value)];
            assert_eq!(ask(&root, &list.path, &twice).await, 400, "{name} twice");
        }
        let unknown = ask(&root, &list.path, &[("a\0b", "1")]).await;
        assert_eq!(unknown, 400, "{}", list.path);
    }
    // The table has values that these take, so that the queries behind them ran.
    for name in ["from", "to", "limit", "search", "disabled", "user_id"] {
        assert!(accepted.contains(name), "{name} was never accepted");
    }
}

#[tokio::test]
async fn no_pair_of_times_fails_a_list() {
    let app = TestApp::new().await;
    let root = app.sign_in_admin("root").await;
    for from in TIMES {
        for to in TIMES {
            let times = [("from", from), ("to", to)];
            ask(&root, "/api/v1/admin/audit-log", &times).await;
            for granularity in ["minute", "hour", "day"] {
                let times = [("from", from), ("to", to), ("granularity", granularity)];
                ask(&root, "/api/v1/usage", &times).await;
            }
        }
    }
    for to in TIMES {
        for granularity in ["minute", "hour", "day"] {
            let times = [("to", to), ("granularity", granularity)];
            ask(&root, "/api/v1/usage", &times).await;
        }
    }
    let last = [
        ("from", "9999-12-31T23:00:00Z"),
        ("to", "9999-12-31T23:59:59.999999999Z"),
    ];
    assert_eq!(ask(&root, "/api/v1/usage", &last).await, 200);
}

/// Cursors that nobody was given, in the form of those that lists give out.
fn forged() -> Vec<String> {
    let id = "01980b6e-7c00-7000-8000-3f2a51d6c9b1";
    let mut forged = Vec::new();
    for last in ODD.into_iter().chain([&*"x".repeat(300)]) {
        forged.push(json!(["usage.1", ["2026-03-14T09:26:53Z", last]]));
    }
    for time in TIMES.into_iter().chain(ODD) {
        forged.push(json!(["usage.1", [time, "GET /api/v1/users/me"]]));
        forged.push(json!(["moment.1", [time, id]]));
    }
    for odd in ODD {
        forged.push(json!(["moment.1", ["2026-03-14T09:26:53Z", odd]]));
        forged.push(json!(odd));
    }
    let time = "2026-03-14T09:26:53Z";
    for order in ["moment.2", "moment.1\0", "sessions.1", ""] {
        forged.push(json!([order, [time, id]]));
    }
    forged.push(json!(["moment.1", [time, id, id]]));
    forged.extend([json!(null), json!([]), json!({}), json!(["moment.1"])]);
    let encoded = forged
        .iter()
        .map(|cursor| BASE64_URL_SAFE_NO_PAD.encode(cursor.to_string()));
    encoded.collect()
}

#[tokio::test]
async fn no_forged_cursor_fails_a_list() {
    let app = TestApp::new().await;
    let root = app.sign_in_admin("root").await;
    let forged = forged();
    let mut tried = 0;
    let organisation = root.new_organisation("roots").await;
    for list in lists(&root.user_id().await, &organisation) {
        if !list.parameters.iter().any(|name| name == "cursor") {
            continue;
        }
        let mut seen = BTreeSet::new();
        for cursor in &forged {
            seen.insert(ask(&root, &list.path, &[("cursor", cursor)]).await);
        }
        assert!(seen.contains(&400), "{}", list.path);
        tried += 1;
    }
    assert!(tried >= 4, "only {tried} lists have cursors");
}

#[tokio::test]
async fn a_value_that_postgresql_rejects_is_a_400_and_a_fault_of_ours_a_500() {
    let app = TestApp::new().await;
    let run = async |sql: &'static str| {
        let run = sqlx::query(sql).execute(&app.owner_db).await;
        let problem = Problem::from(run.expect_err(sql));
        problem.code().status().as_u16()
    };
    for sql in [
        "SELECT 'x'::uuid",
        "SELECT '2026-02-30'::date",
        "SELECT 'noon'::timestamptz",
        "SELECT '294277-01-01'::timestamptz",
        "SELECT 70000::int2",
        "SELECT '{'::jsonb",
        "SELECT '\"\\u0000\"'::jsonb",
        "SELECT 'a' ~ '('",
        "SELECT 'a' LIKE '\\'",
        "SELECT 'a' LIKE 'a' ESCAPE 'ab'",
    ] {
        assert_eq!(run(sql).await, 400, "{sql}");
    }
    let nul = sqlx::query("SELECT $1").bind("a\0b");
    let nul = nul.execute(&app.owner_db).await.expect_err("U+0000");
    assert_eq!(Problem::from(nul).code().status(), 400);
    for sql in [
        "SELECT 1 / 0",
        "SELECT 1 LIMIT -1",
        "SELECT ln(0)",
        "SELECT now() AT TIME ZONE 'Mars'",
        "SELECT nosuch",
    ] {
        assert_eq!(run(sql).await, 500, "{sql}");
    }
}

#[tokio::test]
async fn the_nul_character_is_refused_in_every_text_of_a_body() {
    let app = TestApp::new().await;
    let root = app.sign_in_admin("root").await;
    let organisation = root.new_organisation("roots").await;
    let document = serde_json::to_value(app::openapi()).expect("it is JSON");
    let paths = document["paths"].as_object().expect("there are paths");
    let mut tried = 0;
    // A webhook is stored as it is.
    let paths = paths
        .iter()
        .filter(|(path, _)| !path.contains("/webhooks/"));
    for (path, item) in paths {
        for (method, spec) in item.as_object().expect("it has methods") {
            let content = &spec["requestBody"]["content"]["application/json"];
            let several = content["examples"].as_object().into_iter().flatten();
            let several = several.map(|(_, example)| &example["value"]);
            for body in several.chain(content.get("example")) {
                let fields = body.as_object().expect("it is an object");
                for (name, value) in fields {
                    if !value.is_string() {
                        continue;
                    }
                    let mut body = body.clone();
                    body[name] = json!(format!("{}\0", value.as_str().unwrap_or_default()));
                    let method: Method = method.to_uppercase().parse().expect("it is a method");
                    let unknown = "01980b6e-7c00-7000-8000-3f2a51d6c9b1";
                    let path = fill_path(path, &organisation, unknown);
                    let token = Some(root.access());
                    let answer = app.replica.call(method, &path, token, Some(body)).await;
                    answer.assert_field(name);
                    tried += 1;
                }
            }
        }
    }
    assert!(tried > 20, "only {tried} fields were tried");
}

#[tokio::test]
async fn no_id_in_a_path_fails_its_route() {
    let app = TestApp::new().await;
    let root = app.sign_in_admin("root").await;
    let document = serde_json::to_value(app::openapi()).expect("it is JSON");
    let paths = document["paths"].as_object().expect("there are paths");
    let long = "9".repeat(4_000);
    let encoded = ODD.into_iter().chain([&*long]);
    let encoded = encoded.map(|odd| form_urlencoded::byte_serialize(odd.as_bytes()).collect());
    let raw = ["%00", "%ff", "%2F", "..", "%2e%2e", ";", "x%0d%0a", "{id}"];
    let ids: Vec<String> = encoded.chain(raw.map(str::to_owned)).collect();
    let mut tried = 0;
    for (path, item) in paths.iter().filter(|(path, _)| path.contains('{')) {
        for (method, spec) in item.as_object().expect("it has methods") {
            let method: Method = method.to_uppercase().parse().expect("it is a method");
            let content = &spec["requestBody"]["content"]["application/json"];
            let mut examples = content["examples"].as_object().into_iter().flatten();
            let example = examples.next().map(|(_, example)| &example["value"]);
            let body = example.or_else(|| content.get("example"));
            for id in &ids {
                // The client resolves it, to another route.
                if path.contains("{id}/") && ["..", "%2e%2e"].contains(&id.as_str()) {
                    continue;
                }
                let path = path.replace("{id}", id);
                let token = Some(root.access());
                let call = app
                    .replica
                    .call(method.clone(), &path, token, body.cloned());
                let answer = call.await;
                let is_refused = matches!(answer.status.as_u16(), 400 | 404 | 405 | 422);
                assert!(is_refused, "{method} {path}: {}", answer.body);
                tried += 1;
            }
        }
    }
    assert!(tried > 100, "only {tried} ids were tried");
}
