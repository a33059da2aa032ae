//! The deletion of an account: requested, canceled, refused, deferred and carried out.

use std::time::Duration;

use groundwork::privacy::EraseDue;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use crate::harness::{Answer, PASSWORD, Session, TestApp};
use crate::organisations::proof;

pub const ME: &str = "/api/v1/users/me";
pub const CANCEL: &str = "/api/v1/auth/cancel-deletion";
const LOGIN: &str = "/api/v1/auth/login";
pub const DAY: Duration = Duration::from_hours(24);

impl Session {
    /// Asks for the deletion of the account.
    pub async fn delete_account(&self) -> Answer {
        self.delete(ME, Some(proof())).await
    }
}

impl TestApp {
    /// Runs the job, and what it enqueues.
    pub async fn erase_due(&self) {
        job_queue::enqueue(&self.state.db, &EraseDue::default(), None)
            .await
            .expect("it is enqueued");
        self.run_jobs().await;
    }

    async fn try_log_in(&self, email: &str) -> Answer {
        let body = json!({ "email": email, "password": PASSWORD });
        self.post(LOGIN, body).await
    }

    pub async fn cancel(&self, email: &str) -> Answer {
        let body = json!({ "email": email, "password": PASSWORD });
        self.post(CANCEL, body).await
    }

    pub async fn number(&self, sql: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
            .fetch_one(&self.owner_db)
            .await
            .expect("it is counted")
    }

    pub async fn execute(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .execute(&self.owner_db)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Why the only erasure waits.
    pub async fn deferral(&self) -> Option<String> {
        sqlx::query_scalar("SELECT deferred_reason FROM account_deletions")
            .fetch_one(&self.owner_db)
            .await
            .expect("there is one")
    }
}

/// Subjects and texts of the emails to an address, the newest first.
fn texts(app: &TestApp, email: &str) -> Vec<String> {
    let emails = app.inbox.emails_to(email);
    emails.iter().map(|it| it.text.clone()).collect()
}

#[tokio::test]
async fn a_deletion_ends_everything_at_once_and_can_be_canceled_by_who_can_sign_in() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let other = app.log_in("ada@example.com").await;
    let key = ada.new_key(&["read"]).await;
    let wrong = json!({ "password": "not the password of ada" });
    ada.delete(ME, Some(wrong)).await.assert_field("password");
    let keyed = app
        .replica
        .call(Method::DELETE, ME, Some(&key.text), Some(proof()));
    keyed.await.assert_problem(403, "session_required");
    assert_eq!(
        app.number("SELECT count(*) FROM account_deletions").await,
        0
    );

    let deleted = ada.delete_account().await;
    deleted.assert_status(200);
    assert_eq!(deleted.body["erase_at"], "2026-04-13T09:26:53Z");
    assert!(!ada.is_signed_in().await && !other.is_signed_in().await);
    let refused = app.replica.call(Method::GET, ME, Some(&key.text), None);
    refused.await.assert_status(401);
    let email = app.email_to("ada@example.com").await;
    assert!(email.text.contains("13 April 2026"), "{}", email.text);

    let pending = app.try_log_in("ada@example.com").await;
    pending.assert_problem(403, "account_deletion_pending");
    let detail = pending.body["detail"].as_str().expect("it has a detail");
    for part in ["2026-04-13T09:26:53Z", "/auth/cancel-deletion"] {
        assert!(detail.contains(part), "{detail}");
    }
    // For others nothing differs from an account that is not deleted.
    let wrong = json!({ "email": "ada@example.com", "password": "not the password" });
    app.post(LOGIN, wrong.clone())
        .await
        .assert_problem(401, "invalid_credentials");
    app.post(CANCEL, wrong)
        .await
        .assert_problem(401, "invalid_credentials");
    app.cancel("nobody@example.com")
        .await
        .assert_problem(401, "invalid_credentials");
    app.register("ada@example.com").await;
    let known = app.email_to("ada@example.com").await;
    assert!(
        known.text.contains("has an account already"),
        "{}",
        known.text
    );

    // A new password does not cancel it.
    let forgot = json!({ "email": "ada@example.com" });
    app.post("/api/v1/auth/forgot-password", forgot)
        .await
        .assert_status(202);
    let token = app
        .email_to("ada@example.com")
        .await
        .token()
        .expect("a link");
    let reset = json!({ "token": token, "password": PASSWORD });
    app.post("/api/v1/auth/reset-password", reset)
        .await
        .assert_status(204);
    app.try_log_in("ada@example.com")
        .await
        .assert_problem(403, "account_deletion_pending");

