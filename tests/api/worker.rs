//! Background jobs: when they run, and what the daily ones do.

use std::time::Duration;

use email_transport::EmailAddress;
use groundwork::auth::{PurgeExpired, SendVerification};
use groundwork::partitions::MaintainPartitions;
use groundwork::worker;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::harness::{PASSWORD, TestApp, config};

const DAY: Duration = Duration::from_hours(24);

fn address(text: &str) -> EmailAddress {
    text.to_owned().try_into().expect("it is an address")
}

async fn count(app: &TestApp, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql)
        .fetch_one(&app.owner_db)
        .await
        .expect("it counts")
}

const SESSIONS: &str = "SELECT count(*) FROM sessions";
const TOKENS: &str = "SELECT count(*) FROM refresh_tokens";
const LINKS: &str = "SELECT count(*) FROM one_time_tokens";

/// Starts the worker that production runs.
fn start(app: &TestApp) -> (JoinHandle<()>, CancellationToken) {
    let stop = CancellationToken::new();
    let settings = config(&app.settings).worker;
    let running = tokio::spawn(worker::run(app.state.clone(), settings, stop.clone()));
    (running, stop)
}

async fn ends(running: JoinHandle<()>) {
    let ended = tokio::time::timeout(Duration::from_mins(1), running).await;
    ended.expect("the worker ends").expect("it does not panic");
}

#[tokio::test]
async fn a_job_runs_if_what_caused_it_was_committed_and_only_then() {
    let app = TestApp::new().await;
    app.register("ada@example.com").await;
    app.run_jobs().await;
    app.inbox.clear();
    let job = SendVerification::to(address("ada@example.com"));

    let mut undone = database::begin(&app.state.db).await.expect("it begins");
    job_queue::enqueue(&mut *undone, &job, None)
        .await
        .expect("it is enqueued");
    undone.rollback().await.expect("it is undone");
    app.run_jobs().await;
    assert!(
        app.inbox.messages().is_empty(),
        "a message came of what never happened"
    );

    let rename = async |sql: &'static str| {
        sqlx::raw_sql(sql)
            .execute(&mut app.owner().await)
            .await
            .expect("the owner may");
    };
    rename("ALTER TABLE audit_log RENAME TO elsewhere").await;
    let new = json!({ "email": "grace@example.com", "password": PASSWORD });
    let failed = app.post("/api/v1/auth/register", new).await;
    failed.assert_problem(500, "internal");
    rename("ALTER TABLE elsewhere RENAME TO audit_log").await;
    let waiting = "SELECT count(*) FROM graphile_worker._private_jobs";
    assert_eq!(
        count(&app, waiting).await,
        0,
        "a job came of a sign-up that failed"
    );

    let mut done = database::begin(&app.state.db).await.expect("it begins");
    job_queue::enqueue(&mut *done, &job, None)
        .await
        .expect("it is enqueued");
    done.commit().await.expect("it is done");
    app.run_jobs().await;
    assert_eq!(app.inbox.messages().len(), 1);
}

#[tokio::test]
async fn of_jobs_with_one_key_the_last_one_runs() {
    let app = TestApp::new().await;
    for _ in 0..5 {
        app.register("ada@example.com").await;
    }
    app.run_jobs().await;
    assert_eq!(app.inbox.messages().len(), 1);
}

#[tokio::test]
async fn the_worker_runs_jobs_under_the_runtime_role_and_stops_on_request() {
    let app = TestApp::with(&[("WORKER_POLL_INTERVAL", "60s")]).await;
    let role: String = sqlx::query_scalar("SELECT current_user")
        .fetch_one(&app.owner_db)
        .await
        .expect("it answers");
    assert_ne!(role, "postgres");
    let (running, stop) = start(&app);
    app.register("ada@example.com").await;
    app.inbox.wait_for_email_to("ada@example.com").await;
    // It is told of new jobs: the next look would be far away.
    app.register("grace@example.com").await;
    app.inbox.wait_for_email_to("grace@example.com").await;
    stop.cancel();
    ends(running).await;
    app.register("bob@example.com").await;
    assert!(app.inbox.emails_to("bob@example.com").is_empty());
    app.email_to("bob@example.com").await;
}

