//! What each account called: counted once, shown to its owner alone, and held against the quota.

mod compaction;
mod quota;
mod reports;
mod rollups;
mod writing;

use std::time::Duration;

use groundwork::usage;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{PASSWORD, Session, TestApp};
use crate::organisations::races::until_waiting;

pub const USAGE: &str = "/api/v1/usage";
pub const CURRENT: &str = "/api/v1/usage/current";
pub const ME: &str = "/api/v1/users/me";
pub const EVENTS: &str = "/api/v1/events";
const DAY: Duration = Duration::from_hours(24);

/// Writes what was counted.
pub async fn flush(app: &TestApp) {
    usage::flush(&app.state)
        .await
        .expect("the counts are written");
}

/// Begins to write and leaves while the statement waits for a lock in PostgreSQL.
pub async fn interrupt_flush(app: &TestApp) {
    let mut observer = app.owner().await;
    tokio::select! {
        written = usage::flush(&app.state) => panic!("it did not wait: {written:?}"),
        () = until_waiting(&mut observer, 1) => {}
    }
}

/// Rows of the table: endpoint, status, minute and requests.
pub async fn rows(app: &TestApp) -> Vec<(String, i16, String, i64)> {
    sqlx::query_as(
        "SELECT endpoint, status_code, to_char(created_at AT TIME ZONE 'UTC', 'DD HH24:MI'), request_count
         FROM api_usage ORDER BY created_at, endpoint, status_code",
    )
    .fetch_all(&app.owner_db)
    .await
    .expect("the table is there")
}

/// All requests that are counted.
pub async fn counted(app: &TestApp) -> i64 {
    let sum = "SELECT coalesce(sum(request_count), 0)::int8 FROM api_usage";
    sqlx::query_scalar(sum)
        .fetch_one(&app.owner_db)
        .await
        .expect("the table is there")
}

pub async fn ask(session: &Session, times: usize) {
    for _ in 0..times {
        session.get(ME).await.assert_status(200);
    }
}

/// The items of all pages.
pub async fn list(session: &Session, query: &str) -> Vec<Value> {
    let mut items = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = session.get(&format!("{USAGE}?{query}{cursor}")).await;
        page.assert_status(200);
        items.extend(page.body["items"].as_array().expect("it has items").clone());
        let Some(next) = page.body["next_cursor"].as_str() else {
            return items;
        };
        cursor = format!("&cursor={next}");
    }
}

#[tokio::test]
async fn a_request_is_counted_by_endpoint_status_and_minute() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    ask(&ada, 3).await;
    ada.patch(ME, json!({ "first_name": 7 }))
        .await
        .assert_status(422);
    app.clock.advance(Duration::from_secs(7));
    ask(&ada, 1).await;
    let request = ada.replica.request(Method::HEAD, ME);
    let head = request.bearer_auth(ada.access()).send().await;
    assert_eq!(head.expect("it answers").status(), 200);

    assert_eq!(counted(&app).await, 0, "nothing is written on the way");
    flush(&app).await;
    let expected = [
        ("GET /api/v1/users/me", 200, "14 09:26", 3),
        ("PATCH /api/v1/users/me", 422, "14 09:26", 1),
        ("GET /api/v1/users/me", 200, "14 09:27", 2),
    ];
    let expected = expected.map(|(endpoint, status, minute, requests)| {
        (endpoint.to_owned(), status, minute.to_owned(), requests)
    });
    assert_eq!(rows(&app).await, expected);
    let timed = "SELECT count(*) FROM api_usage
        WHERE response_time_ms > 0 AND response_time_max_ms > 0 AND response_time_max_ms <= response_time_ms";
    let timed: i64 = sqlx::query_scalar(timed)
        .fetch_one(&app.owner_db)
        .await
        .expect("the table is there");
    assert_eq!(timed, 3);

    ask(&ada, 2).await;
    flush(&app).await;
    assert_eq!(rows(&app).await[2].3, 4, "the row of the minute grows");
    flush(&app).await;
    assert_eq!(counted(&app).await, 8, "and nothing is written twice");
}

