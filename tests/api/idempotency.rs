//! Requests with an `Idempotency-Key`: repeated, changed, by others, expired, and in the table.

mod crashes;

use std::time::Duration;

use groundwork::idempotency::PurgeIdempotencyKeys;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use crate::harness::{Answer, PASSWORD, Session, TestApp};
use crate::organisations::ORGANISATIONS;

const KEYS: &str = "/api/v1/api-keys";

impl Session {
    /// A POST with this key.
    pub async fn post_once(&self, key: &str, path: &str, body: &Value) -> Answer {
        self.post_with(&[("idempotency-key", key)], path, body)
            .await
    }

    async fn post_with(&self, headers: &[(&str, &str)], path: &str, body: &Value) -> Answer {
        let request = self.replica.request(Method::POST, path).json(body);
        let request = headers.iter().fold(
            request.bearer_auth(self.access()),
            |request, (name, value)| request.header(*name, *value),
        );
        self.replica.send(&Method::POST, path, request).await
    }
}

impl TestApp {
    async fn rows_of(&self, rows: &str) -> i64 {
        let sql = AssertSqlSafe(format!("SELECT count(*) FROM {rows}"));
        let count = sqlx::query_scalar(sql).fetch_one(&self.owner_db).await;
        count.expect("they are counted")
    }

    async fn as_owner(&self, sql: &'static str) {
        let done = sqlx::raw_sql(sql).execute(&self.owner_db).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

fn acme() -> Value {
    json!({ "name": "Acme", "slug": "acme" })
}

/// Holds that an answer is the stored one to a repeated request.
#[track_caller]
fn assert_replay(first: &Answer, again: &Answer) {
    again.assert_status(first.status.as_u16());
    assert_eq!(again.bytes, first.bytes);
    assert_eq!(again.headers["content-type"], first.headers["content-type"]);
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert!(!first.headers.contains_key("idempotency-replayed"));
}

#[tokio::test]
async fn every_operation_that_accepts_a_key_has_its_effect_once_and_replays_its_reply() {
    let app = TestApp::new().await;
    let document = serde_json::to_value(groundwork::app::openapi()).expect("it is JSON");
    let mut accepting = Vec::new();
    for (path, item) in document["paths"].as_object().expect("there are paths") {
        for (method, operation) in item.as_object().expect("it has operations") {
            let parameters = operation["parameters"].as_array();
            let header =
                parameters.and_then(|all| all.iter().find(|it| it["name"] == "Idempotency-Key"));
            if let Some(header) = header {
                assert_eq!(method, "post");
                // It calls Stripe: tests/api/payments.rs.
                assert_eq!(header["required"] == true, path == "/api/v1/payments");
                for status in ["400", "409", "422"] {
                    assert!(
                        operation["responses"][status].is_object(),
                        "{path} {status}"
                    );
                }
                if header["required"] == false {
                    accepting.push(path.clone());
                }
            }
        }
    }
    let ada = app.sign_in("ada").await;
    let organisation = ada.new_organisation("first").await;
    let key_id = ada.new_key(&["read"]).await.id;
    // One of each; a new operation needs a line.
    let requests = [
        (
            KEYS,
            json!({ "name": "Import", "scopes": ["read"], "password": PASSWORD }),
        ),
        (
            "/api/v1/api-keys/{id}/rotate",
            json!({ "password": PASSWORD }),
        ),
        (ORGANISATIONS, acme()),
        (
            "/api/v1/organisations/{id}/invitations",
            json!({ "email": "bob@example.com", "role": "member" }),
        ),
    ];
    let mut expected = requests.each_ref().map(|(path, _)| *path);
    expected.sort_unstable();
    accepting.sort_unstable();
    assert_eq!(accepting, expected);
    for (at, (path, body)) in requests.iter().enumerate() {
        let key = format!("k-{at}");
        let id = if path.starts_with(KEYS) {
            &key_id
        } else {
            &organisation
        };
        let path = path.replace("{id}", id);
        let before = app.rows_of("audit_log").await;
        let first = ada.post_once(&key, &path, body).await;
        assert!(first.status.is_success(), "{path}: {}", first.body);
        let after = app.rows_of("audit_log").await;
        let replica = app.another_replica().await;
        let tokens = ada.tokens.clone();
        let elsewhere = Session { replica, tokens };
        for session in [&ada, &elsewhere] {
            let again = session.post_once(&key, &path, body).await;
            assert_replay(&first, &again);
        }
        assert_eq!((after - before, app.rows_of("audit_log").await), (1, after));
    }
    app.run_jobs().await;
}

#[tokio::test]
async fn a_key_is_for_one_request() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    ada.post_once("k-1", ORGANISATIONS, &acme())
        .await
        .assert_status(201);
    let other = json!({ "name": "Other", "slug": "other" });
    let reused = ada.post_once("k-1", ORGANISATIONS, &other).await;
    reused.assert_problem(422, "idempotency_key_reused");
    let with_query = format!("{ORGANISATIONS}?a=1");
    let reused = ada.post_once("k-1", &with_query, &acme()).await;
    reused.assert_problem(422, "idempotency_key_reused");
    let key = json!({ "name": "Import", "scopes": ["read"], "password": PASSWORD });
    let reused = ada.post_once("k-1", KEYS, &key).await;
    reused.assert_problem(422, "idempotency_key_reused");
    assert_eq!(app.rows_of("account_slugs").await, 1);
    ada.post_once("k-2", ORGANISATIONS, &other)
        .await
        .assert_status(201);
    // Without a key nothing is stored, and nothing is replayed.
    ada.post(ORGANISATIONS, acme())
        .await
        .assert_problem(409, "slug_taken");
    assert_eq!(app.rows_of("idempotency_keys").await, 2);
}

#[tokio::test]
async fn a_malformed_key_is_refused_and_other_methods_and_routes_ignore_it() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let too_long = "x".repeat(256);
    for headers in [
        &[("idempotency-key", "")][..],
        &[("idempotency-key", "a b")],
        &[("idempotency-key", &too_long)],
        &[("idempotency-key", "a"), ("idempotency-key", "b")],
    ] {
        let refused = ada.post_with(headers, ORGANISATIONS, &acme()).await;
        refused.assert_problem(400, "bad_request");
        let detail = refused.body["detail"].as_str().expect("it has a detail");
        assert!(detail.contains("Idempotency-Key"), "{detail}");
    }
    let request = ada.replica.request(Method::GET, ORGANISATIONS);
    let request = request
        .bearer_auth(ada.access())
        .header("idempotency-key", "a b");
    let listed = ada.replica.send(&Method::GET, ORGANISATIONS, request).await;
    listed.assert_status(200);
    let event = json!({ "type": "report.created" });
    let stored = ada.post_once("a b", "/api/v1/events", &event).await;
    stored.assert_status(201);
    assert_eq!(app.rows_of("idempotency_keys").await, 0);
}

