//! Databases as people have them: of another encoding, with schemas and rights of their own; and a Redis
//! whose user may not do everything.

use std::process::Output;

use groundwork_dev::{Inbox, Redis};
use sqlx::{AssertSqlSafe, PgConnection};

use crate::harness::{
    Database, Service, Settings, World, connect, count, is_fine, run, settings, until, with,
};
use crate::redis::tell;

/// An empty database, and the settings of a service that migrates it.
struct Fresh {
    database: Database,
    settings: Settings,
    inbox: Inbox,
}

impl Fresh {
    async fn of(options: &str) -> Self {
        let database = Database::created(options).await;
        let inbox = Inbox::start().await;
        let settings = with(
            &settings(&database.runtime_url(), &inbox.smtp_url()),
            &[("DATABASE_MIGRATION_URL", &database.owner_url())],
        );
        Self {
            database,
            settings,
            inbox,
        }
    }

    async fn owner(&self) -> PgConnection {
        connect(&self.database.owner_url()).await
    }

    /// Runs a statement as the owner; `{db}`, `{owner}` and `{runtime}` are replaced by names.
    async fn execute(&self, sql: &str) {
        let user = |url: String| {
            let url: url::Url = url.parse().expect("it is a URL");
            url.username().to_owned()
        };
        let sql = sql
            .replace("{db}", self.database.name())
            .replace("{owner}", &user(self.database.owner_url()))
            .replace("{runtime}", &user(self.database.runtime_url()));
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut self.owner().await)
            .await
            .expect("it is executed");
    }

    async fn migrate(&self) -> Output {
        run(&self.settings, &["migrate"], "").await
    }

    async fn doctor(&self) -> String {
        text(&run(&self.settings, &["doctor"], "").await)
    }
}

pub fn text(output: &Output) -> String {
    let parts = [&output.stdout, &output.stderr];
    parts.map(|part| String::from_utf8_lossy(part)).concat()
}

/// The finding of `doctor` about one check.
#[track_caller]
pub fn finding<'a>(report: &'a str, check: &str) -> &'a str {
    let found = report.lines().find(|line| line.contains(check));
    found.unwrap_or_else(|| panic!("nothing is found about {check}: {report}"))
}

pub const FITNESS: &str = "database encoding, schema and pooling";

#[tokio::test]
async fn f60_a_database_that_cannot_hold_every_text_is_refused() {
    for encoding in ["LATIN1", "SQL_ASCII", "WIN1252"] {
        let options = format!("ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'");
        let fresh = Fresh::of(&options).await;
        let migrated = fresh.migrate().await;
        assert!(!migrated.status.success(), "{encoding}");
        let said = text(&migrated);
        assert!(said.contains(encoding) && said.contains("UTF8"), "{said}");
        let report = fresh.doctor().await;
        let found = finding(&report, FITNESS);
        assert!(
            found.starts_with("FAULT") && found.contains(encoding),
            "{found}"
        );
    }
    let fresh = Fresh::of("ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'").await;
    assert!(fresh.migrate().await.status.success());
    assert!(finding(&fresh.doctor().await, FITNESS).starts_with("ok"));
}

#[tokio::test]
async fn f60_the_runtime_role_may_connect_where_that_was_revoked_from_everybody() {
    let fresh = Fresh::of("").await;
    fresh
        .execute("REVOKE CONNECT ON DATABASE {db} FROM PUBLIC")
        .await;
    let migrated = fresh.migrate().await;
    assert!(migrated.status.success(), "{}", text(&migrated));
    assert!(finding(&fresh.doctor().await, "database responds").starts_with("ok"));
    let mut runtime = connect(&fresh.database.runtime_url()).await;
    assert_eq!(count(&mut runtime, "SELECT count(*) FROM users").await, 0);
    fresh
        .execute("REVOKE CONNECT ON DATABASE {db} FROM {runtime}")
        .await;
    let report = fresh.doctor().await;
    let found = finding(&report, "database responds");
    assert!(found.contains("permission denied for database"), "{found}");
}

