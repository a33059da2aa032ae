//! The worker is killed while it schedules and sends summaries: nobody is left out, and an email that is sent again has the
//! same Message-ID.

use clock::Clock;
use sqlx::PgConnection;
use tokio::net::TcpListener;

use super::{add_subscribers, assert_one_each, run_sql, schedule};
use crate::harness::TestApp;
use crate::organisations::races::until_waiting;
use crate::process::{Server, with};

const LOCK: &str = "BEGIN; LOCK TABLE usage_summaries IN SHARE MODE";

/// Gives the jobs of the killed worker back to the queue, as the recovery does after a minute.
const UNLOCK_JOBS: &str =
    "UPDATE graphile_worker._private_jobs SET locked_at = NULL, locked_by = NULL, run_at = now()";

async fn execute(connection: &mut PgConnection, sql: &'static str) {
    let done = sqlx::raw_sql(sql).execute(connection).await;
    done.expect("it runs");
}

/// Waits until the killed process has no transaction left.
async fn until_gone(observer: &mut PgConnection) {
    let busy = "SELECT EXISTS (SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid() AND query LIKE '%usage_summaries%')";
    let is_busy = async |observer: &mut PgConnection| -> bool {
        let busy = sqlx::query_scalar(busy).fetch_one(observer);
        busy.await.expect("it is reported")
    };
    while is_busy(observer).await {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn killed_while_it_schedules_it_goes_on_from_where_it_was() {
    let app = TestApp::with_clock(&[], Clock::system()).await;
    add_subscribers(&app, 20).await;
    let (mut holder, mut observer) = (app.owner().await, app.owner().await);
    execute(&mut holder, LOCK).await;
    schedule(&app).await;
    let worker = Server::spawn(&app.settings, &["worker"]);
    until_waiting(&mut observer, 1).await;
    drop(worker); // SIGKILL
    execute(&mut holder, "ROLLBACK").await;
    until_gone(&mut observer).await;
    run_sql(&app, UNLOCK_JOBS).await;
    app.run_jobs().await;
    assert_one_each(&app, 20);
}

#[tokio::test]
async fn killed_before_the_mail_server_has_accepted_each_user_gets_one() {
    let app = TestApp::with_clock(&[], Clock::system()).await;
    add_subscribers(&app, 20).await;
    // A mail server that accepts connections and does not greet.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it has an address");
    let smtp = format!("smtp://{address}");
    schedule(&app).await;
    let worker = Server::spawn(&with(&app.settings, &[("SMTP_URL", &smtp)]), &["worker"]);
    let connection = listener.accept().await.expect("it connects");
    drop(worker); // SIGKILL
    drop(connection);
    let mut observer = app.owner().await;
    until_gone(&mut observer).await;
    run_sql(&app, UNLOCK_JOBS).await;
    app.run_jobs().await;
    assert_one_each(&app, 20);
}

#[tokio::test]
async fn killed_after_the_mail_server_has_accepted_the_email_is_sent_again_as_the_same() {
    let app = TestApp::with_clock(&[], Clock::system()).await;
    add_subscribers(&app, 1).await;
    let (mut holder, mut observer) = (app.owner().await, app.owner().await);
    let row = "INSERT INTO usage_summaries (user_id, month, created_at) SELECT id, '2026-02-01', now() FROM users";
    execute(&mut holder, row).await;
    let user: uuid::Uuid = sqlx::query_scalar("SELECT id FROM users")
        .fetch_one(&app.owner_db)
        .await
        .expect("it is there");
    let month = "2026-02-01".parse().expect("it is a day");
    let job = groundwork::usage_summary::SendSummary::to(groundwork::ids::UserId(user), month);
    job_queue::enqueue(&app.state.db, &job, None)
        .await
        .expect("it is enqueued");
    // The statement that marks it as sent waits.
    execute(&mut holder, LOCK).await;
    let worker = Server::spawn(&app.settings, &["worker"]);
    until_waiting(&mut observer, 1).await;
    assert_eq!(app.inbox.messages().len(), 1);
    drop(worker); // SIGKILL
    // The statement of the killed process would still be executed.
    execute(
        &mut observer,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND wait_event_type = 'Lock'",
    )
    .await;
    execute(&mut holder, "ROLLBACK").await;
    until_gone(&mut observer).await;
    run_sql(&app, UNLOCK_JOBS).await;
    app.run_jobs().await;
    let messages = app.inbox.messages();
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0].message_id, messages[1].message_id);
    app.run_jobs().await;
    assert_eq!(app.inbox.messages().len(), 2);
}
