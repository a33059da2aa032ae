//! What holds for each operation of the document, whichever it is: somebody else's ids look like
//! ids that nobody has, and no body sets what it does not name.

use std::collections::BTreeMap;

use groundwork::app;
use groundwork::ids::UserId;
use groundwork::scope::{self, Scope};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::harness::{Session, TestApp};

/// An id that nobody has.
const UNKNOWN: &str = "01980b6e-7c00-7000-8000-3f2a51d6c9b1";

/// An operation of the document.
struct Operation {
    method: Method,
    path: String,
    /// Each example body that is described.
    bodies: Vec<Value>,
    /// The fields that its body may have.
    fields: Vec<String>,
}

impl Operation {
    fn all() -> Vec<Self> {
        let document = serde_json::to_value(app::openapi()).expect("it is JSON");
        let paths = document["paths"].as_object().expect("there are paths");
        let mut found = Vec::new();
        for (path, item) in paths {
            for (method, spec) in item.as_object().expect("it has methods") {
                let content = &spec["requestBody"]["content"]["application/json"];
                let several = content["examples"].as_object().into_iter().flatten();
                let bodies = several
                    .map(|(_, example)| &example["value"])
                    .chain(content.get("example"));
                found.push(Self {
                    method: method.to_uppercase().parse().expect("it is a method"),
                    path: path.clone(),
                    bodies: bodies.cloned().collect(),
                    fields: fields(&document, &content["schema"]),
                });
            }
        }
        found
    }

    fn place(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// The fields of a schema, wherever it is written down.
fn fields(document: &Value, schema: &Value) -> Vec<String> {
    if let Some(at) = schema["$ref"].as_str() {
        let schema = document.pointer(at.trim_start_matches('#'));
        return fields(document, schema.expect("the schema is there"));
    }
    let parts = ["oneOf", "anyOf", "allOf"].map(|name| schema[name].as_array());
    let parts = parts.into_iter().flatten().flatten();
    let own = schema["properties"].as_object().into_iter().flatten();
    own.map(|(name, _)| name.clone())
        .chain(parts.flat_map(|part| fields(document, part)))
        .collect()
}

/// Each table but those that count requests, with a digest of its rows.
async fn digests(app: &TestApp) -> BTreeMap<String, String> {
    let mut owner = app.owner().await;
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_class AS c
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
           AND NOT c.relispartition AND c.relname NOT LIKE '%usage%'",
    )
    .fetch_all(&mut owner)
    .await
    .expect("the tables are there");
    let mut digests = BTreeMap::new();
    for table in tables {
        let sql = format!(
            "SELECT md5(coalesce(string_agg(t::text, ',' ORDER BY t::text), '')) FROM {table} AS t"
        );
        let digest = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(&mut owner)
            .await
            .expect("the rows are there");
        digests.insert(table, digest);
    }
    digests
}

/// The path with an id in it, and unknown ones below that.
fn fill(path: &str, id: &str) -> String {
    let path = path.replace("{id}", id);
    path.replace("{user_id}", UNKNOWN)
        .replace("{name}", id)
        .replace("{invitation_id}", UNKNOWN)
}

/// An id of the account for each kind of path that has one. A new kind is a line.
async fn ids_of(account: &Session) -> Vec<(&'static str, String)> {
    let sessions = account.get("/api/v1/auth/sessions").await;
    let session = sessions.body["items"][0]["id"].as_str().expect("an id");
    let organisation = account.new_organisation("of-another").await;
    vec![
        ("/api/v1/auth/sessions/{id}", session.to_owned()),
        ("/api/v1/api-keys/{id}", account.new_key(&["read"]).await.id),
        ("/api/v1/admin/users/{id}", account.user_id().await),
        ("/api/v1/admin/organisations/{id}", organisation.clone()),
        ("/api/v1/organisations/{id}", organisation),
        ("/api/v1/payments/{id}", a_payment(account).await),
        ("/api/v1/secrets/{name}", a_secret(account).await),
        ("/api/v1/files/{id}", a_file(account).await),
        ("/api/v1/users/me/export/{id}", an_export(account).await),
        (
            "/api/v1/invitations/{id}",
            account.invited_to("by-another").await,
        ),
    ]
}

/// A secret, by its name.
async fn a_secret(account: &Session) -> String {
    let name = "secret-of-another";
    account.put_secret(name, "hunter2").await.assert_status(201);
    name.to_owned()
}

/// A payment of the personal account, as the release before wrote one.
async fn a_payment(account: &Session) -> String {
    let sql = "INSERT INTO payments (id, user_id, amount, currency, status, created_at, updated_at)
         VALUES (gen_random_uuid(), $1, 1, 'USD', 'succeeded', now(), now()) RETURNING id";
    a_row(account, sql).await
}

/// A complete file of the personal account.
async fn a_file(account: &Session) -> String {
    let sql = "INSERT INTO files (id, account_id, user_id, name, size, content_type, sha256, state, object_id, created_at,
                            upload_expires_at, completed_at)
         VALUES (gen_random_uuid(), $1, $1, 'x', 1, 'image/png', sha256('x'), 'complete', gen_random_uuid(), now(), now(),
                 now()) RETURNING id";
    a_row(account, sql).await
}

