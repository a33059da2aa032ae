//! What the probes are told.

use std::time::Duration;

use serde_json::json;

use crate::harness::{Answer, Replica, TestApp, given};

const NEWEST: &str =
    "DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)";

impl Replica {
    async fn probe(&self, path: &str) -> Answer {
        let answer = self.call(reqwest::Method::GET, path, None, None).await;
        let text = String::from_utf8_lossy(&answer.bytes).to_lowercase();
        for telling in [
            "127.0.0.1",
            "postgres",
            "error",
            "refused",
            "timed out",
            "pool",
            "password",
        ] {
            assert!(
                !text.contains(telling),
                "{path} tells strangers of `{telling}`: {text}"
            );
        }
        answer
    }
}

#[tokio::test]
async fn a_healthy_process_says_so() {
    let app = TestApp::with(&[
        ("APP_VERSION", "1.4.2"),
        ("REDIS_URL", &given("TEST_REDIS_URL")),
    ])
    .await;
    let health = app.replica.probe("/health").await;
    health.assert_status(200);
    assert_eq!(
        (&health.body["status"], &health.body["version"]),
        (&json!("ok"), &json!("1.4.2"))
    );
    assert!(
        health.body["uptime_seconds"]
            .as_u64()
            .is_some_and(|seconds| seconds < 600)
    );
    assert_eq!(
        health.body.as_object().map(serde_json::Map::len),
        Some(3),
        "{}",
        health.body
    );
    let ready = app.replica.probe("/health/ready").await;
    ready.assert_status(200);
    assert_eq!(
        ready.body,
        json!({ "status": "ok", "database": "ok", "migrations": "ok", "queue": "ok", "redis": "ok" })
    );
    app.replica.probe("/health/live").await.assert_status(200);
}

#[tokio::test]
async fn a_process_without_its_database_lives_and_is_not_ready() {
    let app = TestApp::new().await;
    // Where nobody listens.
    let nowhere = [("DATABASE_URL", "postgres://app:pw@127.0.0.1:1/app")];
    let replica = app.another_replica_with(&nowhere).await;
    replica.probe("/health/live").await.assert_status(200);
    replica.probe("/health").await.assert_status(200);
    let ready = replica.probe("/health/ready").await;
    ready.assert_status(503);
    assert_eq!(
        ready.body,
        json!({ "status": "down", "database": "down", "migrations": "down", "queue": "degraded" })
    );
    assert!(ready.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn a_database_that_nobody_answers_for_fails_readiness_in_time_and_not_liveness() {
    let app = TestApp::new().await;
    // Takes connections and says nothing, like a host behind a broken network.
    let unresponsive = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let url = format!(
        "postgres://app:pw@{}/app",
        unresponsive.local_addr().expect("it has an address")
    );
    let replica = app.another_replica_with(&[("DATABASE_URL", &url)]).await;
    let answers = tokio::time::timeout(Duration::from_secs(50), async {
        (
            replica.probe("/health/ready").await,
            replica.probe("/health/live").await,
        )
    });
    let (ready, live) = answers.await.expect("probes are answered in time");
    ready.assert_status(503);
    assert_eq!(ready.body["database"], "down");
    live.assert_status(200);
}

#[tokio::test]
async fn an_older_schema_is_not_ready_until_it_is_migrated() {
    let app = TestApp::new().await;
    let mut owner = app.owner().await;
    let whole = "CREATE TABLE kept AS SELECT * FROM _sqlx_migrations";
    sqlx::raw_sql(whole)
        .execute(&mut owner)
        .await
        .expect("they are kept");
    sqlx::raw_sql(NEWEST)
        .execute(&mut owner)
        .await
        .expect("one is taken back");
    let ready = app.replica.probe("/health/ready").await;
    ready.assert_status(503);
    assert_eq!(
        ready.body,
        json!({ "status": "down", "database": "ok", "migrations": "down", "queue": "ok" })
    );

    let back = "INSERT INTO _sqlx_migrations SELECT * FROM kept ON CONFLICT DO NOTHING";
    sqlx::raw_sql(back)
        .execute(&mut owner)
        .await
        .expect("it is back");
    let mut looks = 0;
    while app.replica.probe("/health/ready").await.status != 200 {
        looks += 1;
        assert!(looks < 600, "readiness does not come back");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    sqlx::raw_sql("DROP TABLE _sqlx_migrations")
        .execute(&mut owner)
        .await
        .expect("it is dropped");
    let ready = app.another_replica().await.probe("/health/ready").await;
    ready.assert_status(503);
    assert_eq!(
        ready.body,
        json!({ "status": "down", "database": "ok", "migrations": "down", "queue": "ok" })
    );
}

#[tokio::test]
async fn a_process_that_is_about_to_stop_lives_and_is_not_ready() {
    let app = TestApp::new().await;
    app.replica.probe("/health/ready").await.assert_status(200);
    app.replica.draining.begin();
    let ready = app.replica.probe("/health/ready").await;
    ready.assert_status(503);
    assert_eq!(
        ready.body,
        json!({ "status": "draining", "database": "ok", "migrations": "ok", "queue": "ok" })
    );
    app.replica.probe("/health/live").await.assert_status(200);
}

#[tokio::test]
async fn the_service_does_without_redis_and_says_so() {
    let app = TestApp::new().await;
    let replica = app
        .another_replica_with(&[("REDIS_URL", "redis://127.0.0.1:1")])
        .await;
    let ready = replica.probe("/health/ready").await;
    ready.assert_status(200);
    assert_eq!(
        ready.body,
        json!({ "status": "degraded", "database": "ok", "migrations": "ok", "queue": "ok", "redis": "degraded" })
    );
    let without = app.replica.probe("/health/ready").await;
    assert_eq!(without.body.get("redis"), None, "there is none to speak of");
}

#[tokio::test]
async fn a_job_that_nobody_does_degrades_readiness_and_keeps_the_traffic() {
    let app = TestApp::new().await;
    app.register("ada@example.com").await;
    sqlx::query("UPDATE graphile_worker._private_jobs SET run_at = now() - interval '6 minutes'")
        .execute(&app.owner_db)
        .await
        .expect("the job waits");
    let ready = app.get("/health/ready").await;
    ready.assert_status(200);
    assert_eq!(
        (&ready.body["status"], &ready.body["queue"]),
        (&json!("degraded"), &json!("degraded"))
    );
    app.run_jobs().await;
}
