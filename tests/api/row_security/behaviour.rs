//! What the runtime role sees: nothing without a name, and under the name of an account its rows alone.

use groundwork::ids::{AccountId, UserId};
use groundwork::scope::{self, Exception, Scope};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use uuid::Uuid;

use super::{TABLES, run};
use crate::harness::{Session, TestApp, create_database_from, database_url, owner_url};

/// A table with its column of the account.
type Table = (String, String);

async fn tables(app: &TestApp) -> Vec<Table> {
    let sql = format!("SELECT name, column_name FROM ({TABLES}) AS t ORDER BY name");
    sqlx::query_as(AssertSqlSafe(sql))
        .fetch_all(&app.owner_db)
        .await
        .expect("they are listed")
}

async fn runtime(app: &TestApp) -> PgConnection {
    let url = database_url(app.database());
    PgConnection::connect(&url).await.expect("it connects")
}

async fn account_of(session: &Session) -> AccountId {
    let id: Uuid = session.user_id().await.parse().expect("it is an id");
    UserId(id).personal_account()
}

/// Gives an account a row in each table.
pub(crate) async fn fill(app: &TestApp, owner: AccountId) {
    let organisation = clock::uuid_v7(app.clock.now(), &app.state.rng);
    let sql = format!(
        "INSERT INTO subscriptions (id, user_id, account_id, plan, status, current_period_start, current_period_end,
                                    created_at, updated_at)
             VALUES (gen_random_uuid(), '{owner}', '{owner}', 'pro', 'active', now(), now(), now(), now());
         INSERT INTO payments (id, user_id, account_id, amount, currency, status, created_at, updated_at)
             VALUES (gen_random_uuid(), '{owner}', '{owner}', 1, 'USD', 'succeeded', now(), now());
         INSERT INTO billing_customers (account_id, creation_began_at, email, created_at, updated_at)
             VALUES ('{owner}', now(), 'x@example.com', now(), now());
         INSERT INTO checkouts (id, account_id, user_id, stripe_price_id, quantity, trial_days, status, created_at, updated_at)
             VALUES (gen_random_uuid(), '{owner}', '{owner}', 'price_x', 1, 0, 'expired', now(), now());
         INSERT INTO invoices (id, account_id, stripe_invoice_id, status, total, amount_due, amount_paid, amount_remaining,
                               currency, attempt_count, period_start, period_end, created_at, updated_at)
             VALUES (gen_random_uuid(), '{owner}', 'in_{slug}', 'paid', 1, 1, 1, 0, 'USD', 1, now(), now(), now(), now());
         INSERT INTO billed_usage (account_id, hour, count) VALUES ('{owner}', date_trunc('hour', now(), 'UTC'), 1);
         INSERT INTO billing_notices (account_id, fact, created_at) VALUES ('{owner}', 'x', now());
         INSERT INTO files (id, account_id, user_id, name, size, content_type, sha256, state, created_at, upload_expires_at)
             VALUES (gen_random_uuid(), '{owner}', '{owner}', 'x', 1, 'image/png', sha256('x'), 'pending', now(), now());
         INSERT INTO accounts (id, kind, name, created_at, updated_at)
             VALUES ('{organisation}', 'organisation', 'x', now(), now());
         INSERT INTO account_slugs (slug, account_id) VALUES ('x-{slug}', '{organisation}');
         INSERT INTO memberships (account_id, user_id, role, created_at, updated_at)
             VALUES ('{organisation}', '{owner}', 'owner', now(), now());
         INSERT INTO account_slugs (slug, account_id) VALUES ('y-{slug}', '{owner}');
         INSERT INTO memberships (account_id, user_id, role, created_at, updated_at)
             VALUES ('{owner}', '{owner}', 'owner', now(), now());
         INSERT INTO invitations (id, account_id, email, role, created_at, expires_at)
             VALUES (gen_random_uuid(), '{owner}', 'x@example.com', 'member', now(), now());
         INSERT INTO invitation_blocks (account_id, email, created_at) VALUES ('{owner}', 'x@example.com', now());
         INSERT INTO secrets (id, account_id, name, version, created_at, updated_at)
             VALUES ('{owner}', '{owner}', 'x', 1, now(), now());
         INSERT INTO secret_versions (account_id, secret_id, version, value, created_at)
             VALUES ('{owner}', '{owner}', 1, 'x', now());
         INSERT INTO idempotency_keys (account_id, user_id, key_hash, request_mac, holder, locked_until, created_at, expires_at)
             VALUES ('{owner}', '{owner}', sha256('x'), sha256('x'), gen_random_uuid(), now(), now(), now());",
        slug = &organisation.simple().to_string()[20..],
    );
    run(&mut app.owner().await, &sql).await;
}

