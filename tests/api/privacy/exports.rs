//! Exports of a person's data.

use std::io::{Cursor, Read as _};
use std::time::Duration;

use futures_util::future::join_all;
use groundwork::ids::UserId;
use groundwork::privacy::{PurgeExports, TABLES};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use uuid::Uuid;
use zip::ZipArchive;

use crate::harness::{Answer, PASSWORD, Session, TestApp};
use crate::kit::files::{FilesApp, files_app, png};
use crate::process::run;
use crate::row_security::behaviour::fill;

const EXPORT: &str = "/api/v1/users/me/export";
const DAY: Duration = Duration::from_hours(24);

type Archive = ZipArchive<Cursor<Vec<u8>>>;

async fn ask(session: &Session) -> Answer {
    session.post(EXPORT, json!({ "password": PASSWORD })).await
}

async fn download(session: &Session, id: &Value) -> Answer {
    let path = format!("{EXPORT}/{}/download", id.as_str().expect("it is an id"));
    session.post(&path, json!({ "password": PASSWORD })).await
}

/// Asks for an export, makes it and downloads it.
async fn export(app: &TestApp, session: &Session) -> Archive {
    let asked = ask(session).await;
    asked.assert_status(202);
    app.run_jobs().await;
    let answer = download(session, &asked.body["id"]).await;
    answer.assert_status(200);
    ZipArchive::new(Cursor::new(answer.bytes)).expect("it is a ZIP")
}

fn names(archive: &Archive) -> Vec<String> {
    archive
        .file_names()
        .map(|name| name.expect("it is text").into_owned())
        .collect()
}

fn read(archive: &mut Archive, name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut entry = archive
        .by_name(name)
        .unwrap_or_else(|_| panic!("{name} is an entry"));
    entry
        .read_to_end(&mut bytes)
        .expect("its checksum is right");
    bytes
}

