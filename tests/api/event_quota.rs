//! Quotas on what is stored: events, and their bytes, by account and month.

use std::time::Duration;

use clock::{Rng, uuid_v7};
use futures_util::future::join_all;
use groundwork::events::PurgeEventTotals;
use serde_json::{Value, json};

use crate::harness::{Answer, Session, TestApp};

const EVENTS: &str = "/api/v1/events";
const BATCH: &str = "/api/v1/events/batch";
const CURRENT: &str = "/api/v1/usage/current";

async fn one(session: &Session, event: Value) -> Answer {
    session.post(EVENTS, event).await
}

async fn batch(session: &Session, events: Vec<Value>) -> Answer {
    session.post(BATCH, json!({ "events": events })).await
}

async fn count(app: &TestApp) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM events")
        .fetch_one(&app.owner_db)
        .await
        .expect("the table is there")
}

/// Asserts a refusal that names a quota, and the wait until the month ends.
fn assert_used_up(answer: &Answer, quota: &str) {
    answer.assert_problem(429, "quota_exceeded");
    assert_eq!(answer.body["errors"][0]["field"], quota, "{}", answer.body);
    let wait = ((17 * 24 + 14) * 60 + 33) * 60 + 7;
    assert_eq!(answer.headers["retry-after"], wait.to_string());
}

#[tokio::test]
async fn twenty_requests_cannot_store_more_bytes_than_the_plan_has() {
    let app = TestApp::with(&[("PLAN_FREE_EVENT_MIB", "1")]).await;
    let ada = app.sign_in("ada").await;
    let large = json!({ "type": "x", "data": { "y": "z".repeat(8 * 1024 - 8) } });
    let mut stored = 0;
    for _ in 0..20 {
        let answer = batch(&ada, vec![large.clone(); 100]).await;
        if answer.status == 201 {
            stored += 100;
        } else {
            assert_used_up(&answer, "event_bytes");
        }
    }
    // 100 events are 819,300 bytes, and a second batch would not fit whole.
    assert_eq!((stored, count(&app).await), (100, 100));
    // What is smaller still fits, up to the last byte.
    let current = ada.get(CURRENT).await.body;
    assert_eq!(current["event_bytes_used"], 819_300);
    let left = 1024 * 1024 - 819_300;
    for _ in 0..left / 8_193 {
        one(&ada, large.clone()).await.assert_status(201);
    }
    assert_used_up(&one(&ada, large).await, "event_bytes");
    let rest = usize::try_from(left % 8_193).expect("it is small");
    let exact = json!({ "type": "x", "data": { "y": "z".repeat(rest - 9) } });
    one(&ada, exact).await.assert_status(201);
    assert_used_up(&one(&ada, json!({ "type": "x" })).await, "event_bytes");
    assert_eq!(ada.get(CURRENT).await.body["event_bytes_used"], 1024 * 1024);
}

#[tokio::test]
async fn replicas_that_race_store_exactly_the_quota() {
    // The machine may be slow; how long requests wait for each other is not what this is about.
    let app = TestApp::with(&[
        ("PLAN_FREE_EVENTS", "23"),
        ("DB_LOCK_TIMEOUT", "30s"),
        ("DB_POOL_TIMEOUT", "30s"),
        ("HTTP_REQUEST_TIMEOUT", "60s"),
    ])
    .await;
    let ada = app.sign_in("ada").await;
    let bob = app.sign_in("bob").await;
    let mut sessions = vec![];
    for _ in 0..2 {
        let replica = app.another_replica().await;
        sessions.push(Session {
            replica,
            tokens: ada.tokens.clone(),
        });
    }
    let rng = Rng::system();
    let requests = (0..36).map(|n| {
        let session = &sessions[n % 2];
        // Both ways of storing: with an id of the caller's, and without.
        let event = if n % 3 == 0 {
            json!({ "type": "x", "id": uuid_v7(app.clock.now(), &rng) })
        } else {
            json!({ "type": "x" })
        };
        one(session, event)
    });
    let answers = join_all(requests).await;
    let stored = answers.iter().filter(|answer| answer.status == 201).count();
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        assert_used_up(answer, "events");
    }
    assert_eq!((stored, count(&app).await), (23, 23));
    assert_eq!(ada.get(CURRENT).await.body["events_used"], 23);
    one(&bob, json!({ "type": "x" })).await.assert_status(201);
}