/// Two accounts with rows in each table.
async fn two_accounts(app: &TestApp) -> [AccountId; 2] {
    let mut accounts = Vec::new();
    for name in ["ada", "grace"] {
        let session = app.sign_in(name).await;
        session.new_key(&["read"]).await;
        let event = json!({ "type": "x", "data": {} });
        session
            .post("/api/v1/events", event)
            .await
            .assert_status(201);
        let account = account_of(&session).await;
        fill(app, account).await;
        accounts.push(account);
    }
    groundwork::usage::flush(&app.state)
        .await
        .expect("it is written");
    app.run_jobs().await;
    [accounts[0], accounts[1]]
}

async fn count(conn: &mut PgConnection, sql: String) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(sql))
        .fetch_one(conn)
        .await
        .expect("it is counted")
}

async fn name(conn: &mut PgConnection, account: AccountId) {
    run(
        conn,
        &format!("SELECT set_config('app.account', '{account}', true)"),
    )
    .await;
}

#[tokio::test]
async fn without_a_name_no_table_has_rows_and_with_one_only_those_of_the_account() {
    let app = TestApp::new().await;
    let [ada, grace] = two_accounts(&app).await;
    let (mut runtime, mut owner) = (runtime(&app).await, app.owner().await);
    for (table, column) in tables(&app).await {
        let all = format!("SELECT count(*) FROM {table}");
        assert_eq!(count(&mut runtime, all.clone()).await, 0, "{table}");

        let own = format!("{all} WHERE {column} = '{ada}'");
        let expected = count(&mut owner, own).await;
        assert!(expected > 0, "ada has no row in {table}");
        let mut tx = runtime.begin().await.expect("it begins");
        name(&mut tx, ada).await;
        assert_eq!(count(&mut tx, all).await, expected, "{table}");
        for statement in [
            format!(
                "WITH x AS (UPDATE {table} SET {column} = {column} WHERE {column} = '{grace}' RETURNING 1) SELECT count(*) FROM x"
            ),
            format!(
                "WITH x AS (DELETE FROM {table} WHERE {column} = '{grace}' RETURNING 1) SELECT count(*) FROM x"
            ),
        ] {
            if table != "audit_log" {
                assert_eq!(count(&mut tx, statement.clone()).await, 0, "{statement}");
            }
        }
        tx.rollback().await.expect("it is undone");
    }
}

#[tokio::test]
async fn no_row_can_be_written_into_another_account() {
    let app = TestApp::new().await;
    let [ada, grace] = two_accounts(&app).await;
    let mut runtime = runtime(&app).await;
    for (table, column) in tables(&app).await {
        let sql =
            format!("SELECT to_jsonb(t) FROM {table} AS t WHERE {column} = '{grace}' LIMIT 1");
        let row: Value = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(&app.owner_db)
            .await
            .expect("grace has a row");
        let mut tx = runtime.begin().await.expect("it begins");
        name(&mut tx, ada).await;
        let sql =
            format!("INSERT INTO {table} SELECT * FROM jsonb_populate_record(NULL::{table}, $1)");
        let written = sqlx::query(AssertSqlSafe(sql)).bind(&row).execute(&mut *tx);
        let error = written.await.err();
        let code = error.and_then(|error| error.as_database_error()?.code().map(String::from));
        // Entries can be added about every account; the copy has the key of a row that is there.
        let expected = if table == "audit_log" {
            "23505"
        } else {
            "42501"
        };
        assert_eq!(code.as_deref(), Some(expected), "{table}");
        drop(tx);
    }
}

/// How many API keys each connection of the pool sees without a name.
async fn seen_without_a_name(app: &TestApp) -> i64 {
    let keys = "SELECT count(*) FROM api_keys";
    let mut seen = 0;
    for _ in 0..20 {
        let count: i64 = sqlx::query_scalar(keys)
            .fetch_one(&app.state.db)
            .await
            .expect("it is counted");
        seen += count;
    }
    seen
}

