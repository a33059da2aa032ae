//! Keys for programs: making, using, rotating and revoking them, and what they do not open.

mod authorization;
mod races;

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Answer, PASSWORD, Replica, Session, TestApp};
use crate::mfa::Owner;

const KEYS: &str = "/api/v1/api-keys";
const ME: &str = "/api/v1/users/me";
const DAY: Duration = Duration::from_hours(24);

/// A key that was made, as its owner got it.
pub struct Key {
    pub id: String,
    pub text: String,
}

impl Key {
    fn of(answer: &Answer) -> Self {
        let text = |name: &str| answer.body[name].as_str().expect("it is text").to_owned();
        Self {
            id: text("id"),
            text: text("key"),
        }
    }

    pub fn secret(&self) -> &str {
        self.text.rsplit('_').next().expect("it has parts")
    }

    async fn get(&self, replica: &Replica, path: &str) -> Answer {
        replica
            .call(Method::GET, path, Some(&self.text), None)
            .await
    }

    /// Whether it opens the door here.
    pub async fn opens(&self, replica: &Replica) -> bool {
        let answer = self.get(replica, ME).await;
        if answer.status != 200 {
            answer.assert_problem(401, "unauthenticated");
            assert_eq!(
                answer.headers["www-authenticate"],
                "Bearer error=\"invalid_token\""
            );
        }
        answer.status == 200
    }
}

fn wanted(scopes: &[&str]) -> Value {
    json!({ "name": "Nightly import", "scopes": scopes, "password": PASSWORD })
}

impl Owner {
    /// A key, for this one of the recovery codes.
    pub async fn new_key(&self, scopes: &[&str], recovery_code: usize) -> Key {
        let mut body = wanted(scopes);
        body["recovery_code"] = json!(self.recovery_codes[recovery_code]);
        let answer = self.session.post(KEYS, body).await;
        answer.assert_status(201);
        Key::of(&answer)
    }
}

impl Session {
    pub async fn new_key(&self, scopes: &[&str]) -> Key {
        let answer = self.post(KEYS, wanted(scopes)).await;
        answer.assert_status(201);
        Key::of(&answer)
    }

    async fn rotate(&self, id: &str, overlap: Option<u32>) -> Answer {
        let mut body = json!({ "password": PASSWORD });
        if let Some(overlap) = overlap {
            body["overlap"] = overlap.into();
        }
        self.post(&format!("{KEYS}/{id}/rotate"), body).await
    }

    pub async fn revoke(&self, id: &str) -> Answer {
        let path = format!("{KEYS}/{id}");
        self.replica
            .call(Method::DELETE, &path, Some(self.access()), None)
            .await
    }

    async fn keys(&self) -> Vec<Value> {
        let answer = self.get(KEYS).await;
        answer.assert_status(200);
        answer.body["items"]
            .as_array()
            .expect("it is a list")
            .clone()
    }
}

#[tokio::test]
async fn a_key_is_shown_once_and_works_on_every_replica() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let answer = ada.post(KEYS, wanted(&["read", "events:write"])).await;
    answer.assert_status(201);
    let key = Key::of(&answer);
    let parts: Vec<_> = key.text.split('_').collect();
    assert_eq!((parts.len(), parts[0], parts[1]), (4, "gw", "test"));
    assert_eq!(answer.body["hint"], key.text[key.text.len() - 4..]);
    assert_eq!(answer.body["scopes"], json!(["read", "events:write"]));
    assert_eq!(answer.body["expires_at"], "2027-03-14T09:26:53Z");
    assert_eq!(answer.headers["cache-control"], "no-store");

    for replica in [&app.replica, &app.another_replica().await] {
        let me = key.get(replica, ME).await;
        me.assert_status(200);
        assert_eq!(me.body["email"], "ada@example.com");
    }
    let listed = ada.keys().await;
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (&listed[0]["id"], &listed[0]["name"]),
        (&json!(key.id), &json!("Nightly import"))
    );
    assert!(!listed[0].to_string().contains(key.secret()));
    assert!(listed[0].get("key").is_none());
    let message = app.email_to("ada@example.com").await;
    assert_eq!(
        message.subject,
        "Your account at Groundwork has a new API key"
    );
    assert_eq!(app.audited("api_key_created").await, 1);
}

