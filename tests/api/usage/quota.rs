//! A plan's requests a month: told of, and refused beyond where the quota is hard.

use std::time::Duration;

use email_transport::EmailAddress;
use groundwork::plans;
use groundwork::usage;
use serde_json::json;

use super::{CURRENT, EVENTS, ME, USAGE, ask, counted, flush};
use crate::harness::{Answer, Session, TestApp};

/// The month of the test, as the meter numbers them.
const MARCH: i32 = 2026 * 12 + 2;

const SMALL: [(&str, &str); 2] = [("PLAN_FREE_QUOTA", "5"), ("PLAN_FREE_QUOTA_HARD", "true")];

async fn tell(session: &Session) -> Answer {
    session.post(EVENTS, json!({ "type": "x" })).await
}

/// Gives an account a plan, as the payment provider's news do.
async fn subscribe(app: &TestApp, email: &str, plan: &str) {
    let mut owner = app.owner().await;
    sqlx::query(
        "INSERT INTO subscriptions (id, user_id, plan, status, current_period_start, current_period_end, created_at, updated_at)
         SELECT gen_random_uuid(), id, $1, 'active', $2, $2 + interval '30 days', $2, $2 FROM users WHERE email = $3",
    )
    .bind(plan)
    .bind(app.clock.now())
    .bind(email)
    .execute(&mut owner)
    .await
    .expect("the plan is stored");
    let address: EmailAddress = email.to_owned().try_into().expect("it is an address");
    let id = sqlx::query_scalar("SELECT id FROM users WHERE email = $1")
        .bind(address.as_str())
        .fetch_one(&mut owner)
        .await
        .expect("the account is there");
    plans::changed(&app.state, id).await;
}

#[tokio::test]
async fn beyond_a_hard_quota_requests_are_refused_until_the_month_ends() {
    let app = TestApp::with(&SMALL).await;
    let ada = app.sign_in("ada").await;
    let grace = app.sign_in("grace").await;
    for _ in 0..5 {
        tell(&ada).await.assert_status(201);
    }
    let refused = tell(&ada).await;
    refused.assert_problem(429, "quota_exceeded");
    // From 09:26:53 on the 14th of March to the first of April.
    let wait = ((17 * 24 + 14) * 60 + 33) * 60 + 7;
    assert_eq!(refused.headers["retry-after"], wait.to_string());
    tell(&grace).await.assert_status(201);

    for open in [
        ME,
        USAGE,
        CURRENT,
        "/api/v1/auth/sessions",
        "/api/v1/api-keys",
    ] {
        ada.get(open).await.assert_status(200);
    }
    flush(&app).await;
    assert_eq!(
        counted(&app).await,
        11,
        "a request that is refused is not counted"
    );
    let current = ada.get(CURRENT).await.body;
    assert_eq!(
        current,
        json!({
            "plan": "free",
            "requests_per_minute": current["requests_per_minute"],
            "monthly_quota": 5,
            "quota_is_hard": true,
            "period_start": "2026-03-01T00:00:00Z",
            "period_end": "2026-04-01T00:00:00Z",
            "used": 10,
            "remaining": 0,
            "monthly_events": 10_000,
            "events_used": 5,
            "monthly_event_bytes": 10 * 1024 * 1024,
            "event_bytes_used": 15,
        })
    );
    tell(&ada).await.assert_problem(429, "quota_exceeded");

    app.clock.advance(Duration::from_secs(wait - 1));
    let ada = app.log_in("ada@example.com").await;
    let refused = tell(&ada).await;
    refused.assert_problem(429, "quota_exceeded");
    assert_eq!(refused.headers["retry-after"], "1");
    app.clock.advance(Duration::from_secs(1));
    tell(&ada).await.assert_status(201);
    flush(&app).await;
    assert_eq!(ada.get(CURRENT).await.body["used"], 1);
}

#[tokio::test]
async fn a_larger_plan_opens_at_once() {
    let app = TestApp::with(&SMALL).await;
    let ada = app.sign_in("ada").await;
    for _ in 0..5 {
        tell(&ada).await.assert_status(201);
    }
    tell(&ada).await.assert_problem(429, "quota_exceeded");
    subscribe(&app, "ada@example.com", "pro").await;
    tell(&ada).await.assert_status(201);
    flush(&app).await;
    let current = ada.get(CURRENT).await.body;
    assert_eq!(current["plan"], "pro");
    assert_eq!(current["used"], 6);
    assert_eq!(current["remaining"], 999_994);
}

#[tokio::test]
async fn beyond_a_soft_quota_requests_pass_and_are_reported() {
    let app = TestApp::with(&[("PLAN_FREE_QUOTA", "2"), ("PLAN_FREE_QUOTA_HARD", "false")]).await;
    let ada = app.sign_in("ada").await;
    for _ in 0..4 {
        tell(&ada).await.assert_status(201);
    }
    flush(&app).await;
    let current = ada.get(CURRENT).await.body;
    assert_eq!(current["quota_is_hard"], false);
    assert_eq!(
        (&current["used"], &current["remaining"]),
        (&json!(4), &json!(0))
    );
}

#[tokio::test]
async fn without_a_quota_nothing_ends() {
    let app = TestApp::with(&[("PLAN_FREE_QUOTA", "0")]).await;
    let ada = app.sign_in("ada").await;
    tell(&ada).await.assert_status(201);
    let current = ada.get(CURRENT).await.body;
    assert_eq!(current["monthly_quota"], json!(null));
    assert_eq!(current["remaining"], json!(null));
}

#[tokio::test]
async fn a_replica_learns_what_was_used_elsewhere_when_it_writes() {
    let app = TestApp::with(&SMALL).await;
    let ada = app.sign_in("ada").await;
    let other = app.another_replica().await;
    let there = Session {
        replica: other.clone(),
        tokens: ada.tokens.clone(),
    };
    for _ in 0..5 {
        tell(&ada).await.assert_status(201);
    }
    flush(&app).await;
    tell(&there).await.assert_status(201);
    usage::flush(&other.state).await.expect("it is written");
    tell(&there).await.assert_problem(429, "quota_exceeded");

    // A process that starts anew learns it as well, and does not forget who is refused.
    let fresh = app.another_replica().await;
    let there = Session {
        replica: fresh.clone(),
        tokens: ada.tokens.clone(),
    };
    tell(&there).await.assert_status(201);
    usage::flush(&fresh.state).await.expect("it is written");
    for _ in 0..3 {
        tell(&there).await.assert_problem(429, "quota_exceeded");
        fresh.state.meter.evict_idle(MARCH);
        tell(&there).await.assert_problem(429, "quota_exceeded");
    }
}

#[tokio::test]
async fn what_we_fail_is_counted_and_not_charged() {
    let app = TestApp::with(&SMALL).await;
    let ada = app.sign_in("ada").await;
    ask(&ada, 1).await;
    let mut owner = app.owner().await;
    let rename = "ALTER TABLE events RENAME TO elsewhere";
    sqlx::raw_sql(rename)
        .execute(&mut owner)
        .await
        .expect("the owner may");
    for _ in 0..7 {
        tell(&ada).await.assert_status(500);
    }
    let rename = "ALTER TABLE elsewhere RENAME TO events";
    sqlx::raw_sql(rename)
        .execute(&mut owner)
        .await
        .expect("the owner may");
    tell(&ada).await.assert_status(201);
    flush(&app).await;
    assert_eq!(counted(&app).await, 9);
    assert_eq!(ada.get(CURRENT).await.body["used"], 2);
}
