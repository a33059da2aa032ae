//! The monthly usage summary: its numbers, and that each user who asked for it gets one.

mod kills;
mod unsubscribing;

use std::sync::Arc;

use graphile_worker::Worker;
use groundwork::usage_summary::{PurgeSummaries, ScheduleNewSummaries, ScheduleSummaries};
use groundwork_dev::inbox::Message;
use serde_json::json;
use sqlx::AssertSqlSafe;

use crate::email_preferences::ADA;
use crate::harness::{Session, TestApp};
use crate::process::{run, stderr, stdout};

/// Runs statements as the owner.
async fn run_sql(app: &TestApp, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(&app.owner_db)
        .await
        .expect("it runs");
}

impl TestApp {
    /// A session of a user who has asked for the summary.
    async fn summary_subscriber(&self, name: &str) -> Session {
        let session = self.sign_in(name).await;
        let asked = session.choose(json!({ "usage_summary": true })).await;
        asked.assert_status(200);
        session
    }

    /// Leaves the jobs of summaries in the queue.
    async fn enqueue_summaries(&self) {
        let job = ScheduleNewSummaries::default();
        job_queue::enqueue(&self.state.db, &job, None)
            .await
            .expect("it is enqueued");
    }

    /// The summary that this address gets now.
    async fn summary_to(&self, email: &str) -> Arc<Message> {
        self.enqueue_summaries().await;
        let message = self.email_to(email).await;
        assert!(message.subject.contains("monthly usage"), "{message:?}");
        message
    }
}

/// Users 1 to `count` with verified addresses `1@example.com` and so on, who have asked for the summary.
async fn add_subscribers(app: &TestApp, count: u32) {
    let sql = format!(
        "INSERT INTO users (id, email, password_hash, email_verified_at, created_at, updated_at)
         SELECT gen_random_uuid(), n || '@example.com', 'x', now(), now(), now() FROM generate_series(1, {count}) AS n;
         INSERT INTO consents (user_id, kind, is_given, source, created_at)
         SELECT id, 'usage_summary', true, 'settings', now() - interval '1 day' FROM users WHERE email ~ '^[0-9]+@'"
    );
    run_sql(app, &sql).await;
}

async fn schedule(app: &TestApp) {
    job_queue::enqueue(&app.state.db, &ScheduleSummaries::default(), None)
        .await
        .expect("it is enqueued");
}

/// Holds that each of the users 1 to `count` has one email.
fn assert_one_each(app: &TestApp, count: u32) {
    for n in 1..=count {
        let emails = app.inbox.emails_to(&format!("{n}@example.com"));
        assert_eq!(emails.len(), 1, "{n} of {count}");
    }
    assert_eq!(app.inbox.messages().len(), count as usize);
}

#[tokio::test]
async fn a_summary_has_the_numbers_of_the_last_month_of_each_account_of_the_user() {
    let app = TestApp::new().await;
    let (ada, grace) = (
        app.summary_subscriber("ada").await,
        app.sign_in("grace").await,
    );
    let acme = ada.new_organisation("acme").await;
    let other = grace.new_organisation("other").await;
    let deleted = ada.new_organisation("deleted").await;
    let me = ada.user_id().await;
    for (account, requests) in [
        (&me, 1_234_567),
        (&acme, 89),
        (&other, 444),
        (&deleted, 555),
    ] {
        run_sql(
            &app,
            &format!(
                "INSERT INTO usage_totals (user_id, account_id, month, request_count)
                 VALUES ('{account}', '{account}', '2026-02-01', {requests}),
                        ('{account}', '{account}', '2026-01-01', 777);
                 INSERT INTO event_totals (user_id, account_id, month, event_count, byte_count)
                 VALUES ('{account}', '{account}', '2026-02-01', {requests} + 1, 1)"
            ),
        )
        .await;
    }
    run_sql(
        &app,
        &format!("UPDATE accounts SET deleted_at = now() WHERE id = '{deleted}'"),
    )
    .await;
    let message = app.summary_to(ADA).await;
    for part in [&message.text, &message.html] {
        for text in [
            "February 2026",
            "Your personal account",
            "(plan Free)",
            "Requests: 1,234,567 of ",
            "Events: 1,234,568",
            "ACME",
            "Requests: 89",
            "Events: 90",
        ] {
            assert!(part.contains(text), "{text}: {part}");
        }
        for text in ["OTHER", "444", "DELETED", "555", "777"] {
            assert!(!part.contains(text), "{text}: {part}");
        }
    }
}

#[tokio::test]
async fn only_verified_enabled_users_who_have_asked_get_it() {
    let app = TestApp::new().await;
    add_subscribers(&app, 6).await;
    run_sql(
        &app,
        "UPDATE users SET email_verified_at = NULL WHERE email = '1@example.com';
         UPDATE users SET disabled_at = now() WHERE email = '2@example.com';
         INSERT INTO consents (user_id, kind, is_given, source, created_at)
         SELECT id, 'usage_summary', false, 'settings', now() FROM users WHERE email = '3@example.com';
         DELETE FROM consents WHERE user_id = (SELECT id FROM users WHERE email = '4@example.com')",
    )
    .await;
    schedule(&app).await;
    app.run_jobs().await;
    let messages = app.inbox.messages();
    let mut to: Vec<_> = messages
        .iter()
        .flat_map(|it| it.recipients.clone())
        .collect();
    to.sort();
    assert_eq!(to, ["5@example.com", "6@example.com"]);
}

