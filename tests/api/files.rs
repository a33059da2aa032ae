//! Files: uploaded straight to the store, completed, listed, downloaded and deleted; of one account.

mod copy;
mod crashes;
mod faults;
mod forms;
mod interrupted;
mod limits;
mod memory;
mod refusals;
mod scanning;
mod sweep;
mod verify;

use std::time::Duration;

use serde_json::json;

use crate::harness::{TestApp, hex};
use crate::kit::files::{FILES, files_app, files_app_with, new_file, png, send, sha256};

#[tokio::test]
async fn a_file_exists_once_its_bytes_have_arrived_and_were_checked() {
    let it = files_app().await;
    let ada = it.app.sign_in("ada").await;
    let bytes = png(100);
    let started = ada.start_file("image/png", &bytes).await;
    for path in [started.path(), format!("{}/content", started.path())] {
        ada.get(&path).await.assert_problem(404, "not_found");
    }
    assert_eq!(ada.get(FILES).await.body["items"], json!([]));

    assert_eq!(started.send(&bytes).await, 200);
    let completed = ada.complete(&started).await;
    completed.assert_status(200);
    let file = json!({
        "id": started.id, "status": "complete", "name": "a file", "size": bytes.len(), "content_type": "image/png",
        "sha256": hex(&sha256(&bytes)), "uploaded_by": ada.user_id().await,
        "created_at": "2026-03-14T09:26:53Z",
    });
    assert_eq!(completed.body, file);
    assert_eq!(ada.get(&started.path()).await.body, file);
    assert_eq!(ada.get(FILES).await.body["items"], json!([file]));
    let keys = it.keys();
    assert_eq!(keys.len(), 1, "nothing is left in staging: {keys:?}");
    assert!(keys[0].starts_with("files/") && keys[0].contains(&started.id));
    assert_eq!(it.app.audited("file_uploaded").await, 1);

    let again = ada.complete(&started).await;
    again.assert_status(200);
    assert_eq!((again.body, it.keys()), (file, keys));
    assert_eq!(it.app.audited("file_uploaded").await, 1);
}

#[tokio::test]
async fn a_download_is_an_attachment_by_a_url_of_five_minutes() {
    let it = files_app().await;
    let ada = it.app.sign_in("ada").await;
    let bytes = png(5);
    let started = ada.upload("image/png", &bytes).await;
    let redirect = ada.content(&started, &[]).await;
    redirect.assert_status(302);
    assert_eq!(redirect.headers["cache-control"], "no-store");
    assert_eq!(redirect.headers["x-content-type-options"], "nosniff");
    let url = redirect.headers["location"].to_str().expect("it is text");
    assert!(url.contains("X-Amz-Expires=300"), "{url}");
    let response = reqwest::get(url).await.expect("the store answers");
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "image/png");
    let disposition = response.headers()["content-disposition"].to_str();
    let disposition = disposition.expect("it is text");
    assert!(disposition.starts_with("attachment"), "{disposition}");
    assert_eq!(response.bytes().await.expect("it is whole"), bytes);

    let other = url.replace("X-Amz-Expires=300", "X-Amz-Expires=3000");
    let refused = reqwest::get(other).await.expect("the store answers");
    assert_eq!(refused.status(), 403, "an altered URL is refused");
}

#[tokio::test]
async fn through_the_service_a_download_has_ranges() {
    let it = files_app_with(&[("FILE_DOWNLOADS", "service")]).await;
    let ada = it.app.sign_in("ada").await;
    let text = "abcdefghij".repeat(1000);
    let started = ada.upload("text/plain", text.as_bytes()).await;
    let whole = ada.content(&started, &[]).await;
    whole.assert_status(200);
    assert_eq!(whole.bytes, text.as_bytes());
    for (name, value) in [
        ("content-type", "text/plain; charset=utf-8"),
        ("content-length", "10000"),
        ("accept-ranges", "bytes"),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "private, no-store"),
        (
            "content-disposition",
            "attachment; filename=\"a file\"; filename*=UTF-8''a%20file",
        ),
        (
            "content-security-policy",
            "default-src 'none'; frame-ancestors 'none'",
        ),
    ] {
        assert_eq!(whole.headers[name], value, "{name}");
    }
    let etag = whole.headers["etag"].to_str().expect("it is text");
    for (range, expected, bytes) in [
        ("bytes=0-3", "bytes 0-3/10000", "abcd"),
        ("bytes=9998-", "bytes 9998-9999/10000", "ij"),
        ("bytes=-1", "bytes 9999-9999/10000", "j"),
    ] {
        let part = ada
            .content(&started, &[("range", range), ("if-range", etag)])
            .await;
        part.assert_status(206);
        assert_eq!(part.headers["content-range"], expected);
        assert_eq!(part.bytes, bytes.as_bytes());
    }
    let beyond = ada.content(&started, &[("range", "bytes=10000-")]).await;
    beyond.assert_problem(416, "range_not_satisfiable");
    let other = [("range", "bytes=0-3"), ("if-range", "\"other\"")];
    assert_eq!(ada.content(&started, &other).await.bytes.len(), 10_000);
}

