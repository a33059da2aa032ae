//! The copy of the object store in a second place: kept up to date, kept back, restored, and never that of another bucket.

use std::time::Duration;

use groundwork::storage::CopyObjects;
use groundwork_dev::{S3, S3Effect, S3Fault, S3Hang};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::avatars::red;
use crate::harness::Session;
use crate::kit::files::{BUCKET, FilesApp, Started, files_app_with, png, second_place};
use crate::process::{self, Settings, with};

const PLACE: &str = "copy-of-a-test";
const MARKER: &str = "groundwork-copy.json";
const DAY: Duration = Duration::from_hours(24);

/// The service with a store, and a second place on a server of its own.
struct Copied {
    it: FilesApp,
    place: S3,
    settings: Settings,
}

impl Copied {
    async fn new() -> Self {
        let place = S3::throw_away().await;
        place.ensure_bucket(PLACE).expect("it is created");
        let it = files_app_with(&second_place(&place.url(), PLACE)).await;
        let settings = it.app.settings.clone();
        Self {
            it,
            place,
            settings,
        }
    }

    async fn copy(&self) {
        job_queue::enqueue(&self.it.app.state.db, &CopyObjects::default(), None)
            .await
            .expect("it is enqueued");
        self.it.app.run_jobs().await;
    }

    /// Keys in the second place but for the marker.
    fn keys(&self) -> Vec<String> {
        let keys = self.place.keys(PLACE).into_iter();
        keys.filter(|key| key != MARKER).collect()
    }

    fn marker(&self) -> Value {
        let bytes = self.place.read(PLACE, MARKER).expect("it is there");
        serde_json::from_slice(&bytes).expect("it is JSON")
    }

    /// Runs a command; returns its exit code and its output.
    async fn run(&self, args: &[&str]) -> (i32, String) {
        run(&self.settings, args).await
    }

    /// Waits until the server has noticed that a process is gone.
    async fn until_unlocked(&self) {
        let locked = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        for _ in 0..100 {
            let count: i64 = sqlx::query_scalar(locked)
                .fetch_one(&self.it.app.owner_db)
                .await
                .expect("they are counted");
            if count == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the lock is still held");
    }

    /// Makes the objects of both stores older.
    fn age(&self, by: Duration) {
        self.it.s3.age(BUCKET, by);
        self.place.age(PLACE, by);
    }

    fn key_of(&self, file: &Started) -> String {
        let keys = self.it.keys().into_iter();
        let mut keys = keys.filter(|key| key.contains(&file.id));
        keys.next().expect("it has an object")
    }

    async fn upload(&self, ada: &Session, size: usize) -> String {
        let file = ada.upload("image/png", &png(size)).await;
        self.key_of(&file)
    }
}

async fn run(settings: &Settings, args: &[&str]) -> (i32, String) {
    let output = process::run(settings, args).await;
    let text = process::stdout(&output) + &process::stderr(&output);
    (output.status.code().expect("it ends by itself"), text)
}

#[tokio::test]
async fn what_the_product_needs_is_copied_and_nothing_else() {
    let it = Copied::new().await;
    let ada = it.it.app.sign_in("ada").await;
    let key = it.upload(&ada, 300_000).await;
    ada.put_avatar("image/png", red()).await.assert_status(200);
    let erased = "erased/01980b6e-7c00-7000-8000-3f2a51d6c9b1";
    for (key, bytes) in [
        (erased, "{}"),
        ("staging/x/y", "in progress"),
        ("exports/x/y", "for days"),
        ("files/of-somebody-else", "of no row"),
    ] {
        it.it.s3.write(BUCKET, key, bytes.as_bytes());
    }
    it.copy().await;
    let mut expected = it.it.keys();
    expected.retain(|it| it.starts_with("avatars/") || it == erased || *it == key);
    assert_eq!((expected.len(), it.keys()), (3, expected.clone()));
    for key in &expected {
        assert_eq!(
            it.place.read(PLACE, key),
            it.it.s3.read(BUCKET, key),
            "{key}"
        );
    }
    let marker = it.marker();
    assert_eq!(marker["original"], format!("{}/{BUCKET}", it.it.s3.url()));
    assert_eq!(marker["complete_at"], "2026-03-14T09:26:53Z");

    // Repeated, it writes nothing but the marker.
    let before = it.place.calls().len();
    it.copy().await;
    let written = it.place.calls()[before..].to_vec();
    let is_other = |call: &&String| !call.starts_with("GET") && !call.ends_with(MARKER);
    assert_eq!(written.iter().find(is_other), None);
    let (code, text) = it.run(&["storage", "copy"]).await;
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("4 objects: 0 copied and 0 replaced (0 B)"),
        "{text}"
    );
    assert!(text.contains("1 objects are of no row"), "{text}");
}

