//! SQL and script in values: both are stored and returned as they are, executed nowhere, and escaped in HTML.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::TestApp;

const SQL: [&str; 5] = [
    "Robert'); DROP TABLE users;--",
    "' OR '1'='1",
    "\" OR 1=1 --",
    "'; SELECT pg_sleep(20); --",
    "$$; COPY users TO PROGRAM 'id'; $$",
];
const SCRIPT: [&str; 3] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}{% include 'base.html' %}",
];

#[tokio::test]
async fn sql_in_a_value_is_a_value() {
    let app = TestApp::new().await;
    let admin = app.sign_in_admin("ada").await;
    let began = Instant::now();
    for value in SQL {
        let name = json!({ "first_name": value });
        let reply = admin.patch("/api/v1/users/me", name).await;
        reply.assert_status(200);
        assert_eq!(reply.body["first_name"], value);
        let key =
            json!({ "name": value, "scopes": ["read"], "password": crate::harness::PASSWORD });
        admin.post("/api/v1/api-keys", key).await.assert_status(201);
        let event = json!({ "type": "test", "data": { "value": value } });
        admin.post("/api/v1/events", event).await.assert_status(201);
        let login = json!({ "email": value, "password": value });
        let refused = app.post("/api/v1/auth/login", login).await;
        assert!(
            [401, 422].contains(&refused.status.as_u16()),
            "{value}: {}",
            refused.status
        );
        for parameter in ["email", "q", "cursor", "limit"] {
            let query: String = url::form_urlencoded::Serializer::new(String::new())
                .append_pair(parameter, value)
                .finish();
            let listed = admin.get(&format!("/api/v1/admin/users?{query}")).await;
            assert!(
                [200, 400, 422].contains(&listed.status.as_u16()),
                "{parameter} {value}: {}",
                listed.status
            );
            let items = listed.body["items"].as_array().map_or(0, Vec::len);
            assert_eq!(items, 0, "{parameter} {value}");
        }
    }
    app.run_jobs().await;
    assert!(began.elapsed() < Duration::from_secs(15), "nothing slept");
    assert_eq!(app.number("SELECT count(*) FROM users").await, 1);
}

#[tokio::test]
async fn script_in_a_value_is_escaped_in_emails_and_plain_in_json() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    for (number, value) in SCRIPT.into_iter().enumerate() {
        let names = json!({ "first_name": value });
        let reply = ada.patch("/api/v1/users/me", names).await;
        reply.assert_status(200);
        assert_eq!(reply.body["first_name"], value);
        assert_eq!(reply.headers["content-type"], "application/json");
        assert_eq!(reply.headers["x-content-type-options"], "nosniff");
        // Names of organisations have none of these characters.
        let value = value.replace(['/', ':'], "");
        let slug = format!("organisation-{number}");
        let organisation = json!({ "name": value, "slug": slug });
        let created = ada.post("/api/v1/organisations", organisation).await;
        created.assert_status(201);
        let id = created.body["id"]
            .as_str()
            .expect("it has an id")
            .to_owned();
        let email = format!("guest-{number}@example.com");
        let invitation = json!({ "email": email, "role": "member" });
        let path = format!("/api/v1/organisations/{id}/invitations");
        ada.post(&path, invitation).await.assert_status(201);
        app.run_jobs().await;
        let email = app.inbox.wait_for_email_to(&email).await;
        assert!(email.text.contains(&value), "{}", email.text);
        let html = &email.html;
        for tag in ["<script", "<img src=x"] {
            assert!(!html.contains(tag), "{tag}: {html}");
        }
        assert!(
            !html.contains("49") || value.contains("49"),
            "no template in a value is rendered"
        );
    }
}

#[tokio::test]
async fn script_in_a_path_or_query_is_not_in_a_page() {
    let app = TestApp::new().await;
    let script = "%3Cscript%3Ealert(1)%3C/script%3E";
    for path in [
        format!("/{script}"),
        format!("/api/v1/{script}"),
        format!("/verify-email?token={script}"),
        format!("/reset-password?token={script}"),
        format!("/unsubscribe/{script}"),
    ] {
        let reply = app.get(&path).await;
        let text = String::from_utf8_lossy(&reply.bytes);
        assert!(!text.contains("<script>alert"), "{path}: {text}");
    }
}
