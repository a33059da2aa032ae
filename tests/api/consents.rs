//! Documents that users accept, at sign-up and at sign-in, and optional consents.

use futures_util::future::join_all;
use groundwork::consents::OptionalKind;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use crate::harness::{Answer, PASSWORD, Replica, Session, TestApp};

const REGISTER: &str = "/api/v1/auth/register";
const VERIFY: &str = "/api/v1/auth/verify-email";
const LOGIN: &str = "/api/v1/auth/login";
const LEGAL: &str = "/api/v1/legal";
const CONSENTS: &str = "/api/v1/users/me/consents";
/// A route that is closed until the documents are accepted.
const CLOSED: &str = "/api/v1/usage/current";

const DOCUMENTS: [(&str, &str); 5] = [
    ("TERMS_VERSION", "2026-11-01"),
    ("TERMS_URL", "https://example.com/terms"),
    ("PRIVACY_NOTICE_VERSION", "3"),
    ("PRIVACY_NOTICE_URL", "https://example.com/privacy"),
    ("PRIVACY_CONTACT", "privacy@example.com"),
];

fn sign_up(email: &str, password: &str, documents: &Value) -> Value {
    let mut body = json!({ "email": email, "password": password });
    let fields = body.as_object_mut().expect("it is an object");
    fields.extend(documents.as_object().cloned().unwrap_or_default());
    body
}

fn both() -> Value {
    json!({ "terms": "2026-11-01", "privacy_notice": "3" })
}

async fn put(session: &Session, body: Value) -> Answer {
    session
        .replica
        .call(Method::PUT, CONSENTS, Some(session.access()), Some(body))
        .await
}

async fn log_in_at(replica: &Replica, email: &str) -> Session {
    let body = json!({ "email": email, "password": PASSWORD });
    let answer = replica.call(Method::POST, LOGIN, None, Some(body)).await;
    answer.assert_status(200);
    Session {
        replica: replica.clone(),
        tokens: answer.body,
    }
}

/// Kind, version, state and source of all lines, the oldest first.
async fn lines(app: &TestApp) -> Vec<(String, Option<String>, bool, String)> {
    sqlx::query_as("SELECT kind, version, is_given, source FROM consents ORDER BY id")
        .fetch_all(&app.owner_db)
        .await
        .expect("the table is there")
}

/// Signs up and verifies the address.
async fn join(app: &TestApp, email: &str, documents: &Value) {
    let body = sign_up(email, PASSWORD, documents);
    app.post(REGISTER, body).await.assert_status(202);
    let token = app.email_to(email).await.token();
    app.post(VERIFY, json!({ "token": token.expect("there is a link") }))
        .await
        .assert_status(204);
}

#[tokio::test]
async fn a_sign_up_accepts_the_documents_in_force() {
    let app = TestApp::with(&DOCUMENTS).await;
    let legal = app.get(LEGAL).await;
    legal.assert_status(200);
    assert_eq!(
        legal.body,
        json!({
            "documents": [
                { "document": "terms", "version": "2026-11-01", "url": "https://example.com/terms" },
                { "document": "privacy_notice", "version": "3", "url": "https://example.com/privacy" },
            ],
            "contact": "privacy@example.com",
        })
    );
    join(&app, "ada@example.com", &both()).await;
    let ada = app.log_in("ada@example.com").await;
    ada.get(CLOSED).await.assert_status(200);
    let consents = ada.get(CONSENTS).await.body;
    let [terms, notice] = [0, 1].map(|at| consents["documents"][at].clone());
    assert_eq!(
        (&terms["is_due"], &notice["is_due"]),
        (&json!(false), &json!(false))
    );
    assert_eq!(terms["accepted_version"], "2026-11-01");
    assert!(terms["accepted_at"].is_string(), "{terms}");
    let (from, agents): (i64, i64) =
        sqlx::query_as("SELECT count(ip), count(*) FROM consents WHERE source = 'sign_up'")
            .fetch_one(&app.owner_db)
            .await
            .expect("the table is there");
    assert_eq!((from, agents), (2, 2), "each line has the client's address");
}