#[tokio::test]
async fn what_nobody_did_and_what_does_not_exist_is_not_counted() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    app.get(ME).await.assert_problem(401, "unauthenticated");
    let stale = Some("eyJhbGciOiJFZERTQSJ9.e30.x");
    let refused = app.replica.call(Method::GET, ME, stale, None).await;
    refused.assert_status(401);
    ada.get("/api/v1/nothing").await.assert_status(404);
    let deleted = app
        .replica
        .call(Method::DELETE, ME, Some(ada.access()), None)
        .await;
    assert_ne!(deleted.status, 200);
    app.get("/health/live").await.assert_status(200);
    let before = counted(&app).await;
    flush(&app).await;
    let methods: Vec<_> = rows(&app).await.into_iter().map(|row| row.0).collect();
    assert!(
        methods
            .iter()
            .all(|endpoint| endpoint.starts_with("DELETE ")),
        "{methods:?}"
    );
    assert_eq!(before, 0);
}

#[tokio::test]
async fn what_a_program_does_with_a_key_is_its_owners() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let wanted = json!({ "name": "Import", "scopes": ["users:read"], "password": PASSWORD });
    let made = ada.post("/api/v1/api-keys", wanted).await;
    made.assert_status(201);
    let key = made.body["key"].as_str().expect("there is a key");
    for _ in 0..2 {
        let answer = app.replica.call(Method::GET, ME, Some(key), None).await;
        answer.assert_status(200);
    }
    flush(&app).await;
    let rows = rows(&app).await;
    let mine = rows.iter().find(|row| row.0 == "GET /api/v1/users/me");
    assert_eq!(mine.map(|row| row.3), Some(2), "{rows:?}");
    let shown = list(&ada, "group_by=endpoint").await;
    assert_eq!(shown.len(), 2, "{shown:?}");
    app.run_jobs().await;
}

#[tokio::test]
async fn two_days_across_the_end_of_a_month_add_up() {
    let app = TestApp::new().await;
    let email = app.sign_up("ada").await;
    // From 09:26:53 on the 14th to 23:26:53 on the 30th.
    app.clock.advance(16 * DAY + Duration::from_hours(14));
    for hour in 0..48_usize {
        let ada = app.log_in(&email).await;
        ask(&ada, hour % 3 + 1).await;
        if hour % 7 == 0 {
            flush(&app).await;
        }
        app.clock.advance(Duration::from_hours(1));
    }
    flush(&app).await;
    let all: i64 = (0..48).map(|hour| hour % 3 + 1).sum();
    assert_eq!(counted(&app).await, all);

    let ada = app.log_in(&email).await;
    let requests = |items: &[Value]| {
        let requests = items.iter().map(|item| item["requests"].as_i64());
        requests.sum::<Option<i64>>().expect("they are numbers")
    };
    // 23:26 on the 30th alone, then the 31st, then the 1st up to 22:26.
    let days = list(&ada, "from=2026-03-30T00:00:00Z").await;
    let starts: Vec<_> = days.iter().map(|day| day["start"].as_str()).collect();
    let expected = [
        "2026-03-30T00:00:00Z",
        "2026-03-31T00:00:00Z",
        "2026-04-01T00:00:00Z",
    ];
    assert_eq!(starts, expected.map(Some));
    assert_eq!(days[0]["requests"], 1);
    assert_eq!(days[1]["requests"], 48);
    assert_eq!(requests(&days), all);
    assert!(days[0].get("endpoint").is_none());

    let range = "from=2026-03-30T23:26:00Z&to=2026-04-01T22:27:00Z&granularity=hour";
    for limit in [1, 7, 48, 100] {
        let hours = list(&ada, &format!("{range}&limit={limit}")).await;
        assert_eq!((hours.len(), requests(&hours)), (48, all), "by {limit}");
    }
    let some = list(
        &ada,
        "from=2026-03-31T00:00:00Z&to=2026-03-31T02:00:00Z&granularity=minute",
    )
    .await;
    assert_eq!(some.len(), 2);
    assert_eq!(some[0]["start"], "2026-03-31T00:26:00Z");
    assert_eq!(requests(&some), 5);

    let current = ada.get(CURRENT).await.body;
    assert_eq!(current["period_start"], "2026-04-01T00:00:00Z");
    assert_eq!(current["period_end"], "2026-05-01T00:00:00Z");
    let april: i64 = (25..48).map(|hour| hour % 3 + 1).sum();
    flush(&app).await;
    // With the looks at it: each page above is a request as well.
    let used = ada.get(CURRENT).await.body["used"].as_i64();
    let looks = 1 + (48 + 7 + 1 + 1) + 1 + 1;
    assert_eq!(used, Some(april + looks));
}