#[tokio::test]
async fn it_takes_the_password_to_get_a_key_out_of_a_session() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let mut body = wanted(&["read"]);
    body["password"] = "wrong horse battery".into();
    ada.post(KEYS, body.clone()).await.assert_field("password");
    body.as_object_mut().expect("it is one").remove("password");
    ada.post(KEYS, body).await.assert_field("password");
    assert!(ada.keys().await.is_empty());

    let key = ada.new_key(&["read"]).await;
    let path = format!("{KEYS}/{}/rotate", key.id);
    ada.post(&path, json!({ "password": "wrong horse battery" }))
        .await
        .assert_field("password");
    assert!(key.opens(&app.replica).await);
    assert_eq!(app.audited("reauthentication_failed").await, 2);
    app.run_jobs().await;
}

#[tokio::test]
async fn after_a_rotation_both_secrets_work_until_the_overlap_is_over() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let first = ada.new_key(&["read"]).await;
    // Emails that wait together are sent in any order.
    app.run_jobs().await;
    app.clock.advance(DAY);
    let ada = app.log_in("ada@example.com").await;
    let answer = ada.rotate(&first.id, None).await;
    answer.assert_status(200);
    let second = Key::of(&answer);
    assert_eq!(second.id, first.id);
    assert_ne!(second.text, first.text);
    assert_eq!(answer.body["previous_expires_at"], "2026-03-16T09:26:53Z");
    assert_eq!(
        answer.body["expires_at"], "2027-03-15T09:26:53Z",
        "its life begins anew"
    );
    for key in [&first, &second] {
        assert!(key.opens(&app.replica).await);
    }
    // Another rotation would leave the first without its time.
    ada.rotate(&first.id, Some(3_600))
        .await
        .assert_problem(409, "conflict");
    app.clock.advance(Duration::from_secs(24 * 60 * 60 - 1));
    assert!(first.opens(&app.replica).await && second.opens(&app.replica).await);
    app.clock.advance(Duration::from_secs(1));
    assert!(!first.opens(&app.replica).await && second.opens(&app.replica).await);

    let ada = app.log_in("ada@example.com").await;
    assert_eq!(ada.keys().await[0]["previous_expires_at"], Value::Null);
    let third = Key::of(&ada.rotate(&first.id, Some(3_600)).await);
    assert!(second.opens(&app.replica).await && third.opens(&app.replica).await);
    let fourth = Key::of(&ada.rotate(&first.id, Some(0)).await);
    for (key, opens) in [
        (first, false),
        (second, false),
        (third, false),
        (fourth, true),
    ] {
        assert_eq!(key.opens(&app.replica).await, opens);
    }
    assert_eq!(app.audited("api_key_rotated").await, 3);
    let message = app.email_to("ada@example.com").await;
    assert_eq!(
        message.subject,
        "An API key for Groundwork has a new secret"
    );
}

#[tokio::test]
async fn a_rotated_key_lives_as_long_as_it_did_before() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let mut body = wanted(&["read"]);
    body["expires_in"] = 600.into();
    let key = Key::of(&ada.post(KEYS, body).await);
    for _ in 0..2 {
        app.clock.advance(Duration::from_mins(5));
        let rotated = ada.rotate(&key.id, Some(0)).await;
        rotated.assert_status(200);
        let expires_at = rotated.body["expires_at"].as_str().expect("it is text");
        let expires_at: chrono::DateTime<chrono::Utc> = expires_at.parse().expect("it is a time");
        assert_eq!(expires_at - app.clock.now(), chrono::TimeDelta::minutes(10));
    }
    // The old secret never outlives the time that it was given.
    app.clock.advance(Duration::from_mins(4));
    let rotated = ada.rotate(&key.id, Some(3_600)).await;
    assert_eq!(rotated.body["previous_expires_at"], "2026-03-14T09:46:53Z");
    app.run_jobs().await;
}

