//! Secrets of accounts: stored, listed, shown, restored and deleted.

mod limits;
mod reveal;

use groundwork::ids::{AccountId, UserId};
use groundwork::secrets;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::harness::{Answer, Session, TestApp};

pub const SECRETS: &str = "/api/v1/secrets";
pub const VALUE: &str = "token_4eC39HqLyjWDarjtT1zdp7dc";

pub fn path(name: &str) -> String {
    format!("{SECRETS}/{name}")
}

impl Session {
    async fn send_with(
        &self,
        method: Method,
        path: &str,
        add: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Answer {
        let request = self.replica.request(method.clone(), path);
        let request = add(request.bearer_auth(self.access()));
        self.replica.send(&method, path, request).await
    }

    pub async fn put_secret(&self, name: &str, value: &str) -> Answer {
        self.put_secret_if(name, value, &[]).await
    }

    async fn put_secret_if(&self, name: &str, value: &str, headers: &[(&str, &str)]) -> Answer {
        let body = json!({ "value": value });
        self.send_with(Method::PUT, &path(name), |request| {
            headers
                .iter()
                .fold(request.json(&body), |request, (name, value)| {
                    request.header(*name, *value)
                })
        })
        .await
    }

    pub async fn reveal(&self, name: &str) -> Answer {
        let body = crate::organisations::proof();
        self.post(&format!("{}/reveal", path(name)), body).await
    }

    async fn restore(&self, name: &str, version: i32) -> Answer {
        let body = json!({ "version": version });
        self.post(&format!("{}/restore", path(name)), body).await
    }
}

async fn names(session: &Session) -> Vec<String> {
    let listed = session.get(SECRETS).await;
    listed.assert_status(200);
    let items = listed.body["items"].as_array().expect("there are items");
    let name = |item: &Value| item["name"].as_str().expect("it has a name").to_owned();
    items.iter().map(name).collect()
}

fn etag(answer: &Answer) -> &str {
    answer.headers["etag"].to_str().expect("it is text")
}

#[tokio::test]
async fn a_secret_is_stored_listed_and_deleted_and_its_value_is_in_no_row_or_entry() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let created = ada.put_secret("stripe.api_key", VALUE).await;
    created.assert_status(201);
    let expected = json!({
        "name": "stripe.api_key", "version": 1, "last_four": "p7dc", "etag": etag(&created),
        "created_at": created.body["created_at"], "updated_at": created.body["created_at"],
        "revealed_at": null,
    });
    assert_eq!(created.body, expected);
    let changed = ada.put_secret("stripe.api_key", "short").await;
    changed.assert_status(200);
    assert_eq!(changed.body["version"], 2);
    assert_eq!(changed.body["last_four"], Value::Null);
    assert_ne!(etag(&changed), etag(&created));
    let listed = ada.get(SECRETS).await;
    assert_eq!(listed.body["items"], json!([changed.body]));
    let versions = ada
        .get(&format!("{}/versions", path("stripe.api_key")))
        .await;
    let items = versions.body["items"].as_array().expect("there are items");
    let seen: Vec<_> = items
        .iter()
        .map(|it| (&it["version"], &it["last_four"]))
        .collect();
    assert_eq!(
        seen,
        [(&json!(2), &Value::Null), (&json!(1), &json!("p7dc"))]
    );

    let rows: Vec<String> = sqlx::query_scalar(
        "SELECT s::text FROM secrets AS s UNION ALL SELECT encode(value, 'escape') FROM secret_versions
         UNION ALL SELECT l::text FROM audit_log AS l",
    )
    .fetch_all(&app.owner_db)
    .await
    .expect("they are read");
    assert!(!rows.iter().any(|row| row.contains(VALUE)));

    let deleted = ada.delete(&path("stripe.api_key"), None).await;
    deleted.assert_status(204);
    assert!(names(&ada).await.is_empty());
    let gone = ada.delete(&path("stripe.api_key"), None).await;
    gone.assert_problem(404, "not_found");
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM secret_versions")
        .fetch_one(&app.owner_db)
        .await
        .expect("they are counted");
    assert_eq!(left, 0);
    for (event, count) in [
        ("secret_created", 1),
        ("secret_changed", 1),
        ("secret_deleted", 1),
    ] {
        assert_eq!(app.audited(event).await, count, "{event}");
    }
}