#[tokio::test]
async fn a_deleted_object_is_kept_for_thirty_days() {
    let it = Copied::new().await;
    let ada = it.it.app.sign_in("ada").await;
    let (kept, gone) = (it.upload(&ada, 1).await, it.upload(&ada, 2).await);
    it.copy().await;
    sqlx::query("DELETE FROM files WHERE position(id::text in $1) > 0")
        .bind(&gone)
        .execute(&it.it.app.owner_db)
        .await
        .expect("it is deleted");
    it.it.s3.remove(BUCKET, &gone);
    it.copy().await;
    let note = format!("deleted/{gone}");
    let with_note = {
        let mut keys = vec![note.clone(), gone.clone(), kept.clone()];
        keys.sort();
        keys
    };
    assert_eq!(it.keys(), with_note);
    it.age(29 * DAY);
    it.copy().await;
    assert_eq!(it.keys(), with_note);
    it.age(31 * DAY);
    it.copy().await;
    assert_eq!(it.keys(), [kept.as_str()]);

    // One that comes back is no longer deleted.
    it.it.s3.write(BUCKET, "erased/x", b"{}");
    it.place.write(PLACE, &note, b"");
    it.place.write(PLACE, &format!("deleted/{kept}"), b"");
    it.age(31 * DAY);
    it.copy().await;
    assert_eq!(it.keys(), ["erased/x".to_owned(), kept]);
}

#[tokio::test]
async fn what_a_row_names_stays_in_the_copy_and_is_restored() {
    let it = Copied::new().await;
    let ada = it.it.app.sign_in("ada").await;
    let mut keys = Vec::new();
    for size in 0..3 {
        keys.push(it.upload(&ada, size).await);
    }
    ada.put_avatar("image/png", red()).await.assert_status(200);
    it.it.s3.write(BUCKET, "erased/x", b"{}");
    it.copy().await;
    let before: Vec<_> = it.it.keys();
    let bytes: Vec<_> = before
        .iter()
        .map(|key| it.it.s3.read(BUCKET, key))
        .collect();
    it.age(DAY);
    // Another object replaced one of them by hand, which stays.
    let present = keys[2].clone();
    it.it.s3.write(BUCKET, &present, b"other");
    for key in before.iter().filter(|key| **key != present) {
        it.it.s3.remove(BUCKET, key);
    }
    it.it.app.clock.advance(DAY);
    it.it.sweep().await;
    assert_eq!(it.it.states().await, ["complete", "lost", "lost"]);
    let ada = it.it.app.log_in("ada@example.com").await;
    let me = ada.get("/api/v1/users/me").await;
    assert!(
        me.body["avatar_url"].is_string(),
        "its row is kept: {}",
        me.body
    );
    let (code, text) = it.run(&["storage", "copy"]).await;
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("4 objects are missing in the store"),
        "{text}"
    );
    assert!(text.contains("1 objects differ from their files"), "{text}");
    it.age(31 * DAY);
    let (_, text) = it.run(&["storage", "copy"]).await;
    assert!(text.contains("0 noted as deleted, 0 removed"), "{text}");

    let (code, text) = it.run(&["storage", "restore"]).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("4 objects restored"), "{text}");
    assert_eq!(it.it.keys(), before);
    for (key, bytes) in before.iter().zip(bytes) {
        let is_same = it.it.s3.read(BUCKET, key) == bytes;
        assert_eq!(is_same, *key != present, "{key}");
    }
    assert_eq!(it.it.states().await, ["complete"; 3]);

    // A copy with other bytes is not restored.
    it.it.s3.remove(BUCKET, &keys[0]);
    it.place.write(PLACE, &keys[0], b"other");
    let (code, text) = it.run(&["storage", "restore"]).await;
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains(&format!("{}: the copy is damaged", keys[0])),
        "{text}"
    );
    assert!(!it.it.keys().contains(&keys[0]));
    let (code, text) = it.run(&["storage", "verify", "--copy"]).await;
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains(&format!("{}: size 5 instead of", keys[0])),
        "{text}"
    );
}

