//! Comparison of files with their objects: by command, and a share of them each day.

use std::time::Duration;

use groundwork::files::VerifyFiles;
use groundwork_dev::{S3Effect, S3Fault};
use reqwest::{Method, StatusCode};

use crate::kit::files::{BUCKET, FilesApp, files_app, files_app_with, png};
use crate::process;

const HOUR: Duration = Duration::from_hours(1);

impl FilesApp {
    /// Runs `storage verify` with options; returns its exit code and its output.
    async fn verify(&self, options: &[&str]) -> (i32, String) {
        let args = [&["storage", "verify"], options].concat();
        let output = process::run(&self.app.settings, &args).await;
        let text = process::stdout(&output) + &process::stderr(&output);
        (output.status.code().expect("it ends by itself"), text)
    }

    async fn verify_share(&self) {
        job_queue::enqueue(&self.app.state.db, &VerifyFiles::default(), None)
            .await
            .expect("it is enqueued");
        self.app.run_jobs().await;
    }

    /// Differences of all files but those without one.
    async fn differences(&self) -> Vec<String> {
        sqlx::query_scalar("SELECT difference FROM files WHERE difference IS NOT NULL ORDER BY 1")
            .fetch_all(&self.app.owner_db)
            .await
            .expect("they are read")
    }

    /// Files that were compared since the clock has this time.
    async fn verified_now(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM files WHERE verified_at = $1")
            .bind(self.app.clock.now())
            .fetch_one(&self.app.owner_db)
            .await
            .expect("they are counted")
    }
}

#[tokio::test]
async fn a_flipped_byte_a_truncated_and_a_missing_object_are_named() {
    let it = files_app().await;
    let ada = it.app.sign_in("ada").await;
    let mut keys = Vec::new();
    for size in [10, 200_000, 30, 40] {
        let id = ada.upload("image/png", &png(size)).await.id;
        let key = it.keys().into_iter().find(|key| key.contains(&id));
        keys.push((id, key.expect("it is there")));
    }
    let (code, text) = it.verify(&[]).await;
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("4 files (195.5 KiB read), 0 differ"),
        "{text}"
    );

    let [flipped, cut, missing, good] = [0, 1, 2, 3].map(|n| &keys[n]);
    let mut bytes = it.s3.read(BUCKET, &flipped.1).expect("it is there");
    bytes[30] ^= 1;
    it.s3.write(BUCKET, &flipped.1, &bytes);
    let bytes = it.s3.read(BUCKET, &cut.1).expect("it is there");
    it.s3.write(BUCKET, &cut.1, &bytes[..1000]);
    it.s3.remove(BUCKET, &missing.1);
    let lines = [
        format!("{} {}: SHA-256\n", flipped.0, flipped.1),
        format!(
            "{} {}: size 1000 instead of {}\n",
            cut.0,
            cut.1,
            bytes.len()
        ),
        format!("{} {}: missing\n", missing.0, missing.1),
    ];
    let (code, text) = it.verify(&["--present-only"]).await;
    assert_eq!(code, 1, "{text}");
    assert!(
        !text.contains(&lines[0]) && text.contains(&lines[1]) && text.contains(&lines[2]),
        "{text}"
    );
    assert_eq!(it.differences().await, ["missing", "size"]);
    let (code, text) = it.verify(&[]).await;
    assert_eq!(code, 1, "{text}");
    assert!(lines.iter().all(|line| text.contains(line)), "{text}");
    assert!(
        !text.contains(&good.0) && text.contains("4 files") && text.contains("3 differ"),
        "{text}"
    );
    assert_eq!(it.differences().await, ["hash", "missing", "size"]);

    // Presence alone does not disprove other bytes; what is repaired is compared at once.
    it.s3.write(BUCKET, &cut.1, &bytes);
    it.verify(&["--present-only"]).await;
    assert_eq!(it.differences().await, ["hash", "missing"]);
    it.s3.write(BUCKET, &flipped.1, &png(10));
    let (_, text) = it.verify(&["--share", "1000"]).await;
    assert!(
        text.contains("3 files") && text.contains("1 differ"),
        "{text}"
    );
    assert_eq!(it.differences().await, ["missing"]);
}

#[tokio::test]
async fn files_without_an_object_by_design_are_no_difference() {
    let it = files_app().await;
    let ada = it.app.sign_in("ada").await;
    let deleted = ada.upload("image/png", &png(1)).await;
    let infected = ada.upload("image/png", &png(2)).await;
    ada.start_file("image/png", &png(3))
        .await
        .send(&png(3))
        .await;
    ada.delete_file(&deleted).await.assert_status(204);
    sqlx::query("UPDATE files SET state = 'infected', needs_scan = true WHERE id = $1::uuid")
        .bind(&infected.id)
        .execute(&it.app.owner_db)
        .await
        .expect("it is set");
    for key in it.keys() {
        it.s3.remove(BUCKET, &key);
    }
    let (code, text) = it.verify(&[]).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("0 files"), "{text}");
}

