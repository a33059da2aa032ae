//! Sample items of accounts: created, listed, changed and deleted.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use groundwork::organisations::PurgeOrganisations;
use groundwork::sample_items::{MAX_COUNT, PurgeSampleItems};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use crate::harness::{Session, TestApp};
use crate::organisations::proof;
use crate::organisations::races::until_waiting;

const SAMPLE_ITEMS: &str = "/api/v1/sample-items";

fn path(id: &str) -> String {
    format!("{SAMPLE_ITEMS}/{id}")
}

impl Session {
    /// Creates a sample item; returns its id.
    pub async fn new_sample_item(&self, name: &str) -> String {
        let created = self.post(SAMPLE_ITEMS, json!({ "name": name })).await;
        created.assert_status(201);
        created.body["id"].as_str().expect("an id").to_owned()
    }
}

#[tokio::test]
async fn a_sample_item_is_created_read_changed_and_deleted() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let created = ada.post(SAMPLE_ITEMS, json!({ "name": " Apollo " })).await;
    created.assert_status(201);
    let (id, created_at) = (&created.body["id"], &created.body["created_at"]);
    let expected = json!({ "id": id, "name": "Apollo", "created_at": created_at, "updated_at": created_at });
    assert_eq!(created.body, expected);
    let path = path(id.as_str().expect("it is text"));
    assert_eq!(ada.get(&path).await.body, expected);

    app.clock.advance(Duration::from_secs(1));
    let changed = ada.patch(&path, json!({ "name": "Apollo 2" })).await;
    changed.assert_status(200);
    assert_eq!((&changed.body["id"], &changed.body["name"]), (id, &json!("Apollo 2")));
    assert_eq!(&changed.body["created_at"], created_at);
    assert_ne!(&changed.body["updated_at"], created_at);
    assert_eq!(ada.get(SAMPLE_ITEMS).await.body["items"], json!([changed.body]));

    let deleted = ada.delete(&path, None).await;
    deleted.assert_status(204);
    for gone in [
        ada.get(&path).await,
        ada.patch(&path, json!({ "name": "Apollo 3" })).await,
        ada.delete(&path, None).await,
    ] {
        gone.assert_problem(404, "not_found");
    }
    assert_eq!(ada.get(SAMPLE_ITEMS).await.body["items"], json!([]));
    for event in ["sample_item_created", "sample_item_changed", "sample_item_deleted"] {
        assert_eq!(app.audited(event).await, 1, "{event}");
    }
}

#[tokio::test]
async fn what_is_invalid_is_named_and_changes_nothing() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let id = ada.new_sample_item("Apollo").await;
    for (body, field) in [
        (json!({}), "name"),
        (json!({ "name": "" }), "name"),
        (json!({ "name": "a\nb" }), "name"),
        (json!({ "name": "x".repeat(101) }), "name"),
        (json!({ "name": 7 }), "name"),
        (json!({ "name": "Apollo", "account_id": id }), "account_id"),
    ] {
        ada.post(SAMPLE_ITEMS, body.clone()).await.assert_field(field);
        ada.patch(&path(&id), body).await.assert_field(field);
    }
    for wrong in [path("1"), format!("{SAMPLE_ITEMS}?limit=0"), format!("{SAMPLE_ITEMS}?cursor=x")] {
        ada.get(&wrong).await.assert_problem(400, "bad_request");
    }
    let listed = ada.get(SAMPLE_ITEMS).await;
    assert_eq!(listed.body["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(listed.body["items"][0]["name"], "Apollo");
}

#[tokio::test]
async fn a_list_is_newest_first_and_has_pages_while_rows_come_and_go() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let mut ids = Vec::new();
    for number in 0..6 {
        // Two of each moment, which their ids order.
        app.clock.advance(Duration::from_secs(number % 2));
        ids.push(ada.new_sample_item(&format!("n{number}")).await);
    }
    let whole = ada.get(SAMPLE_ITEMS).await;
    let items = whole.body["items"].as_array().expect("there are items");
    let times: Vec<_> = items.iter().map(|it| it["created_at"].as_str()).collect();
    assert!(times.is_sorted_by(|one, next| one >= next), "{times:?}");
    let order: Vec<_> = items.iter().map(|it| it["id"].clone()).collect();

    let mut seen: Vec<Value> = Vec::new();
    let mut query = "?limit=2".to_owned();
    loop {
        let page = ada.get(&format!("{SAMPLE_ITEMS}{query}")).await;
        page.assert_status(200);
        let items = page.body["items"].as_array().expect("there are items");
        seen.extend(items.iter().map(|it| it["id"].clone()));
        if seen.len() == 2 {
            // A newer one, and the one that the cursor names goes.
            app.clock.advance(Duration::from_secs(1));
            ada.new_sample_item("newer").await;
            let last = seen[1].as_str().expect("it is text");
            ada.delete(&path(last), None).await.assert_status(204);
        }
        let Some(cursor) = page.body["next_cursor"].as_str() else {
            break;
        };
        query = format!("?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, order);
    assert_eq!(seen.iter().collect::<HashSet<_>>().len(), ids.len());
}

#[tokio::test]
async fn a_sample_item_of_another_account_is_as_one_that_does_not_exist() {
    let app = TestApp::new().await;
    let (ada, grace) = (app.sign_in("ada").await, app.sign_in("grace").await);
    let path = path(&grace.new_sample_item("Apollo").await);
    for foreign in [
        ada.get(&path).await,
        ada.patch(&path, json!({ "name": "of ada" })).await,
        ada.delete(&path, None).await,
    ] {
        foreign.assert_problem(404, "not_found");
    }
    assert_eq!(ada.get(SAMPLE_ITEMS).await.body["items"], json!([]));
    assert_eq!(grace.get(&path).await.body["name"], "Apollo");
    let anonymous = app.get(&path).await;
    anonymous.assert_problem(401, "unauthenticated");
}

#[tokio::test]
async fn api_keys_need_the_scope_and_the_log_names_the_key() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    for (scope, may_read, may_write) in [
        ("sample_items:read", true, false),
        ("sample_items:write", false, true),
        ("usage:read", false, false),
    ] {
        let path = path(&ada.new_sample_item("Apollo").await);
        let key = ada.new_key(&[scope]).await;
        let call = async |method: Method, path: &str, body: Option<Value>| {
            app.replica.call(method, path, Some(&key.text), body).await
        };
        for read in [
            call(Method::GET, SAMPLE_ITEMS, None).await,
            call(Method::GET, &path, None).await,
        ] {
            read.assert_status(if may_read { 200 } else { 403 });
        }
        let body = Some(json!({ "name": scope }));
        let created = call(Method::POST, SAMPLE_ITEMS, body.clone()).await;
        created.assert_status(if may_write { 201 } else { 403 });
        let changed = call(Method::PATCH, &path, body).await;
        changed.assert_status(if may_write { 200 } else { 403 });
        let deleted = call(Method::DELETE, &path, None).await;
        deleted.assert_status(if may_write { 204 } else { 403 });
        let logged: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM audit_log WHERE event LIKE 'sample_item_%' AND detail->>'api_key' = $1",
        )
        .bind(&key.id)
        .fetch_one(&app.owner_db)
        .await
        .expect("they are counted");
        assert_eq!(logged, if may_write { 3 } else { 0 });
        if !may_write {
            ada.get(&path).await.assert_status(200);
        }
    }
    app.run_jobs().await;
}