#[tokio::test]
async fn a_sign_up_is_refused_without_the_version_in_force_of_each_document() {
    let app = TestApp::with(&DOCUMENTS).await;
    for (documents, field, code) in [
        (json!({}), "terms", "required"),
        (
            json!({ "terms": "2026-11-01" }),
            "privacy_notice",
            "required",
        ),
        (
            json!({ "terms": "2025-01-01", "privacy_notice": "3" }),
            "terms",
            "not_in_force",
        ),
        (
            json!({ "terms": "2036-01-01", "privacy_notice": "3" }),
            "terms",
            "not_in_force",
        ),
        (
            json!({ "terms": "2026-11-01", "privacy_notice": "x" }),
            "privacy_notice",
            "not_in_force",
        ),
        (
            json!({ "terms": null, "privacy_notice": "3" }),
            "terms",
            "required",
        ),
        (
            json!({ "terms": "a b", "privacy_notice": "3" }),
            "terms",
            "invalid",
        ),
        (
            json!({ "terms": "", "privacy_notice": "3" }),
            "terms",
            "invalid",
        ),
        (
            json!({ "terms": 1, "privacy_notice": "3" }),
            "terms",
            "wrong_type",
        ),
    ] {
        let answer = app
            .post(REGISTER, sign_up("ada@example.com", PASSWORD, &documents))
            .await;
        answer.assert_field(field);
        assert_eq!(
            answer.body["errors"][0]["code"], code,
            "{documents}: {}",
            answer.body
        );
    }
    let answer = app
        .post(REGISTER, sign_up("ada@example.com", PASSWORD, &json!({})))
        .await;
    assert_eq!(
        answer.body["errors"].as_array().map(Vec::len),
        Some(2),
        "{}",
        answer.body
    );
    let users: i64 = sqlx::query_scalar("SELECT count(*) FROM users")
        .fetch_one(&app.owner_db)
        .await
        .expect("the table is there");
    assert_eq!(users, 0, "nothing is stored");
}

#[tokio::test]
async fn nothing_is_asked_where_the_product_has_no_documents() {
    let app = TestApp::new().await;
    assert_eq!(
        app.get(LEGAL).await.body,
        json!({ "documents": [], "contact": null })
    );
    let answer = app
        .post(REGISTER, sign_up("ada@example.com", PASSWORD, &both()))
        .await;
    answer.assert_field("terms");
    let ada = app.sign_in("ada").await;
    ada.get(CLOSED).await.assert_status(200);
    assert_eq!(ada.get(CONSENTS).await.body["documents"], json!([]));
    put(&ada, json!({ "terms": "1" }))
        .await
        .assert_field("terms");
}

#[tokio::test]
async fn a_new_version_is_asked_for_at_the_next_sign_in_and_not_before() {
    let app = TestApp::with(&DOCUMENTS).await;
    join(&app, "ada@example.com", &both()).await;
    let earlier = app.log_in("ada@example.com").await;
    let newer = app
        .another_replica_with(&[("TERMS_VERSION", "2027-01-01")])
        .await;
    let at_newer = Session {
        replica: newer.clone(),
        tokens: earlier.tokens.clone(),
    };
    at_newer.get(CLOSED).await.assert_status(200);

    let ada = log_in_at(&newer, "ada@example.com").await;
    ada.get(CLOSED)
        .await
        .assert_problem(403, "acceptance_required");
    // To read, to secure the account, and to leave.
    ada.get("/api/v1/users/me").await.assert_status(200);
    ada.get("/api/v1/auth/sessions").await.assert_status(200);
    let consents = ada.get(CONSENTS).await.body;
    assert_eq!(consents["documents"][0]["is_due"], true, "{consents}");
    assert_eq!(consents["documents"][0]["accepted_version"], "2026-11-01");
    assert_eq!(consents["documents"][1]["is_due"], false);

    // A refresh does not get around it.
    let tokens = newer.refresh(ada.refresh_token()).await;
    tokens.assert_status(200);
    let ada = Session {
        replica: newer.clone(),
        tokens: tokens.body,
    };
    ada.get(CLOSED)
        .await
        .assert_problem(403, "acceptance_required");

    put(&ada, json!({ "terms": "2026-11-01" }))
        .await
        .assert_field("terms");
    put(&ada, json!({ "terms": "2028-01-01" }))
        .await
        .assert_field("terms");
    ada.get(CLOSED)
        .await
        .assert_problem(403, "acceptance_required");
    let accepted = put(&ada, json!({ "terms": "2027-01-01" })).await;
    accepted.assert_status(200);
    assert_eq!(accepted.body["documents"][0]["is_due"], false);
    // With the token that was refused before.
    ada.get(CLOSED).await.assert_status(200);
    put(&ada, json!({ "terms": "2027-01-01" }))
        .await
        .assert_status(200);
    let terms = lines(&app).await;
    let terms: Vec<_> = terms.iter().filter(|line| line.0 == "terms").collect();
    assert_eq!(terms.len(), 2, "a repetition appends nothing: {terms:?}");
    assert_eq!(terms[1].3, "settings");
    assert_eq!(app.audited("documents_accepted").await, 1);
    let again = log_in_at(&newer, "ada@example.com").await;
    again.get(CLOSED).await.assert_status(200);
}

#[tokio::test]
async fn with_several_sign_ups_for_an_address_the_owner_is_asked_again() {
    let app = TestApp::with(&DOCUMENTS).await;
    let stranger = sign_up("ada@example.com", "somebody else's pass phrase", &both());
    app.post(REGISTER, stranger).await.assert_status(202);
    app.post(REGISTER, sign_up("ada@example.com", PASSWORD, &both()))
        .await
        .assert_status(202);
    let token = app.email_to("ada@example.com").await.token();
    app.post(
        VERIFY,
        json!({ "token": token.expect("there is a link"), "password": PASSWORD }),
    )
    .await
    .assert_status(204);
    let ada = app.log_in("ada@example.com").await;
    ada.get(CLOSED)
        .await
        .assert_problem(403, "acceptance_required");
    assert!(lines(&app).await.is_empty(), "nobody knows who accepted");
}

