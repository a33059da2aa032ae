//! Requests with the same key at the same time, and those that are interrupted.

use std::time::Duration;

use clock::Clock;
use futures_util::future::join_all;
use reqwest::Method;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::{acme, assert_replay};
use crate::harness::{Session, TestApp};
use crate::organisations::ORGANISATIONS;
use crate::organisations::races::until_waiting;
use crate::process::Server;

/// Lets every commit of a stored reply wait for an advisory lock.
const WAIT_AT_COMMIT: &str = "
    CREATE FUNCTION wait_at_commit() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NULL; END';
    CREATE CONSTRAINT TRIGGER wait_at_commit AFTER UPDATE ON idempotency_keys
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_at_commit();";

/// A lease ends two minutes after its request began.
const END_LEASES: &str = "
    UPDATE idempotency_keys SET locked_until = created_at WHERE locked_until = created_at + interval '2 minutes'";

/// Longer than the request timeout of the tests and a minute.
const LEASE: Duration = Duration::from_secs(121);

async fn run(conn: &mut PgConnection, sql: &'static str) {
    let done = sqlx::raw_sql(sql).execute(conn).await;
    done.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// Locks the user's account, which creating an organisation waits for, and reserving a key does not.
async fn lock_account(conn: &mut PgConnection, session: &Session) {
    let id: Uuid = session.user_id().await.parse().expect("it is an id");
    sqlx::query("SELECT id FROM accounts WHERE id = $1 FOR NO KEY UPDATE")
        .bind(id)
        .fetch_one(conn)
        .await
        .expect("it is locked");
}

/// Sends the request to another process, and ends it by SIGKILL once the request waits.
async fn kill_during_request(app: &TestApp, session: &Session) {
    let mut observer = app.owner().await;
    let server = Server::start(&app.settings, &["serve", "--no-worker"]).await;
    let url = server.root.join(ORGANISATIONS).expect("it is a path");
    let request = reqwest::Client::new()
        .request(Method::POST, url)
        .bearer_auth(session.access())
        .header("idempotency-key", "k-1")
        .json(&acme());
    let sent = tokio::spawn(request.send());
    until_waiting(&mut observer, 1).await;
    drop(server);
    let reply = sent.await.expect("it does not panic");
    reply.expect_err("the process is killed");
}

#[tokio::test]
async fn of_requests_at_once_one_runs_and_the_others_are_told_so() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let (mut holder, mut observer) = (app.owner().await, app.owner().await);
    let mut held = holder.begin().await.expect("it begins");
    lock_account(&mut held, &ada).await;
    let body = acme();
    let first = ada.post_once("k-1", ORGANISATIONS, &body);
    let others = async {
        until_waiting(&mut observer, 1).await;
        let others =
            join_all((0..5).map(|_| async { ada.post_once("k-1", ORGANISATIONS, &acme()).await }));
        let others = others.await;
        held.commit().await.expect("it is unlocked");
        others
    };
    let (first, others) = tokio::join!(first, others);
    first.assert_status(201);
    for other in others {
        other.assert_problem(409, "idempotency_key_in_use");
        assert_eq!(other.headers["retry-after"], "1");
    }
    assert_replay(&first, &ada.post_once("k-1", ORGANISATIONS, &acme()).await);
    assert_eq!(app.audited("organisation_created").await, 1);
}

#[tokio::test]
async fn requests_that_arrive_together_have_one_effect() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let body = acme();
    let requests = (0..20).map(|_| ada.post_once("k-1", ORGANISATIONS, &body));
    let answers = join_all(requests).await;
    for answer in &answers {
        if answer.status != 201 {
            answer.assert_problem(409, "idempotency_key_in_use");
        }
    }
    assert!(answers.iter().any(|answer| answer.status == 201));
    assert_eq!(app.audited("organisation_created").await, 1);
}

#[tokio::test]
async fn a_client_that_disconnects_before_the_commit_leaves_no_effect_and_a_free_key() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let (mut holder, mut observer) = (app.owner().await, app.owner().await);
    let mut held = holder.begin().await.expect("it begins");
    lock_account(&mut held, &ada).await;
    let body = acme();
    let request = ada.post_once("k-1", ORGANISATIONS, &body);
    tokio::select! {
        _ = request => panic!("the account is locked"),
        () = until_waiting(&mut observer, 1) => {}
    }
    held.commit().await.expect("it is unlocked");
    until_released(&app).await;
    assert_eq!(app.audited("organisation_created").await, 0);
    let again = ada.post_once("k-1", ORGANISATIONS, &body).await;
    again.assert_status(201);
    assert!(!again.headers.contains_key("idempotency-replayed"));
}

