//! The sweep: rows and objects agree after it, and deleted files are kept for their time.

use std::collections::BTreeSet;
use std::time::Duration;

use groundwork::files::SweepFiles;
use groundwork_dev::{S3Effect, S3Fault};
use reqwest::{Method, StatusCode};

use crate::kit::files::{BUCKET, FILES, FilesApp, files_app, png};

const DAY: Duration = Duration::from_hours(24);

impl FilesApp {
    pub async fn sweep(&self) {
        job_queue::enqueue(&self.app.state.db, &SweepFiles::default(), None)
            .await
            .expect("it is enqueued");
        self.app.run_jobs().await;
    }

    /// Lets time pass for rows and objects, and sweeps.
    pub async fn sweep_later(&self, time: Duration) {
        self.app.clock.advance(time);
        self.s3.age(BUCKET, time);
        self.sweep().await;
    }

    /// Holds that each object has a row and each row with an object has that object, by listing both.
    pub(super) async fn assert_agreement(&self) {
        let rows: Vec<String> = sqlx::query_scalar(
            "SELECT 'files/' || account_id || '/' || id || '/' || object_id FROM files
             WHERE state IN ('complete', 'deleted')",
        )
        .fetch_all(&self.app.owner_db)
        .await
        .expect("they are listed");
        let rows: BTreeSet<_> = rows.into_iter().collect();
        assert_eq!(rows, self.keys().into_iter().collect());
    }
}

#[tokio::test]
async fn deleted_files_are_kept_for_thirty_days_and_then_removed() {
    let it = files_app().await;
    let ada = it.app.sign_in("ada").await;
    let (kept, deleted) = (
        ada.upload("image/png", &png(1)).await,
        ada.upload("image/png", &png(2)).await,
    );
    ada.delete_file(&deleted).await.assert_status(204);
    it.sweep_later(29 * DAY).await;
    assert_eq!(it.keys().len(), 2);
    // Not removed while the store fails.
    it.app.clock.advance(2 * DAY);
    for _ in 0..2 {
        it.s3.fault(S3Fault {
            method: Method::DELETE,
            path: "/files/".to_owned(),
            effect: S3Effect::Made,
            status: StatusCode::SERVICE_UNAVAILABLE,
        });
    }
    it.sweep().await;
    assert_eq!(it.states().await, ["complete", "deleted"]);
    it.app.hurry_jobs().await;
    it.app.run_jobs().await;
    assert_eq!(it.states().await, ["complete"]);
    it.assert_agreement().await;
    assert!(it.keys()[0].contains(&kept.id));
}

#[tokio::test]
async fn a_database_of_twenty_days_ago_finds_the_objects_of_its_files() {
    let it = files_app().await;
    let ada = it.app.sign_in("ada").await;
    let started = ada.upload("image/png", &png(1)).await;
    run(&it, "CREATE TABLE backup AS SELECT * FROM files").await;
    ada.delete_file(&started).await.assert_status(204);
    it.sweep_later(20 * DAY).await;
    run(
        &it,
        "DELETE FROM files; INSERT INTO files SELECT * FROM backup",
    )
    .await;
    it.sweep().await;
    assert_eq!(it.states().await, ["complete"]);
    let ada = it.app.log_in("ada@example.com").await;
    let redirect = ada.content(&started, &[]).await;
    let url = redirect.headers["location"].to_str().expect("it is text");
    let found = reqwest::get(url).await.expect("the store answers");
    assert_eq!(found.bytes().await.expect("they are read"), png(1));
}

