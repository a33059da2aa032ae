//! Legal holds, and requests that are handled by commands.

use std::time::Duration;

use clock::Clock;
use graphile_worker::TaskHandler;
use groundwork::audit::RemoveAddresses;
use groundwork::auth::PurgeExpired;
use groundwork::partitions::MaintainPartitions;
use groundwork::privacy::PurgeRequests;
use sqlx::AssertSqlSafe;

use super::erasure::DAY;
use crate::harness::TestApp;
use crate::kit::files::{BUCKET, files_app_now};
use crate::process::{run, stderr, stdout};

const EMAIL: &str = "ada@example.com";

impl TestApp {
    /// Runs a command that must succeed; returns its output.
    async fn command(&self, args: &[&str]) -> String {
        let output = run(&self.settings, args).await;
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        stdout(&output)
    }

    async fn hold(&self, until: &str) {
        let by = ["--reason", "a lawsuit", "--by", "Grace", "--until", until];
        self.command(&[&["users", "hold", "--email", EMAIL], &by[..]].concat())
            .await;
    }

    async fn run_job(&self, job: &impl TaskHandler) {
        job_queue::enqueue(&self.state.db, job, None)
            .await
            .expect("it is enqueued");
        self.run_jobs().await;
    }
}

#[tokio::test]
async fn a_hold_defers_the_erasure_and_keeps_expired_rows_until_it_ends() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let grace = app.sign_in("grace").await;
    app.hold("2126-05-01T00:00:00Z").await;
    let end = format!("{}Z", "2026-05-01T00:00:00");
    app.execute(&format!("UPDATE legal_holds SET ends_at = '{end}'"))
        .await;
    assert_eq!(app.audited("legal_hold_placed").await, 1);
    let shown = app.command(&["users", "show", "--email", EMAIL]).await;
    assert!(
        shown.contains("held until 2026-05-01T00:00:00Z by Grace: a lawsuit"),
        "{shown}"
    );

    for session in [&ada, &grace] {
        session.delete_account().await.assert_status(200);
    }
    app.clock.advance(31 * DAY);
    app.erase_due().await;
    let left: Vec<String> = sqlx::query_scalar("SELECT email FROM users")
        .fetch_all(&app.owner_db)
        .await
        .expect("they are listed");
    assert_eq!(left, [EMAIL]);
    let reason = "SELECT count(*) FROM account_deletions WHERE deferred_reason = 'legal_hold'";
    assert_eq!(app.number(reason).await, 1);
    app.run_job(&PurgeExpired::default()).await;
    assert_eq!(
        app.number("SELECT count(*) FROM sessions").await,
        1,
        "past their retention"
    );

    app.clock.advance(20 * DAY);
    app.erase_due().await;
    assert_eq!(app.audited("legal_hold_released").await, 1);
    assert_eq!(app.number("SELECT count(*) FROM users").await, 0);
    assert_eq!(app.number("SELECT count(*) FROM sessions").await, 0);
}

const WITH_ADDRESS: &str = "SELECT count(*) FROM audit_log WHERE ip IS NOT NULL";

/// Adds rows of 30 months ago for all users.
async fn fill_an_old_month(app: &TestApp) {
    let old = "date_trunc('month', now()) - interval '30 months'";
    app.execute(&format!(
        "INSERT INTO audit_log (id, created_at, event, user_id, ip)
             SELECT gen_random_uuid(), {old}, 'test', id, '203.0.113.7' FROM users;
         INSERT INTO audit_log (id, created_at, event, actor_id, ip)
             SELECT gen_random_uuid(), {old}, 'test', id, '203.0.113.7' FROM users;
         INSERT INTO events (id, user_id, account_id, event_type, event_data, created_at)
             SELECT gen_random_uuid(), id, id, 'test', '{{}}', {old} FROM users;
         INSERT INTO usage_daily (user_id, account_id, endpoint, created_at, request_count, client_errors, server_errors, response_time_ms,
                                  response_time_max_ms)
             SELECT id, id, 'test', date_trunc('day', {old}, 'UTC'), 1, 0, 0, 1, 1 FROM users"
    ))
    .await;
    for table in ["audit_log", "events", "usage_daily"] {
        let month = "(now() - interval '30 months')::date";
        app.number(&format!(
            "SELECT attach_month_partition('{table}', {month})"
        ))
        .await;
    }
}