#[tokio::test]
async fn a_replaced_object_is_kept_for_thirty_days() {
    let it = Copied::new().await;
    let ada = it.it.app.sign_in("ada").await;
    ada.put_avatar("image/png", red()).await.assert_status(200);
    it.copy().await;
    let key = it.keys()[0].clone();
    let before = it.place.read(PLACE, &key).expect("it is there");
    it.age(DAY);
    it.it.s3.write(BUCKET, &key, b"another picture");
    it.copy().await;
    assert_eq!(
        it.place.read(PLACE, &key).expect("it is there"),
        b"another picture"
    );
    let replaced = format!("replaced/{key}/20260314T092653Z");
    assert_eq!(it.keys(), [key.clone(), replaced.clone()]);
    assert_eq!(it.place.read(PLACE, &replaced), Some(before));
    it.age(29 * DAY);
    it.copy().await;
    assert_eq!(it.keys().len(), 2);
    it.age(31 * DAY);
    it.copy().await;
    assert_eq!(it.keys(), [key]);
}

#[tokio::test]
async fn other_bytes_than_those_of_the_file_do_not_replace_its_copy() {
    let it = Copied::new().await;
    let ada = it.it.app.sign_in("ada").await;
    let key = it.upload(&ada, 5).await;
    let good = it.it.s3.read(BUCKET, &key).expect("it is there");
    it.copy().await;
    it.age(DAY);
    let mut bad = good.clone();
    bad[20] ^= 1;
    it.it.s3.write(BUCKET, &key, &bad);
    it.copy().await;
    assert_eq!(it.place.read(PLACE, &key), Some(good));
    assert_eq!(it.keys(), [key]);
    let found: Option<String> = sqlx::query_scalar("SELECT difference FROM files")
        .fetch_one(&it.it.app.owner_db)
        .await
        .expect("it is read");
    assert_eq!(found.as_deref(), Some("hash"));
}

#[tokio::test]
async fn a_file_that_waits_for_its_scan_is_not_copied() {
    let it = Copied::new().await;
    let ada = it.it.app.sign_in("ada").await;
    it.upload(&ada, 1).await;
    it.it.app.clock.advance(Duration::from_mins(1));
    let set = async |state: &str, needs_scan: bool| {
        sqlx::query("UPDATE files SET state = $1, needs_scan = $2")
            .bind(state)
            .bind(needs_scan)
            .execute(&it.it.app.owner_db)
            .await
            .expect("it is set");
    };
    set("scanning", true).await;
    it.copy().await;
    assert!(it.keys().is_empty());
    // A file that was lost before it was scanned, and whose object is back, is not one that was passed.
    set("lost", true).await;
    it.copy().await;
    assert!(it.keys().is_empty());
    // The copy was complete but for it: a comparison does not miss it.
    set("complete", false).await;
    let (code, text) = it.run(&["storage", "verify", "--copy"]).await;
    assert_eq!((code, text.contains("0 files")), (0, true), "{text}");
    it.copy().await;
    assert_eq!(it.keys(), it.it.keys());
    let (code, text) = it.run(&["storage", "verify", "--copy"]).await;
    assert_eq!((code, text.contains("1 files")), (0, true), "{text}");
}