#[tokio::test]
async fn two_workers_share_the_work_and_do_it_once() {
    let app = TestApp::new().await;
    for n in 0..10 {
        app.register(&format!("user{n}@example.com")).await;
    }
    let workers = [start(&app), start(&app)];
    for n in 0..10 {
        app.inbox
            .wait_for_email_to(&format!("user{n}@example.com"))
            .await;
    }
    for (running, stop) in workers {
        stop.cancel();
        ends(running).await;
    }
    assert_eq!(app.inbox.messages().len(), 10);
}

#[tokio::test]
async fn a_job_that_outlives_the_grace_is_handed_back_and_done_by_the_next_worker() {
    let app = TestApp::with(&[("SMTP_TIMEOUT", "60s")]).await;
    // Takes the connection and says nothing, so that the job hangs.
    let unresponsive = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let url = format!(
        "smtp://{}",
        unresponsive.local_addr().expect("it has an address")
    );
    let stuck = app.another_replica_with(&[("SMTP_URL", &url)]).await;
    let stop = CancellationToken::new();
    let settings = config(&app.settings).worker;
    let running = tokio::spawn(worker::run(stuck.state.clone(), settings, stop.clone()));
    app.register("ada@example.com").await;
    let (_connection, _) = unresponsive.accept().await.expect("the job calls");
    stop.cancel();
    ends(running).await;
    assert_eq!(
        count(
            &app,
            "SELECT count(*) FROM graphile_worker._private_jobs WHERE locked_at IS NOT NULL"
        )
        .await,
        0,
        "it is not handed back"
    );
    app.hurry_jobs().await;
    app.email_to("ada@example.com").await;
}

