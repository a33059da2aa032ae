//! Faults of the schema, from the catalog.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgExecutor};

use super::{TABLES, run};
use crate::harness::{TestApp, database_url};

/// Functions that run as their owner, each read by somebody for what it lets the runtime role reach: partitions by
/// month, the removal of addresses from old audit entries and of details from those of erased users, and a trigger that writes a table without an account.
const REVIEWED_FUNCTIONS: [&str; 8] = [
    "erase_audit_details",
    "attach_month_partition",
    "create_month_partitions",
    "drop_month_partitions",
    "missing_months",
    "month_partition_state",
    "remove_audit_addresses",
    "record_session_revocation",
];

/// One fault a row. `$1` is the runtime role, `$2` the functions that are reviewed.
fn faults_sql() -> String {
    format!(
        "WITH tables AS ({TABLES}), commands (command, name) AS (
             VALUES ('r', 'SELECT'), ('a', 'INSERT'), ('w', 'UPDATE'), ('d', 'DELETE')
         )
         SELECT format('%s: row security is not enabled and forced', t.name)
         FROM tables AS t JOIN pg_class AS c USING (oid)
         WHERE NOT (c.relrowsecurity AND c.relforcerowsecurity)
         UNION ALL
         SELECT format('%s: no policy for %s names the account', t.name, commands.name)
         FROM tables AS t CROSS JOIN commands
         WHERE NOT EXISTS (
             SELECT FROM pg_policy AS p
             WHERE p.polrelid = t.oid AND p.polcmd::text IN ('*', commands.command) AND p.polpermissive
                 AND coalesce(pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
                     LIKE '(' || '%' || t.column_name || ' = (NULLIF(current_setting(''app.account''' || '%')
         UNION ALL
         SELECT format('%s: the policy %s lets all rows pass', t.name, p.polname)
         FROM tables AS t JOIN pg_policy AS p ON p.polrelid = t.oid
         WHERE (pg_get_expr(p.polqual, p.polrelid) = 'true' OR pg_get_expr(p.polwithcheck, p.polrelid) = 'true')
             AND (t.name, p.polname) <> ('audit_log', 'account_entries')
         UNION ALL
         SELECT format('%s: no index begins with %s', t.name, t.column_name)
         FROM tables AS t
         WHERE NOT EXISTS (
             SELECT FROM pg_index AS i
             JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
             WHERE i.indrelid = t.oid AND i.indisvalid AND i.indpred IS NULL AND a.attname = t.column_name)
         UNION ALL
         SELECT format('%s: the runtime role has %s on the partition', child.relname, privilege)
         FROM tables AS t
         CROSS JOIN LATERAL pg_partition_tree(t.oid) AS part
         JOIN pg_class AS child ON child.oid = part.relid AND child.oid <> t.oid
         CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS privilege
         WHERE has_table_privilege($1, child.oid, privilege)
         UNION ALL
         SELECT format('%s: the runtime role has %s', t.name, privilege)
         FROM tables AS t
         CROSS JOIN unnest(ARRAY['TRUNCATE', 'REFERENCES', 'TRIGGER']) AS privilege
         WHERE has_table_privilege($1, t.oid, privilege)
         UNION ALL
         SELECT format('%s: the runtime role is its owner, or a member of the owner', t.name)
         FROM tables AS t JOIN pg_class AS c USING (oid)
         WHERE pg_has_role($1, c.relowner, 'MEMBER')
         UNION ALL
         SELECT format('the view %s of %s is not security_invoker', v.relname, t.name)
         FROM tables AS t
         JOIN pg_depend AS d ON d.refobjid = t.oid AND d.classid = 'pg_rewrite'::regclass
         JOIN pg_rewrite AS w ON w.oid = d.objid
         JOIN pg_class AS v ON v.oid = w.ev_class AND v.relkind IN ('v', 'm')
         WHERE v.relkind = 'm' OR NOT coalesce(v.reloptions @> ARRAY['security_invoker=true'], false)
         GROUP BY 1
         UNION ALL
         SELECT format('the function %s runs as its owner', p.proname)
         FROM pg_proc AS p
         WHERE p.pronamespace = 'public'::regnamespace AND p.prosecdef AND p.proname <> ALL ($2)
         UNION ALL
         SELECT format('the runtime role is %s', fault)
         FROM pg_roles CROSS JOIN LATERAL (VALUES
             (rolsuper, 'a superuser'), (rolbypassrls, 'exempt from row security'), (rolcreaterole, 'a maker of roles')
         ) AS checks (is_broken, fault)
         WHERE rolname = $1 AND is_broken
         ORDER BY 1"
    )
}