#[tokio::test]
async fn a_sign_up_with_a_known_address_accepts_nothing_for_its_owner() {
    let app = TestApp::with(&DOCUMENTS).await;
    join(&app, "ada@example.com", &both()).await;
    let newer = app
        .another_replica_with(&[("TERMS_VERSION", "2027-01-01")])
        .await;
    let documents = json!({ "terms": "2027-01-01", "privacy_notice": "3" });
    let body = sign_up("ada@example.com", "somebody else's pass phrase", &documents);
    newer
        .call(Method::POST, REGISTER, None, Some(body))
        .await
        .assert_status(202);
    app.run_jobs().await;
    assert_eq!(lines(&app).await.len(), 2);
    let ada = log_in_at(&newer, "ada@example.com").await;
    ada.get(CLOSED)
        .await
        .assert_problem(403, "acceptance_required");
}

#[tokio::test]
async fn optional_kinds_are_off_until_they_are_turned_on_and_the_newest_line_counts() {
    let app = TestApp::new().await;
    let (ada, bob) = (app.sign_in("ada").await, app.sign_in("bob").await);
    let all: Vec<_> = OptionalKind::ALL.iter().map(|kind| kind.as_str()).collect();
    let given = async |session: &Session| {
        let body = session.get(CONSENTS).await.body;
        let optional = body["optional"].as_array().expect("it is a list").clone();
        let kind = |it: &Value| it["kind"].as_str().unwrap_or_default().to_owned();
        assert_eq!(optional.iter().map(kind).collect::<Vec<_>>(), all);
        let given = optional.iter().filter(|it| it["is_given"] == true);
        given.map(kind).collect::<Vec<_>>()
    };
    assert_eq!(given(&ada).await, [""; 0]);
    put(&ada, json!({ "product_news": false }))
        .await
        .assert_status(200);
    assert!(lines(&app).await.is_empty(), "nothing has changed");
    put(&ada, json!({ "product_news": true }))
        .await
        .assert_status(200);
    assert_eq!(given(&ada).await, ["product_news"]);
    let inverse: Value = all
        .iter()
        .map(|kind| ((*kind).to_owned(), json!(*kind != "product_news")))
        .collect();
    put(&ada, inverse).await.assert_status(200);
    let others: Vec<_> = all.iter().filter(|kind| **kind != "product_news").collect();
    assert_eq!(given(&ada).await.iter().collect::<Vec<_>>(), others);
    put(&ada, json!({})).await.assert_status(200);
    let changed = all.len() + 1;
    assert_eq!(lines(&app).await.len(), changed);
    assert_eq!(given(&bob).await, [""; 0], "another user's are not touched");
    let audited = app.audited("consent_changed").await;
    assert_eq!(usize::try_from(audited), Ok(changed));
    for (body, field) in [
        (json!({ "product_news": "yes" }), "product_news"),
        (json!({ "newsletter": true }), "newsletter"),
    ] {
        put(&ada, body).await.assert_field(field);
    }
}

#[tokio::test]
async fn of_concurrent_changes_one_is_the_newest() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let changes = (0..8).map(|at| put(&ada, json!({ "product_news": at % 2 == 0 })));
    for answer in join_all(changes).await {
        answer.assert_status(200);
    }
    let newest = lines(&app).await.pop().expect("something changed");
    let body = ada.get(CONSENTS).await.body;
    assert_eq!(body["optional"][0]["is_given"], newest.2, "{body}");
}

#[tokio::test]
async fn api_keys_cannot_consent() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let body =
        json!({ "name": "robot", "scopes": ["users:read", "users:write"], "password": PASSWORD });
    let key = ada.post("/api/v1/api-keys", body).await;
    key.assert_status(201);
    let secret = key.body["key"].as_str().expect("it is shown once");
    for (method, body) in [
        (Method::GET, None),
        (Method::PUT, Some(json!({ "product_news": true }))),
    ] {
        let answer = app.replica.call(method, CONSENTS, Some(secret), body).await;
        answer.assert_problem(403, "session_required");
    }
    app.replica
        .call(Method::GET, CONSENTS, None, None)
        .await
        .assert_problem(401, "unauthenticated");
    app.run_jobs().await;
}

#[tokio::test]
async fn lines_are_deleted_with_their_user() {
    let app = TestApp::with(&DOCUMENTS).await;
    app.post(REGISTER, sign_up("ada@example.com", PASSWORD, &both()))
        .await
        .assert_status(202);
    assert_eq!(lines(&app).await.len(), 2);
    sqlx::query(AssertSqlSafe("DELETE FROM users"))
        .execute(&app.owner_db)
        .await
        .expect("they are deleted");
    assert!(lines(&app).await.is_empty());
    app.run_jobs().await;
}