#[tokio::test]
async fn an_object_that_fails_does_not_keep_others_from_being_restored() {
    let it = Copied::new().await;
    let ada = it.it.app.sign_in("ada").await;
    let mut keys = Vec::new();
    for size in 0..3 {
        keys.push(it.upload(&ada, size).await);
    }
    it.it.s3.write(BUCKET, "erased/x", b"{}");
    it.copy().await;
    for key in it.it.keys() {
        it.it.s3.remove(BUCKET, &key);
    }
    keys.sort();
    for _ in 0..30 {
        it.place.fault(S3Fault {
            method: Method::GET,
            path: keys[0].clone(),
            effect: S3Effect::None,
            status: StatusCode::FORBIDDEN,
        });
    }
    let (code, text) = it.run(&["storage", "restore"]).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("1 objects could not be restored"), "{text}");
    assert!(text.contains("groundwork privacy reapply"), "{text}");
    let expected = [&["erased/x".to_owned()], &keys[1..]].concat();
    assert_eq!(it.it.keys(), expected);
}

#[tokio::test]
async fn the_last_bytes_are_held_back_until_they_are_to_be_written() {
    let it = Copied::new().await;
    let store = it.it.app.state.storage.clone().expect("there is one");
    let mut put = store.begin_put("files/x", 4, "image/png");
    // As HTTP/2 ends a body: with an empty chunk.
    for chunk in ["ab", "cd", ""] {
        let chunk = chunk.as_bytes().to_vec();
        put.send(chunk.into()).await.expect("it is taken");
    }
    it.it.s3.until_called("files/x").await;
    drop(put);
    it.it.s3.until_idle().await;
    assert!(it.it.keys().is_empty());
}

#[tokio::test]
async fn a_copy_that_is_killed_is_repeated_and_only_one_runs_at_a_time() {
    let it = Copied::new().await;
    let ada = it.it.app.sign_in("ada").await;
    for size in 0..3 {
        it.upload(&ada, size).await;
    }
    for (method, path) in [
        (Method::PUT, MARKER),
        (Method::PUT, "/files/"),
        (Method::GET, PLACE),
    ] {
        it.place.hang(S3Hang {
            method,
            path: path.to_owned(),
            effect: S3Effect::Made,
        });
        let args = ["storage", "copy"];
        let mut killed = Box::pin(it.run(&args));
        tokio::select! {
            ended = &mut killed => panic!("it is not held up: {ended:?}"),
            () = it.place.until_hanging() => {}
        }
        let (code, text) = it.run(&args).await;
        assert_eq!(code, 1, "{text}");
        assert!(text.contains("another process copies"), "{text}");
        drop(killed);
        it.until_unlocked().await;
    }
    let (code, text) = it.run(&["storage", "copy"]).await;
    assert_eq!(code, 0, "{text}");
    assert_eq!(it.keys(), it.it.keys());
    assert!(it.marker()["complete_at"].is_string());
}

#[tokio::test]
async fn a_second_place_that_is_away_full_or_refuses_is_named_and_tried_again() {
    let mut it = Copied::new().await;
    let ada = it.it.app.sign_in("ada").await;
    let first = it.upload(&ada, 1).await;
    it.upload(&ada, 2).await;
    for (name, value, reason) in [
        (
            "STORAGE_COPY_ENDPOINT",
            "http://127.0.0.1:1",
            "does not respond",
        ),
        (
            "STORAGE_COPY_SECRET_ACCESS_KEY",
            "another-secret",
            "refused a call: status 403",
        ),
        (
            "STORAGE_COPY_BUCKET",
            "another-bucket",
            "refused a call: status 404, NoSuchBucket",
        ),
    ] {
        let (code, text) = run(&with(&it.settings, &[(name, value)]), &["storage", "copy"]).await;
        assert_eq!(code, 1, "{text}");
        assert!(text.contains(reason), "{text}");
    }
    // Full for one object: the other one is copied, and the copy is not complete.
    let fault = S3Fault {
        method: Method::PUT,
        path: first.clone(),
        effect: S3Effect::None,
        status: StatusCode::INSUFFICIENT_STORAGE,
    };
    it.place.fault(fault);
    it.copy().await;
    assert_eq!(it.keys().len(), 1);
    assert_eq!(it.marker()["complete_at"], Value::Null);
    let error: String = sqlx::query_scalar("SELECT last_error FROM graphile_worker._private_jobs")
        .fetch_one(&it.it.app.state.db)
        .await
        .expect("it waits for its next try");
    let expected = format!("1 objects could not be copied, the first of them {first}: ");
    assert!(error.contains(&expected), "{error}");
    it.it.app.hurry_jobs().await;
    it.it.app.run_jobs().await;
    assert_eq!(it.keys(), it.it.keys());
    assert!(it.marker()["complete_at"].is_string());
    it.it.app.expect_dead_jobs();
}