async fn faults(conn: impl PgExecutor<'_>) -> Vec<String> {
    let role = url::Url::parse(&database_url("any")).expect("it is a URL");
    sqlx::query_scalar(AssertSqlSafe(faults_sql()))
        .bind(role.username())
        .bind(REVIEWED_FUNCTIONS.map(str::to_owned).to_vec())
        .fetch_all(conn)
        .await
        .expect("the catalog is read")
}

#[tokio::test]
async fn every_table_with_an_account_has_forced_row_security_and_no_way_around_it() {
    let app = TestApp::new().await;
    let tables: Vec<String> =
        sqlx::query_scalar(AssertSqlSafe(format!("SELECT name FROM ({TABLES}) AS t")))
            .fetch_all(&app.owner_db)
            .await
            .expect("they are listed");
    assert!(tables.len() >= 15, "{tables:?}");
    assert_eq!(faults(&app.owner_db).await, Vec::<String>::new());
}

#[tokio::test]
async fn the_census_finds_each_way_around_row_security() {
    let app = TestApp::new().await;
    let role = url::Url::parse(&database_url("any")).expect("it is a URL");
    let role = role.username();
    let protected = "CREATE TABLE notes (account_id uuid NOT NULL, body text);
        CREATE INDEX notes_account_id_idx ON notes (account_id);
        SELECT protect_account_rows('notes', '{}');";
    for (statements, found) in [
        ("", None),
        (
            "ALTER TABLE notes NO FORCE ROW LEVEL SECURITY",
            Some("notes: row security is not enabled and forced"),
        ),
        (
            "DROP POLICY account_rows ON notes;
             CREATE POLICY reading ON notes FOR SELECT
                 USING (account_id = nullif(current_setting('app.account', true), '')::uuid)",
            Some("notes: no policy for DELETE names the account"),
        ),
        (
            "CREATE POLICY everything ON notes USING (true)",
            Some("notes: the policy everything lets all rows pass"),
        ),
        (
            "DROP INDEX notes_account_id_idx",
            Some("notes: no index begins with account_id"),
        ),
        (
            "GRANT TRUNCATE ON notes TO %role",
            Some("notes: the runtime role has TRUNCATE"),
        ),
        (
            "ALTER TABLE notes OWNER TO %role; REVOKE ALL ON notes FROM %role",
            Some("notes: the runtime role is its owner, or a member of the owner"),
        ),
        (
            "CREATE VIEW note_texts AS SELECT body FROM notes",
            Some("the view note_texts of notes is not security_invoker"),
        ),
        (
            "CREATE VIEW note_texts WITH (security_invoker = true) AS SELECT body FROM notes",
            None,
        ),
        (
            "CREATE FUNCTION notes_of_all() RETURNS SETOF notes LANGUAGE sql SECURITY DEFINER
                 AS 'SELECT * FROM notes'",
            Some("the function notes_of_all runs as its owner"),
        ),
        (
            "GRANT SELECT ON events_default TO %role",
            Some("events_default: the runtime role has SELECT on the partition"),
        ),
    ] {
        let mut owner = app.owner().await;
        let mut tx = owner.begin().await.expect("it begins");
        run(&mut tx, protected).await;
        run(&mut tx, &statements.replace("%role", role)).await;
        let faults = faults(&mut *tx as &mut PgConnection).await;
        assert_eq!(
            faults.first().map(String::as_str),
            found,
            "{statements}: {faults:?}"
        );
        tx.rollback().await.expect("it is undone");
    }
    // A table without any of it, as somebody would forget it.
    let mut owner = app.owner().await;
    run(
        &mut owner,
        "CREATE TABLE forgotten (account_id uuid, body text)",
    )
    .await;
    let faults = faults(&mut owner).await;
    assert_eq!(faults.len(), 6, "{faults:?}");
    assert!(faults.iter().all(|fault| fault.starts_with("forgotten: ")));
}