#[tokio::test]
async fn of_concurrent_and_repeated_schedules_each_user_gets_one_a_month() {
    let app = TestApp::new().await;
    add_subscribers(&app, 30).await;
    let others = [app.another_replica().await, app.another_replica().await];
    for _ in 0..4 {
        schedule(&app).await;
        app.enqueue_summaries().await;
    }
    let config = crate::harness::config(&app.settings);
    let stop = tokio_util::sync::CancellationToken::new();
    let mut workers = Vec::new();
    for state in [&app.state, &others[0].state, &others[1].state] {
        let worker = groundwork::worker::worker(state.clone(), &config.worker, stop.clone());
        workers.push(worker.await.expect("it starts"));
    }
    let runs = workers.iter().map(Worker::run_once);
    for run in futures_util::future::join_all(runs).await {
        run.expect("it runs");
    }
    app.run_jobs().await;
    assert_one_each(&app, 30);

    app.inbox.clear();
    app.clock.advance(std::time::Duration::from_hours(24 * 31));
    schedule(&app).await;
    app.run_jobs().await;
    assert_one_each(&app, 30);
    let ids: std::collections::BTreeSet<_> = app
        .inbox
        .messages()
        .iter()
        .map(|it| it.message_id.clone())
        .collect();
    assert_eq!(ids.len(), 30, "each has a Message-ID of its own");
}

#[tokio::test]
async fn more_users_than_a_batch_get_theirs() {
    let app = TestApp::new().await;
    add_subscribers(&app, 450).await;
    schedule(&app).await;
    app.run_jobs().await;
    assert_one_each(&app, 450);
}

#[tokio::test]
async fn the_setting_turns_it_off_also_for_jobs_that_wait() {
    let mut app = TestApp::new().await;
    app.summary_subscriber("ada").await;
    app.inbox.clear();
    let off = app
        .another_replica_with(&[("MAIL_USAGE_SUMMARY", "false")])
        .await;
    let on = std::mem::replace(&mut app.state, off.state.clone());
    app.enqueue_summaries().await;
    schedule(&app).await;
    app.run_jobs().await;
    assert!(app.inbox.messages().is_empty());
    let settings = crate::process::with(&app.settings, &[("MAIL_USAGE_SUMMARY", "false")]);
    let output = run(&settings, &["emails", "summary", "--email", ADA]).await;
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    app.state = on;
    app.summary_to(ADA).await;
}

#[tokio::test]
async fn a_command_sends_it_now_to_a_user_who_has_asked() {
    let app = TestApp::with_clock(&[], clock::Clock::system()).await;
    let ada = app.sign_in("ada").await;
    let summary = async |email: &str| {
        let output = run(&app.settings, &["emails", "summary", "--email", email]).await;
        (output.status.code(), stdout(&output), stderr(&output))
    };
    let (code, _, error) = summary("nobody@example.com").await;
    assert_eq!(code, Some(5), "{error}");
    let (code, _, error) = summary(ADA).await;
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("has not asked"), "{error}");
    app.inbox.clear();
    let asked = ada.choose(json!({ "usage_summary": true })).await;
    asked.assert_status(200);
    let (code, told, error) = summary(ADA).await;
    assert_eq!(code, Some(0), "{error}");
    assert!(told.starts_with("the summary of "), "{told}");
    let (code, _, error) = summary(ADA).await;
    assert_eq!(code, Some(0), "{error}");
    let sent = app.inbox.emails_to(ADA);
    assert_eq!(sent.len(), 2);
    // A mailbox shows both.
    assert_ne!(sent[0].message_id, sent[1].message_id);
    let suppress = ["emails", "suppress", "--email", ADA, "--reason", "manual"];
    run(&app.settings, &suppress).await;
    let (code, _, error) = summary(ADA).await;
    assert_eq!(code, Some(1));
    assert!(error.contains("suppressed: manual"), "{error}");
    assert_eq!(app.inbox.emails_to(ADA).len(), 2);
}

#[tokio::test]
async fn rows_of_earlier_months_are_deleted() {
    let app = TestApp::new().await;
    app.summary_subscriber("ada").await;
    app.summary_to(ADA).await;
    for (days, left) in [(99, 1), (2, 0)] {
        app.clock
            .advance(std::time::Duration::from_hours(24 * days));
        job_queue::enqueue(&app.state.db, &PurgeSummaries::default(), None)
            .await
            .expect("it is enqueued");
        app.run_jobs().await;
        let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM usage_summaries")
            .fetch_one(&app.owner_db)
            .await
            .expect("they are counted");
        assert_eq!(rows, left);
    }
}
