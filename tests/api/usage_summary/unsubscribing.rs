//! Summaries of users who unsubscribe, ask again, or whose address is suppressed.

use groundwork::ids::UserId;
use groundwork::usage_summary::SendSummary;
use serde_json::json;

use super::run_sql;
use crate::email_preferences::{ADA, one_click, unsubscribe_link};
use crate::harness::TestApp;
use crate::smtp::server::{Server, Tls};

#[tokio::test]
async fn the_link_of_a_summary_ends_the_one_that_waits_in_the_queue() {
    let app = TestApp::new().await;
    let ada = app.summary_subscriber("ada").await;
    let link = unsubscribe_link(&*app.summary_to(ADA).await);
    assert!(link.path().starts_with("/unsubscribe/usage_summary."));
    app.inbox.clear();
    run_sql(
        &app,
        "INSERT INTO usage_summaries (user_id, month, created_at) SELECT id, '2026-01-01', now() FROM users",
    )
    .await;
    let user_id = ada.user_id().await.parse().expect("it is an id");
    let january = "2026-01-01".parse().expect("it is a day");
    let job = SendSummary::to(UserId(user_id), january);
    job_queue::enqueue(&app.state.db, &job, None)
        .await
        .expect("it is enqueued");
    one_click::post(&app, link.path()).await.assert_status(200);
    assert!(!ada.has_asked_for("usage_summary").await);
    app.run_jobs().await;
    assert!(app.inbox.messages().is_empty());
}

#[tokio::test]
async fn a_user_who_asks_again_in_the_same_month_gets_no_second_one() {
    let app = TestApp::new().await;
    let ada = app.summary_subscriber("ada").await;
    let link = unsubscribe_link(&*app.summary_to(ADA).await);
    one_click::post(&app, link.path()).await.assert_status(200);
    ada.choose(json!({ "usage_summary": true }))
        .await
        .assert_status(200);
    app.inbox.clear();
    app.enqueue_summaries().await;
    app.run_jobs().await;
    assert!(app.inbox.messages().is_empty());
}

#[tokio::test]
async fn the_job_of_a_mailbox_that_does_not_exist_does_not_fail() {
    let mut app = TestApp::new().await;
    app.summary_subscriber("ada").await;
    let server = Server::start(Tls::Never, &[("RCPT", "550 5.1.1 no such user")]).await;
    let url = format!("smtp://{}", server.addr);
    let replica = app.another_replica_with(&[("SMTP_URL", &url)]).await;
    let state = std::mem::replace(&mut app.state, replica.state.clone());
    app.enqueue_summaries().await;
    app.run_jobs().await;
    assert_eq!(server.lines_with("RCPT").len(), 1);
    app.state = state;
    assert_eq!(app.audited("email_suppressed").await, 1);
}
