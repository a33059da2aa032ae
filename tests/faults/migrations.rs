//! Replicas that migrate at once, and a migration that fails.

use groundwork_dev::Inbox;
use sqlx::Executor as _;

use crate::harness::{
    Database, Service, Settings, connect, count, is_fine, run, settings, until, with,
};

async fn empty() -> (Database, Settings) {
    let database = Database::empty().await;
    let inbox = Inbox::start().await;
    let settings = with(
        &settings(&database.runtime_url(), &inbox.smtp_url()),
        &[("DATABASE_MIGRATION_URL", &database.owner_url())],
    );
    (database, settings)
}

async fn is_ready(replica: &Service) {
    until("it is ready", async || {
        let ready = replica.get("/health/ready").await;
        is_fine(&ready) && ready.body["migrations"] == "ok"
    })
    .await;
}

fn shipped() -> i64 {
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations"));
    i64::try_from(files.expect("there are some").count()).expect("there are not that many")
}

#[tokio::test]
async fn f27_replicas_that_migrate_an_empty_database_at_once_are_all_ready() {
    let (database, settings) = empty().await;
    let start = || Service::start(&settings, &["serve", "--migrate"]);
    let replicas: [Service; 3] = tokio::join!(start(), start(), start()).into();
    for replica in &replicas {
        is_ready(replica).await;
        let name = format!("ada{}", replica.port);
        let tokens = replica.sign_in(&name).await;
        assert!(is_fine(&replica.me(&tokens.access).await));
    }
    let mut owner = connect(&database.owner_url()).await;
    let applied = "SELECT count(*) FROM _sqlx_migrations WHERE success";
    assert_eq!(count(&mut owner, applied).await, shipped());
}

#[tokio::test]
async fn f28_a_migration_that_fails_is_named_and_leaves_no_lock() {
    let (database, settings) = empty().await;
    let mut owner = connect(&database.owner_url()).await;
    owner
        .execute("CREATE TABLE sessions (id integer)")
        .await
        .expect("it is in the way");
    for _ in 0..2 {
        let output = run(&settings, &["serve", "--migrate"], "").await;
        assert_eq!(output.status.code(), Some(1));
        let report = String::from_utf8_lossy(&output.stderr);
        assert!(
            report.contains("create_sessions") || report.contains("20261121080100"),
            "the migration is not named: {report}"
        );
    }
    owner
        .execute("DROP TABLE sessions")
        .await
        .expect("it is out of the way");
    let service = Service::start(&settings, &["serve", "--migrate"]).await;
    is_ready(&service).await;
    let locks = "SELECT count(*) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
        WHERE l.locktype = 'advisory' AND d.datname = current_database()";
    // The server notices a closed connection a moment later.
    until("no lock is left", async || {
        count(&mut owner, locks).await == 0
    })
    .await;
}
