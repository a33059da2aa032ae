//! Events: told alone or together, stored once, and never larger than they may be.

use clock::{Rng, uuid_v7};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Answer, PASSWORD, Session, TestApp};

const EVENTS: &str = "/api/v1/events";
const BATCH: &str = "/api/v1/events/batch";

async fn count(app: &TestApp) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM events")
        .fetch_one(&app.owner_db)
        .await
        .expect("the table is there")
}

async fn batch(session: &Session, events: Vec<Value>) -> Answer {
    session.post(BATCH, json!({ "events": events })).await
}

fn new_id(app: &TestApp) -> Uuid {
    uuid_v7(app.clock.now(), &Rng::system())
}

fn nested(levels: usize) -> Value {
    (1..levels).fold(json!({}), |inner, _| json!({ "x": inner }))
}

#[tokio::test]
async fn an_event_is_stored_as_it_was_sent() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let data = json!({ "report": 7, "nested": [{ "grüße": null }, 1.5, true] });
    let reported = ada
        .post(EVENTS, json!({ "type": "report.created", "data": data }))
        .await;
    reported.assert_status(201);
    assert_eq!(reported.body["created_at"], "2026-03-14T09:26:53Z");
    let (id, email, kind, stored, at): (
        Uuid,
        String,
        String,
        Value,
        chrono::DateTime<chrono::Utc>,
    ) = sqlx::query_as(
        "SELECT e.id, u.email, event_type, event_data, e.created_at
             FROM events AS e JOIN users AS u ON u.id = e.user_id",
    )
    .fetch_one(&app.owner_db)
    .await
    .expect("it is stored");
    assert_eq!(reported.body["id"], id.to_string());
    assert_eq!(id.get_version_num(), 7);
    assert_eq!(
        (email.as_str(), kind.as_str()),
        ("ada@example.com", "report.created")
    );
    assert_eq!(stored, data);
    assert_eq!(at, app.clock.now());

    let bare = ada.post(EVENTS, json!({ "type": "x" })).await;
    bare.assert_status(201);
    assert_ne!(bare.body["id"], reported.body["id"]);
    app.post(EVENTS, json!({ "type": "x" }))
        .await
        .assert_problem(401, "unauthenticated");
    assert_eq!(count(&app).await, 2);
}

#[tokio::test]
async fn an_event_that_is_no_event_is_refused_by_its_field() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let v4 = "9f5c2c9e-4a53-4e0f-9d5b-6b7f0a6c1b11";
    let old = uuid_v7(app.clock.now() - chrono::TimeDelta::days(2), &Rng::system());
    let early = uuid_v7(
        app.clock.now() + chrono::TimeDelta::hours(1),
        &Rng::system(),
    );
    for (event, field) in [
        (json!({}), "type"),
        (json!({ "type": "" }), "type"),
        (json!({ "type": "Report" }), "type"),
        (json!({ "type": "a b" }), "type"),
        (json!({ "type": "x".repeat(101) }), "type"),
        (json!({ "type": 7 }), "type"),
        (json!({ "type": "x", "data": [] }), "data"),
        (json!({ "type": "x", "data": null }), "data"),
        (json!({ "type": "x", "data": "y" }), "data"),
        (json!({ "type": "x", "data": nested(17) }), "data"),
        (
            json!({ "type": "x", "data": { "y": "z".repeat(8 * 1024) } }),
            "data",
        ),
        (json!({ "type": "x", "data": { "y\u{0}": 1 } }), "data.y"),
        (json!({ "type": "x", "data": { "y": "\u{0}" } }), "data.y"),
        (json!({ "type": "x", "kind": 1 }), "kind"),
        (json!({ "type": "x", "user_id": v4 }), "user_id"),
        (
            json!({ "type": "x", "created_at": "2026-01-01T00:00:00Z" }),
            "created_at",
        ),
        (json!({ "type": "x", "id": "7" }), "id"),
        (json!({ "type": "x", "id": v4 }), "id"),
        (json!({ "type": "x", "id": Uuid::nil() }), "id"),
        (json!({ "type": "x", "id": old }), "id"),
        (json!({ "type": "x", "id": early }), "id"),
    ] {
        let refused = ada.post(EVENTS, event.clone()).await;
        refused.assert_problem(422, "invalid_fields");
        let reported = refused.body["errors"][0]["field"]
            .as_str()
            .unwrap_or_default();
        assert!(
            reported.starts_with(field.split('.').next().unwrap_or_default()),
            "{event}: {reported}"
        );
    }
    let largest = json!({ "type": "x", "data": { "y": "z".repeat(8 * 1024 - 8) } });
    ada.post(EVENTS, largest).await.assert_status(201);
    ada.post(EVENTS, json!({ "type": "x", "data": nested(16) }))
        .await
        .assert_status(201);
    let huge = json!({ "type": "x", "data": { "y": "z".repeat(20 * 1024) } });
    ada.post(EVENTS, huge)
        .await
        .assert_problem(413, "payload_too_large");
    let deep = format!(
        "{{\"type\":\"x\",\"data\":{}{}}}",
        "[".repeat(5_000),
        "]".repeat(5_000)
    );
    let request = ada
        .replica
        .request(Method::POST, EVENTS)
        .bearer_auth(ada.access())
        .header("content-type", "application/json")
        .body(deep);
    let refused = ada.replica.send(&Method::POST, EVENTS, request).await;
    assert!(
        matches!(refused.status.as_u16(), 400 | 422),
        "{}",
        refused.body
    );
    assert_eq!(count(&app).await, 2);
}

