//! The schema that this release needs: its migrations, options of connections, and what is wrong with roles and row security.

use database::{DatabaseConfig, Db, Options, StatementLog};
use sqlx::migrate::Migrator;

pub(crate) static MIGRATIONS: Migrator = sqlx::migrate!();

/// With the version, because the policies of row-level security know the sessions of the release before by its name
/// alone (`protect_account_rows`).
const APPLICATION_NAME: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// Options of the service's connections. Statements are logged with `DB_ECHO`, and otherwise are spans if those
/// are exported.
#[must_use]
pub fn connection_options(config: &DatabaseConfig) -> Options {
    let statement_log = if config.echo {
        StatementLog::Debug
    } else if telemetry::exports_spans() {
        StatementLog::Trace
    } else {
        StatementLog::Off
    };
    Options {
        application_name: APPLICATION_NAME,
        statement_log,
        schema_version: MIGRATIONS.iter().map(|one| one.version).max(),
    }
}

/// Returns what is wrong with the privileges of the current role.
pub async fn role_faults(db: &Db) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT fault FROM pg_roles CROSS JOIN LATERAL (VALUES
             (rolsuper, 'the runtime role is a superuser'),
             (rolcreaterole, 'the runtime role may create roles'),
             (has_schema_privilege('public', 'CREATE'), 'the runtime role may create tables'),
             (EXISTS (SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
                          AND pg_has_role(relowner, 'MEMBER')), 'the runtime role owns tables'),
             (EXISTS (SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
                          AND has_table_privilege(oid, 'TRUNCATE')), 'the runtime role may truncate tables'),
             (has_table_privilege('audit_log', 'UPDATE') OR has_table_privilege('audit_log', 'DELETE'),
                 'the runtime role may rewrite the audit log'),
             (NOT has_table_privilege('users', 'SELECT'),
                 'the runtime role may not read the tables: run `migrate`'),
             (NOT has_schema_privilege('graphile_worker', 'USAGE'),
                 'the runtime role may not use the queue: run `migrate`')
         ) AS checks (is_broken, fault)
         WHERE rolname = current_user AND is_broken",
    )
    .fetch_all(db)
    .await
}

/// Returns the tables with an account that have no row security, or none that is forced, and whether the current role
/// bypasses it.
pub async fn row_security_faults(db: &Db) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT format('row security of %s is not enabled', c.relname)
         FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
             AND a.attname = CASE c.relname WHEN 'accounts' THEN 'id' ELSE 'account_id' END
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
             AND NOT c.relrowsecurity
         UNION ALL
         SELECT format('row security of %s is not forced', c.relname)
         FROM pg_class AS c
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND c.relrowsecurity
             AND NOT c.relforcerowsecurity
         UNION ALL
         SELECT 'the role of DATABASE_URL bypasses row security'
         FROM pg_roles WHERE rolname = current_user AND (rolsuper OR rolbypassrls)
         ORDER BY 1",
    )
    .fetch_all(db)
    .await
}
