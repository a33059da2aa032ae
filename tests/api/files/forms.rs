//! Files uploaded through the service: what a form must be.

use reqwest::Method;
use serde_json::json;

use crate::cookies::client::{Browser, HERE};
use crate::harness::hex;
use crate::kit::files::{BUCKET, FILES, FilesApp, files_app, files_app_with, png, sha256};
use crate::kit::forms::{FORM, Form, UPLOAD, image};

impl FilesApp {
    /// Holds that the store was never written to, and no row is left.
    #[track_caller]
    fn assert_nothing_sent(&self) {
        let calls = self.s3.calls();
        assert!(!calls.iter().any(|it| it.starts_with("PUT")), "{calls:?}");
    }

    pub(super) async fn assert_nothing_left(&self) {
        assert!(self.keys().is_empty(), "{:?}", self.keys());
        assert!(self.states().await.is_empty());
    }
}

#[tokio::test]
async fn a_form_with_a_size_and_a_file_is_a_file() {
    let it = files_app_with(&[("FILE_DOWNLOADS", "service")]).await;
    let (ada, grace) = (it.app.sign_in("ada").await, it.app.sign_in("grace").await);
    let large = png(1_000_000);
    let text = b"id,name\r\n1,Ada".to_vec();
    let forms = [
        (image(&png(0)), png(0), "a.png", "image/png"),
        (
            Form::default()
                .field("name", "invoice \u{e9}.png")
                .field("sha256", hex(&sha256(&large)))
                .field("size", large.len())
                .file("../../ignored", "text/html", &large),
            large,
            "invoice \u{e9}.png",
            "image/png",
        ),
        (
            Form::default()
                .field("size", 14)
                .file("a.csv", "text/csv; charset=utf-8", &text),
            text.clone(),
            "a.csv",
            "text/csv",
        ),
        (
            Form::default()
                .field("size", 14)
                .file("a.csv", "image/png", &text),
            text,
            "a.csv",
            "text/plain",
        ),
    ];
    let count = forms.len();
    for (form, bytes, name, content_type) in forms {
        let created = ada.send_form(form.end()).await;
        created.assert_status(201);
        let file = &created.body;
        assert_eq!(
            (&file["name"], &file["content_type"]),
            (&json!(name), &json!(content_type))
        );
        assert_eq!(
            (&file["size"], &file["sha256"]),
            (&json!(bytes.len()), &json!(hex(&sha256(&bytes))))
        );
        let path = format!("{FILES}/{}", file["id"].as_str().expect("an id"));
        assert_eq!(ada.get(&path).await.body, *file);
        let content = ada.get(&format!("{path}/content")).await;
        assert!(content.bytes == bytes, "other bytes");
        grace.get(&path).await.assert_problem(404, "not_found");
        let complete = ada.post(&format!("{path}/complete"), json!({})).await;
        assert_eq!(complete.body, *file);
    }
    assert_eq!(it.app.audited("file_uploaded").await, 4);
    assert_eq!(it.states().await, vec!["complete"; count]);
    it.assert_agreement().await;
}

#[tokio::test]
async fn a_form_that_is_none_of_a_file_is_refused_before_the_store_is_called() {
    let it = files_app().await;
    let ada = it.app.sign_in("ada").await;
    let (bytes, form) = (png(10), Form::default);
    let sized = || form().field("size", bytes.len());
    let many = |name: &str| {
        (0..10_000)
            .fold(form(), |form, _| form.field(name, "x"))
            .end()
    };
    for (field, body) in [
        ("file", sized().end()),
        ("file", form().end()),
        ("size", form().file("a", "image/png", &bytes).end()),
        (
            "size",
            form()
                .file("a", "image/png", &bytes)
                .field("size", bytes.len())
                .end(),
        ),
        (
            "surprise",
            sized().field("surprise", "x").file("a", "", &bytes).end(),
        ),
        (
            "size",
            sized()
                .field("size", bytes.len())
                .file("a", "", &bytes)
                .end(),
        ),
        ("x", many("x")),
        ("name", many("name")),
        ("name", form().field("name", "x".repeat(1_000_000)).end()),
        ("size", form().field("size", "9".repeat(1_000_000)).end()),
        ("size", form().field("size", 0).file("a", "", b"").end()),
        ("size", form().field("size", "-1").file("a", "", b"").end()),
        ("size", form().field("size", "+1").file("a", "", b"x").end()),
        (
            "size",
            form().field("size", u128::MAX).file("a", "", b"x").end(),
        ),
        (
            "sha256",
            form().field("sha256", "00").file("a", "", b"x").end(),
        ),
        (&"y".repeat(128), sized().field(&"y".repeat(128), "").end()),
    ] {
        ada.send_form(body).await.assert_field(field);
    }
    it.assert_nothing_sent();
    it.assert_nothing_left().await;
}