#[tokio::test]
async fn a_complete_file_never_changes() {
    let it = files_app_with(&[("FILE_DOWNLOADS", "service")]).await;
    let ada = it.app.sign_in("ada").await;
    let bytes = png(50);
    let started = ada.upload("image/png", &bytes).await;
    let mut others = bytes.clone();
    others[40] ^= 1;
    // The URL is still valid, for the bytes that it was signed for.
    assert_eq!(started.send(&bytes).await, 200);
    assert_eq!(started.send(&others).await, 400, "another hash");
    let mut headers = started.headers.clone();
    headers["x-amz-checksum-sha256"] = crate::kit::files::checksum(&others).into();
    assert_eq!(send(&started.url, &headers, &others).await, 403);
    ada.complete(&started).await.assert_status(200);
    assert_eq!(ada.content(&started, &[]).await.bytes, bytes);
    assert_eq!(
        it.keys()
            .iter()
            .filter(|key| key.starts_with("files/"))
            .count(),
        1
    );
}

#[tokio::test]
async fn a_deleted_file_cannot_be_reached_and_its_bytes_are_kept() {
    let it = files_app().await;
    let ada = it.app.sign_in("ada").await;
    let started = ada.upload("image/png", &png(1)).await;
    ada.delete_file(&started).await.assert_status(204);
    assert_eq!(it.app.audited("file_deleted").await, 1);
    for path in [started.path(), format!("{}/content", started.path())] {
        ada.get(&path).await.assert_problem(404, "not_found");
    }
    for answer in [
        ada.delete_file(&started).await,
        ada.complete(&started).await,
    ] {
        answer.assert_problem(404, "not_found");
    }
    assert_eq!(ada.get(FILES).await.body["items"], json!([]));
    assert_eq!(
        (it.keys().len(), it.states().await),
        (1, vec!["deleted".to_owned()])
    );
}

#[tokio::test]
async fn files_are_listed_newest_first_page_by_page() {
    let it = files_app().await;
    let ada = it.app.sign_in("ada").await;
    let mut ids = Vec::new();
    for size in 0..5 {
        it.app.clock.advance(Duration::from_secs(1));
        ids.insert(0, ada.upload("image/png", &png(size)).await.id);
    }
    let (mut seen, mut path) = (Vec::new(), format!("{FILES}?limit=2"));
    loop {
        let page = ada.get(&path).await;
        page.assert_status(200);
        let items = page.body["items"].as_array().expect("it has items");
        seen.extend(
            items
                .iter()
                .map(|it| it["id"].as_str().expect("an id").to_owned()),
        );
        let Some(next) = page.body["next_cursor"].as_str() else {
            break;
        };
        path = format!("{FILES}?limit=2&cursor={next}");
    }
    assert_eq!(seen, ids);
}

#[tokio::test]
async fn a_file_is_of_its_account_alone() {
    let it = files_app().await;
    let (ada, grace) = (it.app.sign_in("ada").await, it.app.sign_in("grace").await);
    let started = ada.upload("image/png", &png(1)).await;
    let pending = ada.start_file("image/png", &png(2)).await;
    pending.send(&png(2)).await;
    for started in [&started, &pending] {
        for answer in [
            grace.get(&started.path()).await,
            grace.content(started, &[]).await,
            grace.complete(started).await,
            grace.delete_file(started).await,
        ] {
            answer.assert_problem(404, "not_found");
        }
    }
    assert_eq!(grace.get(FILES).await.body["items"], json!([]));
    ada.get(&started.path()).await.assert_status(200);
    ada.complete(&pending).await.assert_status(200);
}

#[tokio::test]
async fn api_keys_need_the_scope_of_files() {
    let it = files_app().await;
    let ada = it.app.sign_in("ada").await;
    let started = ada.upload("image/png", &png(1)).await;
    let new = new_file("x", "image/png", &png(3));
    for (scope, may_read, may_write) in [
        ("files:read", true, false),
        ("files:write", false, true),
        ("usage:read", false, false),
    ] {
        let key = ada.new_key(&[scope]).await;
        let call = |method, path: String, body| {
            let token = Some(key.text.clone());
            let replica = it.app.replica.clone();
            async move { replica.call(method, &path, token.as_deref(), body).await }
        };
        let read = call(reqwest::Method::GET, started.path(), None).await;
        read.assert_status(if may_read { 200 } else { 403 });
        let written = call(reqwest::Method::POST, FILES.to_owned(), Some(new.clone())).await;
        written.assert_status(if may_write { 201 } else { 403 });
    }
    it.app.run_jobs().await;
}

#[tokio::test]
async fn without_a_store_the_routes_say_so_and_all_else_works() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let start = ada.post(FILES, new_file("x", "image/png", &png(0))).await;
    start.assert_problem(503, "storage_not_configured");
    ada.get(FILES).await.assert_status(200);
    let ready = app.get("/health/ready").await;
    ready.assert_status(200);
    assert!(ready.body.get("storage").is_none());
}
