//! Which plan an account has, and what everybody can read of plans.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use clock::Rng;
use groundwork::ids::{AccountId, SubscriptionId};
use groundwork::plans::{self, Plan};
use groundwork::state::AppState;
use reqwest::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::harness::{TestApp, fastest, given};

const PRICING: &str = "/api/v1/pricing";

/// A new account's id.
pub async fn account(app: &TestApp, name: &str) -> AccountId {
    let email = app.sign_up(name).await;
    sqlx::query_scalar("SELECT id FROM users WHERE email = $1")
        .bind(email)
        .fetch_one(&app.owner_db)
        .await
        .expect("it is there")
}

/// Subscribes an account for thirty days from now.
pub async fn subscribe(
    app: &TestApp,
    who: AccountId,
    plan: &str,
    status: &str,
) -> Result<SubscriptionId, sqlx::Error> {
    let now = app.clock.now();
    let id = SubscriptionId::new(now, &Rng::system());
    sqlx::query(
        "INSERT INTO subscriptions (id, user_id, plan, status, current_period_start, current_period_end,
                                    created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $5, $5)",
    )
    .bind(id)
    .bind(who)
    .bind(plan)
    .bind(status)
    .bind(now)
    .bind(now + TimeDelta::days(30))
    .execute(&app.owner_db)
    .await?;
    Ok(id)
}

async fn set_status(app: &TestApp, id: SubscriptionId, status: &str) {
    sqlx::query("UPDATE subscriptions SET status = $2 WHERE id = $1")
        .bind(id)
        .bind(status)
        .execute(&app.owner_db)
        .await
        .expect("it is written");
}

async fn plan_of(state: &AppState, who: AccountId) -> Plan {
    plans::plan_of(state, who).await.expect("it is reported")
}

const fn days(days: u64) -> Duration {
    Duration::from_hours(24 * days)
}

#[tokio::test]
async fn a_plan_follows_the_state_of_its_subscription_and_the_clock() {
    let app = TestApp::new().await;
    for (name, status, day, expected) in [
        ("a", "active", 0, Plan::Pro),
        ("b", "active", 36, Plan::Pro),
        ("c", "active", 37, Plan::Free),
        ("d", "trialing", 29, Plan::Pro),
        ("e", "past_due", 6, Plan::Pro),
        ("f", "past_due", 7, Plan::Free),
        ("g", "incomplete", 0, Plan::Free),
        ("h", "incomplete_expired", 0, Plan::Free),
        ("i", "canceled", 0, Plan::Free),
        ("j", "unpaid", 0, Plan::Free),
        ("k", "paused", 0, Plan::Free),
    ] {
        let who = account(&app, name).await;
        let subscribed = subscribe(&app, who, "pro", status).await;
        subscribed.expect("it is written");
        // Looked up at once, so that it is the clock and not the reading that ends it.
        plan_of(&app.state, who).await;
        app.clock.advance(days(day));
        let plan = plan_of(&app.state, who).await;
        assert_eq!(plan, expected, "{status} on day {day}");
    }
}

#[tokio::test]
async fn a_subscription_that_is_to_end_gives_its_plan_up_to_the_end_of_its_period() {
    let app = TestApp::new().await;
    let who = account(&app, "ada").await;
    let id = subscribe(&app, who, "enterprise", "active").await;
    let id = id.expect("it is written");
    sqlx::query("UPDATE subscriptions SET cancel_at_period_end = true WHERE id = $1")
        .bind(id)
        .execute(&app.owner_db)
        .await
        .expect("it is written");
    app.clock
        .advance(days(30).saturating_sub(Duration::from_secs(1)));
    assert_eq!(plan_of(&app.state, who).await, Plan::Enterprise);
    // The value in memory knows when it ends.
    app.clock.advance(Duration::from_secs(1));
    assert_eq!(plan_of(&app.state, who).await, Plan::Free);
}

#[tokio::test]
async fn nobody_has_the_plan_of_another_account() {
    let app = TestApp::new().await;
    let (ada, grace) = (account(&app, "ada").await, account(&app, "grace").await);
    let subscribed = subscribe(&app, ada, "pro", "active").await;
    subscribed.expect("it is written");
    assert_eq!(plan_of(&app.state, ada).await, Plan::Pro);
    assert_eq!(plan_of(&app.state, grace).await, Plan::Free);
}