fn json_of(archive: &mut Archive, name: &str) -> Value {
    serde_json::from_slice(&read(archive, name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

async fn purge(app: &TestApp) {
    job_queue::enqueue(&app.state.db, &PurgeExports::default(), None)
        .await
        .expect("it is enqueued");
    app.run_jobs().await;
}

async fn count(app: &TestApp, from: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {from}")))
        .fetch_one(&app.owner_db)
        .await
        .expect("it is counted")
}

async fn id_of(session: &Session) -> UserId {
    UserId(session.user_id().await.parse().expect("it is an id"))
}

#[tokio::test]
async fn an_export_is_asked_for_made_announced_downloaded_and_deleted_in_time() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    assert_eq!(ada.get(EXPORT).await.body, json!({ "export": null }));
    let asked = ask(&ada).await;
    asked.assert_status(202);
    assert_eq!(asked.body["state"], "pending", "{}", asked.body);
    let id = asked.body["id"].clone();
    download(&ada, &id).await.assert_problem(404, "not_found");
    let message = app.email_to("ada@example.com").await;
    assert_eq!(message.subject, "The export of your data at Groundwork");
    assert!(message.text.contains("is ready"), "{}", message.text);

    let ready = ada.get(EXPORT).await.body["export"].clone();
    assert_eq!((&ready["state"], &ready["id"]), (&json!("ready"), &id));
    let answer = download(&ada, &id).await;
    answer.assert_status(200);
    assert_eq!(answer.headers["content-type"], "application/zip");
    assert_eq!(answer.headers["cache-control"], "private, no-store");
    assert_eq!(ready["size"], answer.bytes.len());
    let mut archive = ZipArchive::new(Cursor::new(answer.bytes)).expect("it is a ZIP");
    let readme = String::from_utf8(read(&mut archive, "README.txt")).expect("it is text");
    assert!(
        readme.contains("ada@example.com") && readme.contains("Left out"),
        "{readme}"
    );
    let users = json_of(&mut archive, "data/users.json");
    assert_eq!(users[0]["email"], "ada@example.com");
    assert_eq!(app.audited("export_requested").await, 1);
    assert_eq!(app.audited("export_downloaded").await, 1);

    app.clock.advance(Duration::from_secs(7 * 86_400 - 1));
    purge(&app).await;
    let ada = app.log_in("ada@example.com").await;
    download(&ada, &id).await.assert_status(200);
    app.clock.advance(Duration::from_secs(1));
    download(&ada, &id).await.assert_problem(404, "not_found");
    assert_eq!(ada.get(EXPORT).await.body, json!({ "export": null }));
    app.clock.advance(Duration::from_secs(1));
    purge(&app).await;
    assert_eq!(
        count(&app, "data_exports").await + count(&app, "data_export_parts").await,
        0
    );
}

#[tokio::test]
async fn it_requires_the_credentials_and_a_session() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let wrong = json!({ "password": "not the right one" });
    ada.post(EXPORT, wrong.clone())
        .await
        .assert_field("password");
    ada.post(EXPORT, json!({})).await.assert_field("password");
    ada.post(EXPORT, json!({ "password": PASSWORD, "x": 1 }))
        .await
        .assert_field("x");
    assert_eq!(count(&app, "data_exports").await, 0, "nothing is begun");
    let key = ada.new_key(&["read", "write"]).await;
    for (method, body) in [
        (Method::POST, Some(json!({ "password": PASSWORD }))),
        (Method::GET, None),
    ] {
        let answer = app
            .replica
            .call(method.clone(), EXPORT, Some(&key.text), body.clone())
            .await;
        answer.assert_problem(403, "session_required");
        let answer = app.replica.call(method, EXPORT, None, body).await;
        answer.assert_problem(401, "unauthenticated");
    }
    let asked = ask(&ada).await;
    app.run_jobs().await;
    let path = format!(
        "{EXPORT}/{}/download",
        asked.body["id"].as_str().expect("it is an id")
    );
    ada.post(&path, wrong).await.assert_field("password");
    assert_eq!(app.audited("export_downloaded").await, 0);
}

#[tokio::test]
async fn a_second_factor_is_required_where_there_is_one() {
    let app = TestApp::new().await;
    let ada = app.enrol("ada").await;
    let answer = ada
        .session
        .post(EXPORT, json!({ "password": PASSWORD }))
        .await;
    answer.assert_field("code");
    let body = json!({ "password": PASSWORD, "code": ada.app.code(&app) });
    ada.session.post(EXPORT, body).await.assert_status(202);
    app.run_jobs().await;
}

#[tokio::test]
async fn one_is_made_at_a_time_and_one_a_day() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let mut accepted = 0;
    for answer in join_all((0..6).map(|_| ask(&ada))).await {
        if answer.status == 202 {
            accepted += 1;
        } else {
            answer.assert_problem(409, "export_in_progress");
        }
    }
    assert_eq!(accepted, 1);
    app.run_jobs().await;
    app.clock.advance(DAY / 2);
    let ada = app.log_in("ada@example.com").await;
    let early = ask(&ada).await;
    early.assert_problem(429, "rate_limited");
    assert_eq!(early.headers["retry-after"], "43200");
    app.clock.advance(DAY / 2);
    let ada = app.log_in("ada@example.com").await;
    ask(&ada).await.assert_status(202);
    app.run_jobs().await;
    assert_eq!(count(&app, "data_exports WHERE state = 'ready'").await, 2);
}

#[tokio::test]
async fn of_somebody_else_it_does_not_exist() {
    let app = TestApp::new().await;
    let (ada, eve) = (app.sign_in("ada").await, app.sign_in("eve").await);
    let asked = ask(&ada).await;
    app.run_jobs().await;
    let of_ada = download(&eve, &asked.body["id"]).await;
    let random = download(&eve, &json!(Uuid::from_u128(7))).await;
    for answer in [&of_ada, &random] {
        answer.assert_problem(404, "not_found");
    }
    assert_eq!(eve.get(EXPORT).await.body, json!({ "export": null }));
    let path = format!("{EXPORT}/nonsense/download");
    let answer = eve.post(&path, json!({ "password": PASSWORD })).await;
    assert!(answer.status.is_client_error(), "{}", answer.status);
}

