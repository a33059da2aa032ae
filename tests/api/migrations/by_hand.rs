//! Schemas that somebody has changed by hand: a migration whose objects exist is recorded as applied if they are what it
//! creates, and otherwise fails with the differences.

use sqlx::AssertSqlSafe;

use super::{Empty, count};
use crate::harness::owner_url;
use crate::process::{run, stderr, stdout, with};

/// The newest migration, which creates one table with two indexes, and the objects that it creates.
const VERSION: i64 = 20_261_201_100_100;
const FILE: &str = include_str!("../../../migrations/20261201100100_create_data_requests.sql");
const FORGET: &str = "DELETE FROM _sqlx_migrations WHERE version = 20261201100100";

const RECORDED: &str = "SELECT count(*) FROM _sqlx_migrations WHERE success";
const AUDITED: &str = "SELECT count(*) FROM audit_log WHERE event = 'migration_recorded'";
const LEFT: &str = "SELECT count(*) FROM pg_database WHERE datname LIKE '%\\_schema\\_check'
    AND datname LIKE left(current_database(), 48) || '%'";

/// A migrated database in which a migration was not recorded, though what it creates is there.
async fn forgotten() -> Empty {
    let database = Empty::new().await;
    database.migrate().await.expect("it is migrated");
    database.execute(FORGET).await;
    database
}

async fn check(database: &Empty) -> (Option<i32>, String, String) {
    let output = run(&database.settings, &["migrate", "--check"]).await;
    (output.status.code(), stdout(&output), stderr(&output))
}

async fn number(database: &Empty, sql: &'static str) -> i64 {
    count(&mut database.owner().await, sql).await
}

#[tokio::test]
async fn objects_that_are_those_of_the_migration_are_recorded_as_applied_and_audited() {
    let database = forgotten().await;
    let before = number(&database, RECORDED).await;
    let (code, out, err) = check(&database).await;
    assert_eq!(code, Some(0), "{out}{err}");
    let line = format!(
        "{VERSION} create data requests: exists as the migration creates it, and will be recorded as applied"
    );
    assert!(out.contains(&line), "{out}");
    assert_eq!(
        number(&database, RECORDED).await,
        before,
        "the check changes nothing"
    );

    database.migrate().await.expect("it is repaired");
    assert_eq!(number(&database, RECORDED).await, before + 1);
    assert_eq!(number(&database, AUDITED).await, 1);
    assert_eq!(number(&database, LEFT).await, 0, "databases of comparisons");
    let (code, out, _) = check(&database).await;
    assert_eq!((code, out.trim()), (Some(0), "no migration is pending"));
    database.migrate().await.expect("it is migrated");
    assert_eq!(number(&database, AUDITED).await, 1);
}

#[tokio::test]
async fn objects_that_differ_in_anything_are_not_recorded_and_the_difference_is_printed() {
    let database = forgotten().await;
    let before = number(&database, RECORDED).await;
    let mut is_first = true;
    for (change, difference) in [
        (
            "ALTER TABLE data_requests ALTER COLUMN kind TYPE varchar(20)",
            "column data_requests.kind is character varying(20) not null, and should be text not null",
        ),
        (
            "DROP INDEX data_requests_closed_at_idx",
            "index data_requests_closed_at_idx is missing",
        ),
        (
            "ALTER TABLE data_requests DROP COLUMN answer",
            "column data_requests.answer is missing",
        ),
        (
            "ALTER TABLE data_requests ADD COLUMN note text",
            "column data_requests.note should not be there",
        ),
        (
            "CREATE INDEX data_requests_kind_idx ON data_requests (kind)",
            "index data_requests_kind_idx should not be there",
        ),
        (
            "ALTER TABLE data_requests DROP CONSTRAINT data_requests_closed_check",
            "constraint data_requests_closed_check of data_requests is missing",
        ),
        (
            "ALTER TABLE data_requests ALTER COLUMN kind SET DEFAULT 'access'",
            "column data_requests.kind is text not null default 'access'::text, and should be text not null",
        ),
        (
            "ALTER TABLE data_requests ENABLE ROW LEVEL SECURITY",
            "table data_requests is table row security, and should be table",
        ),
    ] {
        database.execute(change).await;
        let error = database.migrate().await.expect_err("it differs");
        assert!(error.contains(difference), "{change}: {error}");
        assert_eq!(number(&database, RECORDED).await, before, "{change}");
        assert_eq!(number(&database, LEFT).await, 0, "{change}");
        if is_first {
            let (code, out, _) = check(&database).await;
            assert_eq!(code, Some(1), "{change}: {out}");
            assert!(out.contains(difference), "{change}: {out}");
            is_first = false;
        }
        database.execute("DROP TABLE data_requests").await;
        database.execute(FILE).await;
    }
    database.migrate().await.expect("it is equal now");
    assert_eq!(number(&database, RECORDED).await, before + 1);
}