#[tokio::test]
async fn a_list_is_in_the_order_of_names_and_has_pages() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    for name in ["b", "a", "a.1", "B", "a-1"] {
        ada.put_secret(name, VALUE).await.assert_status(201);
    }
    let mut seen = Vec::new();
    let mut query = "?limit=2".to_owned();
    loop {
        let page = ada.get(&format!("{SECRETS}{query}")).await;
        for item in page.body["items"].as_array().expect("there are items") {
            seen.push(item["name"].as_str().expect("it has a name").to_owned());
        }
        let Some(cursor) = page.body["next_cursor"].as_str() else {
            break;
        };
        query = format!("?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, ["B", "a", "a-1", "a.1", "b"]);
}

#[tokio::test]
async fn a_condition_that_does_not_hold_changes_nothing() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let stale = [("if-match", "\"tYzuHTQSIk9jWjFM\"")];
    let missing = ada.put_secret_if("a", VALUE, &stale).await;
    missing.assert_problem(412, "precondition_failed");
    let missing = ada.put_secret_if("a", VALUE, &[("if-match", "*")]).await;
    missing.assert_problem(412, "precondition_failed");
    let create = [("if-none-match", "*")];
    let first = ada.put_secret_if("a", VALUE, &create).await;
    first.assert_status(201);
    let exists = ada.put_secret_if("a", VALUE, &create).await;
    exists.assert_problem(412, "precondition_failed");
    let second = ada
        .put_secret_if("a", VALUE, &[("if-match", etag(&first))])
        .await;
    second.assert_status(200);
    let weak = format!("W/{}", etag(&second));
    for old in [etag(&first), &weak, "1", "\"", "", "garbage, \"x\""] {
        let old = [("if-match", old)];
        let put = ada.put_secret_if("a", VALUE, &old).await;
        put.assert_problem(412, "precondition_failed");
        for (method, path, body) in [
            (Method::DELETE, path("a"), None),
            (
                Method::POST,
                format!("{}/restore", path("a")),
                Some(json!({ "version": 1 })),
            ),
        ] {
            let refused = ada.send_with(method, &path, |request| {
                let request = request.header(old[0].0, old[0].1);
                match &body {
                    Some(body) => request.json(body),
                    None => request,
                }
            });
            refused.await.assert_problem(412, "precondition_failed");
        }
    }
    let both = format!("\"x\", {}", etag(&second));
    let third = ada.put_secret_if("a", VALUE, &[("if-match", &both)]).await;
    third.assert_status(200);
    // A secret of the same name that was created again is another one.
    ada.delete(&path("a"), None).await.assert_status(204);
    ada.put_secret("a", VALUE).await.assert_status(201);
    let again = ada
        .put_secret_if("a", VALUE, &[("if-match", etag(&first))])
        .await;
    again.assert_problem(412, "precondition_failed");
}

#[tokio::test]
async fn the_last_five_versions_can_be_restored() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    for number in 1..=7 {
        let value = format!("value number {number}, of many");
        ada.put_secret("a", &value).await;
    }
    for lost in [1, 2, 8, i32::MAX] {
        let refused = ada.restore("a", lost).await;
        refused.assert_problem(422, "invalid_fields");
        refused.assert_field("version");
    }
    ada.restore("a", 0).await.assert_field("version");
    let restored = ada.restore("a", 3).await;
    restored.assert_status(200);
    assert_eq!(restored.body["version"], 8);
    let shown = ada.reveal("a").await;
    assert_eq!(shown.body["value"], "value number 3, of many");
    let versions = ada.get(&format!("{}/versions", path("a"))).await;
    let items = versions.body["items"].as_array().expect("there are items");
    let kept: Vec<_> = items.iter().map(|it| it["version"].as_i64()).collect();
    assert_eq!(kept, [8, 7, 6, 5, 4].map(Some));
    assert_eq!(app.audited("secret_restored").await, 1);
    let unknown = ada.restore("b", 1).await;
    unknown.assert_problem(404, "not_found");
    app.run_jobs().await;
}