/// Each table that is included has all rows of the person, the columns that its schema says, and nothing of anybody else.
#[tokio::test]
async fn it_has_all_that_the_inventory_includes_and_nothing_of_another_account() {
    let app = TestApp::new().await;
    let (ada, grace) = (app.sign_in("ada").await, app.sign_in("grace").await);
    for session in [&ada, &grace] {
        session.new_key(&["read"]).await;
        let event = json!({ "type": "x", "data": { "canary": session.user_id().await } });
        session
            .post("/api/v1/events", event)
            .await
            .assert_status(201);
        session
            .patch("/api/v1/users/me", json!({ "first_name": "Canary" }))
            .await
            .assert_status(200);
        fill(&app, id_of(session).await.personal_account()).await;
    }
    groundwork::usage::flush(&app.state)
        .await
        .expect("it is written");
    let (own, other) = (id_of(&ada).await, id_of(&grace).await);
    let mut archive = export(&app, &ada).await;
    let mut filled = 0;
    for table in TABLES.iter().copied().flatten() {
        let (data, schema) = (
            format!("data/{}.json", table.name),
            format!("schemas/{}.json", table.name),
        );
        if !names(&archive).contains(&data) {
            continue;
        }
        let rows = json_of(&mut archive, &data);
        let schema = json_of(&mut archive, &schema);
        let known = schema["items"]["properties"]
            .as_object()
            .expect("it has properties");
        let rows = rows.as_array().expect("it is a list");
        filled += usize::from(!rows.is_empty());
        for row in rows {
            for name in row.as_object().expect("it is an object").keys() {
                assert!(known.contains_key(name), "{}.{name}", table.name);
            }
        }
    }
    assert!(filled >= 18, "{filled} tables have rows");
    let everything: Vec<_> = names(&archive);
    for name in everything {
        let text = String::from_utf8_lossy(&read(&mut archive, &name)).into_owned();
        for foreign in [
            other.to_string(),
            "grace@example.com".to_owned(),
            "$argon2".to_owned(),
        ] {
            assert!(!text.contains(&foreign), "{name} has {foreign}");
        }
    }
    let events = json_of(&mut archive, "data/events.json");
    assert_eq!(events[0]["event_data"]["canary"], own.to_string());
    for (table, column) in [
        ("sessions", "user_id"),
        ("memberships", "user_id"),
        ("payments", "account_id"),
        ("subscriptions", "account_id"),
        ("secrets", "account_id"),
        ("api_usage", "account_id"),
    ] {
        let found = json_of(&mut archive, &format!("data/{table}.json"));
        let all = count(&app, &format!("{table} WHERE {column} = '{own}'")).await;
        assert!(all > 0, "{table} has rows");
        assert_eq!(
            found.as_array().map(Vec::len),
            usize::try_from(all).ok(),
            "{table}"
        );
    }
}

#[tokio::test]
async fn an_administrator_is_not_named_in_the_audit_log_of_an_export() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let (own, admin) = (id_of(&ada).await, Uuid::from_u128(0xad));
    sqlx::query(
        "INSERT INTO audit_log (id, created_at, event, user_id, actor_id, ip, user_agent, detail)
         SELECT gen_random_uuid(), now(), 'account_disabled', $1, $2, '203.0.113.9', 'Secret Browser', '{\"reason\": \"internal note\"}'
         FROM (VALUES (1)) AS one",
    )
    .bind(own.0)
    .bind(admin)
    .execute(&app.owner_db)
    .await
    .expect("it is inserted");
    let mut archive = export(&app, &ada).await;
    let log = String::from_utf8(read(&mut archive, "data/audit_log.json")).expect("it is text");
    assert!(log.contains("account_disabled"), "{log}");
    for hidden in [
        admin.to_string().as_str(),
        "203.0.113.9",
        "Secret Browser",
        "internal note",
    ] {
        assert!(!log.contains(hidden), "{hidden}: {log}");
    }
}

#[tokio::test]
async fn with_a_store_it_has_the_files_and_its_objects_are_deleted_in_time() {
    let FilesApp { app, s3 } = files_app().await;
    let it = FilesApp { app, s3 };
    let (ada, eve) = (it.app.sign_in("ada").await, it.app.sign_in("eve").await);
    let picture = png(3_000);
    let own = ada.upload("image/png", &picture).await;
    let foreign = eve.upload("image/png", &png(4_000)).await;
    let deleted = ada.upload("image/png", &png(5_000)).await;
    ada.delete_file(&deleted).await.assert_status(204);
    let mut archive = export(&it.app, &ada).await;
    let files: Vec<_> = names(&archive)
        .into_iter()
        .filter(|name| name.starts_with("files/"))
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
    assert!(
        files[0].contains(own.id.as_str()) && !files[0].contains(foreign.id.as_str()),
        "{files:?}"
    );
    assert_eq!(read(&mut archive, &files[0]), picture);
    let exports = |keys: Vec<String>| {
        keys.iter()
            .filter(|key| key.starts_with("exports/"))
            .count()
    };
    assert_eq!(exports(it.keys()), 1);
    assert_eq!(count(&it.app, "data_export_parts").await, 0);
    it.app.clock.advance(DAY * 7);
    purge(&it.app).await;
    assert_eq!(exports(it.keys()), 0);
    assert_eq!(count(&it.app, "data_exports").await, 0);
}