#[tokio::test]
async fn a_key_of_another_user_or_account_is_another_key() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let first = ada.post_once("k-1", ORGANISATIONS, &acme()).await;
    first.assert_status(201);
    // The same request runs: its slug is taken.
    let bob = app.sign_in("bob").await;
    let other_user = bob.post_once("k-1", ORGANISATIONS, &acme()).await;
    other_user.assert_problem(409, "slug_taken");
    let api_key = json!({ "name": "Import", "scopes": ["usage:read"], "password": PASSWORD });
    let personal = ada.post_once("k-3", KEYS, &api_key).await;
    let headers = [("idempotency-key", "k-3"), ("x-account", "acme")];
    let of_acme = ada.post_with(&headers, KEYS, &api_key).await;
    of_acme.assert_status(201);
    assert_ne!(personal.body["id"], of_acme.body["id"]);
    assert_replay(&personal, &ada.post_once("k-3", KEYS, &api_key).await);
    assert_replay(&of_acme, &ada.post_with(&headers, KEYS, &api_key).await);
    // Two members of one organisation.
    let id = first.body["id"].as_str().expect("an id").to_owned();
    let eve = app.join(&ada, &id, "eve", "admin").await;
    let path = format!("{ORGANISATIONS}/{id}/invitations");
    let body = json!({ "email": "carol@example.com", "role": "member" });
    let by_ada = ada.post_once("k-2", &path, &body).await;
    let by_eve = eve.post_once("k-2", &path, &body).await;
    by_ada.assert_status(201);
    by_eve.assert_status(201);
    assert_ne!(by_ada.body["id"], by_eve.body["id"]);
    assert_replay(&by_ada, &ada.post_once("k-2", &path, &body).await);
    // Who is no longer a member gets nothing.
    eve.leave(&id).await.assert_status(204);
    let gone = eve.post_once("k-2", &path, &body).await;
    gone.assert_problem(404, "not_found");
    app.run_jobs().await;
}