#[tokio::test]
async fn events_of_a_batch_are_stored_together_or_not_at_all() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let events: Vec<_> = (0..100)
        .map(|at| json!({ "type": "x", "data": { "at": at, "y": "z".repeat(8_000) } }))
        .collect();
    let reported = batch(&ada, events).await;
    reported.assert_status(201);
    let stored = reported.body["events"].as_array().expect("they are listed");
    assert_eq!(stored.len(), 100);
    let seventh = stored[7]["id"].as_str().expect("it has an id");
    let at: i64 =
        sqlx::query_scalar("SELECT (event_data ->> 'at')::int8 FROM events WHERE id = $1::uuid")
            .bind(seventh)
            .fetch_one(&app.owner_db)
            .await
            .expect("it is stored");
    assert_eq!(at, 7, "in the order in which they were reported");
    assert_eq!(count(&app).await, 100);

    let good = json!({ "type": "x" });
    for (events, field) in [
        (vec![], "events"),
        (vec![good.clone(); 101], "events"),
        (vec![good.clone(), json!({ "type": "X" })], "events[1].type"),
        (
            vec![good.clone(), json!({ "type": "x", "data": nested(17) })],
            "events[1].data",
        ),
        (
            vec![
                good.clone(),
                good.clone(),
                json!({ "type": "x", "id": Uuid::nil() }),
            ],
            "events[2].id",
        ),
    ] {
        let refused = batch(&ada, events).await;
        refused.assert_field(field);
    }
    let large = vec![json!({ "type": "x", "data": { "y": "z".repeat(12_000) } }); 100];
    batch(&ada, large)
        .await
        .assert_problem(413, "payload_too_large");
    assert_eq!(count(&app).await, 100, "none of them");
}

#[tokio::test]
async fn an_event_with_an_id_of_its_own_can_be_sent_again() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let id = new_id(&app);
    let event = json!({ "id": id, "type": "x", "data": { "a": 1, "b": [2] } });
    let reported = ada.post(EVENTS, event.clone()).await;
    reported.assert_status(201);
    app.clock.advance(std::time::Duration::from_mins(5));
    let again = ada.post(EVENTS, event.clone()).await;
    again.assert_status(201);
    assert_eq!(again.body, reported.body);
    for other in [
        json!({ "id": id, "type": "y", "data": { "a": 1, "b": [2] } }),
        json!({ "id": id, "type": "x", "data": { "a": 1, "b": [3] } }),
        json!({ "id": id, "type": "x" }),
    ] {
        ada.post(EVENTS, other)
            .await
            .assert_problem(409, "conflict");
    }
    assert_eq!(count(&app).await, 1);

    // Somebody else's id is nobody's business.
    let grace = app.sign_in("grace").await;
    grace.post(EVENTS, event.clone()).await.assert_status(201);
    assert_eq!(count(&app).await, 2);

    let new = new_id(&app);
    let mixed = batch(&ada, vec![event.clone(), json!({ "id": new, "type": "z" })]).await;
    mixed.assert_status(201);
    let stored = json!([
        { "id": id, "created_at": reported.body["created_at"] },
        { "id": new, "created_at": mixed.body["events"][1]["created_at"] },
    ]);
    assert_eq!(mixed.body["events"], stored);
    let again = batch(&ada, vec![event.clone(), json!({ "id": new, "type": "z" })]).await;
    again.assert_status(201);
    let clash = vec![
        json!({ "id": new_id(&app), "type": "w" }),
        json!({ "id": new, "type": "w" }),
    ];
    batch(&ada, clash).await.assert_problem(409, "conflict");
    let twice = new_id(&app);
    let twice = vec![
        json!({ "id": twice, "type": "v" }),
        json!({ "id": twice, "type": "w" }),
    ];
    batch(&ada, twice).await.assert_problem(409, "conflict");
    assert_eq!(count(&app).await, 3, "a batch that clashes leaves nothing");
}

#[tokio::test]
async fn sent_twenty_times_at_once_an_event_is_stored_once() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let other = app.another_replica().await;
    let event = json!({ "id": new_id(&app), "type": "x", "data": { "a": 1 } });
    let calls = (0..20).map(|turn| {
        let replica = if turn % 2 == 0 { &app.replica } else { &other };
        replica.call(
            Method::POST,
            EVENTS,
            Some(ada.access()),
            Some(event.clone()),
        )
    });
    let answers = futures_util::future::join_all(calls).await;
    for answer in answers {
        answer.assert_status(201);
        assert_eq!(answer.body["id"], event["id"], "all get the same answer");
    }
    assert_eq!(count(&app).await, 1);
}

#[tokio::test]
async fn a_program_with_a_key_may_store_events() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let wanted = json!({ "name": "Import", "scopes": ["events:write"], "password": PASSWORD });
    let made = ada.post("/api/v1/api-keys", wanted).await;
    made.assert_status(201);
    let key = made.body["key"].as_str().expect("there is a key");
    let event = json!({ "type": "x" });
    let reported = app
        .replica
        .call(Method::POST, EVENTS, Some(key), Some(event))
        .await;
    reported.assert_status(201);
    app.run_jobs().await;
}
