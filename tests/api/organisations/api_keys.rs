//! Keys of an organisation: no more than their creator, listed for its admins, counted under a lock.

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Connection as _;

use super::ORGANISATIONS;
use super::races::until_waiting;
use crate::harness::{Answer, PASSWORD, Session, TestApp};

const KEYS: &str = "/api/v1/api-keys";
const ME: &str = "/api/v1/users/me";
const USAGE: &str = "/api/v1/usage/current";

impl Session {
    async fn new_key_for(&self, account: &str, scopes: &[&str]) -> Answer {
        let body = json!({ "name": "CI", "scopes": scopes, "password": PASSWORD });
        self.for_account(account, Method::POST, KEYS, Some(body))
            .await
    }

    async fn keys_of(&self, account: &str) -> Vec<Value> {
        let listed = self.get_for(account, KEYS).await;
        listed.assert_status(200);
        listed.body["items"].as_array().expect("a list").clone()
    }
}

async fn status(app: &TestApp, key: &Answer, path: &str) -> Answer {
    let key = key.body["key"].as_str().expect("a key");
    app.replica.call(Method::GET, path, Some(key), None).await
}

#[tokio::test]
async fn a_key_acts_for_its_organisation_and_outlives_the_membership_of_its_creator() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let acme = ada.new_organisation("acme").await;
    let bob = app.join(&ada, &acme, "bob", "admin").await;
    let key = bob.new_key_for(&acme, &["read"]).await;
    key.assert_status(201);
    app.run_jobs().await;
    status(&app, &key, USAGE).await.assert_status(200);
    status(&app, &key, ME)
        .await
        .assert_problem(403, "insufficient_scope");
    let profile = bob.new_key_for(&acme, &["users:read"]).await;
    profile.assert_problem(422, "invalid_fields");
    assert_eq!(profile.body["errors"][0]["field"], "scopes");
    let own = bob.get(KEYS).await.body;
    assert_eq!(own["items"], json!([]), "nothing in the personal account");

    let listed = &ada.keys_of(&acme).await[0];
    let bob_id = bob.user_id().await;
    assert_eq!(listed["created_by"], json!(bob_id));
    assert_eq!(listed["creator_is_member"], true);
    let path = format!("{ORGANISATIONS}/{acme}/members/{bob_id}");
    ada.delete(&path, None).await.assert_status(204);
    app.run_jobs().await;
    assert_eq!(ada.keys_of(&acme).await[0]["creator_is_member"], false);
    status(&app, &key, USAGE).await.assert_status(200);

    let id = key.body["id"].as_str().expect("an id");
    let rotation = json!({ "overlap": 0, "password": PASSWORD });
    let rotate = format!("{KEYS}/{id}/rotate");
    let rotated = ada
        .for_account(&acme, Method::POST, &rotate, Some(rotation))
        .await;
    rotated.assert_status(200);
    app.run_jobs().await;
    assert_eq!(rotated.body["created_by"], json!(ada.user_id().await));
    assert_eq!(status(&app, &key, USAGE).await.status, 401);
}

#[tokio::test]
async fn two_admins_at_once_get_no_more_keys_than_an_organisation_may_have() {
    let app = TestApp::with(&[("API_KEY_MAX_COUNT", "1"), ("DB_LOCK_TIMEOUT", "20s")]).await;
    let ada = app.sign_in("ada").await;
    let acme = ada.new_organisation("acme").await;
    let bob = app.join(&ada, &acme, "bob", "admin").await;
    let (mut holder, mut observer) = (app.owner().await, app.owner().await);
    let mut held = holder.begin().await.expect("it begins");
    sqlx::query("SELECT FROM accounts WHERE id = $1 FOR UPDATE")
        .bind(acme.parse::<uuid::Uuid>().expect("an id"))
        .execute(&mut *held)
        .await
        .expect("it is free");
    let release = async {
        until_waiting(&mut observer, 2).await;
        held.commit().await.expect("it is released");
    };
    let (first, second, ()) = tokio::join!(
        ada.new_key_for(&acme, &["usage:read"]),
        bob.new_key_for(&acme, &["usage:read"]),
        release
    );
    let mut statuses = [first.status.as_u16(), second.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409]);
    assert_eq!(ada.keys_of(&acme).await.len(), 1);
    app.run_jobs().await;
}