    for _ in 0..2 {
        app.cancel("ada@example.com").await.assert_status(204);
    }
    let ada = app.log_in("ada@example.com").await;
    assert!(ada.is_signed_in().await);
    app.run_jobs().await;
    let emails = texts(&app, "ada@example.com");
    let notices = emails.iter().filter(|text| text.contains("is canceled"));
    assert_eq!(notices.count(), 1, "{emails:?}");
    for event in ["account_deletion_requested", "account_deletion_canceled"] {
        assert_eq!(app.audited(event).await, 1, "{event}");
    }
    app.clock.advance(40 * DAY);
    app.erase_due().await;
    app.log_in("ada@example.com").await;
}

#[tokio::test]
async fn an_account_with_a_second_factor_needs_it_to_delete_and_to_cancel() {
    let app = TestApp::new().await;
    let ada = app.enrol("ada").await;
    ada.session.delete_account().await.assert_field("code");
    let codes = &ada.recovery_codes;
    let both = json!({ "password": PASSWORD, "recovery_code": codes[0] });
    ada.session.delete(ME, Some(both)).await.assert_status(200);
    app.try_log_in(&ada.email)
        .await
        .assert_problem(403, "account_deletion_pending");
    app.cancel(&ada.email).await.assert_field("code");
    let with =
        |code: &str| json!({ "email": ada.email, "password": PASSWORD, "recovery_code": code });
    let used = app.post(CANCEL, with(&codes[0])).await;
    used.assert_field("recovery_code");
    app.post(CANCEL, with(&codes[1])).await.assert_status(204);
    app.ask(&ada.email).await;
    app.run_jobs().await;
}

#[tokio::test]
async fn the_last_administrator_and_the_last_owner_make_somebody_else_one_first() {
    let app = TestApp::new().await;
    let root = app.sign_in_admin("root").await;
    root.delete_account()
        .await
        .assert_problem(409, "last_admin");
    let ada = app.sign_in("ada").await;
    ada.new_organisation("acme").await;
    ada.delete_account().await.assert_problem(409, "last_owner");
    assert!(ada.is_signed_in().await);

    let grace = app.join(&ada, "acme", "grace", "owner").await;
    ada.delete_account().await.assert_status(200);
    // The deletion of the other one is pending.
    grace
        .delete_account()
        .await
        .assert_problem(409, "last_owner");
    let leave = "/api/v1/organisations/acme/membership";
    let left = grace.delete(leave, None).await;
    left.assert_problem(409, "last_owner");
    app.cancel("ada@example.com").await.assert_status(204);
    grace.delete_account().await.assert_status(200);

    let second = app.sign_in_admin("second").await;
    root.delete_account().await.assert_status(200);
    second
        .delete_account()
        .await
        .assert_problem(409, "last_admin");
    app.run_jobs().await;
}

#[tokio::test]
async fn after_its_time_the_account_is_gone_and_the_address_is_free() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let grace = app.sign_in("grace").await;
    let acme = grace.new_organisation("acme").await;
    let invited = grace.invite("acme", "ada@example.com", "owner").await;
    let invitation = invited.body["id"].as_str().expect("an id").to_owned();
    ada.accept(&invitation).await.assert_status(200);
    let new = json!({ "name": "of acme", "scopes": ["usage:read"], "password": PASSWORD });
    let made = ada
        .for_account(&acme, Method::POST, "/api/v1/api-keys", Some(new))
        .await;
    made.assert_status(201);
    let key = made.body["key"].as_str().expect("a key").to_owned();
    let id = ada.user_id().await;
    ada.delete_account().await.assert_status(200);

    app.clock.advance(26 * DAY);
    app.erase_due().await;
    let before = texts(&app, "ada@example.com").len();
    app.clock.advance(DAY);
    for _ in 0..2 {
        app.erase_due().await;
    }
    let reminded = texts(&app, "ada@example.com");
    assert_eq!(reminded.len(), before + 1, "one reminder");
    app.clock.advance(2 * DAY);
    app.erase_due().await;
    assert_eq!(app.number("SELECT count(*) FROM users").await, 2);

    app.clock.advance(DAY);
    app.erase_due().await;
    assert_eq!(app.number("SELECT count(*) FROM users").await, 1);
    assert_eq!(app.audited("account_erased").await, 1);
    assert_eq!(app.audited("member_left").await, 1);
    let last = &texts(&app, "ada@example.com")[0];
    assert!(last.contains("It was erased on 13 April 2026"), "{last}");
    app.try_log_in("ada@example.com")
        .await
        .assert_problem(401, "invalid_credentials");
    // The key belongs to the organisation.
    let usage = app
        .replica
        .call(Method::GET, "/api/v1/usage/current", Some(&key), None);
    usage.await.assert_status(200);
    let members = app.log_in("grace@example.com").await;
    let members = members.get("/api/v1/organisations/acme/members").await;
    assert_eq!(members.body["items"].as_array().map(Vec::len), Some(1));

    let row = "SELECT count(*) FROM account_deletions WHERE email IS NULL";
    assert_eq!(app.number(row).await, 1);
    app.clock.advance(5 * DAY);
    app.erase_due().await;
    assert_eq!(
        app.number("SELECT count(*) FROM account_deletions").await,
        0
    );
    let again = app.sign_in("ada").await;
    assert_ne!(again.user_id().await, id);
}

