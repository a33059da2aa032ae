//! Accounts that nobody ever confirms.

use std::time::Duration;

use database::begin;
use groundwork::auth::PurgeExpired;
use serde_json::json;

use crate::harness::TestApp;

const DAY: Duration = Duration::from_hours(24);

impl TestApp {
    /// Runs the daily job.
    async fn purge(&self) {
        job_queue::enqueue(&self.state.db, &PurgeExpired {}, None)
            .await
            .expect("it is enqueued");
        self.run_jobs().await;
    }

    async fn accounts(&self) -> Vec<String> {
        sqlx::query_scalar("SELECT email FROM users ORDER BY email")
            .fetch_all(&self.state.db)
            .await
            .expect("the table is there")
    }
}

#[tokio::test]
async fn they_go_after_a_week_and_no_other_does() {
    let app = TestApp::new().await;
    app.sign_up("ada").await;
    app.register("bob@example.com").await;
    app.run_jobs().await;
    app.clock.advance(DAY * 6);
    app.register("carol@example.com").await;
    app.purge().await;
    assert_eq!(app.accounts().await.len(), 3);
    app.clock.advance(DAY + Duration::from_secs(1));
    app.purge().await;
    assert_eq!(
        app.accounts().await,
        ["ada@example.com", "carol@example.com"]
    );
    assert_eq!(app.audited("unverified_purged").await, 1);

    // The address is as free as it was.
    app.sign_up("bob").await;
    assert_eq!(app.accounts().await.len(), 3);
}

#[tokio::test]
async fn one_that_is_signed_up_again_or_has_a_living_link_stays() {
    let app = TestApp::with(&[("UNVERIFIED_TTL", "7d"), ("VERIFY_EMAIL_TTL", "2d")]).await;
    app.register("bob@example.com").await;
    app.register("carol@example.com").await;
    app.run_jobs().await;
    app.clock.advance(DAY * 6);
    app.register("bob@example.com").await;
    app.post(
        "/api/v1/auth/resend-verification",
        json!({ "email": "carol@example.com" }),
    )
    .await
    .assert_status(202);
    let link = app.email_to("carol@example.com").await.token();
    app.clock.advance(DAY + Duration::from_secs(1));
    app.purge().await;
    assert_eq!(app.accounts().await.len(), 2);
    app.post("/api/v1/auth/verify-email", json!({ "token": link }))
        .await
        .assert_status(204);
    app.clock.advance(DAY * 7);
    app.purge().await;
    assert_eq!(app.accounts().await, ["carol@example.com"]);
}

#[tokio::test]
async fn one_that_is_being_confirmed_at_that_moment_stays() {
    let app = TestApp::new().await;
    app.register("bob@example.com").await;
    app.register("carol@example.com").await;
    app.run_jobs().await;
    app.clock.advance(DAY * 8);
    let mut confirming = begin(&app.state.db).await.expect("it begins");
    sqlx::query("UPDATE users SET email_verified_at = now() WHERE email = 'bob@example.com'")
        .execute(&mut *confirming)
        .await
        .expect("the account is there");
    app.purge().await; // waits for nobody
    confirming.commit().await.expect("it is confirmed");
    assert_eq!(app.accounts().await, ["bob@example.com"]);
    app.purge().await;
    assert_eq!(app.accounts().await, ["bob@example.com"]);
}
