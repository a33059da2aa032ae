//! The inventory names what there is: each column of the database, each field of a job's payload, each Redis key.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use groundwork::privacy::{JOBS, REDIS, Store, TABLES};
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use redis::AsyncCommands as _;
use serde_json::json;

use crate::harness::{TestApp, given};

fn columns_of<'a>(stores: impl IntoIterator<Item = &'a Store>) -> BTreeSet<String> {
    let columns = stores.into_iter().flat_map(|store| {
        let columns = store.columns.iter();
        columns.map(|column| format!("{}.{}", store.name, column.name))
    });
    columns.collect()
}

/// Differences between what there is and what the inventory names, each as a sentence that says what to do.
fn differences(found: &BTreeSet<String>, named: &BTreeSet<String>) -> Vec<String> {
    let missing = found.difference(named).map(|name| {
        format!("{name} has no line in src/privacy/inventory/: say its kind, and for a new table its purpose, owner, retention, export and erasure")
    });
    let gone = named.difference(found).map(|name| {
        format!("{name} is in src/privacy/inventory/ and nowhere else: delete its line")
    });
    missing.chain(gone).collect()
}

async fn columns_of_the_database(app: &TestApp) -> BTreeSet<String> {
    let columns: Vec<String> = sqlx::query_scalar(
        "SELECT c.table_name || '.' || c.column_name
         FROM information_schema.columns AS c
         JOIN pg_class AS t ON t.relname = c.table_name AND t.relnamespace = 'public'::regnamespace
         WHERE c.table_schema = 'public' AND NOT t.relispartition",
    )
    .fetch_all(&app.owner_db)
    .await
    .expect("they are listed");
    columns.into_iter().collect()
}

#[tokio::test]
async fn every_column_of_the_database_has_its_line() {
    let app = TestApp::new().await;
    let named = columns_of(TABLES.into_iter().flatten());
    let found = columns_of_the_database(&app).await;
    assert_eq!(differences(&found, &named), [""; 0]);

    let migration =
        "ALTER TABLE users ADD COLUMN birthday date; ALTER TABLE events DROP COLUMN event_data";
    sqlx::raw_sql(migration)
        .execute(&app.owner_db)
        .await
        .expect("it is migrated");
    let differences = differences(&columns_of_the_database(&app).await, &named);
    let [missing, gone] = &differences[..] else {
        panic!("{differences:?}");
    };
    assert!(
        missing.starts_with("users.birthday has no line"),
        "{missing}"
    );
    assert!(gone.starts_with("events.event_data is in"), "{gone}");
}

#[test]
fn every_field_of_a_payload_has_its_line() {
    let mut found = BTreeSet::new();
    read_jobs(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut found,
    );
    assert_eq!(differences(&found, &columns_of(JOBS)), [""; 0]);
}

#[tokio::test]
async fn every_redis_key_begins_as_the_inventory_says() {
    let app = TestApp::with(&[("REDIS_URL", &given("TEST_REDIS_URL"))]).await;
    let ada = app.sign_in("ada").await;
    let wrong = json!({ "email": "ada@example.com", "password": "not the password of anybody" });
    app.post("/api/v1/auth/login", wrong)
        .await
        .assert_status(401);
    ada.get("/api/v1/usage/current").await.assert_status(200);
    ada.patch("/api/v1/users/me", json!({ "first_name": "Ada" }))
        .await
        .assert_status(200);
    // Shared with the tests that run at the same time, whose keys are the same.
    let client = redis::Client::open(given("TEST_REDIS_URL")).expect("it is a URL");
    let mut redis = client
        .get_multiplexed_async_connection()
        .await
        .expect("it connects");
    let keys: Vec<String> = redis.keys("*").await.expect("they are listed");
    assert!(!keys.is_empty());
    let is_known = |key: &&String| REDIS.iter().any(|it| key.starts_with(it.name));
    let unknown: Vec<_> = keys.iter().filter(|key| !is_known(key)).collect();
    assert_eq!(unknown, [""; 0]);
}

fn read_jobs(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("it is a folder") {
        let path = entry.expect("it is listed").path();
        if path.is_dir() {
            read_jobs(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            let text = fs::read_to_string(&path).expect("it is read");
            read_macros(text.parse().expect("it is Rust"), found);
        }
    }
}

/// Reads `email_jobs! { … }` and `payload_jobs! { … }`.
fn read_macros(tokens: TokenStream, found: &mut BTreeSet<String>) {
    let tokens: Vec<_> = tokens.into_iter().collect();
    for (place, token) in tokens.iter().enumerate() {
        let TokenTree::Group(group) = token else {
            continue;
        };
        let name = place.checked_sub(2).map(|place| tokens[place].to_string());
        if name.is_some_and(|name| name == "email_jobs" || name == "payload_jobs") {
            read_declarations(group.stream(), found);
        } else {
            read_macros(group.stream(), found);
        }
    }
}

fn read_declarations(tokens: TokenStream, found: &mut BTreeSet<String>) {
    let mut identifier = String::new();
    for token in tokens {
        match token {
            TokenTree::Literal(literal) => {
                literal
                    .to_string()
                    .trim_matches('"')
                    .clone_into(&mut identifier);
            }
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                let fields = fields(group.stream());
                found.extend(fields.iter().map(|field| format!("{identifier}.{field}")));
            }
            _ => {}
        }
    }
}

/// Names of fields as they are serialized.
fn fields(tokens: TokenStream) -> Vec<String> {
    let (mut fields, mut is_next, mut renamed) = (Vec::new(), true, None);
    for token in tokens {
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => {
                let text = group.to_string();
                let rename = text.split_once("rename = \"");
                renamed = rename.and_then(|(_, rest)| Some(rest.split_once('"')?.0.to_owned()));
            }
            TokenTree::Ident(ident) if is_next => {
                fields.push(renamed.take().unwrap_or_else(|| ident.to_string()));
                is_next = false;
            }
            TokenTree::Punct(punct) if punct.as_char() == ',' => is_next = true,
            _ => {}
        }
    }
    fields
}