#[tokio::test]
async fn half_a_migration_is_not_recorded_and_the_rest_runs_once_it_is_removed() {
    let database = forgotten().await;
    database.execute("DROP TABLE data_requests").await;
    let (half, _) = FILE.split_once("CREATE INDEX").expect("it has an index");
    database.execute(half).await;
    let error = database.migrate().await.expect_err("half of it");
    assert!(
        error.contains("index data_requests_received_at_idx is missing"),
        "{error}"
    );
    database.execute("DROP TABLE data_requests").await;
    database.migrate().await.expect("it is migrated");
    assert_eq!(number(&database, AUDITED).await, 0, "it was run");
}

#[tokio::test]
async fn an_index_that_a_file_would_keep_by_its_name_is_compared() {
    let database = Empty::new().await;
    database.migrate().await.expect("it is migrated");
    let forget = "DELETE FROM _sqlx_migrations WHERE version = 20261128140503";
    database.execute(forget).await;
    database
        .migrate()
        .await
        .expect("it is the index of the file");
    assert_eq!(number(&database, AUDITED).await, 1);

    database.execute(forget).await;
    database
        .execute("DROP INDEX payments_request_key; CREATE INDEX payments_request_key ON payments (created_at)")
        .await;
    let error = database.migrate().await.expect_err("another index");
    let difference = "index payments_request_key is CREATE INDEX payments_request_key ON public.payments USING btree (created_at)";
    assert!(error.contains(difference), "{error}");
    let (code, out, _) = check(&database).await;
    assert_eq!(code, Some(1), "{out}");
    database.execute("DROP INDEX payments_request_key").await;
    database.migrate().await.expect("it is built");
}

#[tokio::test]
async fn an_owner_who_may_not_create_databases_gets_the_failure_of_the_migration() {
    let database = Empty::new().await;
    let role = format!("owner_of_{}", database.name);
    let name = &database.name;
    let sql = format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'x' NOCREATEDB; ALTER DATABASE {name} OWNER TO {role};
         ALTER SCHEMA public OWNER TO {role}"
    );
    let done = sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut database.owner().await)
        .await;
    done.expect("it is created");
    let mut url: url::Url = owner_url(name).parse().expect("it is a URL");
    url.set_username(&role).expect("it takes a name");
    url.set_password(Some("x")).expect("it takes a password");
    let settings = with(
        &database.settings,
        &[("DATABASE_MIGRATION_URL", url.as_str())],
    );
    let migrate = async |args: &[&str]| {
        let output = run(&settings, args).await;
        (output.status.code(), stdout(&output), stderr(&output))
    };
    assert_eq!(migrate(&["migrate"]).await.0, Some(0));
    database.execute(FORGET).await;
    let (code, out, _) = migrate(&["migrate", "--check"]).await;
    assert_eq!(code, Some(0), "{out}");
    assert!(
        out.contains("not compared with what exists, for which the owner needs the right CREATEDB"),
        "{out}"
    );
    let (code, _, err) = migrate(&["migrate"]).await;
    assert_eq!(code, Some(1));
    assert!(err.contains("\"data_requests\" already exists"), "{err}");
    let sql = format!(
        "DROP OWNED BY {role} CASCADE; ALTER DATABASE {name} OWNER TO CURRENT_USER; DROP ROLE {role}"
    );
    let done = sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut database.owner().await)
        .await;
    done.expect("the role is dropped");
}