#[tokio::test]
async fn a_file_that_is_deleted_while_it_is_compared_is_no_difference() {
    let it = files_app().await;
    let ada = it.app.sign_in("ada").await;
    let file = ada.upload("image/png", &png(1)).await;
    it.s3.remove(BUCKET, &it.keys()[0]);
    // The row is deleted once the comparison wants to note what it found.
    let mut holder = it.app.owner().await;
    sqlx::raw_sql("BEGIN; DELETE FROM files")
        .execute(&mut holder)
        .await
        .expect("it is deleted");
    let verify = it.verify(&[]);
    let commit = async {
        crate::organisations::races::until_waiting(&mut it.app.owner().await, 1).await;
        sqlx::raw_sql("COMMIT")
            .execute(&mut holder)
            .await
            .expect("it is committed");
    };
    let ((code, text), ()) = tokio::join!(verify, commit);
    assert_eq!(code, 0, "{text}");
    assert!(
        !text.contains(&file.id) && text.contains("0 differ"),
        "{text}"
    );
}

#[tokio::test]
async fn every_file_is_compared_within_the_time_that_is_set() {
    let it = files_app_with(&[("FILE_VERIFY_WITHIN", "3d")]).await;
    let ada = it.app.sign_in("ada").await;
    for size in 0..7 {
        ada.upload("image/png", &png(size)).await;
    }
    let damaged = it.keys()[3].clone();
    it.s3.write(BUCKET, &damaged, b"other");
    let mut days = Vec::new();
    for _ in 0..3 {
        it.app.clock.advance(23 * HOUR);
        it.verify_share().await;
        days.push(it.verified_now().await);
        // Repeated on the same day, as after a crash, it compares what differs, and no further share.
        it.app.clock.advance(HOUR);
        it.verify_share().await;
        assert!(it.verified_now().await <= 1);
    }
    assert_eq!(it.differences().await, ["size"]);
    assert!(days.iter().all(|day| *day >= 2), "{days:?}");
    let never: i64 = sqlx::query_scalar("SELECT count(*) FROM files WHERE verified_at IS NULL")
        .fetch_one(&it.app.owner_db)
        .await
        .expect("they are counted");
    assert_eq!(never, 0);
}

#[tokio::test]
async fn an_object_that_cannot_be_read_does_not_keep_others_from_being_compared() {
    let it = files_app().await;
    let ada = it.app.sign_in("ada").await;
    let mut ids = Vec::new();
    for size in 0..3 {
        ids.push(ada.upload("image/png", &png(size)).await.id);
        it.app.clock.advance(Duration::from_mins(1));
    }
    // That of the file whose turn is first.
    for _ in 0..30 {
        it.s3.fault(S3Fault {
            method: Method::GET,
            path: ids[0].clone(),
            effect: S3Effect::None,
            status: StatusCode::SERVICE_UNAVAILABLE,
        });
    }
    let (code, text) = it.verify(&["--share", "1"]).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("1 objects could not be read"), "{text}");
    assert!(text.contains(&ids[0]), "{text}");
    let compared: Vec<String> =
        sqlx::query_scalar("SELECT id::text FROM files WHERE verified_at IS NOT NULL ORDER BY id")
            .fetch_all(&it.app.owner_db)
            .await
            .expect("they are read");
    assert_eq!(compared, ids[1..]);
    assert!(it.differences().await.is_empty());
}

#[tokio::test]
async fn a_store_that_fails_for_a_moment_is_no_difference_and_one_that_is_away_ends_the_comparison()
{
    let it = files_app().await;
    let ada = it.app.sign_in("ada").await;
    ada.upload("image/png", &png(1)).await;
    for _ in 0..3 {
        it.s3.fault(S3Fault {
            method: Method::GET,
            path: "/files/".to_owned(),
            effect: S3Effect::None,
            status: StatusCode::SERVICE_UNAVAILABLE,
        });
    }
    let (code, text) = it.verify(&[]).await;
    assert_eq!(code, 0, "{text}");
    let settings = process::with(
        &it.app.settings,
        &[("STORAGE_ENDPOINT", "http://127.0.0.1:1")],
    );
    let output = process::run(&settings, &["storage", "verify"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(process::stderr(&output).contains("does not respond"));
    assert!(it.differences().await.is_empty());

    let mut alone = it.app.settings.clone();
    alone.retain(|name, _| !name.starts_with("STORAGE_"));
    let output = process::run(&alone, &["storage", "verify"]).await;
    assert_eq!(output.status.code(), Some(1));
    let said = process::stderr(&output);
    assert!(
        said.contains("STORAGE_BUCKET is not set, and 1 files need it"),
        "{said}"
    );
}