#[tokio::test]
async fn use_is_shown_by_endpoint_page_by_page_and_with_its_errors() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    ask(&ada, 2).await;
    ada.patch(ME, json!({ "first_name": "Ada" }))
        .await
        .assert_status(200);
    ada.patch(ME, json!({ "nick": "Ada" }))
        .await
        .assert_status(422);
    ada.post(EVENTS, json!({ "type": "x" }))
        .await
        .assert_status(201);
    flush(&app).await;
    for limit in [1, 2, 20] {
        let query = format!("group_by=endpoint&granularity=minute&limit={limit}");
        let items = list(&ada, &query).await;
        let of = |endpoint: &str| {
            let found = items.iter().filter(|item| item["endpoint"] == endpoint);
            let found: Vec<_> = found.collect();
            assert_eq!(found.len(), 1, "{endpoint} in {items:?}");
            let number = |name: &str| found[0][name].as_i64().expect("it is a number");
            (
                number("requests"),
                number("client_errors"),
                number("server_errors"),
            )
        };
        assert_eq!(of("GET /api/v1/users/me"), (2, 0, 0));
        assert_eq!(of("PATCH /api/v1/users/me"), (2, 1, 0));
        assert_eq!(of("POST /api/v1/events"), (1, 0, 0));
        for item in &items {
            let time = |name: &str| item[name].as_f64().expect("it is a number");
            assert!(time("response_time_mean_ms") > 0.0);
            assert!(time("response_time_max_ms") >= time("response_time_mean_ms"));
        }
    }
}

#[tokio::test]
async fn nobody_sees_what_another_calls() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let grace = app.sign_in("grace").await;
    ask(&ada, 5).await;
    flush(&app).await;
    let theirs = grace.get(USAGE).await;
    theirs.assert_status(200);
    assert_eq!(theirs.body, json!({ "items": [], "next_cursor": null }));
    assert_eq!(grace.get(CURRENT).await.body["used"], 0);
    let page = ada
        .get(&format!(
            "{USAGE}?granularity=minute&group_by=endpoint&limit=1"
        ))
        .await;
    assert_eq!(page.body["items"][0]["requests"], 5);
    flush(&app).await;
    let page = ada
        .get(&format!(
            "{USAGE}?granularity=minute&group_by=endpoint&limit=1"
        ))
        .await;
    let cursor = page.body["next_cursor"].as_str().expect("there is more");
    let with_her_cursor = grace
        .get(&format!(
            "{USAGE}?granularity=minute&group_by=endpoint&cursor={cursor}"
        ))
        .await;
    with_her_cursor.assert_status(200);
    let items = with_her_cursor.body["items"]
        .as_array()
        .expect("it has items");
    assert!(items.iter().all(|item| item["requests"] == 1), "{items:?}");
    for path in [USAGE, CURRENT] {
        app.get(path).await.assert_problem(401, "unauthenticated");
    }
}

#[tokio::test]
async fn a_look_that_cannot_be_had_is_refused_by_its_field() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    for (query, field) in [
        ("from=yesterday", "from"),
        ("from=2026-03-01", "from"),
        ("from=2026-13-01T00:00:00Z", "from"),
        ("from=", "from"),
        ("from=2026-03-15T00:00:00Z", "from"),
        ("from=2024-01-01T00:00:00Z", "from"),
        ("from=0000-01-01T00:00:00Z", "from"),
        ("to=9999-12-31T23:59:60Z&from=9999-12-31T00:00:00Z", "to"),
        ("to=never", "to"),
        ("from=2026-03-01T00:00:00Z&to=2026-03-01T00:00:00Z", "from"),
        ("from=2026-01-01T00:00:00Z&granularity=hour", "from"),
        ("from=2026-03-12T00:00:00Z&granularity=minute", "from"),
        ("granularity=week", "granularity"),
        ("granularity=DAY", "granularity"),
        ("group_by=status", "group_by"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("cursor=abc", "cursor"),
        ("user_id=01980b6e-7c00-7000-8000-3f2a51d6c9b1", "user_id"),
        (
            "from=2026-03-01T00:00:00Z&from=2026-03-02T00:00:00Z",
            "from",
        ),
    ] {
        let refused = ada.get(&format!("{USAGE}?{query}")).await;
        refused.assert_problem(400, "bad_request");
        let reported = &refused.body["errors"][0]["field"];
        assert_eq!(reported, field, "{query}: {}", refused.body);
    }
}