/// An export that is ready.
async fn an_export(account: &Session) -> String {
    let sql = "INSERT INTO data_exports (id, user_id, state, requested_at, attempt, parts, size, is_in_store, ready_at,
                                   expires_at)
         VALUES (gen_random_uuid(), $1, 'ready', now(), gen_random_uuid(), 1, 1, false, now(), 'infinity') RETURNING id";
    a_row(account, sql).await
}

/// A row of the personal account; returns its id.
async fn a_row(account: &Session, sql: &'static str) -> String {
    let user: Uuid = account.user_id().await.parse().expect("it is an id");
    let scope = Scope::Account(UserId(user).personal_account());
    let mut tx = scope::begin(&account.replica.state.db, scope)
        .await
        .expect("it begins");
    let id: Uuid = sqlx::query_scalar(sql)
        .bind(user)
        .fetch_one(&mut *tx)
        .await
        .expect("it is written");
    tx.commit().await.expect("it commits");
    id.to_string()
}

#[tokio::test]
async fn somebody_elses_ids_look_like_ids_that_nobody_has() {
    let app = TestApp::new().await;
    let (ada, grace) = (app.sign_in("ada").await, app.sign_in("grace").await);
    let ids = ids_of(&grace).await;
    let before = digests(&app).await;

    let mut asked = 0;
    for operation in Operation::all() {
        // A name of a secret is free in each account: it creates one.
        let creates = operation.method == Method::PUT;
        // A picture of a user is public, and the link in an email is for everybody who has it.
        let is_public = ["/api/v1/avatars/", "/unsubscribe/"];
        let is_public = is_public.iter().any(|it| operation.path.starts_with(it));
        if !operation.path.contains('{') || creates || is_public {
            continue;
        }
        let path = operation.path.as_str();
        let (prefix, foreign) = ids
            .iter()
            .find(|(prefix, _)| path.starts_with(prefix))
            .unwrap_or_else(|| panic!("{path} has an id: add one of its kind to ids_of"));
        let status = if prefix.contains("/admin/") { 403 } else { 404 };
        let mut answers = Vec::new();
        for id in [foreign.as_str(), UNKNOWN] {
            let path = fill(&operation.path, id);
            let body = operation.bodies.first().cloned();
            let token = Some(ada.access());
            let call = app
                .replica
                .call(operation.method.clone(), &path, token, body);
            let mut answer = call.await;
            answer.body["request_id"].take();
            answers.push((answer.status.as_u16(), answer.body));
        }
        assert_eq!(answers[0], answers[1], "{}", operation.place());
        assert_eq!(answers[0].0, status, "{}", operation.place());
        asked += 1;
    }
    assert!(asked >= 7, "only {asked} routes have ids");
    assert_eq!(digests(&app).await, before, "nothing of anybody's changed");
    app.run_jobs().await;
}

#[tokio::test]
async fn reads_without_an_id_return_nothing_of_another_account() {
    let app = TestApp::new().await;
    let (ada, grace) = (app.sign_in("ada").await, app.sign_in("grace").await);
    let ids = ids_of(&grace).await;
    let mut lists = 0;
    for operation in Operation::all() {
        if operation.method != Method::GET || operation.path.contains('{') {
            continue;
        }
        let answer = ada.get(&operation.path).await;
        lists += usize::from(answer.body["items"].is_array());
        let text = String::from_utf8_lossy(&answer.bytes);
        for (kind, id) in &ids {
            assert!(!text.contains(id), "{} shows {kind}", operation.place());
        }
    }
    assert!(lists >= 3, "only {lists} lists were read");
    app.run_jobs().await;
}

#[tokio::test]
async fn no_body_sets_what_it_does_not_name() {
    let app = TestApp::new().await;
    let root = app.sign_in_admin("root").await;
    let organisation = root.new_organisation("roots").await;
    let before = digests(&app).await;
    let mut tried = 0;
    for operation in Operation::all() {
        // A webhook is stored as it is.
        if operation.path.contains("/webhooks/") {
            continue;
        }
        let own = if operation.path.starts_with("/api/v1/organisations/") {
            organisation.as_str()
        } else {
            UNKNOWN
        };
        let path = fill(&operation.path, own);
        for body in &operation.bodies {
            for field in [
                "surprise",
                "id",
                "user_id",
                "role",
                "is_admin",
                "email_verified_at",
                "password_hash",
                "plan",
                "created_at",
                "__proto__",
            ] {
                if operation.fields.iter().any(|own| own == field) {
                    continue;
                }
                let mut body = body.clone();
                body[field] = json!(true);
                let answer = ask(&root, &operation.method, &path, body).await;
                let errors = answer.body["errors"].as_array();
                let named = errors.and_then(|errors| errors.first()?["field"].as_str());
                assert_eq!(
                    (answer.status.as_u16(), named),
                    (422, Some(field)),
                    "{}: {}",
                    operation.place(),
                    answer.body
                );
                tried += 1;
            }
        }
    }
    assert!(tried > 150, "only {tried} bodies were tried");
    let batch = json!({ "events": [{ "type": "a.b" }, { "type": "a.b", "user_id": UNKNOWN }] });
    let answer = ask(&root, &Method::POST, "/api/v1/events/batch", batch).await;
    answer.assert_field("events[1].user_id");
    assert_eq!(digests(&app).await, before, "and nothing changed");
}

async fn ask(
    session: &Session,
    method: &Method,
    path: &str,
    body: Value,
) -> crate::harness::Answer {
    let token = Some(session.access());
    session
        .replica
        .call(method.clone(), path, token, Some(body))
        .await
}