#[tokio::test]
async fn a_revoked_key_is_refused_at_once_by_every_replica() {
    let app = TestApp::new().await;
    let other = app.another_replica().await;
    let ada = app.sign_in("ada").await;
    let (key, kept) = (ada.new_key(&["read"]).await, ada.new_key(&["read"]).await);
    let rotated = Key::of(&ada.rotate(&key.id, None).await);
    assert!(key.opens(&other).await && rotated.opens(&other).await);
    ada.revoke(&key.id).await.assert_status(204);
    for replica in [&app.replica, &other] {
        assert!(!key.opens(replica).await && !rotated.opens(replica).await);
        assert!(kept.opens(replica).await);
    }
    ada.revoke(&key.id).await.assert_problem(404, "not_found");
    ada.rotate(&key.id, None)
        .await
        .assert_problem(404, "not_found");
    assert_eq!(ada.keys().await.len(), 1);
    assert_eq!(app.audited("api_key_revoked").await, 1);
    app.run_jobs().await;
}

#[tokio::test]
async fn an_expired_key_is_refused_listed_and_at_last_purged() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let mut body = wanted(&["read"]);
    body["expires_in"] = 60.into();
    let key = Key::of(&ada.post(KEYS, body).await);
    app.clock.advance(Duration::from_secs(59));
    assert!(key.opens(&app.replica).await);
    app.clock.advance(Duration::from_secs(1));
    assert!(!key.opens(&app.replica).await);
    assert_eq!(ada.keys().await.len(), 1, "its owner sees why it stopped");
    ada.rotate(&key.id, None)
        .await
        .assert_problem(409, "conflict");

    let revoked = ada.new_key(&["read"]).await;
    ada.revoke(&revoked.id).await.assert_status(204);
    let purge = async || {
        sqlx::query("SELECT graphile_worker.add_job('api_keys.purge', '{}'::json)")
            .execute(&app.owner_db)
            .await
            .expect("the queue is there");
        app.run_jobs().await;
        sqlx::query_scalar::<_, i64>("SELECT count(*) FROM api_keys")
            .fetch_one(&app.owner_db)
            .await
            .expect("it answers")
    };
    app.clock.advance(30 * DAY);
    assert_eq!(purge().await, 2, "neither is 30 days old yet");
    app.clock.advance(Duration::from_secs(1));
    assert_eq!(purge().await, 0);
}

#[tokio::test]
async fn what_is_not_ones_own_does_not_exist() {
    let app = TestApp::new().await;
    let (ada, grace) = (app.sign_in("ada").await, app.sign_in("grace").await);
    let key = grace.new_key(&["read"]).await;
    let unknown = "01980b6e-7c00-7000-8000-3f2a51d6c9b1";
    for (one, other) in [
        (ada.revoke(&key.id).await, ada.revoke(unknown).await),
        (
            ada.rotate(&key.id, None).await,
            ada.rotate(unknown, None).await,
        ),
    ] {
        one.assert_problem(404, "not_found");
        other.assert_problem(404, "not_found");
        assert_eq!(one.body["detail"], other.body["detail"]);
    }
    assert!(ada.keys().await.is_empty() && key.opens(&app.replica).await);
    ada.revoke("nonsense")
        .await
        .assert_problem(400, "bad_request");
    let grown = key.get(&app.replica, ME).await;
    assert_eq!(grown.body["email"], "grace@example.com");
    app.run_jobs().await;
}