#[tokio::test]
async fn rows_of_a_held_account_outlive_the_month_that_is_dropped() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    app.sign_in("grace").await;
    let id = ada.user_id().await;
    app.hold("2126-05-01T00:00:00Z").await;
    fill_an_old_month(&app).await;
    // The time of the database, by which months are dropped.
    let ahead = Clock::system().now() - app.clock.now();
    app.clock.advance(ahead.to_std().unwrap_or_default());
    let old = "created_at < now() - interval '29 months'";
    // The second run finds nothing but held rows.
    for _ in 0..2 {
        app.run_job(&MaintainPartitions::default()).await;
        for (table, rows) in [("audit_log", 2), ("events", 1), ("usage_daily", 1)] {
            let count = format!("SELECT count(*) FROM {table} WHERE {old}");
            assert_eq!(app.number(&count).await, rows, "{table}");
            let others = format!("SELECT count(*) FROM {table}_default");
            assert_eq!(app.number(&others).await, 0, "{table}");
        }
    }
    let foreign = format!(
        "SELECT count(*) FROM audit_log WHERE {old} AND coalesce(user_id, actor_id) <> '{id}'"
    );
    assert_eq!(app.number(&foreign).await, 0);
    app.run_job(&RemoveAddresses::default()).await;
    let held = app.number(WITH_ADDRESS).await;
    assert!(held >= 2);
    let of_others = format!("{WITH_ADDRESS} AND '{id}' NOT IN (user_id, actor_id)");
    assert_eq!(app.number(&of_others).await, 0);

    app.command(&["users", "hold", "--email", EMAIL, "--release"])
        .await;
    app.run_job(&RemoveAddresses::default()).await;
    assert!(app.number(WITH_ADDRESS).await < held);
    app.run_job(&MaintainPartitions::default()).await;
    for table in ["audit_log", "events", "usage_daily"] {
        let count = format!("SELECT count(*) FROM {table} WHERE {old}");
        assert_eq!(app.number(&count).await, 0, "{table}");
    }
}

#[tokio::test]
async fn the_register_lists_a_request_until_it_is_closed_and_deletes_it_in_time() {
    let app = TestApp::new().await;
    let id = app.sign_in("ada").await.user_id().await;
    let add = |received: &str| {
        [
            "privacy",
            "add-request",
            "--kind",
            "access",
            "--reference",
            "ticket 7",
            "--received",
            received,
        ]
        .map(str::to_owned)
    };
    let wrong = |args: &[&str]| {
        add("2026-01-01T00:00:00Z")
            .into_iter()
            .chain(args.iter().map(|it| (*it).to_owned()))
            .collect::<Vec<_>>()
    };
    for (args, code) in [
        (add("2126-01-01T00:00:00Z").to_vec(), 1),
        (add("yesterday").to_vec(), 2),
        (wrong(&["--email", "nobody@example.com"]), 5),
    ] {
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        assert_eq!(
            run(&app.settings, &args).await.status.code(),
            Some(code),
            "{args:?}"
        );
    }
    let known = wrong(&["--email", EMAIL]);
    let known: Vec<_> = known.iter().map(String::as_str).collect();
    let request = app.command(&known).await;
    let request = request.trim();
    let stranger = add("2026-01-02T00:00:00Z");
    app.command(&stranger.each_ref().map(String::as_str)).await;

    let listed = app.command(&["privacy", "requests"]).await;
    let lines: Vec<_> = listed.lines().collect();
    assert_eq!(lines.len(), 2, "{listed}");
    assert!(lines[0].starts_with(&format!("{id} access, ")), "{listed}");
    assert!(
        lines[0].ends_with(&format!(
            "received 2026-01-01T00:00:00Z, request {request}, ticket 7"
        )),
        "{listed}"
    );
    assert!(
        lines[1].starts_with("without an account access, "),
        "{listed}"
    );

    let close = [
        "privacy",
        "close-request",
        "--id",
        request,
        "--answer",
        "sent on 2026-01-20",
    ];
    app.command(&close).await;
    assert_eq!(
        run(&app.settings, &close).await.status.code(),
        Some(1),
        "closed before"
    );
    let listed = app.command(&["privacy", "requests"]).await;
    assert_eq!(listed.lines().count(), 1, "{listed}");
    // Closed at the time of the database.
    let ahead = Clock::system().now() - app.clock.now();
    app.clock
        .advance(ahead.to_std().unwrap_or_default() + 1_094 * DAY);
    app.run_job(&PurgeRequests::default()).await;
    assert_eq!(app.number("SELECT count(*) FROM data_requests").await, 2);
    app.clock.advance(2 * DAY);
    app.run_job(&PurgeRequests::default()).await;
    assert_eq!(
        app.number("SELECT count(*) FROM data_requests").await,
        1,
        "the open one"
    );
}

