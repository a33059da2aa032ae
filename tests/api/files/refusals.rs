//! What an upload must not be.

use std::time::Duration;

use serde_json::json;

use crate::harness::hex;
use crate::kit::files::{
    FILES, Started, checksum, files_app, files_app_with, new_file, png, send, sha256,
};

#[tokio::test]
async fn names_are_labels_and_never_part_of_a_key_or_a_header() {
    let it = files_app_with(&[("FILE_DOWNLOADS", "service")]).await;
    let ada = it.app.sign_in("ada").await;
    for (size, name) in ["../../etc/passwd", "a\"b';.png", "דוח.png", "C:\\x%00.png"]
        .iter()
        .enumerate()
    {
        let bytes = png(size);
        let started = Started::of(&ada.post(FILES, new_file(name, "image/png", &bytes)).await);
        started.send(&bytes).await;
        let file = ada.complete(&started).await;
        file.assert_status(200);
        assert_eq!(file.body["name"], *name);
        let content = ada.content(&started, &[]).await;
        let disposition = content.headers["content-disposition"]
            .to_str()
            .expect("it is ASCII");
        assert_eq!(disposition.matches('"').count(), 2, "{disposition}");
        assert!(!disposition.contains(['/', '\\', ':']), "{disposition}");
    }
    for key in it.keys() {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-".contains(c);
        assert!(key.chars().all(is_plain), "{key}");
    }
    for name in [
        "a\0b",
        "a\r\nX: y",
        "gpj.\u{202e}exe",
        "",
        "  ",
        &"x".repeat(300),
    ] {
        let refused = ada.post(FILES, new_file(name, "image/png", &png(0))).await;
        refused.assert_field("name");
    }
}

#[tokio::test]
async fn types_outside_of_the_list_and_sizes_outside_of_the_plan_are_refused_before_the_upload() {
    let it = files_app_with(&[("PLAN_FREE_FILE_MIB", "1")]).await;
    let ada = it.app.sign_in("ada").await;
    for kind in [
        "text/html",
        "image/svg+xml",
        "application/javascript",
        "image/bmp",
        "IMAGE/PNG",
        "",
        "image/png; charset=x",
    ] {
        let refused = ada.post(FILES, new_file("a.png", kind, &png(0))).await;
        refused.assert_problem(415, "file_type_not_allowed");
    }
    let mut body = new_file("a.png", "image/png", &png(0));
    for size in [json!(0), json!(-1), json!("1"), json!(1.5), json!(u64::MAX)] {
        body["size"] = size;
        ada.post(FILES, body.clone()).await.assert_field("size");
    }
    body["size"] = json!(1024 * 1024 + 1);
    ada.post(FILES, body.clone())
        .await
        .assert_problem(413, "payload_too_large");
    body["size"] = json!(1024 * 1024);
    ada.post(FILES, body.clone()).await.assert_status(201);
    for hash in [
        "",
        "00",
        &"G0".repeat(32),
        &hex(&sha256(b"x")).to_uppercase(),
    ] {
        body["sha256"] = json!(hash);
        ada.post(FILES, body.clone()).await.assert_field("sha256");
    }
    assert!(it.keys().is_empty());
}

#[tokio::test]
async fn the_store_refuses_what_the_url_is_not_signed_for() {
    let it = files_app().await;
    let ada = it.app.sign_in("ada").await;
    let bytes = png(10);
    let started = ada.start_file("image/png", &bytes).await;
    let mut same_size = bytes.clone();
    same_size[30] ^= 1;
    for others in [png(11), png(9), same_size] {
        assert_eq!(started.send(&others).await, 400, "another hash");
        let mut headers = started.headers.clone();
        headers["x-amz-checksum-sha256"] = json!(checksum(&others));
        assert_eq!(send(&started.url, &headers, &others).await, 403);
    }
    for name in ["content-type", "x-amz-checksum-sha256"] {
        let mut headers = started.headers.clone();
        headers[name] = json!("text/html");
        let refused = send(&started.url, &headers, &bytes).await;
        assert!(refused.is_client_error(), "{name}: {refused}");
        headers.as_object_mut().expect("an object").remove(name);
        assert_eq!(
            send(&started.url, &headers, &bytes).await,
            403,
            "without {name}"
        );
    }
    let elsewhere = started.url.replace("/staging/", "/files/");
    assert_eq!(send(&elsewhere, &started.headers, &bytes).await, 403);
    let later = started
        .url
        .replace("X-Amz-Expires=3600", "X-Amz-Expires=36000");
    assert_ne!(later, started.url);
    assert_eq!(send(&later, &started.headers, &bytes).await, 403);
    assert!(it.keys().is_empty());
    ada.complete(&started)
        .await
        .assert_problem(409, "upload_missing");
    // The upload is still possible.
    assert_eq!(started.send(&bytes).await, 200);
    ada.complete(&started).await.assert_status(200);
}

#[tokio::test]
async fn bytes_of_another_type_are_refused_and_nothing_is_stored() {
    let it = files_app().await;
    let ada = it.app.sign_in("ada").await;
    let script = [png(0), b"<script>alert(1)</script>".to_vec()].concat();
    for (kind, bytes) in [
        (
            "image/png",
            &b"<!doctype html><script>alert(1)</script>"[..],
        ),
        ("image/png", b"\xff\xd8\xff\xe0\0\x10JFIF\0"),
        ("image/gif", b"GIF89a/*\0\0*/=1;alert(1)"),
        ("image/png", &script),
        ("text/plain", b"<svg onload=alert(1)>"),
        ("text/csv", b"#!/bin/sh\n"),
        ("application/pdf", b"%PDX-1.7"),
    ] {
        let started = ada.start_file(kind, bytes).await;
        assert_eq!(started.send(bytes).await, 200);
        let refused = ada.complete(&started).await;
        refused.assert_problem(415, "file_type_not_allowed");
        ada.complete(&started)
            .await
            .assert_problem(404, "not_found");
        assert!(it.keys().is_empty(), "{kind}");
    }
    assert!(it.states().await.is_empty());
    assert_eq!(it.app.audited("file_uploaded").await, 0);
}

#[tokio::test]
async fn an_upload_that_is_missing_other_or_late_has_a_code_each() {
    let it = files_app().await;
    let ada = it.app.sign_in("ada").await;
    let bytes = png(10);
    let started = ada.start_file("image/png", &bytes).await;
    ada.complete(&started)
        .await
        .assert_problem(409, "upload_missing");

    // A store that does not verify checksums, and so keeps none.
    let account = ada.user_id().await;
    for others in [png(11), vec![1; bytes.len()]] {
        let key = format!("staging/{account}/{}", started.id);
        it.s3.write(crate::kit::files::BUCKET, &key, &others);
        ada.complete(&started)
            .await
            .assert_problem(409, "upload_differs");
        assert_eq!(it.keys(), [key]);
    }
    let key = format!("staging/{account}/{}", started.id);
    it.s3.write(crate::kit::files::BUCKET, &key, &bytes);
    it.app.clock.advance(Duration::from_secs(3599));
    let ada = it.app.log_in("ada@example.com").await;
    ada.complete(&started).await.assert_status(200);

    let late = ada.start_file("image/png", &bytes).await;
    assert_eq!(late.send(&bytes).await, 200);
    it.app.clock.advance(Duration::from_hours(1));
    let ada = it.app.log_in("ada@example.com").await;
    ada.complete(&late)
        .await
        .assert_problem(409, "upload_expired");
}
