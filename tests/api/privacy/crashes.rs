//! The process is killed between any two steps of an erasure, or an outside service is away: the end is the same.

use std::time::{Duration, Instant};

use groundwork::privacy::EraseDue;
use groundwork_dev::stripe::FaultAction;
use groundwork_dev::{S3Effect, S3Hang};
use sqlx::{AssertSqlSafe, PgConnection};

use super::erasure::DAY;
use crate::avatars::red;
use crate::billing::billing_app_with;
use crate::harness::TestApp;
use crate::kit::files::{BUCKET, FilesApp, files_app_now, png, storage};
use crate::kit::stripe::fault;
use crate::organisations::proof;
use crate::organisations::races::until_waiting;
use crate::process::Server;

/// Place at which the worker is when it is killed, in the order of the steps.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// A statement that writes the table.
    Table(&'static str),
    /// A call of the store, with its effect or before it.
    Call(&'static str, &'static str, S3Effect),
    /// The commit that deletes the user, which takes effect without the process.
    Commit,
}

use Place::{Call, Commit, Table};
use S3Effect::{Made, None as NotMade};

const PLACES: &[Place] = &[
    Table("account_deletions"),
    Table("users"),
    Call("PUT", "/erased/", NotMade),
    Call("PUT", "/erased/", Made),
    Call("DELETE", "/files/", NotMade),
    Call("DELETE", "/files/", Made),
    Call("DELETE", "/avatars/", NotMade),
    Call("DELETE", "/avatars/", Made),
    Table("events"),
    Table("api_usage"),
    Table("files"),
    Table("secrets"),
    Table("api_keys"),
    Table("sessions"),
    Table("audit_log"),
    Table("payments"),
    Table("invoices"),
    Table("billing_customers"),
    Table("memberships"),
    Commit,
];

const WAIT_AT_COMMIT: &str = "
    CREATE FUNCTION wait_at_commit() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NULL; END';
    CREATE CONSTRAINT TRIGGER wait_at_commit AFTER DELETE ON users
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_at_commit();";

const WAIT_AT_COMMIT_OF_EXPORT: &str = "
    CREATE FUNCTION wait_at_commit() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NULL; END';
    CREATE CONSTRAINT TRIGGER wait_at_commit AFTER UPDATE ON data_exports
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_at_commit();";

/// Unlocks the jobs of a worker that was killed, so that another one runs them.
const UNLOCK_JOBS: &str =
    "UPDATE graphile_worker._private_jobs SET locked_at = NULL, locked_by = NULL, run_at = now();
     UPDATE graphile_worker._private_job_queues SET locked_at = NULL, locked_by = NULL";

