//! Rows are deleted after the time of their setting, and not before.

use std::time::Duration;

use chrono::{DateTime, Utc};
use groundwork::api_keys::PurgeKeys;
use groundwork::auth::PurgeExpired;
use groundwork::billing::PurgeBilling;
use groundwork::mail::PurgeSuppressions;
use groundwork::organisations::PurgeOrganisations;
use serde_json::json;
use sqlx::AssertSqlSafe;

use crate::harness::TestApp;
use crate::logout::LOGOUT;

const DAY: Duration = Duration::from_hours(24);

/// Each table with rows that expire within an hour of the start, its setting, and the days after which they go.
const KEPT: [(&str, &str, &str, u32); 7] = [
    (
        "sessions WHERE ended_at IS NOT NULL",
        "SESSION_RETENTION",
        "2d",
        2,
    ),
    ("one_time_tokens", "LINK_RETENTION", "3d", 3),
    ("api_keys", "API_KEY_RETENTION", "4d", 4),
    ("invitations", "INVITATION_RETENTION", "5d", 5),
    ("checkouts", "CHECKOUT_RETENTION", "6d", 6),
    ("billed_usage", "BILLED_USAGE_RETENTION", "41d", 41),
    (
        "email_suppressions",
        "MAIL_SUPPRESSION_RETENTION",
        "42d",
        42,
    ),
];

async fn purge(app: &TestApp) {
    let db = &app.state.db;
    job_queue::enqueue(db, &PurgeExpired::default(), None)
        .await
        .expect("it is enqueued");
    job_queue::enqueue(db, &PurgeKeys::default(), None)
        .await
        .expect("it is enqueued");
    job_queue::enqueue(db, &PurgeOrganisations::default(), None)
        .await
        .expect("it is enqueued");
    job_queue::enqueue(db, &PurgeBilling::default(), None)
        .await
        .expect("it is enqueued");
    job_queue::enqueue(db, &PurgeSuppressions::default(), None)
        .await
        .expect("it is enqueued");
    app.run_jobs().await;
}

#[tokio::test]
async fn each_kind_of_row_is_deleted_after_the_time_of_its_setting() {
    let mut settings: Vec<_> = KEPT
        .iter()
        .map(|(_, name, value, _)| (*name, *value))
        .collect();
    settings.extend([("INVITATION_TTL", "1h"), ("RESET_PASSWORD_TTL", "1h")]);
    let app = TestApp::with(&settings).await;
    let ada = app.sign_in("ada").await;
    let acme = ada.new_organisation("acme").await;
    let invitation = json!({ "email": "bob@example.com", "role": "member" });
    let invitations = format!("/api/v1/organisations/{acme}/invitations");
    ada.post(&invitations, invitation).await.assert_status(201);
    let key = ada.new_key(&["read"]).await;
    ada.revoke(&key.id).await.assert_status(204);
    let reset = json!({ "email": "ada@example.com" });
    app.post("/api/v1/auth/forgot-password", reset)
        .await
        .assert_status(202);
    app.run_jobs().await;
    for sql in [
        "INSERT INTO checkouts (id, account_id, user_id, stripe_price_id, quantity, trial_days, status, created_at, updated_at)
         SELECT gen_random_uuid(), user_id, user_id, 'price_1', 1, 0, 'expired', created_at, created_at FROM sessions",
        "INSERT INTO billed_usage (account_id, hour, count, revision, sent_at)
         SELECT user_id, date_trunc('hour', created_at), 1, 1, created_at FROM sessions",
        "INSERT INTO email_suppressions (address_hash, reason, created_at) SELECT sha256('x'), 'bounce', created_at FROM sessions",
    ] {
        sqlx::query(sql).execute(&app.owner_db).await.expect("it is added");
    }
    ada.log_out(LOGOUT).await.assert_status(204);

    for (rows, name, _, days) in KEPT {
        let count = async || {
            let sql = format!("SELECT count(*) FROM {rows}");
            let count = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&app.owner_db);
            count.await.expect("they are counted")
        };
        let begun: i64 = count().await;
        assert!(begun > 0, "{name}");
        let start: DateTime<Utc> = "2026-03-14T09:26:53Z".parse().expect("it is a time");
        let age = (app.clock.now() - start).to_std().unwrap_or_default();
        app.clock
            .advance((days * DAY).saturating_sub(age + DAY / 24));
        purge(&app).await;
        assert_eq!(count().await, begun, "{name} is not over");
        app.clock.advance(DAY / 6);
        purge(&app).await;
        assert_eq!(count().await, 0, "{name} is over");
    }
}