#[tokio::test]
async fn a_name_of_a_field_or_a_file_is_a_label_of_one_line() {
    let it = files_app().await;
    let ada = it.app.sign_in("ada").await;
    let (bytes, form) = (png(10), Form::default);
    let sized = || form().field("size", bytes.len());
    for body in [
        sized()
            .part("content-disposition: form-data; name=\"file\"", &bytes)
            .end(),
        form()
            .part("content-disposition: form-data; name=\"name\"", b"\xff")
            .end(),
        form().field("name", "a\r\nX: y").end(),
        form().field("name", "gpj.\u{202e}exe").end(),
        form().field("name", "").end(),
        form().field("name", "x".repeat(300)).end(),
        sized().file("  ", "", &bytes).end(),
        sized().file("gpj.\u{202e}exe", "", &bytes).end(),
        sized().file(&"x".repeat(300), "", &bytes).end(),
    ] {
        ada.send_form(body).await.assert_field("name");
    }
    it.assert_nothing_sent();
    it.assert_nothing_left().await;
}

#[tokio::test]
async fn a_body_that_is_no_form_or_not_whole_is_refused_before_the_store_is_called() {
    let it = files_app().await;
    let ada = it.app.sign_in("ada").await;
    let bytes = png(10);
    let sized = || Form::default().field("size", bytes.len());
    let whole = image(&bytes).end();
    for (kind, body, status, code) in [
        (
            "application/json",
            whole.clone(),
            415,
            "unsupported_media_type",
        ),
        ("multipart/form-data", whole.clone(), 400, "bad_request"),
        (
            "multipart/form-data; boundary=yy",
            whole,
            400,
            "bad_request",
        ),
        (FORM, Vec::new(), 400, "bad_request"),
        (FORM, sized().cut(10), 400, "bad_request"),
        (
            FORM,
            sized().part(&"x".repeat(300_000), b"").end(),
            413,
            "payload_too_large",
        ),
        (
            FORM,
            [vec![b'-'; 200_000], image(&bytes).end()].concat(),
            413,
            "payload_too_large",
        ),
    ] {
        let refused = ada.send_form_as(kind, body).await;
        refused.assert_problem(status, code);
    }
    it.assert_nothing_sent();
    it.assert_nothing_left().await;
}

#[tokio::test]
async fn types_by_the_first_bytes_are_refused_before_the_store_is_called() {
    let it = files_app().await;
    let ada = it.app.sign_in("ada").await;
    let script = [png(0), b"<script>alert(1)</script>".to_vec()].concat();
    for bytes in [
        &b"<!doctype html><script>alert(1)</script>"[..],
        b"GIF89a/*\0\0*/=1;alert(1)",
        &script,
        b"<svg onload=alert(1)>",
        b"#!/bin/sh\n",
        b"\x7fELF\x02\x01\x01",
        b"\0\0\0",
    ] {
        let refused = ada.send_form(image(bytes).end()).await;
        refused.assert_problem(415, "file_type_not_allowed");
    }
    // Said to have bytes, and empty.
    let empty = Form::default()
        .field("size", 5)
        .file("a.png", "image/png", b"");
    let empty = ada.send_form(empty.end()).await;
    empty.assert_problem(415, "file_type_not_allowed");
    it.assert_nothing_sent();
    it.assert_nothing_left().await;
}