#[tokio::test]
async fn concurrent_requests_never_exceed_the_limit_of_an_account() {
    let app = TestApp::new().await;
    let ada = Arc::new(app.sign_in("ada").await);
    let most = i64::from(MAX_COUNT);
    sqlx::query(
        "INSERT INTO sample_items (id, account_id, name, created_at, updated_at)
         SELECT gen_random_uuid(), id, 'x', now(), now() FROM accounts, generate_series(2, $1)",
    )
    .bind(most)
    .execute(&app.owner_db)
    .await
    .expect("they are inserted");
    let (mut owner, mut observer) = (app.owner().await, app.owner().await);
    sqlx::raw_sql("BEGIN; SELECT 1 FROM accounts FOR UPDATE")
        .execute(&mut owner)
        .await
        .expect("the account is locked");
    let requests: Vec<_> = (0..4)
        .map(|_| {
            let ada = Arc::clone(&ada);
            tokio::spawn(async move { ada.post(SAMPLE_ITEMS, json!({ "name": "last" })).await })
        })
        .collect();
    until_waiting(&mut observer, 4).await;
    sqlx::raw_sql("COMMIT")
        .execute(&mut owner)
        .await
        .expect("the lock ends");
    let mut created = 0;
    for request in requests {
        let answer = request.await.expect("it is answered");
        if answer.status == 201 {
            created += 1;
        } else {
            answer.assert_problem(409, "too_many_sample_items");
        }
    }
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM sample_items")
        .fetch_one(&app.owner_db)
        .await
        .expect("they are counted");
    assert_eq!((created, count), (1, most));
}

#[tokio::test]
async fn sample_items_of_an_organisation_are_purged_with_it_also_after_a_payment() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    ada.new_sample_item("personal").await;
    let acme = ada.new_organisation("acme").await;
    let body = Some(json!({ "name": "Apollo" }));
    let created = ada.for_account(&acme, Method::POST, SAMPLE_ITEMS, body).await;
    created.assert_status(201);
    let paid = format!(
        "INSERT INTO payments (id, user_id, account_id, amount, currency, status, created_at, updated_at)
         SELECT gen_random_uuid(), id, '{acme}', 1, 'USD', 'succeeded', now(), now() FROM users"
    );
    sqlx::raw_sql(AssertSqlSafe(paid))
        .execute(&app.owner_db)
        .await
        .expect("it is paid");
    let organisation = format!("/api/v1/organisations/{acme}");
    let deleted = ada.delete(&organisation, Some(proof())).await;
    deleted.assert_status(204);
    let left = async || -> i64 {
        let jobs = [
            job_queue::enqueue(&app.state.db, &PurgeSampleItems::default(), None).await,
            job_queue::enqueue(&app.state.db, &PurgeOrganisations::default(), None).await,
        ];
        assert!(jobs.iter().all(Result::is_ok));
        app.run_jobs().await;
        sqlx::query_scalar("SELECT count(*) FROM sample_items")
            .fetch_one(&app.owner_db)
            .await
            .expect("they are counted")
    };
    assert_eq!(left().await, 2, "an organisation can be restored");
    app.clock.advance(Duration::from_hours(24 * 365));
    assert_eq!(left().await, 1);
    let ada = app.log_in("ada@example.com").await;
    assert_eq!(ada.get(SAMPLE_ITEMS).await.body["items"][0]["name"], "personal");
}