#[tokio::test]
async fn a_name_ends_with_its_transaction_however_it_ends() {
    let app = TestApp::with(&[("DB_MAX_CONNECTIONS", "2")]).await;
    let [ada, grace] = two_accounts(&app).await;
    let keys = "SELECT count(*) FROM api_keys".to_owned();
    for scope in [Scope::Account(ada), Scope::Exception(Exception::Job)] {
        let expected = if scope == Scope::Account(ada) { 1 } else { 2 };
        let mut committed = scope::begin(&app.state.db, scope).await.expect("it begins");
        assert_eq!(count(&mut committed, keys.clone()).await, expected);
        committed.commit().await.expect("it is committed");
        assert_eq!(seen_without_a_name(&app).await, 0, "after a commit");

        let mut dropped = scope::begin(&app.state.db, scope).await.expect("it begins");
        assert_eq!(count(&mut dropped, keys.clone()).await, expected);
        drop(dropped);
        assert_eq!(
            seen_without_a_name(&app).await,
            0,
            "after a handler that was dropped"
        );
    }

    let mut tx = scope::begin(&app.state.db, Scope::Account(ada))
        .await
        .expect("it begins");
    let mut savepoint = tx.begin().await.expect("it is a savepoint");
    name(&mut savepoint, grace).await;
    let own = format!("{keys} WHERE account_id = '{grace}'");
    assert_eq!(count(&mut savepoint, own.clone()).await, 1);
    savepoint.rollback().await.expect("it is undone");
    assert_eq!(
        count(&mut tx, own).await,
        0,
        "after a savepoint that was rolled back"
    );
    assert_eq!(count(&mut tx, keys).await, 1);
    drop(tx);
    assert_eq!(seen_without_a_name(&app).await, 0);
}

#[tokio::test]
async fn a_request_whose_client_hangs_up_leaves_no_name_behind() {
    let app = TestApp::with(&[("DB_MAX_CONNECTIONS", "1")]).await;
    let [ada, _] = two_accounts(&app).await;
    // The only connection is busy, so that the next transaction is dropped while it begins.
    let busy = scope::begin(&app.state.db, Scope::Account(ada)).await;
    let db = app.state.db.clone();
    let beginning = tokio::spawn(async move { scope::begin(&db, Scope::Account(ada)).await });
    tokio::task::yield_now().await;
    beginning.abort();
    drop(busy);
    assert_eq!(seen_without_a_name(&app).await, 0);
}

#[tokio::test]
async fn the_release_before_sees_its_rows_until_the_next_release() {
    let app = TestApp::new().await;
    two_accounts(&app).await;
    let mut runtime = runtime(&app).await;
    run(&mut runtime, "SET application_name = 'groundwork'").await;
    let keys = "SELECT count(*) FROM api_keys".to_owned();
    assert_eq!(count(&mut runtime, keys.clone()).await, 2);
    let name: String = sqlx::query_scalar("SELECT current_setting('application_name')")
        .fetch_one(&app.state.db)
        .await
        .expect("it is read");
    assert_eq!(name, concat!("groundwork/", env!("CARGO_PKG_VERSION")));
}

/// On a managed server the owner of the schema is no superuser, and the policies hold for it as well.
#[tokio::test]
async fn an_owner_who_is_no_superuser_migrates_and_sees_no_rows_without_a_name() {
    let name = create_database_from("template0").await;
    let role = format!("owner_of_{name}");
    let mut admin = PgConnection::connect(&owner_url(&name))
        .await
        .expect("it connects");
    run(
        &mut admin,
        &format!("CREATE ROLE {role} LOGIN CREATEROLE PASSWORD 'x'; ALTER DATABASE {name} OWNER TO {role};
                  ALTER SCHEMA public OWNER TO {role}"),
    )
    .await;
    let mut url = url::Url::parse(&owner_url(&name)).expect("it is a URL");
    url.set_username(&role).expect("it takes a name");
    url.set_password(Some("x")).expect("it takes a password");
    let settings = crate::harness::settings(
        &name,
        "smtp://127.0.0.1:1",
        &[("DATABASE_MIGRATION_URL", url.as_str())],
    );
    let config = crate::harness::config(&settings).database;
    groundwork::migrate::migrate(&config)
        .await
        .expect("it is migrated");

    let runtime = PgPool::connect(&database_url(&name))
        .await
        .expect("it connects");
    let sign_up = "INSERT INTO users (id, email, password_hash, created_at, updated_at)
        VALUES (gen_random_uuid(), 'ada@example.com', 'x', now(), now())";
    sqlx::raw_sql(sign_up)
        .execute(&runtime)
        .await
        .expect("it is added");
    let accounts = "SELECT count(*) FROM accounts".to_owned();
    let mut owner = PgConnection::connect(url.as_str())
        .await
        .expect("it connects");
    assert_eq!(count(&mut owner, accounts.clone()).await, 0);
    assert_eq!(count(&mut admin, accounts).await, 1, "the personal account");
    let removed: Option<i32> =
        sqlx::query_scalar("SELECT remove_audit_addresses(now() - interval '31 days', 10)")
            .fetch_one(&runtime)
            .await
            .expect("the function runs");
    assert_eq!(removed, Some(0));

    runtime.close().await;
    owner.close().await.expect("it closes");
    admin.close().await.expect("it closes");
    let mut admin = crate::harness::admin().await;
    run(&mut admin, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
    run(&mut admin, &format!("DROP ROLE {role}")).await;
}
