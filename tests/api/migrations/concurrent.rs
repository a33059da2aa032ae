//! Concurrent index builds: beside writers, and again after an interruption.

use std::time::Duration;

use database::run_migrations;
use sqlx::migrate::{Migration, MigrationType};
use sqlx::{Executor as _, SqlSafeStr as _};

use super::Empty;

const INDEX: &str = "-- no-transaction
-- Notes are searched by their text.
CREATE INDEX CONCURRENTLY IF NOT EXISTS notes_body_idx ON notes (body);";

fn migration(version: i64, sql: &'static str) -> Migration {
    let no_tx = sql.starts_with("-- no-transaction");
    let kind = MigrationType::Simple;
    Migration::new(version, "of a test".into(), kind, sql.into_sql_str(), no_tx)
}

/// Runs a table with a row and the index on it.
async fn run(database: &Empty) -> Result<(), String> {
    let table = "CREATE TABLE notes (body text); INSERT INTO notes VALUES ('x')";
    let column = "ALTER TABLE notes ADD COLUMN title text";
    let migrations = [
        migration(1, table),
        migration(2, INDEX),
        migration(3, column),
    ];
    let limit = Duration::from_millis(200);
    let ran = run_migrations(&mut database.owner().await, &migrations, limit).await;
    ran.map_err(|error| error.to_string())
}

async fn is_valid(database: &Empty) -> Option<bool> {
    let valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('notes_body_idx')";
    sqlx::query_scalar(valid)
        .fetch_optional(&mut database.owner().await)
        .await
        .expect("it answers")
}

#[tokio::test]
async fn a_no_transaction_migration_builds_its_index_once() {
    let database = Empty::new().await;
    for _ in 0..2 {
        assert_eq!(run(&database).await, Ok(()));
        assert_eq!(is_valid(&database).await, Some(true));
    }
}

#[tokio::test]
async fn an_index_whose_build_was_interrupted_is_built_again() {
    let database = Empty::new().await;
    run(&database).await.expect("it runs");
    // What a build leaves that was cancelled half-way.
    database
        .execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'notes_body_idx'::regclass;
             DELETE FROM _sqlx_migrations WHERE version >= 2;
             ALTER TABLE notes DROP COLUMN title",
        )
        .await;
    assert_eq!(is_valid(&database).await, Some(false));
    assert_eq!(run(&database).await, Ok(()));
    assert_eq!(is_valid(&database).await, Some(true));
}

#[tokio::test]
async fn a_concurrent_build_outwaits_a_transaction_that_a_change_of_the_table_would_not() {
    let database = Empty::new().await;
    database.execute("CREATE TABLE notes (body text)").await;
    let mut writer = database.owner().await;
    let open = "BEGIN; INSERT INTO notes VALUES ('y')";
    writer.execute(open).await.expect("it writes");
    let change = [migration(1, "ALTER TABLE notes ADD COLUMN title text")];
    let mut owner = database.owner().await;
    let limit = Duration::from_millis(200);
    let refused = run_migrations(&mut owner, &change, limit).await;
    let refused = refused.expect_err("the writer is in the way").to_string();
    assert!(refused.contains("lock timeout"), "{refused}");

    let index = [migration(2, INDEX)];
    let building = run_migrations(&mut owner, &index, limit);
    tokio::pin!(building);
    let waits = tokio::time::timeout(Duration::from_secs(1), &mut building).await;
    assert!(waits.is_err(), "it waits for the writer: {waits:?}");
    let more = "INSERT INTO notes VALUES ('z')";
    database.execute(more).await;
    writer.execute("COMMIT").await.expect("it commits");
    building.await.expect("it is built");
    assert_eq!(is_valid(&database).await, Some(true));
}