#[tokio::test]
async fn the_copy_of_another_bucket_is_not_touched_without_force() {
    let it = Copied::new().await;
    let ada = it.it.app.sign_in("ada").await;
    let key = it.upload(&ada, 1).await;
    it.place.write(
        PLACE,
        MARKER,
        br#"{"original":"s3://other","complete_at":null}"#,
    );
    let (code, text) = it.run(&["storage", "copy"]).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("has the copy of s3://other"), "{text}");
    assert!(it.keys().is_empty());
    let (code, text) = it.run(&["doctor"]).await;
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("FAULT  copy of the bucket: the bucket of the copy has"),
        "{text}"
    );
    let (code, text) = it.run(&["storage", "copy", "--force"]).await;
    assert_eq!(code, 0, "{text}");
    assert_eq!(it.keys(), [key.as_str()]);

    // More than half of the copies are gone from the store at once.
    for n in 0..150 {
        it.place
            .write(PLACE, &format!("files/of-another/{n:03}"), b"x");
    }
    let (code, text) = it.run(&["storage", "copy"]).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("150 of 151 copies are gone"), "{text}");
    assert_eq!(it.keys().len(), 151);
    let (code, text) = it.run(&["storage", "copy", "--force"]).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("150 noted as deleted"), "{text}");
    assert_eq!(it.keys().len(), 301);
}

