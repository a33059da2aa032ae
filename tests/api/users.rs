//! One's own account.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::TestApp;

const ME: &str = "/api/v1/users/me";

#[tokio::test]
async fn a_new_service_has_no_accounts() {
    let app = TestApp::new().await;
    let accounts: i64 = sqlx::query_scalar("SELECT count(*) FROM users")
        .fetch_one(&app.owner_db)
        .await
        .expect("it answers");
    assert_eq!(accounts, 0);
}

#[tokio::test]
async fn everybody_sees_their_own_account() {
    let app = TestApp::new().await;
    let (ada, grace) = (app.sign_in("ada").await, app.sign_in("grace").await);
    assert_eq!(ada.get(ME).await.body["email"], "ada@example.com");
    let me = grace.get(ME).await;
    assert_eq!(me.body["email"], "grace@example.com");
    assert!(me.body.get("password_hash").is_none());
    assert_eq!(me.body["created_at"], "2026-03-14T09:26:53Z");
    assert_eq!(me.headers["cache-control"], "no-store");
}

#[tokio::test]
async fn a_field_left_out_stays_and_null_empties_it() {
    let app = TestApp::new().await;
    let (ada, grace) = (app.sign_in("ada").await, app.sign_in("grace").await);
    let named = ada
        .patch(
            ME,
            json!({ "first_name": " Ada ", "last_name": "Lovelace" }),
        )
        .await;
    named.assert_status(200);
    assert_eq!(
        (&named.body["first_name"], &named.body["last_name"]),
        (&json!("Ada"), &json!("Lovelace"))
    );
    let left = ada.patch(ME, json!({ "last_name": null })).await;
    assert_eq!(
        (&left.body["first_name"], &left.body["last_name"]),
        (&json!("Ada"), &Value::Null)
    );
    let same = ada.patch(ME, json!({})).await;
    assert_eq!(same.body["first_name"], "Ada");
    assert_eq!(ada.get(ME).await.body, same.body);
    assert_eq!(
        grace.get(ME).await.body["first_name"],
        Value::Null,
        "nobody else is touched"
    );
    assert_eq!(app.audited("profile_changed").await, 3);
}

#[tokio::test]
async fn what_is_not_ones_to_change_is_refused_by_name() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    for (field, change) in [
        ("role", json!({ "role": "admin" })),
        ("email", json!({ "email": "eve@example.com" })),
        (
            "id",
            json!({ "id": "01980b6e-7c00-7000-8000-3f2a51d6c9b1" }),
        ),
        ("firstname", json!({ "firstname": "Ada" })),
        ("first_name", json!({ "first_name": "" })),
        ("first_name", json!({ "first_name": ["Ada"] })),
        (
            "last_name",
            json!({ "first_name": "Ada", "last_name": "a\u{7}b" }),
        ),
    ] {
        ada.patch(ME, change).await.assert_field(field);
    }
    let me = ada.get(ME).await;
    assert_eq!(
        (&me.body["role"], &me.body["first_name"]),
        (&json!("user"), &Value::Null)
    );
}

#[tokio::test]
async fn nobody_is_let_in_without_a_session() {
    let app = TestApp::new().await;
    app.get(ME).await.assert_problem(401, "unauthenticated");
    let patch = app
        .replica
        .call(Method::PATCH, ME, None, Some(json!({})))
        .await;
    patch.assert_problem(401, "unauthenticated");
    assert_eq!(patch.headers["www-authenticate"], "Bearer");
}

#[tokio::test]
async fn a_deleted_account_is_nobody() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    sqlx::query("UPDATE users SET deleted_at = now()")
        .execute(&app.owner_db)
        .await
        .expect("it is deleted");
    ada.get(ME).await.assert_problem(401, "unauthenticated");
    ada.patch(ME, json!({ "first_name": "Ada" }))
        .await
        .assert_problem(401, "unauthenticated");
    app.replica
        .refresh(ada.refresh_token())
        .await
        .assert_problem(401, "invalid_refresh_token");
    let sign_in = json!({ "email": "ada@example.com", "password": crate::harness::PASSWORD });
    app.post("/api/v1/auth/login", sign_in)
        .await
        .assert_problem(401, "invalid_credentials");
    assert_eq!(app.audited("profile_changed").await, 0);
}
