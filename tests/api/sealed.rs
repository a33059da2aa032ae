//! Sealed columns: the list is complete, damaged values are internal errors, and keys are rotated while rows need them.

mod load;
mod rotation;

use std::time::Duration;

use clock::Clock;
use groundwork::sealed::{SEALED_COLUMNS, SealedColumn, TOTP_SECRETS};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use crate::harness::{Answer, TestApp};
use crate::process::{Server, with};

/// Columns of bytes that nothing decrypts: hashes, the signed text of Stripe's events, and archives.
const OTHERS: [&str; 17] = [
    "_sqlx_migrations.checksum",
    "api_keys.previous_secret_hash",
    "api_keys.secret_hash",
    "data_export_parts.bytes",
    "email_changes.token_hash",
    "email_suppressions.address_hash",
    "files.sha256",
    "idempotency_keys.key_hash",
    "idempotency_keys.request_mac",
    "invitations.token_hash",
    "mfa_challenges.token_hash",
    "one_time_tokens.token_hash",
    "payments.request_key_hash",
    "recovery_codes.code_hash",
    "refresh_tokens.token_hash",
    "sessions.token_hash",
    "stripe_events.payload",
];

#[tokio::test]
async fn every_column_of_bytes_is_on_the_list_of_sealed_columns_or_not_encrypted() {
    let app = TestApp::new().await;
    let found: Vec<String> = sqlx::query_scalar(
        "SELECT table_name || '.' || column_name FROM information_schema.columns
         WHERE table_schema = 'public' AND data_type = 'bytea' ORDER BY 1",
    )
    .fetch_all(&app.owner_db)
    .await
    .expect("they are listed");
    let sealed = SEALED_COLUMNS.iter().map(ToString::to_string);
    let others = OTHERS.map(str::to_owned);
    let mut expected: Vec<String> = sealed.chain(others).collect();
    expected.sort();
    assert_eq!(found, expected);
}

impl TestApp {
    /// The values of a column.
    pub async fn values(&self, column: &SealedColumn) -> Vec<Vec<u8>> {
        let (table, name) = (column.table(), column.column());
        let sql = format!("SELECT {name} FROM {table} WHERE {name} IS NOT NULL ORDER BY {name}");
        let values = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&self.owner_db);
        values.await.expect("they are read")
    }

    async fn replace(&self, column: &SealedColumn, from: &[u8], to: &[u8]) {
        let (table, name) = (column.table(), column.column());
        let sql = format!("UPDATE {table} SET {name} = $2 WHERE {name} = $1");
        let query = sqlx::query(AssertSqlSafe(sql)).bind(from).bind(to);
        let done = query.execute(&self.owner_db).await.expect("it is replaced");
        assert_eq!(done.rows_affected(), 1, "{column}");
    }

    /// Replaces the only value that is not in `others` by damaged ones; `read` must fail for each.
    pub async fn assert_damage_is_internal(
        &self,
        column: &SealedColumn,
        others: &[Vec<u8>],
        read: impl AsyncFn() -> Answer,
    ) {
        let values = self.values(column).await;
        let [value] = &values
            .iter()
            .filter(|it| !others.contains(it))
            .collect::<Vec<_>>()[..]
        else {
            panic!("there is one more value in {column}");
        };
        let flipped = |at: usize| {
            let mut value = (*value).clone();
            value[at] ^= 1;
            value
        };
        for (what, damaged) in [
            ("of another row", others[0].clone()),
            ("another version", flipped(0)),
            ("an unknown key", flipped(1)),
            ("another nonce", flipped(9)),
            ("tampered with", flipped(value.len() - 17)),
            ("another tag", flipped(value.len() - 1)),
            ("truncated", value[..value.len() - 1].to_vec()),
            ("without a text", value[..33].to_vec()),
            ("a part of the key id", value[..5].to_vec()),
            ("empty", Vec::new()),
        ] {
            let before = self.audited("decryption_failed").await;
            self.replace(column, value, &damaged).await;
            let answer = read().await;
            assert_eq!(answer.status, 500, "{column} {what}");
            answer.assert_problem(500, "internal");
            assert!(answer.body.get("detail").is_none(), "{column} {what}");
            let audited = self.audited("decryption_failed").await - before;
            assert_eq!(audited, 1, "{column} {what}");
            if what == "of another row" {
                // Both rows have it now.
                self.restore(column, value).await;
            } else {
                self.replace(column, &damaged, value).await;
            }
        }
    }

    /// Gives the newest row of those with the same value its own again.
    async fn restore(&self, column: &SealedColumn, value: &[u8]) {
        let (table, name) = (column.table(), column.column());
        let sql = format!(
            "UPDATE {table} SET {name} = $1 WHERE ctid = (
                 SELECT ctid FROM {table} WHERE {name} IN (SELECT {name} FROM {table} GROUP BY 1 HAVING count(*) > 1)
                 ORDER BY created_at DESC LIMIT 1)"
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(value);
        let done = query.execute(&self.owner_db).await.expect("it is restored");
        assert_eq!(done.rows_affected(), 1, "{column}");
    }
}

