//! Row-level security: every table with an account has it, and no way leads around it.

pub mod behaviour;
mod census;

use sqlx::{AssertSqlSafe, PgConnection};

/// The tables with an account, and the column that has it.
const TABLES: &str = "
    SELECT c.oid, c.relname::text AS name, a.attname::text AS column_name
    FROM pg_class AS c
    JOIN pg_attribute AS a ON a.attrelid = c.oid
        AND a.attname = CASE c.relname WHEN 'accounts' THEN 'id' ELSE 'account_id' END
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition";

async fn run(conn: &mut PgConnection, sql: &str) {
    let ran = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(conn);
    ran.await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}
