//! An account in one look.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use groundwork::ids::AccountId;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::plans::subscribe;

const DASHBOARD: &str = "/api/v1/dashboard";

async fn id_of(app: &TestApp, email: &str) -> AccountId {
    sqlx::query_scalar("SELECT id FROM users WHERE email = $1")
        .bind(email)
        .fetch_one(&app.owner_db)
        .await
        .expect("it is there")
}

async fn use_up(app: &TestApp, who: AccountId, at: DateTime<Utc>, status: i16, requests: i64) {
    sqlx::query(
        "WITH counted AS (
             INSERT INTO api_usage (user_id, endpoint, status_code, created_at, request_count,
                                    response_time_ms, response_time_max_ms)
             VALUES ($1, 'GET /x', $2, date_trunc('minute', $3, 'UTC'), $4, 1, 1)
         )
         INSERT INTO usage_totals AS t (user_id, month, request_count)
         VALUES ($1, date_trunc('month', $3 AT TIME ZONE 'UTC')::date, $4)
         ON CONFLICT ON CONSTRAINT usage_totals_pkey
         DO UPDATE SET request_count = t.request_count + excluded.request_count",
    )
    .bind(who)
    .bind(status)
    .bind(at)
    .bind(requests)
    .execute(&app.owner_db)
    .await
    .expect("it is written");
}

async fn pay(app: &TestApp, who: AccountId, amount: i64, at: DateTime<Utc>) {
    sqlx::query(
        "INSERT INTO payments (id, user_id, amount, currency, status, created_at, updated_at)
         VALUES (gen_random_uuid(), $1, $2, 'USD', 'succeeded', $3, $3)",
    )
    .bind(who)
    .bind(amount)
    .bind(at)
    .execute(&app.owner_db)
    .await
    .expect("it is written");
}

/// Ada, who pays for pro and used it, and Grace, who did much more.
async fn two_accounts() -> (TestApp, crate::harness::Session, crate::harness::Session) {
    let app = TestApp::new().await;
    let (ada, grace) = (app.sign_in("ada").await, app.sign_in("grace").await);
    let now = app.clock.now();
    let [ada_id, grace_id] = [
        id_of(&app, "ada@example.com").await,
        id_of(&app, "grace@example.com").await,
    ];
    let subscribed = subscribe(&app, ada_id, "pro", "active").await;
    subscribed.expect("it is written");
    use_up(&app, ada_id, now - TimeDelta::days(2), 200, 7).await;
    use_up(&app, ada_id, now - TimeDelta::days(2), 404, 2).await;
    use_up(&app, ada_id, now, 200, 5).await;
    use_up(&app, ada_id, now - TimeDelta::days(20), 200, 1_000).await;
    use_up(&app, grace_id, now, 200, 9_999).await;
    for (days, amount) in (0..).zip([2_900, 2_901, 2_902, 2_903, 2_904, 2_905]) {
        pay(&app, ada_id, amount, now - TimeDelta::days(days)).await;
    }
    pay(&app, grace_id, 1, now).await;
    (app, ada, grace)
}

#[tokio::test]
async fn it_shows_the_account_its_plan_its_use_by_day_and_its_last_payments() {
    let (_app, ada, _grace) = two_accounts().await;
    let shown = ada.get(DASHBOARD).await;
    shown.assert_status(200);
    assert_eq!(shown.headers["content-type"], "application/json");
    assert_eq!(shown.headers["cache-control"], "no-store");
    let body = shown.body;
    assert_eq!(body["account"]["email"], "ada@example.com");
    assert_eq!(body["account"]["first_name"], Value::Null);
    assert_eq!(body["plan"]["plan"], "pro");
    assert_eq!(body["plan"]["requests_per_minute"], 1_000);
    let subscription = json!({
        "plan": "pro", "status": "active", "cancel_at_period_end": false,
        "current_period_start": "2026-03-14T09:26:53Z", "current_period_end": "2026-04-13T09:26:53Z",
        "cancel_at": null, "past_due_since": null,
    });
    assert_eq!(body["subscription"], subscription);
    let usage = json!({
        "period_start": "2026-03-01T00:00:00Z", "period_end": "2026-04-01T00:00:00Z",
        "used": 14, "remaining": 999_986,
        "days": [
            { "start": "2026-03-12T00:00:00Z", "requests": 9, "client_errors": 2, "server_errors": 0 },
            { "start": "2026-03-14T00:00:00Z", "requests": 5, "client_errors": 0, "server_errors": 0 },
        ],
    });
    assert_eq!(body["usage"], usage);
    let payments = body["payments"].as_array().expect("it is a list");
    let amounts: Vec<_> = payments.iter().map(|it| &it["amount"]).collect();
    assert_eq!(amounts, [2_900, 2_901, 2_902, 2_903, 2_904]);
    assert_eq!(payments[0]["currency"], "USD");
    assert_eq!(payments[0]["status"], "succeeded");
    assert_eq!(payments[0]["created_at"], "2026-03-14T09:26:53Z");
    assert_eq!(body["as_of"], "2026-03-14T09:26:53Z");
}