#[tokio::test]
async fn a_batch_is_stored_whole_or_not_at_all() {
    let app = TestApp::with(&[("PLAN_FREE_EVENTS", "10")]).await;
    let ada = app.sign_in("ada").await;
    let bare = || json!({ "type": "x" });
    assert_used_up(&batch(&ada, vec![bare(); 11]).await, "events");
    batch(&ada, vec![bare(); 8]).await.assert_status(201);
    assert_used_up(&batch(&ada, vec![bare(); 3]).await, "events");
    let rng = Rng::system();
    let named = || json!({ "type": "x", "id": uuid_v7(app.clock.now(), &rng) });
    assert_used_up(
        &batch(&ada, vec![named(), named(), named()]).await,
        "events",
    );
    assert_eq!(count(&app).await, 8);
    batch(&ada, vec![named(), bare()]).await.assert_status(201);
    assert_eq!(count(&app).await, 10);
}

#[tokio::test]
async fn an_event_that_is_sent_again_counts_once() {
    let app = TestApp::with(&[("PLAN_FREE_EVENTS", "2")]).await;
    let ada = app.sign_in("ada").await;
    let rng = Rng::system();
    let event = json!({ "type": "x", "id": uuid_v7(app.clock.now(), &rng) });
    for _ in 0..4 {
        one(&ada, event.clone()).await.assert_status(201);
    }
    let other = json!({ "type": "x", "id": uuid_v7(app.clock.now(), &rng) });
    batch(&ada, vec![event.clone(), other])
        .await
        .assert_status(201);
    one(&ada, event).await.assert_status(201);
    let third = json!({ "type": "x", "id": uuid_v7(app.clock.now(), &rng) });
    assert_used_up(&one(&ada, third).await, "events");
    let current = ada.get(CURRENT).await.body;
    assert_eq!(
        (&current["events_used"], &current["monthly_events"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(count(&app).await, 2);
}

#[tokio::test]
async fn a_new_month_has_room_again_and_old_totals_are_deleted() {
    let app = TestApp::with(&[("PLAN_FREE_EVENTS", "1"), ("EVENTS_RETENTION", "2mo")]).await;
    let ada = app.sign_in("ada").await;
    one(&ada, json!({ "type": "x" })).await.assert_status(201);
    assert_used_up(&one(&ada, json!({ "type": "x" })).await, "events");
    app.clock.advance(Duration::from_hours(24 * 20));
    let ada = app.log_in("ada@example.com").await;
    one(&ada, json!({ "type": "x" })).await.assert_status(201);
    app.clock.advance(Duration::from_hours(24 * 40));
    job_queue::enqueue(&app.state.db, &PurgeEventTotals::default(), None)
        .await
        .expect("it is enqueued");
    app.run_jobs().await;
    let months: Vec<String> = sqlx::query_scalar("SELECT month::text FROM event_totals")
        .fetch_all(&app.owner_db)
        .await
        .expect("the table is there");
    assert_eq!(months, ["2026-03-01", "2026-04-01"], "two months are kept");
    app.clock.advance(Duration::from_hours(24 * 40));
    job_queue::enqueue(&app.state.db, &PurgeEventTotals::default(), None)
        .await
        .expect("it is enqueued");
    app.run_jobs().await;
    let months: Vec<String> = sqlx::query_scalar("SELECT month::text FROM event_totals")
        .fetch_all(&app.owner_db)
        .await
        .expect("the table is there");
    assert_eq!(months, ["2026-04-01"]);
}

#[tokio::test]
async fn without_quotas_on_events_their_number_is_unlimited_and_still_counted() {
    let app = TestApp::with(&[("PLAN_FREE_EVENTS", "0"), ("PLAN_FREE_EVENT_MIB", "0")]).await;
    let ada = app.sign_in("ada").await;
    batch(&ada, vec![json!({ "type": "x" }); 100])
        .await
        .assert_status(201);
    let current = ada.get(CURRENT).await.body;
    assert_eq!(current["monthly_events"], Value::Null);
    assert_eq!(current["monthly_event_bytes"], Value::Null);
    assert_eq!(current["events_used"], 100);
    assert_eq!(current["event_bytes_used"], 300);
}