#[tokio::test]
async fn an_erasure_waits_for_payments_and_a_new_owner_and_is_tried_again() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let id = ada.user_id().await;
    let (grace, _) = (
        app.sign_in("grace").await,
        ada.new_organisation("acme").await,
    );
    let invited = ada.invite("acme", "grace@example.com", "owner").await;
    let invitation = invited.body["id"].as_str().expect("an id").to_owned();
    grace.accept(&invitation).await.assert_status(200);
    ada.delete_account().await.assert_status(200);
    app.clock.advance(30 * DAY);
    let payment = "UPDATE payments SET detailed_status = ";
    app.execute(&format!(
        "INSERT INTO payments (id, user_id, account_id, amount, currency, status, detailed_status, created_at, updated_at)
         VALUES (gen_random_uuid(), '{id}', '{id}', 100, 'USD', 'pending', 'processing', now(), now());
         UPDATE users SET disabled_at = NULL;
         UPDATE memberships SET role = 'member' WHERE user_id <> '{id}'"
    ))
    .await;
    for (reason, remedy) in [
        (
            "last_owner",
            "UPDATE memberships SET role = 'owner'".to_owned(),
        ),
        ("payment_in_progress", format!("{payment} 'disputed'")),
        ("payment_disputed", format!("{payment} 'dispute_lost'")),
    ] {
        app.erase_due().await;
        assert_eq!(app.deferral().await.as_deref(), Some(reason));
        // Nothing has begun: it can be canceled.
        app.try_log_in("ada@example.com")
            .await
            .assert_problem(403, "account_deletion_pending");
        app.execute(&remedy).await;
        app.erase_due().await;
        assert_eq!(
            app.deferral().await.as_deref(),
            Some(reason),
            "not within the hour"
        );
        app.clock.advance(Duration::from_hours(1));
    }
    app.erase_due().await;
    assert_eq!(app.number("SELECT count(*) FROM users").await, 1);
    let books = "SELECT count(*) FROM payments AS p JOIN accounts AS a ON a.id = p.account_id
        WHERE p.user_id IS NULL AND a.name = '-' AND a.user_id IS NULL";
    assert_eq!(app.number(books).await, 1);
    let value: Value = json!(app.deferral().await);
    assert_eq!(value, Value::Null);
}

#[tokio::test]
async fn books_are_kept_as_long_as_the_setting_says_from_the_end_of_their_year() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let id = ada.user_id().await;
    app.execute(&format!(
        "INSERT INTO payments (id, user_id, account_id, amount, currency, status, detailed_status, created_at, updated_at)
         VALUES (gen_random_uuid(), '{id}', '{id}', 100, 'USD', 'succeeded', 'succeeded', '2026-03-14', '2026-03-14')"
    ))
    .await;
    ada.delete_account().await.assert_status(200);
    app.clock.advance(30 * DAY);
    app.erase_due().await;
    for (days, left) in [(3650, 1), (330, 0)] {
        app.clock.advance(days * DAY);
        job_queue::enqueue(
            &app.state.db,
            &groundwork::privacy::PurgeBooks::default(),
            None,
        )
        .await
        .expect("it is enqueued");
        app.run_jobs().await;
        assert_eq!(app.number("SELECT count(*) FROM payments").await, left);
        assert_eq!(app.number("SELECT count(*) FROM accounts").await, left);
    }
}

#[tokio::test]
async fn of_requests_at_once_one_deletes_and_a_cancellation_and_the_erasure_exclude_each_other() {
    let app = TestApp::new().await;
    for round in 0..4 {
        let name = format!("ada-{round}");
        let email = format!("{name}@example.com");
        let ada = app.sign_in(&name).await;
        let (first, second) = tokio::join!(ada.delete_account(), ada.delete_account());
        let mut statuses = [first.status.as_u16(), second.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses[0], 200, "{statuses:?}");
        assert!([401, 409].contains(&statuses[1]), "{statuses:?}");
        assert_eq!(app.audited("account_deletion_requested").await, round + 1);
        app.run_jobs().await;
        app.clock.advance(30 * DAY);
        let (canceled, ()) = tokio::join!(app.cancel(&email), app.erase_due());
        let left = format!("SELECT count(*) FROM users WHERE email = '{email}'");
        let is_canceled = canceled.status == 204;
        if is_canceled {
            app.log_in(&email).await;
        } else {
            assert!([401, 409].contains(&canceled.status.as_u16()));
        }
        app.erase_due().await;
        assert_eq!(app.number(&left).await, i64::from(is_canceled));
    }
}