/// An archive larger than a part is read back whole, from rows and from objects.
#[tokio::test]
async fn an_archive_of_many_parts_is_whole() {
    let it = files_app().await;
    for app in [&TestApp::new().await, &it.app] {
        let ada = app.sign_in("ada").await;
        add_events(app, id_of(&ada).await, 20_000).await;
        let mut archive = export(app, &ada).await;
        let events = json_of(&mut archive, "data/events.json");
        assert_eq!(events.as_array().map(Vec::len), Some(20_000));
        assert!(
            count(app, "data_exports WHERE parts > 1").await == 1,
            "it has several parts"
        );
    }
}

/// Events of 1.3 KB each that compress to half.
async fn add_events(app: &TestApp, user: UserId, count: i32) {
    sqlx::query(
        "INSERT INTO events (id, user_id, account_id, event_type, event_data, created_at)
         SELECT gen_random_uuid(), $1, $1, 'x', jsonb_build_object('text', (
                    SELECT string_agg(md5(random()::text || n || at), '') FROM generate_series(1, 40) AS at
                )), $3
         FROM generate_series(1, $2) AS n",
    )
    .bind(user.0)
    .bind(count)
    .bind(app.clock.now())
    .execute(&app.owner_db)
    .await
    .expect("they are inserted");
}

#[tokio::test]
async fn without_a_store_a_larger_one_fails_with_its_reason_and_may_be_asked_for_again() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    add_events(&app, id_of(&ada).await, 35_000).await;
    ask(&ada).await.assert_status(202);
    let message = app.email_to("ada@example.com").await;
    assert!(
        message.text.contains("could not be made"),
        "{}",
        message.text
    );
    let failed = ada.get(EXPORT).await.body["export"].clone();
    assert_eq!(
        (&failed["state"], &failed["failure"]),
        (&json!("failed"), &json!("too_large"))
    );
    assert_eq!(count(&app, "data_export_parts").await, 0);
    download(&ada, &failed["id"])
        .await
        .assert_problem(404, "not_found");
    sqlx::query("DELETE FROM events")
        .execute(&app.owner_db)
        .await
        .expect("they are deleted");
    app.clock.advance(Duration::from_secs(1));
    ask(&ada).await.assert_status(202);
    app.run_jobs().await;
    assert_eq!(ada.get(EXPORT).await.body["export"]["state"], "ready");
}

#[tokio::test]
async fn an_operator_writes_one_to_a_file() {
    let app = TestApp::new().await;
    app.sign_up("ada").await;
    let path = std::env::temp_dir().join(format!("export-{}.zip", app.database()));
    let output = path.to_str().expect("it is text");
    let arguments = [
        "users",
        "export",
        "--email",
        "ada@example.com",
        "--output",
        output,
    ];
    let done = run(&app.settings, &arguments).await;
    assert_eq!(
        done.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let bytes = std::fs::read(&path).expect("it is written");
    assert_ne!(
        run(&app.settings, &arguments).await.status.code(),
        Some(0),
        "it overwrites nothing"
    );
    std::fs::remove_file(&path).expect("it is deleted");
    let mut archive = ZipArchive::new(Cursor::new(bytes)).expect("it is a ZIP");
    assert_eq!(
        json_of(&mut archive, "data/users.json")[0]["email"],
        "ada@example.com"
    );
    let nobody = [
        "users",
        "export",
        "--email",
        "eve@example.com",
        "--output",
        "/nowhere/x.zip",
    ];
    assert_eq!(run(&app.settings, &nobody).await.status.code(), Some(5));
    assert_eq!(app.audited("export_downloaded").await, 1);
}
