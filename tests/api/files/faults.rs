//! The store is down, slow, refuses, or cuts connections.

use std::time::{Duration, Instant};

use groundwork_dev::{Fault, Proxy, S3Effect, S3Fault};
use reqwest::{Method, StatusCode};

use crate::harness::TestApp;
use crate::kit::files::{BUCKET, FILES, files_app, files_app_with, new_file, png, storage};
use crate::process;

fn fault(method: Method, path: &str, effect: S3Effect) -> S3Fault {
    S3Fault {
        method,
        path: path.to_owned(),
        effect,
        status: StatusCode::SERVICE_UNAVAILABLE,
    }
}

#[tokio::test]
async fn a_store_that_does_not_respond_is_a_503_in_time_and_nothing_else() {
    let server = groundwork_dev::S3::throw_away().await;
    server.ensure_bucket(BUCKET).expect("it is created");
    let proxy = Proxy::start(server.port()).await.expect("it starts");
    let (inner, public) = (proxy.through(&server.url()), server.url());
    let it = files_app_with(&[
        ("STORAGE_ENDPOINT", inner.trim_end_matches('/')),
        ("STORAGE_PUBLIC_ENDPOINT", &public),
        ("FILE_DOWNLOADS", "service"),
    ])
    .await;
    let ada = it.app.sign_in("ada").await;
    let bytes = png(2000);
    let file = ada.upload("image/png", &bytes).await;
    let ready = it.app.get("/health/ready").await;
    assert_eq!(ready.body["storage"], "ok", "{}", ready.body);
    for fault in [
        Fault::Refuse,
        Fault::Blackhole,
        Fault::Freeze,
        Fault::CutAfter(20),
    ] {
        let started = ada.start_file("image/png", &bytes).await;
        assert_eq!(started.send(&bytes).await, 200);
        // Connections that are open do not see a cut.
        proxy.set(Fault::Refuse);
        tokio::time::sleep(Duration::from_millis(50)).await;
        proxy.set(fault);
        let began = Instant::now();
        let completed = ada.complete(&started).await;
        completed.assert_problem(503, "storage_unavailable");
        assert!(began.elapsed() < Duration::from_secs(5), "{fault:?}");
        let began = Instant::now();
        let content = ada.content(&file, &[]).await;
        content.assert_problem(503, "storage_unavailable");
        assert!(began.elapsed() < Duration::from_secs(5), "{fault:?}");
        let ready = it.app.get("/health/ready").await;
        ready.assert_status(200);
        ada.get(FILES).await.assert_status(200);
        ada.get("/api/v1/users/me").await.assert_status(200);
        proxy.set(Fault::None);
        ada.complete(&started).await.assert_status(200);
    }
    assert_eq!(it.states().await, ["complete"; 5]);
    let objects = server.keys(BUCKET);
    assert!(
        objects
            .iter()
            .filter(|key| key.starts_with("files/"))
            .count()
            >= 5
    );
}

#[tokio::test]
async fn a_store_that_fails_for_a_moment_is_called_again() {
    let it = files_app().await;
    let ada = it.app.sign_in("ada").await;
    for (method, path) in [
        (Method::PUT, "/files/"),
        (Method::HEAD, "/files/"),
        (Method::GET, "/files/"),
        (Method::DELETE, "/staging/"),
    ] {
        it.s3.fault(fault(method, path, S3Effect::Made));
        ada.upload("image/png", &png(1)).await;
    }
    assert_eq!(it.keys().len(), 4);
}

#[tokio::test]
async fn readiness_is_degraded_while_the_store_fails() {
    let it = files_app().await;
    let ada = it.app.sign_in("ada").await;
    let started = ada.start_file("image/png", &png(1)).await;
    started.send(&png(1)).await;
    for _ in 0..2 {
        it.s3.fault(fault(Method::PUT, "/files/", S3Effect::None));
    }
    ada.complete(&started)
        .await
        .assert_problem(503, "storage_unavailable");
    let ready = it.app.get("/health/ready").await;
    ready.assert_status(200);
    assert_eq!(ready.body["storage"], "degraded");
    assert_eq!(ready.body["status"], "degraded");
}

#[tokio::test]
async fn a_start_needs_no_store() {
    let it = files_app_with(&[("STORAGE_ENDPOINT", "http://127.0.0.1:1")]).await;
    let ada = it.app.sign_in("ada").await;
    let started = ada.post(FILES, new_file("x", "image/png", &png(0))).await;
    started.assert_status(201);
}

#[tokio::test]
async fn a_store_over_https_is_called_if_its_authority_is_known() {
    let app = TestApp::new().await;
    let s3 = groundwork_dev::S3::throw_away_https().await;
    let settings = process::with(&app.settings, &storage(&s3.url()));
    let create = ["storage", "create-bucket"];
    let refused = process::run(&settings, &create).await;
    assert_eq!(refused.status.code(), Some(1));
    let reported = process::stderr(&refused);
    assert!(reported.contains("certificate"), "{reported}");

    let authority = s3.authority().expect("it has one");
    let authority = authority.to_str().expect("it is text");
    let settings = process::with(&settings, &[("SSL_CERT_FILE", authority)]);
    for said in ["created", "exists"] {
        let output = process::run(&settings, &create).await;
        let reported = process::stdout(&output) + &process::stderr(&output);
        assert_eq!(output.status.code(), Some(0), "{reported}");
        assert!(reported.contains(said), "{reported}");
    }
}