#[tokio::test]
async fn bytes_that_are_not_those_announced_leave_no_object() {
    let it = files_app().await;
    let ada = it.app.sign_in("ada").await;
    for length in [10, 300_000] {
        let bytes = png(length);
        let sized = |size: usize| Form::default().field("size", size);
        let file = |form: Form| form.file("a.png", "image/png", &bytes);
        let mut cut = bytes.clone();
        cut[length..length + 6].copy_from_slice(b"\r\n--xx");
        let cut = sized(cut.len()).file("a.png", "image/png", &cut);
        let other = sized(bytes.len()).field("sha256", hex(&sha256(b"other")));
        for (field, body) in [
            ("size", file(sized(bytes.len() + 1)).end()),
            ("size", file(sized(bytes.len() - 1)).end()),
            ("sha256", file(other).end()),
            ("file", file(file(sized(bytes.len()))).end()),
            ("name", file(sized(bytes.len())).field("name", "late").end()),
        ] {
            ada.send_form(body).await.assert_field(field);
            it.assert_nothing_left().await;
        }
        for body in [image(&bytes).cut(4), image(&bytes).cut(20), cut.end()] {
            let refused = ada.send_form(body).await;
            refused.assert_problem(400, "bad_request");
            it.assert_nothing_left().await;
        }
    }
    assert_eq!(it.app.audited("file_uploaded").await, 0);
}

#[tokio::test]
async fn a_boundary_in_the_data_is_data_unless_it_is_one() {
    let it = files_app().await;
    let ada = it.app.sign_in("ada").await;
    let data = b"--xx--\r\n--x\r\r\n--xy --xx\r\n\r\n-".repeat(5_000);
    let bytes = [png(0), data].concat();
    let created = ada.send_form(image(&bytes).end()).await;
    created.assert_status(201);
    assert!(it.s3.read(BUCKET, &it.keys()[0]).expect("an object") == bytes);
}

#[tokio::test]
async fn a_repeated_request_is_another_file_whatever_its_idempotency_key() {
    let it = files_app().await;
    let ada = it.app.sign_in("ada").await;
    for _ in 0..2 {
        let request = it.app.replica.request(Method::POST, UPLOAD);
        let request = request.header("idempotency-key", "one");
        let request = request
            .header("content-type", FORM)
            .bearer_auth(ada.access());
        let request = request.body(image(&png(100_000)).end());
        let created = it.app.replica.send(&Method::POST, UPLOAD, request).await;
        created.assert_status(201);
        assert!(!created.headers.contains_key("idempotency-replayed"));
    }
    assert_eq!(it.keys().len(), 2);
}

#[tokio::test]
async fn keys_need_the_scope_and_cookies_the_csrf_token() {
    let it = files_app_with(&[("PUBLIC_URL", HERE)]).await;
    let ada = it.app.sign_in("ada").await;
    let send = |request: reqwest::RequestBuilder| {
        let request = request.header("content-type", FORM);
        let request = request.body(image(&png(1)).end());
        let replica = it.app.replica.clone();
        async move { replica.send(&Method::POST, UPLOAD, request).await }
    };
    let request = || it.app.replica.request(Method::POST, UPLOAD);
    send(request()).await.assert_problem(401, "unauthenticated");
    for (scope, status) in [
        ("files:read", 403),
        ("users:write", 403),
        ("files:write", 201),
    ] {
        let key = ada.new_key(&[scope]).await;
        let answer = send(request().bearer_auth(&key.text)).await;
        answer.assert_status(status);
    }
    let mut browser = Browser::new(&it.app.replica, HERE);
    browser.sign_in("ada@example.com").await.assert_status(200);
    let csrf = browser.csrf.clone().expect("it has one");
    let cookies = || browser.request(Method::POST, UPLOAD).header("origin", HERE);
    send(cookies()).await.assert_status(403);
    let from_elsewhere = browser.request(Method::POST, UPLOAD);
    let from_elsewhere = from_elsewhere.header("origin", "https://evil.example.org");
    let from_elsewhere = from_elsewhere.header("x-csrf-token", &csrf);
    send(from_elsewhere).await.assert_status(403);
    send(cookies().header("x-csrf-token", &csrf))
        .await
        .assert_status(201);
    assert_eq!(it.keys().len(), 2);
    it.app.run_jobs().await;
}