#[tokio::test]
async fn bad_names_and_values_are_refused_before_anything_is_stored() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    for name in [
        "%2e%2e%2fx",
        "a%00",
        "a%20b",
        "%22",
        "-a",
        &"x".repeat(65),
        "%E2%80%AEa",
        "%FF",
    ] {
        let refused = ada.put_secret(name, VALUE).await;
        refused.assert_problem(400, "bad_request");
    }
    for value in ["", "a\0b", &"x".repeat(65_537)] {
        let refused = ada.put_secret("a", value).await;
        refused.assert_problem(422, "invalid_fields");
        refused.assert_field("value");
        let text = String::from_utf8_lossy(&refused.bytes);
        assert!(!text.contains("xxx"));
    }
    let huge = ada.put_secret("a", &"x".repeat(400_000)).await;
    huge.assert_problem(413, "payload_too_large");
    assert!(names(&ada).await.is_empty());
    for value in [
        "x".repeat(65_536),
        "\u{1}".repeat(65_536),
        "\u{202e}\r\n\"\\".to_owned(),
    ] {
        let stored = ada.put_secret("a", &value).await;
        assert!(stored.status.is_success(), "{}", stored.body);
        let shown = ada.reveal("a").await;
        assert_eq!(shown.body["value"], value);
    }
    app.run_jobs().await;
}

#[tokio::test]
async fn programs_store_and_list_within_their_scopes_and_never_see_a_value() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let [reads, writes] = ["secrets:read", "secrets:write"].map(|scope| [scope]);
    let (reads, writes) = (
        ada.new_key(&reads).await.text,
        ada.new_key(&writes).await.text,
    );
    let call = async |key: &str, method: Method, path: &str, body: Option<Value>| {
        ada.replica.call(method, path, Some(key), body).await
    };
    let body = Some(json!({ "value": VALUE }));
    let refused = call(&reads, Method::PUT, &path("a"), body.clone()).await;
    refused.assert_problem(403, "insufficient_scope");
    call(&writes, Method::PUT, &path("a"), body)
        .await
        .assert_status(201);
    let refused = call(&writes, Method::GET, SECRETS, None).await;
    refused.assert_problem(403, "insufficient_scope");
    let listed = call(&reads, Method::GET, SECRETS, None).await;
    assert_eq!(listed.body["items"][0]["name"], "a");
    let all = ada.new_key(&["read", "write"]).await.text;
    for key in [&reads, &writes, &all] {
        let proof = Some(crate::organisations::proof());
        let refused = call(key, Method::POST, &format!("{}/reveal", path("a")), proof).await;
        refused.assert_problem(403, "session_required");
    }
    assert_eq!(app.audited("secret_revealed").await, 0);
    app.run_jobs().await;
}

#[tokio::test]
async fn the_products_own_code_opens_a_secret_by_its_name_which_is_audited() {
    let app = TestApp::new().await;
    let (ada, grace) = (app.sign_in("ada").await, app.sign_in("grace").await);
    ada.put_secret("a", VALUE).await.assert_status(201);
    let ctx = groundwork::ctx::Ctx::system(&app.state);
    let account = async |session: &Session| -> AccountId {
        let id = session.user_id().await.parse().expect("it is an id");
        UserId(id).personal_account()
    };
    let open = async |account, name: &str| {
        let name = name.to_owned().try_into().expect("it is a name");
        let opened = secrets::open(&ctx, account, &name).await;
        opened
            .expect("it is read")
            .map(|value| value.expose().to_owned())
    };
    let (of_ada, of_grace) = (account(&ada).await, account(&grace).await);
    assert_eq!(open(of_ada, "a").await.as_deref(), Some(VALUE));
    assert_eq!(open(of_ada, "b").await, None);
    assert_eq!(open(of_grace, "a").await, None);
    let used: Vec<AccountId> =
        sqlx::query_scalar("SELECT account_id FROM audit_log WHERE event = 'secret_used'")
            .fetch_all(&app.owner_db)
            .await
            .expect("they are read");
    assert_eq!(used, [of_ada]);
}