#[tokio::test]
async fn every_job_of_the_schedule_runs_as_the_schedule_enqueues_it() {
    let app = TestApp::new().await;
    let (running, stop) = start(&app);
    let listed = "SELECT count(*) FROM graphile_worker._private_known_crontabs
        WHERE identifier IN ('auth.purge_expired', 'billing.follow_accounts', 'usage.purge', 'partitions.maintain')";
    let mut looks = 0;
    while count(&app, listed).await < 4 {
        looks += 1;
        assert!(looks < 1_200, "the schedule is not known");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop.cancel();
    ends(running).await;

    sqlx::query(
        "SELECT graphile_worker.add_job(identifier, 'null'::json) FROM graphile_worker._private_known_crontabs",
    )
    .execute(&app.state.db)
    .await
    .expect("they are enqueued");
    app.run_jobs().await;
    let failed: Vec<String> = sqlx::query_scalar(
        "SELECT concat(task_identifier, ': ', last_error) FROM graphile_worker.jobs WHERE last_error IS NOT NULL",
    )
    .fetch_all(&app.state.db)
    .await
    .expect("they are read");
    assert_eq!(failed, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_long_good_for_nothing_is_purged_and_nothing_else() {
    // That an account nobody confirms goes as well is `unverified.rs`.
    let settings = [
        ("UNVERIFIED_TTL", "365d"),
        ("LEGACY_REFRESH_TOKENS", "true"),
    ];
    let app = TestApp::with(&settings).await;
    let purge = async || {
        job_queue::enqueue(&app.state.db, &PurgeExpired::default(), None)
            .await
            .expect("it is enqueued");
        app.run_jobs().await;
        (
            count(&app, SESSIONS).await,
            count(&app, TOKENS).await,
            count(&app, LINKS).await,
        )
    };
    app.sign_in("ada").await;
    let left = app.sign_in("grace").await;
    left.replica
        .refresh(left.refresh_token())
        .await
        .assert_status(200);
    app.register("bob@example.com").await; // never follows the link
    app.run_jobs().await;
    app.post(
        "/api/v1/auth/logout",
        json!({ "refresh_token": left.refresh_token() }),
    )
    .await
    .assert_status(204);
    assert_eq!(purge().await, (2, 3, 1), "all of it is new");

    app.clock.advance(29 * DAY);
    assert_eq!(
        purge().await,
        (2, 3, 1),
        "it is kept for whoever looks into an incident"
    );
    app.clock.advance(3 * DAY);
    assert_eq!(
        purge().await,
        (1, 1, 0),
        "the session that ended and the link are gone"
    );
    app.clock.advance(13 * DAY);
    assert_eq!(
        purge().await,
        (1, 0, 0),
        "the token that ran out unused is gone"
    );
    let again = app.log_in("ada@example.com").await;
    app.clock.advance(76 * DAY);
    assert_eq!(
        purge().await.0,
        1,
        "the session that reached its age is gone"
    );
    assert!(!again.is_signed_in().await);
    assert_eq!(
        count(&app, "SELECT count(*) FROM users").await,
        3,
        "no account is"
    );
    assert!(
        count(&app, "SELECT count(*) FROM audit_log").await > 5,
        "nor the log"
    );
    app.log_in("ada@example.com").await;
    assert_eq!(purge().await.0, 2);
}

#[tokio::test]
async fn a_purge_deletes_more_than_a_batch_and_one_that_fails_leaves_the_others_to_run() {
    let mut app = TestApp::new().await;
    app.sign_in("ada").await;
    let many = "INSERT INTO sessions (id, user_id, created_at, expires_at, ended_at, end_reason)
            SELECT gen_random_uuid(), users.id, '2020-01-01Z', '2020-02-01Z', '2020-01-02Z', 'signed_out'
            FROM users, generate_series(1, 2500);
        INSERT INTO sessions (id, user_id, created_at, expires_at)
            SELECT gen_random_uuid(), users.id, '2020-01-01Z', '2020-02-01Z' FROM users, generate_series(1, 2500);
        INSERT INTO refresh_tokens (token_hash, session_id, issued_at, expires_at)
            SELECT sha256(n::text::bytea), sessions.id, '2020-01-01Z', '2020-02-01Z'
            FROM (SELECT id FROM sessions WHERE expires_at > '2026-01-01Z') AS sessions, generate_series(1, 2500) AS n;
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no''; END';
        CREATE TRIGGER refuse BEFORE DELETE ON refresh_tokens FOR EACH ROW EXECUTE FUNCTION refuse()";
    sqlx::raw_sql(many)
        .execute(&mut app.owner().await)
        .await
        .expect("the owner may");
    let purge = async || {
        job_queue::enqueue(&app.state.db, &PurgeExpired::default(), Some("purge"))
            .await
            .expect("it is enqueued");
        app.hurry_jobs().await;
        app.run_jobs().await;
        (count(&app, SESSIONS).await, count(&app, TOKENS).await)
    };
    assert_eq!(
        purge().await,
        (1, 2_500),
        "sessions go although tokens cannot"
    );
    assert_eq!(
        count(&app, "SELECT count(*) FROM graphile_worker._private_jobs").await,
        1,
        "the job is tried again"
    );
    sqlx::raw_sql("DROP TRIGGER refuse ON refresh_tokens")
        .execute(&mut app.owner().await)
        .await
        .expect("the owner may");
    assert_eq!(purge().await, (1, 0));
    app.expect_dead_jobs();
}

#[tokio::test]
async fn partitions_that_are_missing_are_made_by_the_runtime_role() {
    let app = TestApp::new().await;
    let last = "SELECT 'audit_log_' || to_char((now() AT TIME ZONE 'UTC') + interval '3 months', 'YYYYMM')";
    let last: String = sqlx::query_scalar(last)
        .fetch_one(&app.owner_db)
        .await
        .expect("it answers");
    let is_there = async || {
        let there = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL").bind(&last);
        there.fetch_one(&app.owner_db).await.expect("it answers")
    };
    let run = async || {
        job_queue::enqueue(&app.state.db, &MaintainPartitions::default(), None)
            .await
            .expect("it is enqueued");
        app.run_jobs().await;
    };
    assert!(is_there().await);
    run().await;
    let drop = sqlx::AssertSqlSafe(format!("DROP TABLE {last}"));
    sqlx::raw_sql(drop)
        .execute(&mut app.owner().await)
        .await
        .expect("the owner may");
    assert!(!is_there().await);
    run().await;
    assert!(is_there().await);
    let sign_in = json!({ "email": "nobody@example.com", "password": PASSWORD });
    app.post("/api/v1/auth/login", sign_in)
        .await
        .assert_status(401);
    assert_eq!(app.audited("sign_in_failed").await, 1);
}
