//! An account with a marked value in each place: after its erasure none is left, in no table, object, key, job, email or line of the
//! log.

use std::collections::BTreeSet;

use groundwork::billing::FollowAccounts;
use groundwork::privacy::{Erasure, Owner, REDIS, TABLES};
use groundwork_dev::S3;
use redis::AsyncCommands as _;
use reqwest::Method;
use serde_json::json;
use sqlx::AssertSqlSafe;
use telemetry::testing::Lines;

use super::erasure::DAY;
use crate::avatars::red;
use crate::billing::billing_app_with;
use crate::harness::{PASSWORD, Session, TestApp, given};
use crate::kit::files::{BUCKET, png, storage};

/// In each value that the account has.
const CANARY: &str = "canary";
const EMAIL: &str = "canary-ada@example.com";

/// Tables of all schemas, without partitions, each with the rows that contain a text.
async fn tables_with(app: &TestApp, text: &str) -> Vec<(String, String)> {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname NOT IN ('pg_catalog', 'information_schema')
         ORDER BY 1",
    )
    .fetch_all(&app.owner_db)
    .await
    .expect("they are listed");
    let mut found = Vec::new();
    for table in tables {
        // Bytes are in hexadecimal in JSON.
        let sql = format!(
            "SELECT row_to_json(t)::text FROM {table} AS t
             WHERE row_to_json(t)::text ILIKE '%' || $1 || '%'
                OR row_to_json(t)::text ILIKE '%' || encode(convert_to($1, 'UTF8'), 'hex') || '%'"
        );
        let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(text)
            .fetch_all(&app.owner_db)
            .await
            .expect("they are searched");
        found.extend(rows.into_iter().map(|row| (table.clone(), row)));
    }
    found
}

/// Rows that no route writes.
async fn fill(app: &TestApp, id: &str, acme: &str) {
    app.execute(&format!(
        "INSERT INTO invitations (id, account_id, email, role, created_at, expires_at)
             VALUES (gen_random_uuid(), '{acme}', '{EMAIL}', 'member', now(), now());
         INSERT INTO invitation_blocks (account_id, email, created_at) VALUES ('{acme}', '{EMAIL}', now());
         INSERT INTO email_changes (id, user_id, old_email, requested_at, changed_at, expires_at)
             VALUES (gen_random_uuid(), '{id}', 'canary-old@example.com', now(), now(), now());
         INSERT INTO billing_notices (account_id, fact, created_at) VALUES ('{id}', 'canary', now());
         INSERT INTO sign_ups (user_id, password_hash, first_name, created_at) VALUES ('{id}', 'canary', 'canary', now());
         INSERT INTO files (id, account_id, user_id, name, size, content_type, sha256, state, created_at, upload_expires_at)
             VALUES (gen_random_uuid(), '{acme}', '{id}', 'of acme', 1, 'image/png', sha256('x'), 'pending', now(), now())"
    ))
    .await;
}

async fn use_everything(ada: &Session) {
    let names = json!({ "first_name": "Canary", "last_name": "Canary" });
    ada.patch("/api/v1/users/me", names)
        .await
        .assert_status(200);
    ada.put_avatar("image/png", red()).await.assert_status(200);
    let key = json!({ "name": "canary", "scopes": ["read"], "password": PASSWORD });
    ada.post("/api/v1/api-keys", key).await.assert_status(201);
    let event = json!({ "type": "canary", "data": { "canary": "canary" } });
    ada.post("/api/v1/events", event).await.assert_status(201);
    ada.put_secret("canary", "canary").await.assert_status(201);
    ada.upload("image/png", &png(3)).await;
    ada.start_file("image/png", &png(4)).await;
    let change = json!({ "email": "canary-new@example.com", "password": PASSWORD });
    ada.post("/api/v1/users/me/email", change)
        .await
        .assert_status(202);
    let body = json!({ "amount": 100, "currency": "USD", "description": "canary" });
    ada.pay("canary", &body).await.assert_status(201);
    // With a user agent.
    let login = "/api/v1/auth/login";
    let request = ada.replica.request(Method::POST, login);
    let request = request
        .header("user-agent", "canary")
        .json(&json!({ "email": EMAIL, "password": PASSWORD }));
    ada.replica
        .send(&Method::POST, login, request)
        .await
        .assert_status(200);
}