#[tokio::test]
async fn bounds_are_held_and_nothing_else_can_be_set() {
    let app = TestApp::with(&[("API_KEY_MAX_TTL", "30d"), ("API_KEY_PREFIX", "acme")]).await;
    let ada = app.sign_in("ada").await;
    let with = |field: &str, value: Value| {
        let mut body = wanted(&["read"]);
        body[field] = value;
        body
    };
    for (field, value) in [
        ("name", json!("")),
        ("name", json!("a\nb")),
        ("name", json!("x".repeat(101))),
        ("scopes", json!([])),
        ("scopes", json!("read")),
        ("expires_in", json!(59)),
        ("expires_in", json!(30 * 24 * 60 * 60 + 1)),
        ("expires_in", json!(-1)),
        ("user_id", json!(Uuid::nil())),
        ("id", json!(Uuid::nil())),
        ("secret_hash", json!("00")),
        ("expires_at", json!("2099-01-01T00:00:00Z")),
        ("prefix", json!("eve")),
        ("last_used_at", json!(null)),
    ] {
        ada.post(KEYS, with(field, value)).await.assert_field(field);
    }
    for scope in [
        "admin",
        "auth:write",
        "users:*",
        "READ",
        "api-keys:write",
        "admin:read",
    ] {
        let refused = ada.post(KEYS, wanted(&["read", scope])).await;
        refused.assert_problem(422, "invalid_fields");
        let field = refused.body["errors"][0]["field"]
            .as_str()
            .expect("it is text");
        assert!(field.starts_with("scopes"), "{field}");
    }
    let answer = ada
        .post(KEYS, with("expires_in", json!(30 * 24 * 60 * 60)))
        .await;
    answer.assert_status(201);
    let key = Key::of(&answer);
    assert!(key.text.starts_with("acme_test_"));
    assert_eq!(ada.new_key(&["read"]).await.text.split('_').count(), 4);
    assert_eq!(ada.keys().await[0]["expires_at"], "2026-04-13T09:26:53Z");
    let path = format!("{KEYS}/{}/rotate", key.id);
    for (field, value) in [
        ("overlap", json!(604_801)),
        ("overlap", json!(-1)),
        ("expires_in", json!(60)),
        ("scopes", json!(["write"])),
    ] {
        let mut body = json!({ "password": PASSWORD });
        body[field] = value;
        ada.post(&path, body).await.assert_field(field);
    }
    app.run_jobs().await;
}

#[tokio::test]
async fn the_list_is_read_by_the_page_the_newest_first() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let mut made = Vec::new();
    for second in 0..5 {
        // Two of the same moment, so that the id decides.
        app.clock.advance(Duration::from_secs(second % 2));
        made.push(ada.new_key(&["read"]).await.id);
    }
    let mut listed = Vec::new();
    let mut path = format!("{KEYS}?limit=2");
    for left in [3, 1, 0] {
        let page = ada.get(&path).await;
        page.assert_status(200);
        let items = page.body["items"].as_array().expect("it is a list");
        listed.extend(
            items
                .iter()
                .map(|item| item["id"].as_str().expect("it is text").to_owned()),
        );
        assert_eq!(made.len() - listed.len(), left);
        match page.body["next_cursor"].as_str() {
            Some(cursor) => path = format!("{KEYS}?limit=2&cursor={cursor}"),
            None => assert_eq!(left, 0),
        }
    }
    let mut unique = listed.clone();
    unique.sort();
    made.sort();
    assert_eq!(unique, made);
    ada.get(&format!("{KEYS}?cursor=x"))
        .await
        .assert_problem(400, "bad_request");
    ada.get(&format!("{KEYS}?offset=2"))
        .await
        .assert_problem(400, "bad_request");
    app.run_jobs().await;
}

#[tokio::test]
async fn last_use_is_written_apart_from_requests_and_at_most_once_a_minute() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let (key, unused) = (ada.new_key(&["read"]).await, ada.new_key(&["read"]).await);
    let written = async || {
        groundwork::api_keys::write_uses(&app.state).await;
        let keys = ada.keys().await;
        let of = |id: &str| {
            keys.iter()
                .find(|key| key["id"] == id)
                .expect("it is listed")["last_used_at"]
                .clone()
        };
        assert_eq!(of(&unused.id), Value::Null);
        of(&key.id)
    };
    assert!(key.opens(&app.replica).await);
    assert_eq!(
        ada.keys().await[1]["last_used_at"],
        Value::Null,
        "no request waits for it"
    );
    assert_eq!(written().await, "2026-03-14T09:26:53Z");
    app.clock.advance(Duration::from_secs(59));
    assert!(key.opens(&app.replica).await);
    assert_eq!(written().await, "2026-03-14T09:26:53Z");
    app.clock.advance(Duration::from_secs(1));
    assert!(key.opens(&app.replica).await);
    assert_eq!(written().await, "2026-03-14T09:27:53Z");
    // A refused presentation is no use.
    app.clock.advance(Duration::from_mins(2));
    assert_eq!(key.get(&app.replica, KEYS).await.status, 403);
    let mut wrong = key.text.clone();
    wrong.replace_range(..2, "xx");
    app.replica
        .call(Method::GET, ME, Some(&wrong), None)
        .await
        .assert_status(401);
    app.run_jobs().await;
}
