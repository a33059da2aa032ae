//! Files uploaded through the service: limits, slow and lost clients, and faults of the store.

use std::time::{Duration, Instant};

use groundwork_dev::{Fault, Proxy, S3, S3Effect, S3Fault};
use reqwest::{Method, StatusCode};

use super::limits::FIFTY_FILES;
use crate::harness::TestApp;
use crate::kit::files::{
    BUCKET, FILES, FilesApp, files_app, files_app_with, new_file, png, storage,
};
use crate::kit::forms::{Form, image};
use crate::kit::wait::until;

impl FilesApp {
    async fn wait_until_nothing_is_left(&self) {
        let is_empty = async || self.keys().is_empty() && self.states().await.is_empty();
        until("no object and no row", is_empty).await;
    }

    fn puts(&self) -> usize {
        let calls = self.s3.calls().into_iter();
        calls.filter(|it| it.starts_with("PUT")).count()
    }
}

#[tokio::test]
async fn what_the_plan_or_a_limit_refuses_is_refused_before_the_body_has_arrived() {
    let it = files_app_with(&[
        ("PLAN_FREE_FILE_MIB", "1"),
        ("PLAN_FREE_FILES", "2"),
        ("PLAN_FREE_STORAGE_MIB", "2"),
        ("LIMIT_UPLOAD", "4/1m"),
    ])
    .await;
    let ada = it.app.sign_in("ada").await;
    let mib = 1024 * 1024;
    let begun = async |size: usize| {
        let form = Form::default().field("size", size);
        let form = form.file("a.png", "image/png", &png(5_000)).cut(20);
        let mut open = ada.begin_form(size + 100_000).await;
        open.send(&form).await;
        let (status, body) = open.response().await;
        (status, body["code"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(begun(mib + 1).await, (413, "payload_too_large".to_owned()));
    ada.send_form(image(&png(mib - 100)).end())
        .await
        .assert_status(201);
    ada.send_form(image(&png(mib / 2)).end())
        .await
        .assert_status(201);
    assert_eq!(begun(mib).await, (409, "too_many_files".to_owned()));
    let id = ada.get(FILES).await.body["items"][0]["id"].clone();
    let path = format!("{FILES}/{}", id.as_str().expect("an id"));
    let token = Some(ada.access());
    let deleted = it
        .app
        .replica
        .call(Method::DELETE, &path, token, None)
        .await;
    deleted.assert_status(204);
    let more = ada.send_form(image(&png(mib - 100)).end()).await;
    more.assert_status(201);
    assert_eq!(begun(1_000).await, (429, "rate_limited".to_owned()));
    assert_eq!(it.puts(), 3);
}

#[tokio::test]
async fn all_bytes_of_an_account_have_a_limit() {
    let it = files_app_with(&[("PLAN_FREE_STORAGE_MIB", "1")]).await;
    let ada = it.app.sign_in("ada").await;
    let first = ada.send_form(image(&png(600_000)).end()).await;
    first.assert_status(201);
    let second = ada.send_form(image(&png(600_000)).end()).await;
    second.assert_problem(409, "storage_full");
    assert_eq!((it.puts(), it.states().await.len()), (1, 1));
}

#[tokio::test]
async fn without_a_store_the_route_says_so() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let refused = ada.send_form(image(&png(0)).end()).await;
    refused.assert_problem(503, "storage_not_configured");
}

#[tokio::test]
async fn a_client_that_disconnects_leaves_nothing() {
    let it = files_app().await;
    let ada = it.app.sign_in("ada").await;
    let whole = image(&png(500_000)).end();
    // Within the fields, in the first bytes of the file, in its midst, and before the end of the form.
    for sent in [40, 250, 5_000, 300_000, whole.len() - 5] {
        let mut open = ada.begin_form(whole.len()).await;
        let before = it.puts();
        open.send(&whole[..sent]).await;
        if sent >= 5_000 {
            until("it is sent on", async || it.puts() > before).await;
            assert_eq!(it.states().await, ["pending"]);
        }
        drop(open);
        it.wait_until_nothing_is_left().await;
    }
    assert_eq!(it.app.audited("file_uploaded").await, 0);
}

#[tokio::test]
async fn a_stalled_client_is_refused_in_time_and_a_slow_one_is_not() {
    let it = files_app_with(&[
        ("HTTP_BODY_TIMEOUT", "1s"),
        ("HTTP_REQUEST_TIMEOUT", "2s"),
        ("STORAGE_TIMEOUT", "1s"),
    ])
    .await;
    let ada = it.app.sign_in("ada").await;
    let whole = image(&png(600_000)).end();
    for sent in [100, 300_000] {
        let mut open = ada.begin_form(whole.len()).await;
        open.send(&whole[..sent]).await;
        let (status, body) = open.response().await;
        assert_eq!(
            (status, body["code"].as_str()),
            (408, Some("request_timeout"))
        );
        it.wait_until_nothing_is_left().await;
    }
    let began = Instant::now();
    let mut open = ada.begin_form(whole.len()).await;
    for chunk in whole.chunks(100_000) {
        open.send(chunk).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    let (status, body) = open.response().await;
    assert_eq!(status, 201, "{body}");
    assert!(began.elapsed() > Duration::from_secs(4));
}

#[tokio::test]
async fn two_hundred_uploads_at_once_make_the_fifty_files_that_the_plan_has() {
    let settings = [&FIFTY_FILES[..], &[("HTTP_MAX_BODIES_PER_CLIENT", "200")]].concat();
    let it = files_app_with(&settings).await;
    let ada = it.app.sign_in("ada").await;
    let requests = (0..200).map(|size| ada.send_form(image(&png(size)).end()));
    let answers = it.at_once(requests).await;
    let (created, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|it| it.status == 201);
    assert_eq!(created.len(), 50);
    for answer in refused {
        answer.assert_problem(409, "too_many_files");
    }
    assert_eq!(it.states().await, ["complete"; 50]);
    it.assert_agreement().await;
}

/// The service and its store, with a proxy between them.
async fn app_behind_proxy() -> (FilesApp, Proxy) {
    let s3 = S3::throw_away().await;
    s3.ensure_bucket(BUCKET).expect("it is created");
    let proxy = Proxy::start(s3.port()).await.expect("it starts");
    let endpoint = proxy.through(&s3.url());
    let app = TestApp::with(&storage(endpoint.trim_end_matches('/'))).await;
    (FilesApp { app, s3 }, proxy)
}

#[tokio::test]
async fn a_store_that_fails_is_a_503_in_time_and_nothing_else() {
    let (it, proxy) = app_behind_proxy().await;
    let ada = it.app.sign_in("ada").await;
    for fault in [
        Fault::Refuse,
        Fault::Blackhole,
        Fault::Freeze,
        Fault::CutAfter(20),
    ] {
        for size in [100, 3_000_000] {
            // Connections that are open do not see a cut.
            proxy.set(Fault::Refuse);
            tokio::time::sleep(Duration::from_millis(50)).await;
            proxy.set(fault);
            let began = Instant::now();
            let (failed, others) = tokio::join!(ada.send_form(image(&png(size)).end()), async {
                ada.get(FILES).await.assert_status(200);
                ada.get("/api/v1/users/me").await.assert_status(200);
                began.elapsed()
            });
            failed.assert_problem(503, "storage_unavailable");
            assert!(began.elapsed() < Duration::from_secs(10), "{fault:?}");
            assert!(others < Duration::from_secs(3), "{fault:?}");
            assert!(it.states().await.is_empty(), "{fault:?}");
            let ready = it.app.get("/health/ready").await;
            assert_eq!(ready.body["storage"], "degraded");
        }
    }
    proxy.set(Fault::None);
    let whole = ada.send_form(image(&png(3_000_000)).end()).await;
    whole.assert_status(201);
    // An object whose response was lost.
    it.sweep_later(Duration::from_hours(4)).await;
    it.assert_agreement().await;
    assert_eq!(it.states().await, ["complete"]);
}

#[tokio::test]
async fn a_store_that_stops_in_the_midst_of_a_body_is_a_503_in_time_and_leaves_nothing() {
    let (it, proxy) = app_behind_proxy().await;
    let ada = it.app.sign_in("ada").await;
    let whole = image(&png(8_000_000)).end();
    for fault in [Fault::Refuse, Fault::Freeze, Fault::Blackhole] {
        let before = it.puts();
        let mut open = ada.begin_form(whole.len()).await;
        let (first, rest) = whole.split_at(400_000);
        open.send(first).await;
        until("it is sent on", async || it.puts() > before).await;
        proxy.set(fault);
        let began = Instant::now();
        // Not read to its end by a service that has responded.
        let _ = open.try_send(rest).await;
        let (status, body) = open.response().await;
        let code = body["code"].as_str();
        assert_eq!(
            (status, code),
            (503, Some("storage_unavailable")),
            "{fault:?}"
        );
        assert!(began.elapsed() < Duration::from_secs(10), "{fault:?}");
        assert!(it.states().await.is_empty(), "{fault:?}");
        proxy.set(Fault::Refuse);
        tokio::time::sleep(Duration::from_millis(50)).await;
        proxy.set(Fault::None);
        assert!(it.keys().is_empty(), "{fault:?}");
    }
    ada.send_form(whole).await.assert_status(201);
}

fn fault(method: Method, effect: S3Effect) -> S3Fault {
    S3Fault {
        method,
        path: "/files/".to_owned(),
        effect,
        status: StatusCode::SERVICE_UNAVAILABLE,
    }
}

#[tokio::test]
async fn an_error_of_the_store_is_not_repeated_and_its_object_is_removed() {
    let it = files_app().await;
    let ada = it.app.sign_in("ada").await;
    for effect in [S3Effect::None, S3Effect::Made] {
        let before = it.puts();
        it.s3.fault(fault(Method::PUT, effect));
        let failed = ada.send_form(image(&png(300_000)).end()).await;
        failed.assert_problem(503, "storage_unavailable");
        assert_eq!(it.puts(), before + 1);
        it.wait_until_nothing_is_left().await;
    }
    // The object cannot be removed either: the sweep does.
    it.s3.fault(fault(Method::PUT, S3Effect::Made));
    for _ in 0..2 {
        it.s3.fault(fault(Method::DELETE, S3Effect::None));
    }
    let failed = ada.send_form(image(&png(1)).end()).await;
    failed.assert_problem(503, "storage_unavailable");
    until("both tries", async || {
        let calls = it.s3.calls().into_iter();
        calls.filter(|it| it.starts_with("DELETE")).count() >= 4
    })
    .await;
    assert_eq!((it.keys().len(), it.states().await.len()), (1, 0));
    it.sweep_later(Duration::from_hours(4)).await;
    it.assert_nothing_left().await;
}

#[tokio::test]
async fn after_a_crash_in_an_upload_the_sweep_removes_what_is_left() {
    let it = files_app().await;
    let ada = it.app.sign_in("ada").await;
    let started = ada.post(FILES, new_file("x", "image/png", &png(0))).await;
    let id = started.body["id"].as_str().expect("an id").to_owned();
    let mut owner = it.app.owner().await;
    sqlx::query("SELECT set_config('app.exception', 'job', false)")
        .execute(&mut owner)
        .await
        .expect("it is set");
    sqlx::query("UPDATE files SET sha256 = NULL")
        .execute(&mut owner)
        .await
        .expect("it is what the service inserts");
    let account = ada.user_id().await;
    let key = format!("files/{account}/{id}/01980b6e-7c00-7000-8000-3f2a51d6c9b1");
    it.s3.write(BUCKET, &key, &png(0));
    let complete = ada
        .post(&format!("{FILES}/{id}/complete"), serde_json::json!({}))
        .await;
    complete.assert_problem(404, "not_found");
    for state in ["complete", "deleted"] {
        let sql = format!(
            "UPDATE files SET state = '{state}', object_id = gen_random_uuid(), completed_at = now(),
                    deleted_at = CASE WHEN '{state}' = 'deleted' THEN now() END"
        );
        let done = sqlx::query(sqlx::AssertSqlSafe(sql))
            .execute(&mut owner)
            .await;
        let error = done.expect_err("a complete file has a hash").to_string();
        assert!(error.contains("files_completed_check"), "{error}");
    }
    it.sweep_later(Duration::from_hours(4)).await;
    it.assert_nothing_left().await;
}
