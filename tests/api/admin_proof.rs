//! Reauthentication of administrators, and the emails about a new one.

use serde_json::{Value, json};

use crate::harness::{Answer, PASSWORD, Session, TestApp};
use crate::process::{run, run_with};

const SUBJECT: &str = "Groundwork has a new administrator";

impl Session {
    async fn patch_account(&self, id: &str, body: Value) -> Answer {
        self.patch(&format!("/api/v1/admin/users/{id}"), body).await
    }
}

#[track_caller]
fn assert_refused(answer: &Answer, field: &str, code: &str) {
    answer.assert_field(field);
    assert_eq!(answer.body["errors"][0]["code"], code, "{}", answer.body);
}

#[tokio::test]
async fn a_bare_access_token_gives_and_takes_no_power() {
    let app = TestApp::new().await;
    let (root, other) = (
        app.sign_in_admin("root").await,
        app.sign_in_admin("other").await,
    );
    let ada = app.sign_in("ada").await;
    let (ada, other) = (ada.user_id().await, other.user_id().await);
    for (id, changes) in [
        (&ada, json!({ "role": "admin" })),
        (&other, json!({ "role": "user" })),
        (&other, json!({ "disabled": true })),
    ] {
        let answer = root.patch_account(id, changes.clone()).await;
        assert_refused(&answer, "password", "password_required");
        let mut wrong = changes.clone();
        wrong["password"] = "not the password".into();
        let answer = root.patch_account(id, wrong).await;
        assert_refused(&answer, "password", "wrong_password");
        let mut codes = changes;
        codes["code"] = "123456".into();
        let answer = root.patch_account(id, codes).await;
        assert_refused(&answer, "password", "password_required");
    }
    assert_eq!(
        app.audited("role_changed").await + app.audited("account_disabled").await,
        0
    );
    assert_eq!(app.audited("reauthentication_failed").await, 3);

    // Disabling an ordinary account is a defence and takes none; to enable it again does.
    let disable = json!({ "disabled": true, "reason": "sends spam" });
    root.patch_account(&ada, disable).await.assert_status(200);
    let answer = root.patch_account(&ada, json!({ "disabled": false })).await;
    assert_refused(&answer, "password", "password_required");
    let enable = json!({ "disabled": false, "password": PASSWORD });
    root.patch_account(&ada, enable).await.assert_status(200);
    app.run_jobs().await;
}

#[tokio::test]
async fn an_administrator_with_a_second_factor_shows_that_as_well() {
    let app = TestApp::new().await;
    let root = app.enrol("root").await;
    sqlx::query("UPDATE users SET role = 'admin'")
        .execute(&app.owner_db)
        .await
        .expect("the account is there");
    let ada = app.sign_in("ada").await.user_id().await;
    let promote = json!({ "role": "admin", "password": PASSWORD });
    let answer = root.session.patch_account(&ada, promote.clone()).await;
    assert_refused(&answer, "code", "mfa_code_required");
    let mut wrong = promote.clone();
    wrong["code"] = root.app.wrong_code(&app).into();
    let answer = root.session.patch_account(&ada, wrong).await;
    assert_refused(&answer, "code", "wrong_code");
    assert_eq!(app.audited("role_changed").await, 0);
    let mut right = promote;
    right["code"] = root.app.code(&app).into();
    root.session
        .patch_account(&ada, right)
        .await
        .assert_status(200);
    app.run_jobs().await;
}

#[tokio::test]
async fn every_administrator_gets_an_email_about_a_new_one() {
    let app = TestApp::new().await;
    let root = app.sign_in_admin("root").await;
    app.sign_in_admin("other").await;
    let ada = app.sign_in("ada").await.user_id().await;
    app.sign_up("bob").await;
    let reported = |email: &str| {
        let messages = app.inbox.emails_to(email);
        let about = messages
            .into_iter()
            .filter(|message| message.subject == SUBJECT);
        about
            .map(|message| message.text.clone())
            .collect::<Vec<_>>()
    };
    let promote = json!({ "role": "admin", "password": PASSWORD });
    root.patch_account(&ada, promote.clone())
        .await
        .assert_status(200);
    root.patch_account(&ada, promote).await.assert_status(200);
    app.run_jobs().await;
    for admin in ["root", "other", "ada"] {
        let reported = reported(&format!("{admin}@example.com"));
        assert_eq!(reported.len(), 1, "{admin}");
        assert!(reported[0].contains("ada@example.com"), "{}", reported[0]);
    }
    assert!(reported("bob@example.com").is_empty());

    let promoted = [
        "users",
        "create-admin",
        "--email",
        "bob@example.com",
        "--promote",
    ];
    assert!(run(&app.settings, &promoted).await.status.success());
    app.run_jobs().await;
    assert_eq!(reported("root@example.com").len(), 2);
    let made = ["users", "create-admin", "--email", "eve@example.com"];
    assert!(
        run_with(&app.settings, &made, PASSWORD)
            .await
            .status
            .success()
    );
    app.run_jobs().await;
    let reported = reported("other@example.com");
    assert_eq!(reported.len(), 3);
    assert!(reported.iter().any(|text| text.contains("eve@example.com")));
}
