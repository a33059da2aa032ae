//! Bringing the schema up to date, whoever else does so.

mod account_ids;
mod by_hand;
mod concurrent;
mod order;
mod partitioned;
mod rights;

use std::collections::HashMap;
use std::time::Duration;

use database::DatabaseConfig;
use groundwork::migrate;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgExecutor};

use crate::harness::{
    TestApp, admin, config, create_database_from, database_url, owner_url, settings,
};
use crate::process;

/// What the runner locks; nothing else may use it.
const LOCK: i64 = 0x6772_6f75_6e64_0001;

/// A database of its own that has never been migrated.
pub struct Empty {
    name: String,
    settings: HashMap<String, String>,
}

impl Empty {
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    async fn with(more: &[(&str, &str)]) -> Self {
        let name = create_database_from("template0").await;
        let owner = owner_url(&name);
        let all = [&[("DATABASE_MIGRATION_URL", owner.as_str())], more].concat();
        let settings = settings(&name, "smtp://127.0.0.1:1", &all);
        Self { name, settings }
    }

    fn config(&self) -> DatabaseConfig {
        config(&self.settings).database
    }

    /// Migrates in this process; never hangs.
    pub async fn migrate(&self) -> Result<(), String> {
        let config = self.config();
        let migrated =
            tokio::time::timeout(Duration::from_secs(90), migrate::migrate(&config)).await;
        migrated
            .expect("the runner ends")
            .map_err(|error| error.to_string())
    }

    pub async fn owner(&self) -> PgConnection {
        PgConnection::connect(&owner_url(&self.name))
            .await
            .expect("the test server answers")
    }

    async fn runtime(&self) -> PgConnection {
        PgConnection::connect(&database_url(&self.name))
            .await
            .expect("the runtime role is let in")
    }

    /// Runs statements as the owner.
    pub async fn execute(&self, sql: &'static str) {
        let mut owner = self.owner().await;
        sqlx::raw_sql(sql)
            .execute(&mut owner)
            .await
            .expect("the owner may do that");
    }
}

impl Drop for Empty {
    fn drop(&mut self) {
        let name = self.name.clone();
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime
                .expect("a runtime starts")
                .block_on(drop_database(&name));
        });
        dropped.join().expect("the database is dropped");
    }
}

/// Drops a database of a test, whoever is connected to it.
pub async fn drop_database(name: &str) {
    let sql = AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"));
    sqlx::raw_sql(sql)
        .execute(&mut admin().await)
        .await
        .expect("the database is dropped");
}

async fn count(conn: impl PgExecutor<'_>, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql)
        .fetch_one(conn)
        .await
        .expect("it counts")
}

const APPLIED: &str = "SELECT count(*) FROM _sqlx_migrations WHERE success";
const ADVISORY_LOCKS: &str =
    "SELECT count(*) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
    WHERE l.locktype = 'advisory' AND d.datname = current_database()";

const TABLES: &str = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
const BLOCKED: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'";
const TRIED: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND state = 'idle' AND query LIKE 'SELECT pg_try_advisory_lock%'";