#[tokio::test]
async fn a_refused_or_failed_request_leaves_its_key_to_the_next() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let invalid = json!({ "name": "Acme", "slug": "!" });
    let refused = ada.post_once("k-1", ORGANISATIONS, &invalid).await;
    refused.assert_field("slug");
    app.as_owner("ALTER TABLE account_slugs RENAME TO away")
        .await;
    let failed = ada.post_once("k-1", ORGANISATIONS, &acme()).await;
    failed.assert_problem(500, "internal");
    app.as_owner("ALTER TABLE away RENAME TO account_slugs")
        .await;
    assert_eq!(app.rows_of("idempotency_keys").await, 0);
    let first = ada.post_once("k-1", ORGANISATIONS, &acme()).await;
    first.assert_status(201);
    assert!(!first.headers.contains_key("idempotency-replayed"));
    assert_replay(&first, &ada.post_once("k-1", ORGANISATIONS, &acme()).await);
}

#[tokio::test]
async fn a_key_expires_and_is_purged() {
    let app = TestApp::with(&[("IDEMPOTENCY_TTL", "2h")]).await;
    let ada = app.sign_in("ada").await;
    let path = format!(
        "{ORGANISATIONS}/{}/invitations",
        ada.new_organisation("acme").await
    );
    let body = json!({ "email": "bob@example.com", "role": "member" });
    let first = ada.post_once("k-1", &path, &body).await;
    app.clock.advance(Duration::from_mins(119));
    let ada = app.log_in("ada@example.com").await;
    assert_replay(&first, &ada.post_once("k-1", &path, &body).await);
    app.clock.advance(Duration::from_mins(1));
    // Not the one before, and for another request as well.
    let body = json!({ "email": "eve@example.com", "role": "member" });
    let second = ada.post_once("k-1", &path, &body).await;
    second.assert_status(201);
    assert_ne!(first.body["id"], second.body["id"]);
    assert_replay(&second, &ada.post_once("k-1", &path, &body).await);
    let purge = async || {
        let job = PurgeIdempotencyKeys::default();
        let queued = job_queue::enqueue(&app.state.db, &job, None).await;
        queued.expect("it is enqueued");
        app.run_jobs().await;
        app.rows_of("idempotency_keys").await
    };
    assert_eq!(purge().await, 1);
    app.clock.advance(Duration::from_mins(121));
    assert_eq!(purge().await, 0);
}

#[tokio::test]
async fn no_row_shows_a_key_a_request_or_a_reply() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let body = json!({ "name": "Import", "scopes": ["read"], "password": PASSWORD });
    let key = "ada@example.com/7";
    let first = ada.post_once(key, KEYS, &body).await;
    first.assert_status(201);
    let secret = first.body["key"].as_str().expect("it is text");
    let request = [b"POST\0/api/v1/api-keys\0", body.to_string().as_bytes()].concat();
    let plain = crypto::sha256(&request);
    let (mac, stored): (Vec<u8>, Vec<u8>) =
        sqlx::query_as("SELECT request_mac, body FROM idempotency_keys")
            .fetch_one(&app.owner_db)
            .await
            .expect("there is one");
    // A plain hash would let passwords be guessed.
    assert_ne!(mac, plain);
    for part in [
        secret.as_bytes(),
        b"\"key\":",
        PASSWORD.as_bytes(),
        key.as_bytes(),
    ] {
        assert!(!stored.windows(part.len()).any(|bytes| bytes == part));
    }
    assert_replay(&first, &ada.post_once(key, KEYS, &body).await);
    // Without its own row a reply cannot be decrypted.
    let other = json!({ "name": "Other", "scopes": ["read"], "password": PASSWORD });
    ada.post_once("k-2", KEYS, &other).await.assert_status(201);
    app.as_owner("UPDATE idempotency_keys AS k SET body = o.body FROM idempotency_keys AS o WHERE o.key_hash <> k.key_hash")
        .await;
    let moved = ada.post_once(key, KEYS, &body).await;
    moved.assert_problem(500, "internal");
    // As a reply that was too large.
    app.as_owner("UPDATE idempotency_keys SET body = NULL")
        .await;
    let large = ada.post_once(key, KEYS, &body).await;
    large.assert_problem(409, "idempotency_reply_unavailable");
    assert_eq!(app.audited("api_key_created").await, 2);
    // Whoever has the session and not the password gets no key.
    let guess = json!({ "name": "Import", "scopes": ["read"], "password": "another" });
    let guessed = ada.post_once(key, KEYS, &guess).await;
    guessed.assert_problem(422, "idempotency_key_reused");
    app.run_jobs().await;
}