async fn run(conn: &mut PgConnection, sql: &str) {
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(conn)
        .await;
    done.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// Starts a worker and kills it when it is at the place.
async fn kill_at(
    it: &FilesApp,
    holder: &mut PgConnection,
    observer: &mut PgConnection,
    place: Place,
) {
    let release = match place {
        Call(method, path, effect) => {
            it.s3.hang(S3Hang {
                method: method.parse().expect("it is a method"),
                path: path.to_owned(),
                effect,
            });
            ""
        }
        Table(name) => {
            run(
                holder,
                &format!("BEGIN; LOCK TABLE {name} IN EXCLUSIVE MODE"),
            )
            .await;
            "ROLLBACK"
        }
        Commit => {
            run(holder, "SELECT pg_advisory_lock(42)").await;
            "SELECT pg_advisory_unlock(42)"
        }
    };
    let server = Server::spawn(&it.app.settings, &["worker"]);
    match place {
        Call(..) => it.s3.until_hanging().await,
        Table(_) | Commit => until_waiting(observer, 1).await,
    }
    drop(server); // SIGKILL
    run(holder, release).await;
    let busy = "SELECT EXISTS (SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid())";
    let began = Instant::now();
    while sqlx::query_scalar(busy)
        .fetch_one(&mut *observer)
        .await
        .expect("it is reported")
    {
        assert!(began.elapsed() < Duration::from_secs(30), "they end");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Makes the deletion due, and enqueues its job.
async fn enqueue_again(app: &TestApp) {
    app.execute(
        "UPDATE account_deletions SET next_attempt_at = now() - interval '1 hour';
         DELETE FROM graphile_worker._private_jobs",
    )
    .await;
    job_queue::enqueue(&app.state.db, &EraseDue::default(), None)
        .await
        .expect("it is enqueued");
}

async fn count(app: &TestApp, table: &str) -> i64 {
    app.number(&format!("SELECT count(*) FROM {table}")).await
}

#[tokio::test]
async fn an_erasure_that_is_killed_anywhere_is_continued_to_the_same_end() {
    let mut it = files_app_now().await;
    let (ada, grace) = (it.app.sign_in("ada").await, it.app.sign_in("grace").await);
    let acme = ada.new_organisation("acme").await;
    let invited = ada.invite("acme", "grace@example.com", "owner").await;
    let invitation = invited.body["id"].as_str().expect("an id").to_owned();
    grace.accept(&invitation).await.assert_status(200);
    let id = ada.user_id().await;
    ada.new_key(&["read"]).await;
    ada.put_avatar("image/png", red()).await.assert_status(200);
    ada.upload("image/png", &png(1)).await;
    let event = serde_json::json!({ "type": "x", "data": {} });
    ada.post("/api/v1/events", event).await.assert_status(201);
    it.app.execute(&format!(
        "INSERT INTO payments (id, user_id, account_id, amount, currency, status, detailed_status, created_at, updated_at)
         VALUES (gen_random_uuid(), '{id}', '{id}', 100, 'USD', 'succeeded', 'succeeded', now(), now());
         INSERT INTO api_keys (id, user_id, account_id, name, scopes, hint, secret_hash, created_at, expires_at)
         SELECT gen_random_uuid(), user_id, '{acme}', name, scopes, hint, sha256('x'), created_at, expires_at FROM api_keys"
    ))
    .await;
    ada.delete_account().await.assert_status(200);
    it.app.run_jobs().await;
    it.app
        .execute("UPDATE account_deletions SET erase_at = now(), reminded_at = now()")
        .await;
    let (mut holder, mut observer) = (it.app.owner().await, it.app.owner().await);
    run(&mut holder, WAIT_AT_COMMIT).await;
    for &place in PLACES {
        // The avatar goes with the first deletion that has its effect.
        if matches!(place, Call("DELETE", "/files/", Made)) {
            assert!(it.keys().iter().any(|key| key.starts_with("files/")));
        }
        enqueue_again(&it.app).await;
        kill_at(&it, &mut holder, &mut observer, place).await;
        let left = i64::from(!matches!(place, Commit));
        let of_ada = format!("SELECT count(*) FROM users WHERE id = '{id}'");
        assert_eq!(it.app.number(&of_ada).await, left, "{place:?}");
    }
    it.app
        .execute(
            "UPDATE account_deletions SET next_attempt_at = now() - interval '1 hour';
             DELETE FROM graphile_worker._private_jobs",
        )
        .await;
    it.app.erase_due().await;
    it.app.expect_dead_jobs();
    assert_eq!(it.keys(), [format!("erased/{id}")]);
    for table in ["files", "events", "avatars"] {
        assert_eq!(count(&it.app, table).await, 0, "{table}");
    }
    assert_eq!(
        it.app
            .number("SELECT count(*) FROM accounts WHERE name = '-'")
            .await,
        1
    );
    assert_eq!(
        it.app
            .number("SELECT count(*) FROM payments WHERE user_id IS NULL")
            .await,
        1
    );
    assert_eq!(
        count(&it.app, "api_keys").await,
        1,
        "the organisation keeps its key"
    );
    assert_eq!(count(&it.app, "memberships").await, 1);
    for event in ["account_erased", "member_left"] {
        assert_eq!(it.app.audited(event).await, 1, "{event}");
    }
    let emails = it.app.inbox.emails_to("ada@example.com");
    let last = emails
        .iter()
        .filter(|it| it.text.contains("It was erased on"));
    assert_eq!(last.count(), 1);
}

#[tokio::test]
async fn a_store_or_stripe_that_is_away_delays_the_erasure_and_nothing_happens_twice() {
    let s3 = groundwork_dev::S3::throw_away().await;
    s3.ensure_bucket(BUCKET).expect("it is created");
    let url = s3.url();
    let it = billing_app_with("away", &storage(&url)).await;
    let ada = it.app.sign_in("ada").await;
    it.buy(&ada).await;
    ada.upload("image/png", &png(1)).await;
    ada.delete_account().await.assert_status(200);
    it.settle().await;
    it.advance_days(30).await;
    it.account.fault(fault(
        "DELETE",
        "/v1/customers",
        100,
        FaultAction::CutBefore,
    ));
    it.app.erase_due().await;
    assert_eq!(it.count("users").await, 1, "Stripe is away");
    let body =
        serde_json::json!({ "email": "ada@example.com", "password": crate::harness::PASSWORD });
    let gone = it.app.post("/api/v1/auth/login", body).await;
    gone.assert_problem(401, "invalid_credentials");
    it.account.clear_faults();
    // Deleted at Stripe, and the response is lost.
    it.account.fault(fault(
        "DELETE",
        "/v1/customers",
        1,
        FaultAction::CutAfterEffect,
    ));
    it.advance(std::time::Duration::from_hours(1)).await;
    it.app.erase_due().await;
    it.settle().await;
    it.advance(std::time::Duration::from_hours(1)).await;
    it.app.erase_due().await;
    it.settle().await;
    assert_eq!(it.count("users").await, 0);
    assert_eq!(it.app.audited("account_erased").await, 1);
    assert_eq!(it.statuses().await, ["canceled"]);
    let emails = it.app.inbox.emails_to("ada@example.com");
    let last = emails
        .iter()
        .filter(|it| it.text.contains("It was erased on"));
    assert_eq!(last.count(), 1);
    it.app.clock.advance(5 * DAY);
    it.app.erase_due().await;
    assert_eq!(it.count("account_deletions").await, 0);
}

#[tokio::test]
async fn an_export_that_is_killed_anywhere_is_made_and_announced_once() {
    let it = files_app_now().await;
    let ada = it.app.sign_in("ada").await;
    ada.upload("image/png", &png(1)).await;
    let path = "/api/v1/users/me/export";
    let asked = ada.post(path, proof()).await;
    asked.assert_status(202);
    let (mut holder, mut observer) = (it.app.owner().await, it.app.owner().await);
    run(&mut holder, WAIT_AT_COMMIT_OF_EXPORT).await;
    let state = "SELECT count(*) FROM data_exports WHERE state = 'ready'";
    for place in [
        Call("PUT", "/exports/", NotMade),
        Call("PUT", "/exports/", Made),
        Table("data_exports"),
        Commit,
    ] {
        it.app.execute(UNLOCK_JOBS).await;
        kill_at(&it, &mut holder, &mut observer, place).await;
        let ready = i64::from(matches!(place, Commit));
        assert_eq!(it.app.number(state).await, ready, "{place:?}");
    }
    it.app.execute(UNLOCK_JOBS).await;
    it.app.run_jobs().await;
    let emails = it.app.inbox.emails_to("ada@example.com");
    let told = emails
        .iter()
        .filter(|email| email.text.contains("export of your data"));
    assert_eq!(told.count(), 1);
    let id = asked.body["id"].as_str().expect("it is an id");
    let archive = ada.post(&format!("{path}/{id}/download"), proof()).await;
    archive.assert_status(200);
    assert!(archive.bytes.starts_with(b"PK"), "it is a ZIP");
}
