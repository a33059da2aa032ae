//! The number of secrets of a plan, and secrets of others.

use std::sync::Arc;
use std::time::Duration;

use groundwork::secrets::PurgeSecrets;
use reqwest::Method;
use serde_json::json;

use super::{SECRETS, VALUE, names, path};
use crate::harness::TestApp;
use crate::organisations::proof;
use crate::organisations::races::until_waiting;

#[tokio::test]
async fn concurrent_requests_never_exceed_the_number_of_the_plan() {
    let app = TestApp::with(&[("PLAN_FREE_SECRETS", "3")]).await;
    let ada = Arc::new(app.sign_in("ada").await);
    ada.put_secret("a", VALUE).await.assert_status(201);
    let (mut owner, mut observer) = (app.owner().await, app.owner().await);
    sqlx::raw_sql("BEGIN; SELECT 1 FROM accounts FOR UPDATE")
        .execute(&mut owner)
        .await
        .expect("the accounts are locked");
    let requests: Vec<_> = (0..8)
        .map(|number| {
            let ada = Arc::clone(&ada);
            tokio::spawn(async move { ada.put_secret(&format!("s{number}"), VALUE).await })
        })
        .collect();
    until_waiting(&mut observer, 5).await;
    sqlx::raw_sql("COMMIT")
        .execute(&mut owner)
        .await
        .expect("the locks end");
    let mut created = 0;
    for request in requests {
        let answer = request.await.expect("it is answered");
        if answer.status == 201 {
            created += 1;
        } else {
            answer.assert_problem(409, "too_many_secrets");
        }
    }
    assert_eq!((created, names(&ada).await.len()), (2, 3));
    // An existing one still changes.
    ada.put_secret("a", "another").await.assert_status(200);
}

#[tokio::test]
async fn concurrent_changes_under_one_entity_tag_are_one_change() {
    let app = TestApp::new().await;
    let ada = Arc::new(app.sign_in("ada").await);
    let created = ada.put_secret("a", VALUE).await;
    let tag = super::etag(&created).to_owned();
    let (mut owner, mut observer) = (app.owner().await, app.owner().await);
    sqlx::raw_sql("BEGIN; SELECT 1 FROM secrets FOR UPDATE")
        .execute(&mut owner)
        .await
        .expect("the secret is locked");
    let requests: Vec<_> = (0..4)
        .map(|number| {
            let (ada, tag) = (Arc::clone(&ada), tag.clone());
            tokio::spawn(async move {
                let headers = [("if-match", &*tag)];
                ada.put_secret_if("a", &format!("v{number}"), &headers)
                    .await
            })
        })
        .collect();
    until_waiting(&mut observer, 4).await;
    sqlx::raw_sql("COMMIT")
        .execute(&mut owner)
        .await
        .expect("the lock ends");
    let mut changed = 0;
    for request in requests {
        let answer = request.await.expect("it is answered");
        if answer.status == 200 {
            changed += 1;
        } else {
            answer.assert_problem(412, "precondition_failed");
        }
    }
    assert_eq!(changed, 1);
}

#[tokio::test]
async fn a_secret_of_another_account_is_as_one_that_does_not_exist() {
    let app = TestApp::new().await;
    let (ada, grace) = (app.sign_in("ada").await, app.sign_in("grace").await);
    grace.put_secret("a", VALUE).await.assert_status(201);
    for (method, path, body) in [
        (Method::GET, format!("{}/versions", path("a")), None),
        (Method::DELETE, path("a"), None),
        (Method::POST, format!("{}/reveal", path("a")), Some(proof())),
        (
            Method::POST,
            format!("{}/restore", path("a")),
            Some(json!({ "version": 1 })),
        ),
    ] {
        let call = ada.replica.call(method, &path, Some(ada.access()), body);
        call.await.assert_problem(404, "not_found");
    }
    // A name is free in each account.
    ada.put_secret("a", "of ada").await.assert_status(201);
    assert_eq!(grace.reveal("a").await.body["value"], VALUE);
    app.run_jobs().await;
}

#[tokio::test]
async fn secrets_of_an_organisation_are_purged_with_it_also_after_a_payment() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    ada.put_secret("a", VALUE).await.assert_status(201);
    let mut ids = Vec::new();
    for slug in ["acme", "other"] {
        let id = ada.new_organisation(slug).await;
        let body = Some(json!({ "value": VALUE }));
        let put = ada.for_account(&id, Method::PUT, &path("a"), body).await;
        put.assert_status(201);
        ids.push(id);
    }
    let paid = format!(
        "INSERT INTO payments (id, user_id, account_id, amount, currency, status, created_at, updated_at)
         SELECT gen_random_uuid(), id, '{}', 1, 'USD', 'succeeded', now(), now() FROM users",
        ids[0]
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(paid))
        .execute(&app.owner_db)
        .await
        .expect("it is paid");
    for id in &ids {
        let path = format!("/api/v1/organisations/{id}");
        ada.delete(&path, Some(proof())).await.assert_status(204);
    }
    let left = async || -> i64 {
        let jobs = [
            job_queue::enqueue(&app.state.db, &PurgeSecrets::default(), None).await,
            job_queue::enqueue(
                &app.state.db,
                &groundwork::organisations::PurgeOrganisations::default(),
                None,
            )
            .await,
        ];
        assert!(jobs.iter().all(Result::is_ok));
        app.run_jobs().await;
        sqlx::query_scalar("SELECT count(*) FROM secret_versions")
            .fetch_one(&app.owner_db)
            .await
            .expect("they are counted")
    };
    assert_eq!(left().await, 3, "an organisation can be restored");
    app.clock.advance(Duration::from_hours(24 * 365));
    assert_eq!(left().await, 1);
    let ada = app.log_in("ada@example.com").await;
    assert_eq!(ada.get(SECRETS).await.body["items"][0]["name"], "a");
}
