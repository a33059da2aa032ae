//! Migrations of a later version of the template that are older by date than those of the product.

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

use database::run_migrations;
use sqlx::migrate::{Migration, MigrationSource as _, MigrationType, Migrator};
use sqlx::{Connection as _, PgConnection, SqlSafeStr as _};

use super::Empty;

/// The migration of a product, made after it came from the template.
const OWN: &str = "-- Projects of the product.
CREATE TABLE projects (id uuid CONSTRAINT projects_pkey PRIMARY KEY, file_id uuid);";

/// Everything that the catalog says of the schema, whatever the order in which it was made.
const CATALOG: &str = "
    SELECT 'column ' || table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || coalesce(' ' || column_default, '')
    FROM information_schema.columns WHERE table_schema = 'public'
    UNION ALL
    SELECT 'constraint ' || conrelid::regclass || '.' || conname || ' ' || convalidated || ' ' || pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL
    SELECT 'trigger ' || pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL
    SELECT 'policy ' || tablename || '.' || policyname || ' ' || coalesce(qual, '') || ' ' || coalesce(with_check, '') FROM pg_policies
    UNION ALL
    SELECT 'function ' || p.oid::regprocedure || ' ' || md5(p.prosrc) FROM pg_proc AS p WHERE p.pronamespace = 'public'::regnamespace
    ORDER BY 1";

async fn run(connection: &mut PgConnection, migrations: &[Migration]) {
    let ran = run_migrations(connection, migrations, Duration::from_secs(5)).await;
    ran.expect("they run");
}

async fn catalog(connection: &mut PgConnection) -> Vec<String> {
    let read = sqlx::query_scalar(CATALOG).fetch_all(connection).await;
    read.expect("the catalog can be read")
}

async fn shipped() -> Vec<Migration> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations"));
    let found = folder.resolve().await.expect("the files can be read");
    let migrator = Migrator {
        migrations: Cow::Owned(found),
        ..Migrator::DEFAULT
    };
    migrator.iter().cloned().collect()
}

#[tokio::test]
async fn older_migrations_that_come_later_lead_to_the_same_schema() {
    let shipped = shipped().await;
    // The product was made before the last ten, and has a migration that is later by date than all of them.
    let (before, after) = shipped.split_at(shipped.len() - 10);
    assert!(
        after.iter().any(|migration| migration.no_tx),
        "concurrent builds are among them"
    );
    let own = Migration::new(
        29_990_101_000_000,
        "create projects".into(),
        MigrationType::Simple,
        OWN.into_sql_str(),
        false,
    );
    let all = [shipped.as_slice(), std::slice::from_ref(&own)].concat();

    let product = Empty::new().await;
    let mut connection = product.owner().await;
    run(&mut connection, &[before, &[own]].concat()).await;
    let made = catalog(&mut connection).await;
    run(&mut connection, &all).await;
    let updated = catalog(&mut connection).await;
    connection.close().await.expect("it closes");

    let empty = Empty::new().await;
    let mut connection = empty.owner().await;
    run(&mut connection, &all).await;
    let fresh = catalog(&mut connection).await;
    connection.close().await.expect("it closes");

    assert!(updated.len() > made.len(), "the last ones create something");
    let differences: Vec<_> = updated
        .iter()
        .filter(|line| !fresh.contains(line))
        .chain(fresh.iter().filter(|line| !updated.contains(line)))
        .collect();
    assert!(differences.is_empty(), "{differences:#?}");
}
