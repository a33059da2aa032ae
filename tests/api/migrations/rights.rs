//! What the runtime role may do with the schema, and the limits that its sessions have.

use groundwork::migrate;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::{Empty, count};
use crate::harness::{TestApp, config, database_url};
use crate::process;

#[tokio::test]
async fn a_missing_runtime_role_is_made_with_the_password_of_its_url() {
    let database = Empty::new().await;
    let role = format!("runtime_of_{}", database.name);
    let mut url: url::Url = database_url(&database.name).parse().expect("it is a URL");
    url.set_username(&role).expect("it takes a name");
    url.set_password(Some("p@ss/w:rd'%+x"))
        .expect("it takes a password");
    let settings = process::with(&database.settings, &[("DATABASE_URL", url.as_str())]);
    for _ in 0..2 {
        migrate::migrate(&config(&settings).database)
            .await
            .expect("it is migrated");
    }
    let mut runtime = PgConnection::connect(url.as_str())
        .await
        .expect("the role is let in");
    assert_eq!(count(&mut runtime, "SELECT count(*) FROM users").await, 0);
    runtime.close().await.expect("it closes");
    let sql = AssertSqlSafe(format!("DROP OWNED BY {role}; DROP ROLE {role}"));
    sqlx::raw_sql(sql)
        .execute(&mut database.owner().await)
        .await
        .expect("the role is dropped");
}

#[tokio::test]
async fn the_runtime_role_reads_and_writes_rows_and_changes_nothing_else() {
    let database = Empty::new().await;
    database.migrate().await.expect("it is migrated");
    let mut runtime = database.runtime().await;
    for allowed in [
        "INSERT INTO users (id, email, password_hash, created_at, updated_at)
            VALUES (gen_random_uuid(), 'ada@example.com', 'x', now(), now())",
        "UPDATE users SET first_name = 'Ada'",
        "SELECT * FROM users",
        "INSERT INTO audit_log (id, created_at, event) VALUES (gen_random_uuid(), now(), 'test')",
        "INSERT INTO audit_log (id, created_at, event) VALUES (gen_random_uuid(), now() - interval '9 years', 'test')",
        "SELECT * FROM audit_log",
        "SELECT * FROM _sqlx_migrations",
        "SELECT graphile_worker.add_job('test')",
        "DELETE FROM users",
    ] {
        let done = sqlx::raw_sql(allowed).execute(&mut runtime).await;
        assert!(done.is_ok(), "{allowed}: {done:?}");
    }
    let partition: String = sqlx::query_scalar(
        "SELECT tableoid::regclass::text FROM audit_log ORDER BY created_at DESC LIMIT 1",
    )
    .fetch_one(&mut database.owner().await)
    .await
    .expect("the entry is there");
    assert_ne!(
        partition, "audit_log_default",
        "this month has no partition"
    );
    let on_partition = ["SELECT * FROM", "DELETE FROM", "TRUNCATE", "DROP TABLE"]
        .map(|verb| format!("{verb} {partition}"));
    let refused = [
        "CREATE TABLE mine (id integer)",
        "CREATE TABLE graphile_worker.mine (id integer)",
        "CREATE SCHEMA mine",
        "CREATE ROLE mine",
        "ALTER TABLE users ADD COLUMN mine integer",
        "CREATE INDEX mine ON users (first_name)",
        "DROP TABLE users",
        "TRUNCATE users",
        "TRUNCATE audit_log",
        "UPDATE audit_log SET event = 'forged'",
        "DELETE FROM audit_log",
        "DELETE FROM audit_log_default",
        "UPDATE audit_log_default SET event = 'forged'",
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (1, 'x', true, '', 1)",
        "UPDATE _sqlx_migrations SET success = false",
        "DELETE FROM _sqlx_migrations",
        "CREATE OR REPLACE FUNCTION create_month_partitions(parent text, months_ahead integer) RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    ];
    for statement in refused.into_iter().map(str::to_owned).chain(on_partition) {
        let error = sqlx::raw_sql(AssertSqlSafe(statement.clone()))
            .execute(&mut runtime)
            .await;
        let error = error
            .err()
            .and_then(|error| error.as_database_error()?.code().map(Into::<String>::into));
        assert_eq!(
            error.as_deref(),
            Some("42501"),
            "{statement} is not refused for want of rights"
        );
    }
}

#[tokio::test]
async fn this_month_and_three_more_have_a_partition_and_only_known_tables_get_any() {
    let database = Empty::new().await;
    database.migrate().await.expect("it is migrated");
    let mut runtime = database.runtime().await;
    let ready = count(&mut runtime, "SELECT count(*) FROM generate_series(0, 3) AS ahead WHERE to_regclass(
        'audit_log_' || to_char((now() AT TIME ZONE 'UTC') + make_interval(months => ahead), 'YYYYMM')) IS NOT NULL").await;
    assert_eq!(ready, 4);
    let make = "SELECT create_month_partitions($1, $2)";
    let create = async |conn: &mut PgConnection, parent: &str, months: i32| {
        sqlx::query_scalar::<_, i32>(make)
            .bind(parent)
            .bind(months)
            .fetch_one(conn)
            .await
    };
    assert_eq!(
        create(&mut runtime, "audit_log", 3).await.expect("it may"),
        0,
        "they are all there"
    );
    assert_eq!(
        create(&mut runtime, "audit_log", 4).await.expect("it may"),
        1
    );
    assert_eq!(
        create(&mut runtime, "audit_log", 4).await.expect("it may"),
        0
    );
    for (parent, months) in [
        ("users", 3),
        ("public.audit_log", 3),
        ("audit_log; DROP TABLE users", 3),
        ("audit_log", 25),
        ("audit_log", -1),
    ] {
        assert!(
            create(&mut runtime, parent, months).await.is_err(),
            "{parent} {months}"
        );
    }
}

#[tokio::test]
async fn the_time_limits_of_the_settings_are_in_force_on_every_connection() {
    let app = TestApp::with(&[
        ("DB_STATEMENT_TIMEOUT", "1234ms"),
        ("DB_LOCK_TIMEOUT", "567ms"),
        ("DB_IDLE_TRANSACTION_TIMEOUT", "8901ms"),
    ])
    .await;
    let mut connections = Vec::new();
    for _ in 0..app.state.db.max_connections() {
        connections.push(app.state.db.acquire().await.expect("the pool has one"));
    }
    for connection in &mut connections {
        let limits: (String, String, String) = sqlx::query_as("SELECT current_setting('statement_timeout'),
            current_setting('lock_timeout'), current_setting('idle_in_transaction_session_timeout')")
            .fetch_one(&mut **connection)
            .await
            .expect("it answers");
        assert_eq!(
            limits,
            ("1234ms".to_owned(), "567ms".to_owned(), "8901ms".to_owned())
        );
    }
    let slow = sqlx::query("SELECT pg_sleep(20)")
        .execute(&mut *connections[0])
        .await
        .expect_err("it is cut short");
    assert!(database::is_outage(&slow), "{slow}");
}