async fn until_released(app: &TestApp) {
    for _ in 0..200 {
        if app.rows_of("idempotency_keys").await == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the key stays reserved");
}

#[tokio::test]
async fn a_client_that_disconnects_at_the_commit_gets_its_reply_from_a_repetition() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let (mut holder, mut observer) = (app.owner().await, app.owner().await);
    run(&mut holder, WAIT_AT_COMMIT).await;
    run(&mut holder, "SELECT pg_advisory_lock(42)").await;
    let body = acme();
    let request = ada.post_once("k-1", ORGANISATIONS, &body);
    tokio::select! {
        _ = request => panic!("the commit waits"),
        () = until_waiting(&mut observer, 1) => {}
    }
    // The release of the key waits for the commit.
    until_waiting(&mut observer, 2).await;
    run(&mut holder, "SELECT pg_advisory_unlock(42)").await;
    let again = ada.post_once("k-1", ORGANISATIONS, &body).await;
    again.assert_status(201);
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(again.body["slug"], "acme");
    assert_eq!(app.audited("organisation_created").await, 1);
}

#[tokio::test]
async fn a_process_killed_at_the_commit_leaves_its_reply_to_another() {
    let app = TestApp::with_clock(&[], Clock::system()).await;
    let ada = app.sign_in("ada").await;
    let mut holder = app.owner().await;
    run(&mut holder, WAIT_AT_COMMIT).await;
    run(&mut holder, "SELECT pg_advisory_lock(42)").await;
    kill_during_request(&app, &ada).await;
    run(&mut holder, "SELECT pg_advisory_unlock(42)").await;
    let again = ada.post_once("k-1", ORGANISATIONS, &acme()).await;
    again.assert_status(201);
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(app.audited("organisation_created").await, 1);
}

#[tokio::test]
async fn a_process_killed_before_the_commit_leaves_the_key_reserved_for_its_lease() {
    let app = TestApp::with_clock(&[], Clock::system()).await;
    let ada = app.sign_in("ada").await;
    let mut holder = app.owner().await;
    let mut held = holder.begin().await.expect("it begins");
    lock_account(&mut held, &ada).await;
    kill_during_request(&app, &ada).await;
    held.commit().await.expect("it is unlocked");
    let waiting = ada.post_once("k-1", ORGANISATIONS, &acme()).await;
    waiting.assert_problem(409, "idempotency_key_in_use");
    run(&mut holder, END_LEASES).await;
    let again = ada.post_once("k-1", ORGANISATIONS, &acme()).await;
    again.assert_status(201);
    assert!(!again.headers.contains_key("idempotency-replayed"));
    assert_eq!(app.audited("organisation_created").await, 1);
}

#[tokio::test]
async fn a_request_whose_key_was_taken_over_rolls_back() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let (mut holder, mut observer) = (app.owner().await, app.owner().await);
    let mut held = holder.begin().await.expect("it begins");
    lock_account(&mut held, &ada).await;
    let body = acme();
    let slow = ada.post_once("k-1", ORGANISATIONS, &body);
    let second = async {
        until_waiting(&mut observer, 1).await;
        app.clock.advance(LEASE);
        let other = serde_json::json!({ "name": "Other", "slug": "other" });
        let second = ada.post_once("k-1", ORGANISATIONS, &other);
        let unlock = async {
            until_waiting(&mut observer, 2).await;
            held.commit().await.expect("it is unlocked");
        };
        tokio::join!(second, unlock).0
    };
    let (slow, second) = tokio::join!(slow, second);
    slow.assert_problem(500, "internal");
    second.assert_status(201);
    let slugs: Vec<String> = sqlx::query_scalar("SELECT slug FROM account_slugs")
        .fetch_all(&app.owner_db)
        .await
        .expect("they are listed");
    assert_eq!(slugs, ["other"]);
    assert_eq!(app.audited("organisation_created").await, 1);
}