async fn run(it: &FilesApp, sql: &'static str) {
    let done = sqlx::raw_sql(sql).execute(&it.app.owner_db).await;
    done.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

#[tokio::test]
async fn a_file_without_its_object_is_lost_until_the_object_is_back() {
    let it = files_app().await;
    let ada = it.app.sign_in("ada").await;
    let started = ada.upload("image/png", &png(1)).await;
    let key = it.keys()[0].clone();
    let bytes = it.s3.read(BUCKET, &key).expect("it is there");
    it.s3.remove(BUCKET, &key);
    it.sweep().await;
    assert_eq!(it.states().await, ["complete"], "too new to be judged");
    it.sweep_later(Duration::from_hours(3)).await;
    assert_eq!(it.states().await, ["lost"]);
    let ada = it.app.log_in("ada@example.com").await;
    ada.get(&started.path())
        .await
        .assert_problem(404, "not_found");
    it.s3.write(BUCKET, &key, &bytes);
    it.sweep().await;
    assert_eq!(it.states().await, ["complete"]);
    ada.get(&started.path()).await.assert_status(200);
}

#[tokio::test]
async fn objects_without_a_row_are_removed_once_no_request_can_be_about_them() {
    let it = files_app().await;
    let ada = it.app.sign_in("ada").await;
    ada.upload("image/png", &png(1)).await;
    let file = it.keys()[0].clone();
    let (folder, _) = file.rsplit_once('/').expect("it has folders");
    let other_attempt = format!("{folder}/01980b6e-7c00-7000-8000-3f2a51d6c9b1");
    it.s3.write(BUCKET, &other_attempt, b"x");
    it.s3.write(BUCKET, "staging/x/y", b"x");
    it.s3.write(BUCKET, "files/of-somebody-else", b"x");
    it.s3.write(BUCKET, "backup.tar", b"x");
    it.sweep().await;
    assert_eq!(it.keys().len(), 5);
    it.sweep_later(Duration::from_hours(3)).await;
    assert_eq!(it.keys(), ["backup.tar", &file, "files/of-somebody-else"]);
}

#[tokio::test]
async fn the_bucket_of_another_database_is_not_emptied() {
    let mut it = files_app().await;
    for n in 0..150 {
        let key = format!(
            "files/01980b6e-7c00-7000-8000-3f2a51d6c9b1/01980b6e-7c00-7000-8000-3f2a51d6c9b2/01980b6e-7c00-7000-8000-3f2a51d6{n:04x}"
        );
        it.s3.write(BUCKET, &key, b"x");
    }
    it.s3.age(BUCKET, DAY);
    it.sweep().await;
    assert_eq!(it.keys().len(), 150);
    it.app.expect_dead_jobs();
}

#[tokio::test]
async fn more_than_a_page_of_objects_is_compared() {
    let it = files_app().await;
    let ada = it.app.sign_in("ada").await;
    let started = ada.upload("image/png", &png(1)).await;
    let file = it.keys()[0].clone();
    let (folder, _) = file.rsplit_once('/').expect("it has folders");
    // Half of them are of rows, so that the other half may go.
    sqlx::query(
        "INSERT INTO files (id, account_id, user_id, name, size, content_type, sha256, state, object_id, created_at,
                            upload_expires_at, completed_at)
         SELECT gen_random_uuid(), account_id, user_id, name, size, content_type, sha256, state, gen_random_uuid(),
                created_at, upload_expires_at, completed_at
         FROM files, generate_series(1, 1500)",
    )
    .execute(&it.app.owner_db)
    .await
    .expect("they are added");
    let rows: Vec<String> = sqlx::query_scalar(
        "SELECT 'files/' || account_id || '/' || id || '/' || object_id FROM files",
    )
    .fetch_all(&it.app.owner_db)
    .await
    .expect("they are listed");
    for key in rows.iter().filter(|key| **key != file) {
        it.s3.write(BUCKET, key, b"x");
    }
    for n in 0..700 {
        it.s3.write(
            BUCKET,
            &format!("{folder}/01980b6e-7c00-7000-8000-3f2a51d6{n:04x}"),
            b"x",
        );
    }
    let lost = rows
        .iter()
        .find(|key| !key.contains(&started.id))
        .expect("one");
    it.s3.remove(BUCKET, lost);
    it.sweep_later(Duration::from_hours(3)).await;
    assert_eq!(it.keys().len(), 1500);
    let states = it.states().await;
    assert_eq!(states.iter().filter(|state| *state == "lost").count(), 1);
    it.assert_agreement().await;
    let ada = it.app.log_in("ada@example.com").await;
    ada.get(FILES).await.assert_status(200);
}

#[tokio::test]
async fn files_of_a_purged_organisation_go_at_once() {
    let it = files_app().await;
    let ada = it.app.sign_in("ada").await;
    let own = ada.upload("image/png", &png(1)).await;
    let organisation = ada.new_organisation("acme").await;
    sqlx::query("UPDATE files SET account_id = $1::uuid")
        .bind(&organisation)
        .execute(&it.app.owner_db)
        .await
        .expect("it is given away");
    let kept = ada.upload("image/png", &png(2)).await;
    it.s3.age(BUCKET, DAY);
    for sql in [
        "DELETE FROM account_slugs WHERE account_id = $1::uuid",
        "UPDATE accounts SET deleted_at = now() WHERE id = $1::uuid",
    ] {
        let purged = sqlx::query(sql).bind(&organisation);
        purged
            .execute(&it.app.owner_db)
            .await
            .expect("it is purged");
    }
    it.sweep().await;
    let keys = it.keys();
    assert!(keys.len() == 1 && keys[0].contains(&kept.id), "{keys:?}");
    assert!(!keys[0].contains(&own.id));
}
