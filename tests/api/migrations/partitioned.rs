//! Indexes of partitioned tables, which are built on each partition after the migrations.

use std::time::Duration;

use database::complete_partitioned_indexes;
use sqlx::Executor as _;

use super::{Empty, count};

const LOCK_TIMEOUT: Duration = Duration::from_millis(300);

const NOTES: &str = "
    CREATE TABLE notes (id integer, made_at date NOT NULL) PARTITION BY RANGE (made_at);
    CREATE TABLE notes_2025 PARTITION OF notes FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
    CREATE TABLE \"notes_Next\" PARTITION OF notes FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
    CREATE TABLE notes_default PARTITION OF notes DEFAULT;
    INSERT INTO notes SELECT n, date '2025-01-01' + n FROM generate_series(1, 700) AS n;
    CREATE INDEX notes_id_idx ON ONLY notes (id DESC, made_at) WHERE id > 7";

const VALID: &str =
    "SELECT count(*) FROM pg_index WHERE indexrelid = 'notes_id_idx'::regclass AND indisvalid";
const ATTACHED: &str =
    "SELECT count(*) FROM pg_inherits WHERE inhparent = 'notes_id_idx'::regclass";
const INDEXES: &str = "SELECT count(*) FROM pg_indexes WHERE tablename LIKE 'notes%'";

async fn complete(database: &Empty) -> Result<(), String> {
    let mut owner = database.owner().await;
    let set = "SET search_path = public";
    owner.execute(set).await.expect("it is set");
    let completed = complete_partitioned_indexes(&mut owner, LOCK_TIMEOUT).await;
    completed.map_err(|error| error.to_string())
}

async fn assert_complete(database: &Empty, partitions: i64) {
    let mut owner = database.owner().await;
    assert_eq!(count(&mut owner, VALID).await, 1);
    assert_eq!(count(&mut owner, ATTACHED).await, partitions);
    assert_eq!(count(&mut owner, INDEXES).await, partitions + 1);
}

#[tokio::test]
async fn each_partition_gets_the_index_and_the_whole_is_valid() {
    let database = Empty::new().await;
    database.execute(NOTES).await;
    for _ in 0..2 {
        assert_eq!(complete(&database).await, Ok(()));
        assert_complete(&database, 3).await;
    }
    let definition: String =
        sqlx::query_scalar("SELECT indexdef FROM pg_indexes WHERE indexname = 'notes_2025_id_idx'")
            .fetch_one(&mut database.owner().await)
            .await
            .expect("it is named after its partition");
    assert_eq!(
        definition,
        "CREATE INDEX notes_2025_id_idx ON public.notes_2025 USING btree (id DESC, made_at) WHERE (id > 7)"
    );
    database
        .execute("CREATE TABLE notes_2027 PARTITION OF notes FOR VALUES FROM ('2027-01-01') TO ('2028-01-01')")
        .await;
    assert_complete(&database, 4).await;
}

#[tokio::test]
async fn a_run_that_was_interrupted_is_continued() {
    let database = Empty::new().await;
    database.execute(NOTES).await;
    // One is built and not attached, and the build of another was cancelled.
    database
        .execute(
            "CREATE INDEX notes_2025_id_idx ON notes_2025 (id DESC, made_at) WHERE id > 7;
             CREATE INDEX notes_default_id_idx ON notes_default (id DESC, made_at) WHERE id > 7;
             UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'notes_default_id_idx'::regclass",
        )
        .await;
    assert_eq!(complete(&database).await, Ok(()));
    assert_complete(&database, 3).await;
}

#[tokio::test]
async fn writers_are_waited_for_and_a_partition_that_is_attached_or_dropped_meanwhile_is_no_fault()
{
    let database = Empty::new().await;
    database.execute(NOTES).await;
    let mut writer = database.owner().await;
    // As a writer does, and no lock of the whole, which dropping a partition waits for.
    let open = "BEGIN; LOCK TABLE notes_2025 IN ROW EXCLUSIVE MODE";
    writer.execute(open).await.expect("it writes");
    let completing = complete(&database);
    tokio::pin!(completing);
    let waits = tokio::time::timeout(Duration::from_secs(1), &mut completing).await;
    assert!(waits.is_err(), "it waits for the writer: {waits:?}");
    database
        .execute(
            "INSERT INTO notes VALUES (9, '2025-04-01');
             CREATE TABLE notes_2027 PARTITION OF notes FOR VALUES FROM ('2027-01-01') TO ('2028-01-01');
             DROP TABLE \"notes_Next\"",
        )
        .await;
    writer.execute("COMMIT").await.expect("it commits");
    assert_eq!(completing.await, Ok(()));
    assert_complete(&database, 3).await;
}

#[tokio::test]
async fn a_migrated_database_has_no_invalid_index() {
    let database = Empty::new().await;
    database.migrate().await.expect("it is migrated");
    let invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid";
    assert_eq!(count(&mut database.owner().await, invalid).await, 0);
}
