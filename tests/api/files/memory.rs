//! Memory of the real process while files of 100 MB pass through it.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::response::IntoResponse;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use groundwork::files::VerifyFiles;
use groundwork::storage::CopyObjects;
use groundwork_dev::S3;
use reqwest::Method;
use serde_json::json;
use tokio::net::TcpListener;

use crate::harness::{PASSWORD, TestApp};
use crate::kit::files::{BUCKET, png, second_place, sha256, storage};
use crate::kit::forms::{Form, OpenForm};
use crate::process::{Server, with};

const MIB: usize = 1024 * 1024;

const SIZE: usize = 100 * MIB;

/// A store in this process that takes every object and counts its bytes.
async fn counting_store() -> (String, Arc<AtomicU64>) {
    let count = Arc::<AtomicU64>::default();
    let app = Router::new().fallback(take).with_state(Arc::clone(&count));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move { axum::serve(listener, app).await });
    (format!("http://{address}"), count)
}

async fn take(State(count): State<Arc<AtomicU64>>, body: Body) -> impl IntoResponse {
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let length = chunk.expect("it is whole").len() as u64;
        count.fetch_add(length, Ordering::Relaxed);
    }
    [("etag", HeaderValue::from_static("\"x\""))]
}

/// Peak of the resident memory in KiB since `reset_peak`.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
    kib.expect("it has a peak")
}

fn reset_peak(pid: u32) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("it is our child");
}

async fn upload(address: &str, token: &str) {
    let filler = vec![7; MIB];
    let start = png(0);
    let form = Form::default().field("size", SIZE);
    let head = form.file("a.png", "image/png", &start).cut(10);
    let end = b"\r\n--xx--\r\n";
    let mut left = SIZE - start.len();
    let mut form = OpenForm::at(address, token, head.len() + left + end.len()).await;
    form.send(&head).await;
    while left > 0 {
        let length = left.min(MIB);
        form.send(&filler[..length]).await;
        left -= length;
    }
    form.send(end).await;
    let (status, body) = form.response().await;
    assert_eq!((status, &body["size"]), (201, &json!(SIZE)), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_100_mib_pass_through_the_process_in_little_memory() {
    let (url, stored) = counting_store().await;
    let app = TestApp::new().await;
    let email = app.sign_up("ada").await;
    let store = storage(&url);
    let plan = [
        ("PLAN_FREE_FILE_MIB", "200"),
        ("PLAN_FREE_STORAGE_MIB", "0"),
    ];
    let settings = with(&app.settings, &[&store[..], &plan].concat());
    let server = Server::start(&settings, &["serve", "--no-worker"]).await;
    let body = json!({ "email": email, "password": PASSWORD });
    let login = "/api/v1/auth/login";
    let (status, session) = server.call(Method::POST, login, None, Some(body)).await;
    assert_eq!(status, 200, "{session}");
    let token = session["access_token"].as_str().expect("it has a token");
    let (address, pid) = (server.address(), server.pid());
    let mut total = 0;
    for (count, most) in [(1, 16), (10, 64)] {
        reset_peak(pid);
        let (before, began) = (peak(pid), Instant::now());
        join_all((0..count).map(|_| upload(&address, token))).await;
        let grown = (peak(pid) - before) / 1024;
        let took = began.elapsed();
        eprintln!(
            "{count} of 100 MiB at once: {grown} MiB more, of {} in {took:.1?}",
            before / 1024
        );
        assert!(grown < most, "{count} at once: {grown} MiB");
        total += count * SIZE as u64;
        assert_eq!(stored.load(Ordering::Relaxed), total);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_100_mib_are_copied_and_compared_in_little_memory() {
    let (original, place) = (S3::throw_away().await, S3::throw_away().await);
    let app = TestApp::new().await;
    app.sign_up("ada").await;
    let bytes = vec![7; SIZE];
    let key: String = sqlx::query_scalar(
        "INSERT INTO files (id, account_id, user_id, name, size, content_type, sha256, state, object_id, created_at,
                            upload_expires_at, completed_at)
         SELECT gen_random_uuid(), id, id, 'a', $1, 'text/plain', $2, 'complete', gen_random_uuid(), at, at, at
         FROM accounts, LATERAL (SELECT now() - interval '1 day' AS at) AS t
         RETURNING 'files/' || account_id || '/' || id || '/' || object_id",
    )
    .bind(i64::try_from(SIZE).expect("it fits"))
    .bind(sha256(&bytes))
    .fetch_one(&app.owner_db)
    .await
    .expect("it is added");
    original.ensure_bucket(BUCKET).expect("it is created");
    place.ensure_bucket(BUCKET).expect("it is created");
    original.write(BUCKET, &key, &bytes);
    let (url, place_url) = (original.url(), place.url());
    let settings = with(
        &app.settings,
        &[&storage(&url)[..], &second_place(&place_url, BUCKET)].concat(),
    );
    let settings = with(&settings, &[("FILE_VERIFY_RATE_MIB", "10000")]);
    let server = Server::start(&settings, &["serve"]).await;
    let pid = server.pid();
    reset_peak(pid);
    let before = peak(pid);
    let db = &app.state.db;
    let (copy, verify) = (CopyObjects::default(), VerifyFiles::default());
    let enqueued = job_queue::enqueue(db, &copy, None).await;
    enqueued.expect("it is enqueued");
    let enqueued = job_queue::enqueue(db, &verify, None).await;
    enqueued.expect("it is enqueued");
    let began = Instant::now();
    let count = "SELECT count(*) FROM graphile_worker._private_jobs";
    loop {
        let left: i64 = sqlx::query_scalar(count)
            .fetch_one(db)
            .await
            .expect("the queue is there");
        if left == 0 {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(50), "jobs are left");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let grown = (peak(pid) - before) / 1024;
    eprintln!(
        "100 MiB copied and compared: {grown} MiB more, of {}",
        before / 1024
    );
    assert!(grown < 32, "{grown} MiB");
    let is_same = place.read(BUCKET, &key).is_some_and(|copy| copy == bytes);
    assert!(is_same, "the copy has other bytes");
    let verified: bool =
        sqlx::query_scalar("SELECT verified_at IS NOT NULL AND difference IS NULL FROM files")
            .fetch_one(&app.owner_db)
            .await
            .expect("it is read");
    assert!(verified);
}