#[tokio::test]
async fn nothing_is_left_of_an_erased_account_but_what_the_inventory_keeps() {
    let log = Lines::default();
    let _guard = tracing::subscriber::set_default(log.subscriber());
    let s3 = S3::throw_away().await;
    s3.ensure_bucket(BUCKET).expect("it is created");
    let url = s3.url();
    let redis_url = given("TEST_REDIS_URL");
    let settings = [&storage(&url)[..], &[("REDIS_URL", redis_url.as_str())]].concat();
    let it = billing_app_with("canaries", &settings).await;
    let app = &it.app;
    let (grace, ada) = (app.sign_in("grace").await, app.sign_in("canary-ada").await);
    let acme = grace.new_organisation("acme").await;
    let id = ada.user_id().await;
    use_everything(&ada).await;
    it.buy(&ada).await;
    fill(app, &id, &acme).await;
    groundwork::usage::flush(&app.state)
        .await
        .expect("it is written");
    it.settle().await;
    let before = tables_with(app, CANARY).await;
    let named: BTreeSet<_> = before.iter().map(|it| it.0.as_str()).collect();
    assert!(named.len() >= 14, "values are in {named:?}");
    assert!(
        s3.keys(BUCKET)
            .iter()
            .filter(|key| key.contains(&id))
            .count()
            >= 2
    );

    ada.delete_account().await.assert_status(200);
    it.settle().await;
    job_queue::enqueue(&app.state.db, &FollowAccounts::default(), None)
        .await
        .expect("it is enqueued");
    it.settle().await;
    assert_eq!(it.statuses().await, ["canceled"], "at once");
    it.advance_days(30).await;
    app.erase_due().await;
    it.settle().await;
    it.advance_days(1).await;
    app.erase_due().await;
    let emails = app.inbox.emails_to(EMAIL);
    assert!(
        emails[0].text.contains("It was erased on"),
        "{}",
        emails[0].text
    );
    let calls = it.account.requests();
    let mut deleted = calls.iter().filter(|call| call.method == "DELETE");
    assert!(deleted.any(|call| call.path.starts_with("/v1/customers/")));

    assert_eq!(tables_with(app, CANARY).await, []);
    for customer in it
        .read::<String>("SELECT stripe_customer_id FROM account_deletions")
        .await
    {
        let mut left = tables_with(app, &customer).await;
        left.retain(|(table, _)| table != "public.account_deletions");
        assert_eq!(left, []);
    }
    it.advance_days(4).await;
    app.erase_due().await;
    it.settle().await;
    // The id is left where the inventory says so: in the audit log, in what refuses access tokens, in the organisation.
    let left = tables_with(app, &id).await;
    let tables: BTreeSet<_> = left.iter().map(|it| it.0.as_str()).collect();
    let kept = [
        "public.audit_log",
        "public.files",
        "public.session_revocations",
    ];
    let outside: Vec<_> = tables.iter().filter(|it| !kept.contains(it)).collect();
    assert!(outside.is_empty(), "{left:?}");
    assert!(tables.contains("public.audit_log") && tables.contains("public.files"));
    for name in kept {
        let store = TABLES
            .into_iter()
            .flatten()
            .find(|it| name.ends_with(it.name));
        let store = store.expect("it is in the inventory");
        let mut columns = store.columns.iter();
        let is_kept = columns.any(|it| matches!(store.erasure_of(it), Erasure::Kept(_)));
        assert!(is_kept, "{name}");
    }
    let books = "SELECT count(*) FROM payments WHERE user_id IS NULL AND description IS NULL";
    assert!(app.number(books).await >= 2, "payments are kept");
    let paid = "SELECT count(*) FROM invoices AS i JOIN accounts AS a ON a.id = i.account_id
        WHERE a.name = '-' AND hosted_url IS NULL AND number IS NOT NULL";
    assert_eq!(app.number(paid).await, 1, "the invoice is kept");

    let keys: Vec<_> = s3
        .keys(BUCKET)
        .into_iter()
        .filter(|key| key.contains(&id))
        .collect();
    assert_eq!(keys, [format!("erased/{id}")]);
    assert_eq!(redis_keys_of(&id).await, [""; 0]);
    assert_log_is_clean(&log);
}

/// Checks that lines were written, none of them with a marked value.
fn assert_log_is_clean(log: &Lines) {
    let log = log.text().to_lowercase();
    assert!(
        log.contains("/api/v1/users/me/avatar"),
        "it is the log of this: {log}"
    );
    let named: Vec<_> = log.lines().filter(|line| line.contains(CANARY)).collect();
    assert_eq!(named, [""; 0]);
}

/// Keys that name the user in families whose keys the erasure deletes.
async fn redis_keys_of(id: &str) -> Vec<String> {
    let client = redis::Client::open(given("TEST_REDIS_URL")).expect("it is a URL");
    let mut redis = client
        .get_multiplexed_async_connection()
        .await
        .expect("it connects");
    let mut found: Vec<String> = Vec::new();
    for id in [id.to_owned(), id.replace('-', "")] {
        let keys: Vec<String> = redis
            .keys(format!("*{id}*"))
            .await
            .expect("they are listed");
        found.extend(keys);
    }
    let is_deleted = |key: &String| {
        let store = REDIS.iter().find(|store| key.starts_with(store.name));
        store.is_none_or(|store| store.erasure == Erasure::Deleted)
    };
    found.retain(is_deleted);
    found
}

#[tokio::test]
async fn every_table_that_belongs_to_a_user_is_empty_of_an_erased_one_or_kept_by_the_inventory() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let id = ada.user_id().await;
    ada.new_key(&["read"]).await;
    ada.delete_account().await.assert_status(200);
    app.clock.advance(30 * DAY);
    app.erase_due().await;
    let mut checked = 0;
    for store in TABLES.into_iter().flatten() {
        for owner in store.owners {
            let (Owner::User(column) | Owner::Account(column)) = owner else {
                continue;
            };
            let line = store.columns.iter().find(|it| it.name == *column);
            let line = line.expect("an owner is a column");
            // What a column keeps that its table does not is of organisations, and there is none.
            let is_kept = matches!(store.erasure, Erasure::Kept(_));
            let is_as_table = store.erasure_of(line) == store.erasure;
            // Its own row says until the end that it is done.
            if is_kept && is_as_table || store.name == "account_deletions" {
                continue;
            }
            let sql = format!(
                "SELECT count(*) FROM {} WHERE {column} = '{id}'",
                store.name
            );
            assert_eq!(app.number(&sql).await, 0, "{}.{column}", store.name);
            checked += 1;
        }
    }
    assert!(checked > 25, "{checked} columns");
}
