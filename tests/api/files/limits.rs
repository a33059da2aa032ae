//! Limits of the plan and of uploads a minute, also for concurrent requests.

use futures_util::future::join_all;
use serde_json::json;
use sqlx::Connection as _;

use crate::harness::Answer;
use crate::kit::files::{FILES, FilesApp, files_app_with, new_file, png};
use crate::organisations::races::until_waiting;

#[tokio::test]
async fn uploads_count_from_their_start_until_they_expire_or_are_deleted() {
    let it = files_app_with(&[("PLAN_FREE_FILES", "2")]).await;
    let ada = it.app.sign_in("ada").await;
    let first = ada.upload("image/png", &png(0)).await;
    ada.start_file("image/png", &png(1)).await;
    let third = new_file("x", "image/png", &png(2));
    ada.post(FILES, third.clone())
        .await
        .assert_problem(409, "too_many_files");
    ada.delete_file(&first).await.assert_status(204);
    ada.post(FILES, third.clone()).await.assert_status(201);
    ada.post(FILES, third.clone())
        .await
        .assert_problem(409, "too_many_files");
    it.app.clock.advance(std::time::Duration::from_hours(1));
    let ada = it.app.log_in("ada@example.com").await;
    ada.post(FILES, third).await.assert_status(201);
    // Another account has limits of its own.
    let grace = it.app.sign_in("grace").await;
    grace.upload("image/png", &png(0)).await;
}

#[tokio::test]
async fn all_bytes_together_have_a_limit() {
    let it = files_app_with(&[("PLAN_FREE_STORAGE_MIB", "1")]).await;
    let ada = it.app.sign_in("ada").await;
    let mut body = new_file("x", "image/png", &png(0));
    for (size, status) in [(1_000_000, 201), (48_577, 409), (48_576, 201), (1, 409)] {
        body["size"] = json!(size);
        let answer = ada.post(FILES, body.clone()).await;
        answer.assert_status(status);
        if status == 409 {
            answer.assert_problem(409, "storage_full");
        }
    }
}

#[tokio::test]
async fn a_user_starts_five_uploads_a_minute() {
    let it = files_app_with(&[("LIMIT_UPLOAD", "5/1m")]).await;
    let ada = it.app.sign_in("ada").await;
    for size in 0..5 {
        ada.start_file("image/png", &png(size)).await;
    }
    let sixth = new_file("x", "image/png", &png(9));
    ada.post(FILES, sixth.clone())
        .await
        .assert_problem(429, "rate_limited");
    it.app
        .sign_in("grace")
        .await
        .post(FILES, sixth)
        .await
        .assert_status(201);
}

/// Settings under which so many requests can wait for one account that the plan has too few places for them.
pub(super) const FIFTY_FILES: [(&str, &str); 4] = [
    ("PLAN_FREE_FILES", "50"),
    ("DB_POOL_SIZE", "70"),
    ("DB_POOL_TIMEOUT", "60s"),
    ("DB_LOCK_TIMEOUT", "60s"),
];

impl FilesApp {
    /// Makes requests while all accounts are locked, and unlocks them when so many as the pool has connections wait.
    pub(super) async fn at_once<F: Future<Output = Answer>>(
        &self,
        requests: impl Iterator<Item = F>,
    ) -> Vec<Answer> {
        let (mut holder, mut observer) = (self.app.owner().await, self.app.owner().await);
        let mut held = holder.begin().await.expect("it begins");
        sqlx::query("SELECT 1 FROM accounts FOR UPDATE")
            .execute(&mut *held)
            .await
            .expect("it is locked");
        let release = async {
            until_waiting(&mut observer, 61).await;
            held.rollback().await.expect("it ends");
        };
        tokio::join!(join_all(requests), release).0
    }
}

#[tokio::test]
async fn two_hundred_uploads_at_once_get_the_fifty_that_the_plan_has() {
    let it = files_app_with(&FIFTY_FILES).await;
    let ada = it.app.sign_in("ada").await;
    let answers =
        it.at_once((0..200).map(|_| ada.post(FILES, new_file("x", "image/png", &png(0)))));
    let answers = answers.await;
    let (started, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|it| it.status == 201);
    assert_eq!(started.len(), 50);
    for answer in refused {
        answer.assert_problem(409, "too_many_files");
    }
    assert_eq!(it.states().await.len(), 50);
}

#[tokio::test]
async fn of_twenty_completions_at_once_one_makes_the_file_and_all_return_it() {
    let it = files_app_with(&[]).await;
    let ada = it.app.sign_in("ada").await;
    let bytes = png(1000);
    let started = ada.start_file("image/png", &bytes).await;
    assert_eq!(started.send(&bytes).await, 200);
    let answers = join_all((0..20).map(|_| ada.complete(&started))).await;
    for answer in &answers {
        answer.assert_status(200);
        assert_eq!(answer.body, answers[0].body);
    }
    assert_eq!(it.app.audited("file_uploaded").await, 1);
    assert_eq!(it.keys().len(), 1);
}