#[tokio::test]
async fn requests_by_post_are_handled_by_commands_that_list_their_age() {
    let app = TestApp::new().await;
    app.sign_in("ada").await;
    let unknown = ["users", "show", "--email", "nobody@example.com"];
    assert_eq!(run(&app.settings, &unknown).await.status.code(), Some(5));
    let half = ["users", "hold", "--email", EMAIL, "--reason", "a lawsuit"];
    assert_eq!(run(&app.settings, &half).await.status.code(), Some(2));
    let past = "2020-01-01T00:00:00Z";
    let by = ["--reason", "x", "--by", "Grace", "--until", past];
    let past = [&["users", "hold", "--email", EMAIL], &by[..]].concat();
    assert_eq!(run(&app.settings, &past).await.status.code(), Some(1));

    app.hold("2126-05-01T00:00:00Z").await;
    app.command(&["users", "erase", "--email", EMAIL]).await;
    app.run_jobs().await;
    let listed = app.command(&["privacy", "requests"]).await;
    assert!(
        listed.contains("erasure, 0 days old") && listed.contains("can be canceled"),
        "{listed}"
    );
    app.command(&["users", "erase", "--email", EMAIL, "--at-once"])
        .await;
    // The commands have the clock of the database.
    let ahead =
        "UPDATE account_deletions SET erase_at = '2026-03-14', next_attempt_at = '2026-03-14'";
    app.execute(ahead).await;
    app.erase_due().await;
    let listed = app.command(&["privacy", "requests"]).await;
    assert!(listed.contains("deferred: legal_hold"), "{listed}");
    let shown = app.command(&["users", "show", "--email", EMAIL]).await;
    assert!(
        shown.contains("deletion requested") && shown.contains("deferred: legal_hold"),
        "{shown}"
    );

    app.command(&["users", "hold", "--email", EMAIL, "--release"])
        .await;
    let again = ["users", "hold", "--email", EMAIL, "--release"];
    assert_eq!(
        run(&app.settings, &again).await.status.code(),
        Some(1),
        "it is released"
    );
    app.clock.advance(Duration::from_hours(1));
    app.erase_due().await;
    assert_eq!(app.number("SELECT count(*) FROM users").await, 0);
    assert_eq!(app.command(&["privacy", "requests"]).await, "");
}

#[tokio::test]
async fn users_who_were_erased_are_erased_again_after_a_restore_without_an_email() {
    let it = files_app_now().await;
    let app = &it.app;
    let ada = app.sign_in("ada").await;
    let grace = app.sign_in("grace").await;
    let ids = [ada.user_id().await, grace.user_id().await];
    let backup: String = sqlx::query_scalar("SELECT json_agg(u)::text FROM users AS u")
        .fetch_one(&app.owner_db)
        .await
        .expect("it is read");
    app.command(&["users", "erase", "--email", EMAIL, "--at-once"])
        .await;
    app.run_jobs().await;
    app.erase_due().await;
    assert_eq!(it.s3.keys(BUCKET), [format!("erased/{}", ids[0])]);
    app.execute("DELETE FROM account_deletions").await;

    let restore = async || {
        sqlx::query("INSERT INTO users SELECT u.* FROM json_populate_recordset(NULL::users, $1::json) AS u ON CONFLICT DO NOTHING")
            .bind(&backup)
            .execute(&app.owner_db)
            .await
            .expect("it is restored");
    };
    restore().await;
    let emails = app.inbox.emails_to(EMAIL).len();
    let output = run(&app.settings, &["privacy", "reapply"]).await;
    assert!(output.status.success(), "{}", stderr(&output));
    let printed = stdout(&output);
    assert!(
        printed.contains("1 users are listed, 1 of them were in the database"),
        "{printed}"
    );
    for text in [&printed, &stderr(&output)] {
        assert!(!text.contains(EMAIL), "{text}");
    }
    let left = "SELECT id::text FROM users";
    let left: Vec<String> = sqlx::query_scalar(AssertSqlSafe(left))
        .fetch_all(&app.owner_db)
        .await
        .expect("they are listed");
    assert_eq!(left, [ids[1].clone()]);
    assert_eq!(app.inbox.emails_to(EMAIL).len(), emails);

    // Without a store the ids are those of the log.
    restore().await;
    app.execute("DELETE FROM account_deletions").await;
    let file = std::env::temp_dir().join(format!("erased-{}", app.database()));
    std::fs::write(&file, format!("{}\n\n", ids[0])).expect("it is written");
    let path = file.to_str().expect("it is text");
    let printed = app.command(&["privacy", "reapply", "--ids", path]).await;
    std::fs::remove_file(&file).expect("it is removed");
    assert!(
        printed.contains("1 of them were in the database"),
        "{printed}"
    );
    assert_eq!(app.number("SELECT count(*) FROM users").await, 1);
}