#[tokio::test]
async fn of_twenty_subscriptions_that_begin_at_once_one_lives() {
    let app = TestApp::new().await;
    let who = account(&app, "ada").await;
    let all = (0..20).map(|_| subscribe(&app, who, "pro", "active"));
    let all = futures_util::future::join_all(all).await;
    let (begun, refused): (Vec<_>, Vec<_>) = all.into_iter().partition(Result::is_ok);
    assert_eq!((begun.len(), refused.len()), (1, 19));
    for error in refused.into_iter().filter_map(Result::err) {
        let error = error.into_database_error().expect("it is the database's");
        assert_eq!(
            error.constraint(),
            Some("subscriptions_account_id_current_key")
        );
    }
    // One that has ended makes room.
    let first = begun.into_iter().find_map(Result::ok).expect("one began");
    set_status(&app, first, "canceled").await;
    let next = subscribe(&app, who, "enterprise", "active").await;
    next.expect("it is written");
    assert_eq!(plan_of(&app.state, who).await, Plan::Enterprise);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_by_the_tables() {
    let app = TestApp::new().await;
    let who = account(&app, "ada").await;
    for (plan, status, constraint) in [
        ("free", "active", "subscriptions_plan_check"),
        ("pro", "good", "subscriptions_status_check"),
    ] {
        let refused = subscribe(&app, who, plan, status).await;
        let error = refused.expect_err("it is refused").into_database_error();
        let error = error.expect("it is the database's");
        assert_eq!(error.constraint(), Some(constraint));
    }
    for (currency, amount, constraint) in [
        ("usd", 1, "payments_currency_check"),
        ("USD", -1, "payments_amount_check"),
    ] {
        let refused = sqlx::query(
            "INSERT INTO payments (id, user_id, amount, currency, status, created_at, updated_at)
             VALUES (gen_random_uuid(), $1, $2, $3, 'succeeded', now(), now())",
        )
        .bind(who)
        .bind(i64::from(amount))
        .bind(currency)
        .execute(&app.owner_db)
        .await;
        let error = refused.expect_err("it is refused").into_database_error();
        let error = error.expect("it is the database's");
        assert_eq!(error.constraint(), Some(constraint));
    }
}

#[tokio::test]
async fn a_plan_that_changes_is_in_force_here_at_once_and_on_other_replicas_within_a_second() {
    let redis = given("TEST_REDIS_URL");
    let app = TestApp::with(&[("REDIS_URL", &redis)]).await;
    let other = app.another_replica().await;
    let stop = CancellationToken::new();
    for state in [&app.state, &other.state] {
        tokio::spawn(state.cache.clone().listen(stop.clone()));
    }
    let who = account(&app, "ada").await;
    let id = subscribe(&app, who, "pro", "active").await;
    let id = id.expect("it is written");
    for state in [&app.state, &other.state] {
        assert_eq!(plan_of(state, who).await, Plan::Pro);
    }
    set_status(&app, id, "canceled").await;
    for state in [&app.state, &other.state] {
        // Nobody was told, so that this shows it to be warm.
        assert_eq!(plan_of(state, who).await, Plan::Pro);
    }
    let (mut status, mut plan) = ("canceled", Plan::Free);
    let second = Duration::from_secs(1);
    let took = fastest(second, async || {
        set_status(&app, id, status).await;
        plans::changed(&app.state, who).await;
        let changed = Instant::now();
        assert_eq!(plan_of(&app.state, who).await, plan);
        while plan_of(&other.state, who).await != plan {
            assert!(changed.elapsed() < Duration::from_mins(1));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let took = changed.elapsed();
        (status, plan) = if plan == Plan::Free {
            ("active", Plan::Pro)
        } else {
            ("canceled", Plan::Free)
        };
        took
    })
    .await;
    assert!(took < second, "after {took:?}");
    stop.cancel();
}

#[tokio::test]
async fn prices_are_public_and_come_from_the_settings() {
    let app = TestApp::with(&[
        ("PLAN_CURRENCY", "eur"),
        ("PLAN_PRO_PRICE", "1900"),
        ("PLAN_PRO_RATE", "777"),
        ("PLAN_PRO_PRICE_ID", "price_secret"),
        ("PLAN_FREE_QUOTA", "0"),
    ])
    .await;
    let page = app.get(PRICING).await;
    page.assert_status(200);
    assert_eq!(page.headers["content-type"], "application/json");
    assert_eq!(page.headers["cache-control"], "public, max-age=300");
    let plans = page.body["plans"].as_array().expect("it is a list");
    let names: Vec<_> = plans.iter().map(|plan| &plan["plan"]).collect();
    assert_eq!(names, ["free", "pro", "enterprise"]);
    assert_eq!(plans[0]["monthly_quota"], Value::Null);
    assert_eq!(plans[0]["quota_is_hard"], false);
    assert_eq!(plans[0]["price"]["amount"], 0);
    let pro = json!({
        "plan": "pro", "name": "Pro",
        "price": { "amount": 1900, "currency": "EUR", "interval": "month" }, "yearly_price": null,
        "requests_per_minute": 777, "monthly_quota": 1_000_000, "quota_is_hard": false,
        "monthly_events": 1_000_000, "monthly_event_bytes": 1_073_741_824,
        "secrets": 100, "file_size": 262_144_000, "files": 10_000, "storage": 10_737_418_240_u64,
        "features": ["api_keys", "usage_reports", "email_support"],
    });
    assert_eq!(plans[1], pro);
    let text = String::from_utf8_lossy(&page.bytes);
    assert!(!text.contains("price_secret"), "how we buy is ours: {text}");
}

#[tokio::test]
async fn who_has_the_page_is_not_sent_it_again() {
    let app = TestApp::new().await;
    let page = app.get(PRICING).await;
    let etag = page.headers["etag"].clone();
    let ask = async |tag: &str| {
        let request = app.replica.request(Method::GET, PRICING);
        let request = request.header("if-none-match", tag);
        app.replica.send(&Method::GET, PRICING, request).await
    };
    let tag = etag.to_str().expect("it is text");
    for tag in [tag, &format!("\"x\", W/{tag}"), "*"] {
        let answer = ask(tag).await;
        answer.assert_status(304);
        assert!(answer.bytes.is_empty());
        assert_eq!(answer.headers["etag"], etag);
        assert_eq!(answer.headers["cache-control"], "public, max-age=300");
    }
    let answer = ask("\"another\"").await;
    answer.assert_status(200);
    assert_eq!(answer.bytes, page.bytes);
    // Another release, or other prices: another page.
    let changed = app.another_replica_with(&[("PLAN_PRO_PRICE", "1")]).await;
    let answer = changed.call(Method::GET, PRICING, None, None).await;
    assert_ne!(answer.headers["etag"], etag);
}