#[tokio::test]
async fn a_damaged_second_factor_is_an_internal_error() {
    let app = TestApp::new().await;
    app.enrol("grace").await;
    let others = app.values(&TOTP_SECRETS).await;
    app.clock.advance(Duration::from_mins(1));
    let ada = app.enrol("ada").await;
    app.assert_damage_is_internal(&TOTP_SECRETS, &others, async || {
        let token = app.ask(&ada.email).await;
        app.try_code(&token, &ada.app.code(&app)).await
    })
    .await;
    let token = app.ask(&ada.email).await;
    let code = ada.app.code(&app);
    app.try_code(&token, &code).await.assert_status(200);
    app.run_jobs().await;
}

#[tokio::test]
async fn a_damaged_stored_reply_is_an_internal_error() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let body = |slug: &str| json!({ "name": "Acme", "slug": slug });
    let organisations = crate::organisations::ORGANISATIONS;
    let first = ada.post_once("k-1", organisations, &body("acme")).await;
    first.assert_status(201);
    let column = &groundwork::sealed::IDEMPOTENT_REPLIES;
    let others = app.values(column).await;
    app.clock.advance(Duration::from_mins(1));
    let second = ada.post_once("k-2", organisations, &body("other")).await;
    second.assert_status(201);
    let read = async || ada.post_once("k-2", organisations, &body("other")).await;
    app.assert_damage_is_internal(column, &others, read).await;
    let replayed = read().await;
    assert_eq!(replayed.body, second.body);
    app.run_jobs().await;
}

#[tokio::test]
async fn a_value_that_cannot_be_decrypted_is_logged_once() {
    let app = TestApp::new().await;
    let behind = Clock::system().now() - app.clock.now();
    app.clock.advance(behind.to_std().expect("it is behind"));
    let ada = app.enrol("ada").await;
    let other = with(
        &app.settings,
        &[("ENCRYPTION_KEYS", rotation::another_key())],
    );
    let mut server = Server::start(&other, &["serve", "--no-worker"]).await;
    let token = app.ask(&ada.email).await;
    let body = json!({ "mfa_token": token, "code": ada.app.code(&app) });
    let path = "/api/v1/auth/login/mfa";
    let (status, _) = server.call(Method::POST, path, None, Some(body)).await;
    assert_eq!(status, 500);
    server.terminate().await;
    server.ended().await;
    let lines = server.lines();
    let is_error = |line: &&Value| line["level"] == "ERROR";
    let errors: Vec<_> = lines.iter().filter(is_error).collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    let line = errors[0].to_string();
    assert!(
        line.contains("mfa_factors.secret: ") && line.contains("not in the key ring"),
        "{line}"
    );
    assert_eq!(app.audited("decryption_failed").await, 1);
    app.run_jobs().await;
}