#[tokio::test]
async fn nobody_sees_anything_of_another_account() {
    let (_app, ada, grace) = two_accounts().await;
    // Ada's is looked up first, so that it is there to be mixed up.
    ada.get(DASHBOARD).await.assert_status(200);
    let shown = grace.get(DASHBOARD).await.body;
    assert_eq!(shown["account"]["email"], "grace@example.com");
    assert_eq!(shown["plan"]["plan"], "free");
    assert_eq!(shown["subscription"], Value::Null);
    assert_eq!(shown["usage"]["used"], 9_999);
    assert_eq!(shown["usage"]["remaining"], 1);
    let payments = shown["payments"].as_array().expect("it is a list");
    assert_eq!(payments.len(), 1);
    assert_eq!(payments[0]["amount"], 1);
    let app = &ada.replica;
    let stranger = app.call(Method::GET, DASHBOARD, None, None).await;
    stranger.assert_problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_member_sees_that_of_the_organisation() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    ada.new_organisation("acme").await;
    let grace = app.join(&ada, "acme", "grace", "member").await;
    let dashboard = grace.get_for("acme", DASHBOARD).await;
    let account = &dashboard.body["account"];
    assert_eq!(
        (&account["name"], &account["slug"]),
        (&json!("ACME"), &json!("acme"))
    );
    assert!(account.get("email").is_none());
}

#[tokio::test]
async fn a_new_account_sees_an_empty_one() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let shown = ada.get(DASHBOARD).await.body;
    assert_eq!(shown["plan"]["plan"], "free");
    assert_eq!(shown["usage"]["used"], 0);
    assert_eq!(shown["usage"]["remaining"], 10_000);
    assert_eq!(shown["usage"]["days"], json!([]));
    assert_eq!(shown["payments"], json!([]));
}

#[tokio::test]
async fn it_is_kept_for_a_moment_and_no_longer() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let first = ada.get(DASHBOARD).await.body;
    let who = id_of(&app, "ada@example.com").await;
    pay(&app, who, 2_900, app.clock.now()).await;
    assert_eq!(ada.get(DASHBOARD).await.body, first);
    app.clock.advance(Duration::from_secs(5));
    let later = ada.get(DASHBOARD).await.body;
    assert_eq!(later["payments"][0]["amount"], 2_900);
}

#[tokio::test]
async fn a_deleted_account_has_none() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    sqlx::query("UPDATE users SET deleted_at = now()")
        .execute(&app.owner_db)
        .await
        .expect("it is deleted");
    ada.get(DASHBOARD)
        .await
        .assert_problem(401, "unauthenticated");
}

#[tokio::test]
async fn many_that_ask_at_once_make_one_statement() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    // Two connections: within a transaction `pg_stat_activity` keeps showing what its first reading saw.
    let (mut owner, mut watcher) = (app.owner().await, app.owner().await);
    sqlx::raw_sql("BEGIN; LOCK TABLE payments IN ACCESS EXCLUSIVE MODE")
        .execute(&mut owner)
        .await
        .expect("it is locked");
    let waiting = async |connection: &mut sqlx::PgConnection| -> i64 {
        let waiting = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND wait_event_type = 'Lock'",
        );
        waiting.fetch_one(connection).await.expect("it is reported")
    };
    let all = join_all((0..50).map(|_| ada.get(DASHBOARD)));
    let (all, most) = tokio::join!(all, async {
        let (began, mut most) = (Instant::now(), 0);
        while most == 0 || began.elapsed() < Duration::from_millis(700) {
            most = most.max(waiting(&mut watcher).await);
            assert!(began.elapsed() < Duration::from_mins(1), "one of them asks");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let done = sqlx::raw_sql("COMMIT").execute(&mut owner).await;
        done.expect("it is free again");
        most
    });
    assert_eq!(most, 1, "one asks for all");
    for answer in all {
        answer.assert_status(200);
    }
}