#[tokio::test]
async fn f60_schemas_with_the_names_of_our_roles_take_none_of_our_tables_and_hide_none() {
    let fresh = Fresh::of("").await;
    fresh
        .execute(
            "CREATE SCHEMA {owner}; CREATE SCHEMA IF NOT EXISTS {runtime};
             GRANT ALL ON SCHEMA {runtime} TO PUBLIC;
             CREATE TABLE {runtime}.users (id int); CREATE TABLE {runtime}.sessions (id int)",
        )
        .await;
    let migrated = fresh.migrate().await;
    assert!(migrated.status.success(), "{}", text(&migrated));
    let mut owner = fresh.owner().await;
    let elsewhere =
        "SELECT count(*) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE relname IN ('_sqlx_migrations', 'users', 'sessions', 'audit_log', 'api_keys')
            AND nspname = current_user";
    assert_eq!(count(&mut owner, elsewhere).await, 0);
    let ours = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'
        AND tablename IN ('_sqlx_migrations', 'users', 'sessions', 'audit_log', 'api_keys')";
    assert_eq!(count(&mut owner, ours).await, 5);
    assert!(finding(&fresh.doctor().await, FITNESS).starts_with("ok"));
    let service = Service::start(&fresh.settings, &["serve"]).await;
    let access = service.sign_in("ada").await.access;
    let me = service.me(&access).await;
    assert!(is_fine(&me), "{me:?}");
    assert!(is_fine(&service.register("grace@example.com").await));
    until("the email comes", async || {
        !fresh.inbox.emails_to("grace@example.com").is_empty()
    })
    .await;
}

#[tokio::test]
async fn f60_tables_that_are_in_another_schema_are_not_made_once_more() {
    let fresh = Fresh::of("").await;
    fresh
        .execute("CREATE SCHEMA {owner}; CREATE TABLE {owner}._sqlx_migrations (version bigint)")
        .await;
    let migrated = fresh.migrate().await;
    assert!(!migrated.status.success());
    let said = text(&migrated);
    assert!(said.contains("SET SCHEMA public"), "{said}");
    let made = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(count(&mut fresh.owner().await, made).await, 0);
}

#[tokio::test]
async fn f62_a_redis_user_without_the_right_to_run_scripts_degrades_readiness() {
    let world = World::new().await;
    let redis = Redis::throw_away().await.expect("it starts");
    let url = redis.url().replace("redis://", "redis://app:8kX2pQ@");
    let settings = with(&world.settings, &[("REDIS_URL", &url)]);
    for (denied, check) in [
        ("-@scripting", "redis runs scripts"),
        ("-eval -evalsha", "redis runs scripts"),
        ("resetkeys ~cache:*", "redis runs scripts"),
    ] {
        let user = format!("ACL SETUSER app reset on >8kX2pQ ~* &* +@all {denied}");
        tell(&redis, &user).await;
        let report = text(&run(&settings, &["doctor"], "").await);
        assert!(
            finding(&report, "redis responds").starts_with("ok"),
            "{report}"
        );
        let found = finding(&report, check);
        assert!(
            found.starts_with("FAULT") && found.to_lowercase().contains("perm"),
            "{found}"
        );
        let service = world.serve(&[("REDIS_URL", &url)]).await;
        until("readiness is degraded", async || {
            let ready = service.get("/health/ready").await;
            is_fine(&ready) && ready.body["redis"] == "degraded"
        })
        .await;
    }
    tell(&redis, "ACL SETUSER app reset on >8kX2pQ ~* &* +@all").await;
    let report = text(&run(&settings, &["doctor"], "").await);
    assert!(
        finding(&report, "redis runs scripts").starts_with("ok"),
        "{report}"
    );
}

#[tokio::test]
async fn f62_a_wrong_redis_password_reads_as_one() {
    let world = World::new().await;
    let redis = Redis::throw_away().await.expect("it starts");
    tell(&redis, "CONFIG SET requirepass 8kX2pQ").await;
    for user in [":wrong8kX2pQ@", "nobody:8kX2pQ@", ""] {
        let url = redis.url().replace("redis://", &format!("redis://{user}"));
        let settings = with(&world.settings, &[("REDIS_URL", &url)]);
        let report = text(&run(&settings, &["doctor"], "").await);
        let found = finding(&report, "redis responds").to_lowercase();
        assert!(
            found.starts_with("fault") && found.contains("auth"),
            "{found}"
        );
        assert!(
            !found.contains("in time") && !found.contains("8kx2pq"),
            "{found}"
        );
    }
}