#[tokio::test]
async fn more_than_a_page_of_objects_is_copied_verified_and_restored() {
    let it = Copied::new().await;
    let ada = it.it.app.sign_in("ada").await;
    let key = it.upload(&ada, 1).await;
    let bytes = it.it.s3.read(BUCKET, &key).expect("it is there");
    sqlx::query(
        "INSERT INTO files (id, account_id, user_id, name, size, content_type, sha256, state, object_id, created_at,
                            upload_expires_at, completed_at)
         SELECT gen_random_uuid(), account_id, user_id, name, size, content_type, sha256, state, gen_random_uuid(),
                created_at, upload_expires_at, completed_at
         FROM files, generate_series(1, 1100)",
    )
    .execute(&it.it.app.owner_db)
    .await
    .expect("they are added");
    let keys: Vec<String> = sqlx::query_scalar(
        "SELECT 'files/' || account_id || '/' || id || '/' || object_id FROM files ORDER BY 1",
    )
    .fetch_all(&it.it.app.owner_db)
    .await
    .expect("they are listed");
    for key in &keys {
        it.it.s3.write(BUCKET, key, &bytes);
    }
    it.it.app.clock.advance(DAY);
    it.copy().await;
    assert_eq!(it.keys(), keys);
    let lost = [&keys[0], &keys[1000], &keys[1100]];
    for key in lost {
        it.it.s3.remove(BUCKET, key);
    }
    let (code, text) = it.run(&["storage", "verify", "--present-only"]).await;
    assert_eq!(code, 1, "{text}");
    for key in lost {
        assert!(text.contains(&format!("{key}: missing")), "{text}");
    }
    assert!(text.contains("1101 files (0 B read), 3 differ"), "{text}");
    let (code, text) = it.run(&["storage", "restore"]).await;
    assert_eq!(code, 0, "{text}");
    assert_eq!(it.it.keys(), keys);
    for args in [&["storage", "verify"][..], &["storage", "verify", "--copy"]] {
        let (code, text) = it.run(args).await;
        assert_eq!(code, 0, "{args:?}: {text}");
        assert!(
            text.contains("1101 files") && text.contains("0 differ"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn the_doctor_finds_a_copy_that_cannot_be_used() {
    let it = Copied::new().await;
    let ada = it.it.app.sign_in("ada").await;
    it.upload(&ada, 1).await;
    let finding = async |settings: &Settings| run(settings, &["doctor"]).await;
    let (code, text) = finding(&it.settings).await;
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("ok     copy of the bucket: nothing is copied yet"),
        "{text}"
    );
    it.copy().await;
    let (code, text) = finding(&it.settings).await;
    assert_eq!(code, 0, "{text}");
    let at = "the last complete copy began at 2026-03-14T09:26:53Z";
    assert!(text.contains(at), "{text}");
    assert_eq!(it.keys(), it.it.keys(), "its probe is deleted");

    let same = it.it.s3.url().replace("127.0.0.1", "localhost");
    for (name, value, fault) in [
        (
            "STORAGE_COPY_ENDPOINT",
            "http://127.0.0.1:1",
            "does not respond",
        ),
        ("STORAGE_COPY_ACCESS_KEY_ID", "nobody", "refused a call"),
    ] {
        let (code, text) = finding(&with(&it.settings, &[(name, value)])).await;
        assert_eq!(code, 1, "{text}");
        assert!(
            text.contains("FAULT  copy of the bucket: ") && text.contains(fault),
            "{text}"
        );
    }
    let other = [
        ("STORAGE_COPY_BUCKET", BUCKET),
        ("STORAGE_COPY_ENDPOINT", &same),
    ];
    let (code, text) = finding(&with(&it.settings, &other)).await;
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("it is the bucket STORAGE_BUCKET by another address"),
        "{text}"
    );

    let mut alone = it.settings.clone();
    alone.retain(|name, _| !name.starts_with("STORAGE_COPY_"));
    let (code, text) = finding(&alone).await;
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("warn   copy of the bucket: STORAGE_COPY_BUCKET is not set"),
        "{text}"
    );
    let (code, text) = run(&alone, &["storage", "copy"]).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("STORAGE_COPY_BUCKET is not set"), "{text}");
}

#[tokio::test]
async fn half_of_the_settings_of_a_copy_is_refused() {
    let it = Copied::new().await;
    let without = |names: &[&str]| {
        let mut settings = it.settings.clone();
        settings.retain(|name, _| !names.contains(&name.as_str()));
        settings
    };
    let same = [
        ("STORAGE_COPY_BUCKET", BUCKET),
        (
            "STORAGE_COPY_ENDPOINT",
            it.settings["STORAGE_ENDPOINT"].as_str(),
        ),
    ];
    for (settings, fault) in [
        (
            without(&["STORAGE_COPY_BUCKET"]),
            "STORAGE_COPY_BUCKET: is required",
        ),
        (
            without(&["STORAGE_COPY_ACCESS_KEY_ID"]),
            "STORAGE_COPY_SECRET_ACCESS_KEY: is required",
        ),
        (
            without(&["STORAGE_COPY_SECRET_ACCESS_KEY"]),
            "STORAGE_COPY_SECRET_ACCESS_KEY: is required",
        ),
        (
            without(&["STORAGE_BUCKET"]),
            "STORAGE_BUCKET: is required with `STORAGE_COPY_BUCKET`",
        ),
        (
            with(&it.settings, &same),
            "STORAGE_COPY_BUCKET: must not be `STORAGE_BUCKET`",
        ),
        (
            with(&it.settings, &[("STORAGE_COPY_RETENTION", "1h")]),
            "STORAGE_COPY_RETENTION: must be",
        ),
    ] {
        let (code, text) = run(&settings, &["config"]).await;
        assert_eq!(code, 1, "{text}");
        assert!(text.contains(fault), "{fault}: {text}");
    }
}