/// The server notices a closed connection a moment later, so a lock may still be seen that long.
async fn assert_no_lock_is_left(owner: &mut PgConnection) {
    let mut looks = 0;
    while count(&mut *owner, ADVISORY_LOCKS).await > 0 {
        looks += 1;
        assert!(looks < 1_200, "a lock is left");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn shipped() -> i64 {
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations"))
        .expect("there are some");
    i64::try_from(files.count()).expect("there are not that many")
}

#[tokio::test]
async fn replicas_that_start_at_once_on_an_empty_database_run_each_migration_once() {
    let database = Empty::new().await;
    let one = || process::run(&database.settings, &["migrate"]);
    for output in <[_; 3]>::from(tokio::join!(one(), one(), one())) {
        assert!(output.status.success(), "{}", process::stderr(&output));
    }
    let mut owner = database.owner().await;
    assert_eq!(count(&mut owner, APPLIED).await, shipped());
    assert_eq!(
        count(&mut owner, "SELECT count(*) FROM _sqlx_migrations").await,
        shipped()
    );
    assert_eq!(
        database.migrate().await,
        Ok(()),
        "once more changes nothing"
    );
    assert_eq!(count(&mut owner, APPLIED).await, shipped());
    assert_no_lock_is_left(&mut owner).await;
}

#[tokio::test]
async fn a_migration_that_fails_is_named_leaves_no_lock_and_succeeds_once_it_can() {
    let database = Empty::new().await;
    database.execute("CREATE TABLE sessions (id integer)").await;
    let output = process::run(&database.settings, &["migrate"]).await;
    assert_eq!(output.status.code(), Some(1));
    let report = process::stderr(&output);
    assert!(
        report.contains("20261121080100") && report.contains("sessions"),
        "the migration is not named: {report}"
    );

    let mut owner = database.owner().await;
    for _ in 0..2 {
        let error = database
            .migrate()
            .await
            .expect_err("the table is still in the way");
        assert!(error.contains("20261121080100"), "{error}");
        assert_no_lock_is_left(&mut owner).await;
        assert_eq!(
            count(&mut owner, "SELECT count(*) FROM _sqlx_migrations").await,
            1,
            "what came before stays"
        );
    }
    database.execute("DROP TABLE sessions").await;
    assert_eq!(database.migrate().await, Ok(()));
    assert_eq!(count(&mut owner, APPLIED).await, shipped());
}

#[tokio::test]
async fn a_release_before_the_newest_still_starts() {
    let app = TestApp::new().await;
    let newer =
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
        VALUES (99990101000000, 'of a later release', true, '\\x00', 1)";
    sqlx::raw_sql(newer)
        .execute(&mut app.owner().await)
        .await
        .expect("it is noted");
    let name: String = sqlx::query_scalar("SELECT current_database()")
        .fetch_one(&app.owner_db)
        .await
        .expect("it has a name");
    let settings = process::with(
        &app.settings,
        &[("DATABASE_MIGRATION_URL", &owner_url(&name))],
    );
    migrate::migrate(&config(&settings).database)
        .await
        .expect("it passes over what it does not know");
    app.get("/health/ready").await.assert_status(200);
}

#[tokio::test]
async fn a_migration_that_was_edited_after_it_ran_is_refused_by_name() {
    let database = Empty::new().await;
    database.migrate().await.expect("it is migrated");
    database
        .execute("UPDATE _sqlx_migrations SET checksum = '\\x00' WHERE version = 20261121080000")
        .await;
    let error = database.migrate().await.expect_err("it is refused");
    assert!(error.contains("20261121080000"), "{error}");
    assert_no_lock_is_left(&mut database.owner().await).await;
}

#[tokio::test]
async fn the_runner_waits_for_another_one_without_waiting_in_the_server() {
    let database = Empty::new().await;
    let mut holder = database.owner().await;
    sqlx::query("SELECT pg_advisory_lock($1)")
        .bind(LOCK)
        .execute(&mut holder)
        .await
        .expect("it is free");
    let mut observer = database.owner().await;
    let waiting = database.migrate();
    tokio::pin!(waiting);
    let mut tries = 0;
    for _ in 0..2_400 {
        tokio::select! {
            ended = &mut waiting => panic!("the runner did not wait: {ended:?}"),
            () = tokio::time::sleep(Duration::from_millis(25)) => {}
        }
        assert_eq!(
            count(&mut observer, BLOCKED).await,
            0,
            "the runner waits inside the server"
        );
        tries += count(&mut observer, TRIED).await;
        if tries >= 10 {
            break;
        }
    }
    assert!(tries >= 10, "the runner does not try for its turn");
    assert_eq!(
        count(&mut observer, TABLES).await,
        0,
        "it works without its turn"
    );
    holder.close().await.expect("it closes");
    assert_eq!(waiting.await, Ok(()));
}

#[tokio::test]
async fn the_runner_gives_up_waiting_with_a_reason() {
    let database = Empty::with(&[("DB_MIGRATION_LOCK_TIMEOUT", "300ms")]).await;
    let mut holder = database.owner().await;
    sqlx::query("SELECT pg_advisory_lock($1)")
        .bind(LOCK)
        .execute(&mut holder)
        .await
        .expect("it is free");
    let output = process::run(&database.settings, &["migrate"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        process::stderr(&output).contains("DB_MIGRATION_LOCK_TIMEOUT"),
        "{}",
        process::stderr(&output)
    );
    assert_eq!(
        count(&mut holder, TABLES).await,
        0,
        "it works without its turn"
    );
}

#[tokio::test]
async fn migrating_needs_an_owner_and_says_so() {
    let app = TestApp::new().await;
    let output = process::run(&app.settings, &["migrate"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(process::stderr(&output).contains("DATABASE_MIGRATION_URL"));
}

#[tokio::test]
async fn every_foreign_key_has_an_index_and_unverified_accounts_can_be_deleted() {
    let app = TestApp::new().await;
    let without_index: Vec<String> = sqlx::query_scalar(
        "SELECT c.conname::text FROM pg_constraint AS c
         WHERE c.contype = 'f' AND c.connamespace = 'public'::regnamespace AND NOT EXISTS (
             SELECT FROM pg_index AS i WHERE i.indrelid = c.conrelid AND i.indkey[0] = c.conkey[1])",
    )
    .fetch_all(&mut app.owner().await)
    .await
    .expect("the constraints are listed");
    assert!(
        without_index.is_empty(),
        "without an index: {without_index:?}"
    );
    // Nobody pays with an account that was never verified.
    let keeping: Vec<String> = sqlx::query_scalar(
        "SELECT c.conname::text FROM pg_constraint AS c
         WHERE c.contype = 'f' AND c.confrelid = 'users'::regclass AND c.confdeltype NOT IN ('c', 'n')
         ORDER BY c.conname",
    )
    .fetch_all(&mut app.owner().await)
    .await
    .expect("the constraints are listed");
    let payments = ["payments_user_id_fkey", "subscriptions_user_id_fkey"];
    assert_eq!(keeping, payments, "without ON DELETE CASCADE or SET NULL");
}
