//! A rejected request names every field that is wrong, whichever route it is for.

use std::collections::BTreeSet;

use groundwork::app;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Session, TestApp};
use crate::organisations::fill_path;

/// A route that takes a body, and the resolved schema of the body.
struct Route {
    method: Method,
    path: String,
    schema: Value,
}

impl Route {
    fn all(organisation: &str) -> Vec<Self> {
        let document = serde_json::to_value(app::openapi()).expect("it is JSON");
        let paths = document["paths"].as_object().expect("there are paths");
        let mut found = Vec::new();
        for (path, item) in paths {
            for (method, spec) in item.as_object().expect("it has methods") {
                let schema = &spec["requestBody"]["content"]["application/json"]["schema"];
                // A webhook is stored as it is.
                if schema.is_null() || path.contains("/webhooks/") {
                    continue;
                }
                found.push(Self {
                    method: method.to_uppercase().parse().expect("it is a method"),
                    path: fill_path(path, organisation, "01980b6e-7c00-7000-8000-3f2a51d6c9b1"),
                    schema: resolve(&document, schema),
                });
            }
        }
        found
    }

    fn required(&self) -> BTreeSet<String> {
        let names = self.schema["required"].as_array().into_iter().flatten();
        names
            .filter_map(|name| Some(name.as_str()?.to_owned()))
            .collect()
    }

    fn properties(&self) -> BTreeSet<String> {
        let properties = self.schema["properties"].as_object();
        properties
            .expect("it has properties")
            .keys()
            .cloned()
            .collect()
    }

    async fn send(&self, session: &Session, body: Value) -> Answer {
        let token = Some(session.access());
        let method = self.method.clone();
        session
            .replica
            .call(method, &self.path, token, Some(body))
            .await
    }
}

fn resolve(document: &Value, schema: &Value) -> Value {
    if let Some(at) = schema["$ref"].as_str() {
        let schema = document.pointer(at.trim_start_matches('#'));
        return resolve(document, schema.expect("the schema is there"));
    }
    match schema["oneOf"].as_array() {
        Some(either) => {
            let value = either.iter().find(|it| it["type"] != "null");
            resolve(document, value.expect("it may be more than null"))
        }
        None => schema.clone(),
    }
}

/// The fields that an answer names, each of them once.
fn fields(answer: &Answer) -> BTreeSet<String> {
    let errors = answer.body["errors"].as_array().expect("it names fields");
    let named: Vec<_> = errors.iter().map(|it| it["field"].as_str()).collect();
    let fields: BTreeSet<_> = named.iter().flatten().map(|it| (*it).to_owned()).collect();
    assert_eq!(fields.len(), named.len(), "{}", answer.body);
    fields
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn every_body_names_all_of_its_required_fields() {
    let app = TestApp::new().await;
    let root = app.sign_in_admin("root").await;
    let mut several = 0;
    let organisation = root.new_organisation("roots").await;
    for route in Route::all(&organisation) {
        let required = route.required();
        if required.is_empty() {
            continue;
        }
        several += usize::from(required.len() > 1);
        let answer = route.send(&root, json!({})).await;
        answer.assert_problem(422, "invalid_fields");
        assert_eq!(fields(&answer), required, "{}", route.path);
    }
    assert!(
        several >= 6,
        "only {several} bodies have several required fields"
    );
}

#[tokio::test]
async fn every_body_names_all_of_its_wrong_and_unknown_fields() {
    let app = TestApp::new().await;
    let root = app.sign_in_admin("root").await;
    let mut tried = 0;
    let organisation = root.new_organisation("roots").await;
    for route in Route::all(&organisation) {
        let mut wrong = route.properties();
        // No field is an array of arrays.
        let mut body: serde_json::Map<_, _> = wrong
            .iter()
            .map(|name| (name.clone(), json!([["secret-7"]])))
            .collect();
        for unknown in ["surprise", "__proto__", "zzz"] {
            body.insert(unknown.to_owned(), json!("secret-7"));
            wrong.insert(unknown.to_owned());
        }
        let answer = route.send(&root, body.into()).await;
        answer.assert_problem(422, "invalid_fields");
        // Faults within a field count for it.
        let named = fields(&answer).into_iter();
        let named = named.map(|it| it.split(['.', '[']).next().unwrap_or_default().to_owned());
        assert_eq!(named.collect::<BTreeSet<_>>(), wrong, "{}", route.path);
        assert!(
            !answer.body.to_string().contains("secret-7"),
            "{}",
            answer.body
        );
        tried += 1;
    }
    assert!(tried >= 15, "only {tried} bodies were tried");
}

#[tokio::test]
async fn signing_up_with_several_faults_names_them_all() {
    let app = TestApp::new().await;
    let body = json!({ "email": "ada", "password": "short", "first_name": "", "nickname": "a" });
    let answer = app.post("/api/v1/auth/register", body).await;
    answer.assert_problem(422, "invalid_fields");
    let expected = set(&["email", "password", "first_name", "nickname"]);
    assert_eq!(fields(&answer), expected);
    let answer = app
        .post(
            "/api/v1/auth/login",
            json!({ "email": 7, "transport": "pigeon" }),
        )
        .await;
    assert_eq!(fields(&answer), set(&["email", "password", "transport"]));
}

#[tokio::test]
async fn a_batch_of_events_names_the_faults_of_each_item() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let batch = "/api/v1/events/batch";
    let events = json!({ "events": [
        { "type": "good" },
        { "type": "not good", "data": [] },
        {},
        { "type": "good", "surprise": 1, "id": "x" },
        "event",
        { "type": "good" },
    ] });
    let answer = ada.post(batch, events).await;
    answer.assert_problem(422, "invalid_fields");
    let expected = [
        "events[1].type",
        "events[1].data",
        "events[2].type",
        "events[3].surprise",
        "events[3].id",
        "events[4]",
    ];
    assert_eq!(fields(&answer), set(&expected));

    let old = "01980b6e-7c00-7000-8000-3f2a51d6c9b1";
    let events = json!({ "events": [
        { "type": "a", "id": old }, { "type": "b" }, { "type": "c", "id": old },
    ] });
    let answer = ada.post(batch, events).await;
    answer.assert_problem(422, "invalid_fields");
    assert_eq!(fields(&answer), set(&["events[0].id", "events[2].id"]));

    let events = json!({ "events": vec![json!({ "type": "A" }); 100] });
    let answer = ada.post(batch, events).await;
    assert_eq!(fields(&answer).len(), 100);
    let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM events")
        .fetch_one(&app.owner_db)
        .await
        .expect("the table is there");
    assert_eq!(stored, 0);
}

#[tokio::test]
async fn a_query_string_names_all_of_its_wrong_parameters() {
    let app = TestApp::new().await;
    let root = app.sign_in_admin("root").await;
    let usage = "/api/v1/usage?from=now&to=then&granularity=week&limit=0&cursor=x&offset=1";
    let answer = root.get(usage).await;
    answer.assert_problem(400, "bad_request");
    let expected = ["from", "to", "granularity", "limit", "cursor", "offset"];
    assert_eq!(fields(&answer), set(&expected));
    let users = "/api/v1/admin/users?role=king&disabled=maybe&search=%00&limit=many";
    let answer = root.get(users).await;
    answer.assert_problem(400, "bad_request");
    assert_eq!(
        fields(&answer),
        set(&["role", "disabled", "search", "limit"])
    );
}
