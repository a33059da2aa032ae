//! The service with an object store.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clock::Clock;
use groundwork_dev::S3;
use groundwork_dev::s3::{ACCESS_KEY_ID, SECRET_ACCESS_KEY};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Answer, Session, TestApp, hex};

pub const BUCKET: &str = "files-of-a-test";
pub const FILES: &str = "/api/v1/files";

/// The service, and its bucket in a server of its own.
pub struct FilesApp {
    pub app: TestApp,
    pub s3: S3,
}

pub async fn files_app() -> FilesApp {
    files_app_with(&[]).await
}

pub async fn files_app_with(overrides: &[(&str, &str)]) -> FilesApp {
    let s3 = start_store().await;
    let app = TestApp::with(&[&storage(&s3.url())[..], overrides].concat()).await;
    FilesApp { app, s3 }
}

/// By the system's clock, which processes that the test starts have as well.
pub async fn files_app_now() -> FilesApp {
    let s3 = start_store().await;
    let app = TestApp::with_clock(&storage(&s3.url()), Clock::system()).await;
    FilesApp { app, s3 }
}

async fn start_store() -> S3 {
    let s3 = S3::throw_away().await;
    s3.ensure_bucket(BUCKET).expect("it is created");
    s3
}

/// Settings of a store at an address.
pub fn storage(url: &str) -> [(&'static str, &str); 4] {
    [
        ("STORAGE_BUCKET", BUCKET),
        ("STORAGE_ENDPOINT", url),
        ("STORAGE_ACCESS_KEY_ID", ACCESS_KEY_ID),
        ("STORAGE_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY),
    ]
}

/// Settings of the copy of a store at an address.
pub fn second_place<'a>(url: &'a str, bucket: &'a str) -> [(&'static str, &'a str); 4] {
    [
        ("STORAGE_COPY_BUCKET", bucket),
        ("STORAGE_COPY_ENDPOINT", url),
        ("STORAGE_COPY_ACCESS_KEY_ID", ACCESS_KEY_ID),
        ("STORAGE_COPY_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY),
    ]
}

impl FilesApp {
    /// Keys of all objects.
    pub fn keys(&self) -> Vec<String> {
        self.s3.keys(BUCKET)
    }

    /// State of each file's row, in order of the alphabet.
    pub async fn states(&self) -> Vec<String> {
        sqlx::query_scalar("SELECT state FROM files ORDER BY state")
            .fetch_all(&self.app.owner_db)
            .await
            .expect("they are read")
    }
}

pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().try_into().expect("it has 32 bytes")
}

/// A PNG of one pixel, and so many bytes after it.
pub fn png(more: usize) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0".to_vec();
    bytes.resize(bytes.len() + more, 7);
    bytes
}

/// Body that starts the upload of these bytes.
pub fn new_file(name: &str, content_type: &str, bytes: &[u8]) -> Value {
    json!({ "name": name, "content_type": content_type, "size": bytes.len(), "sha256": hex(&sha256(bytes)) })
}

/// Upload that was started.
pub struct Started {
    pub id: String,
    pub url: String,
    pub headers: Value,
}

impl Started {
    pub fn of(answer: &Answer) -> Self {
        answer.assert_status(201);
        let upload = &answer.body["upload"];
        assert_eq!(upload["method"], "PUT");
        Self {
            id: answer.body["id"].as_str().expect("it has an id").to_owned(),
            url: upload["url"].as_str().expect("it has a URL").to_owned(),
            headers: upload["headers"].clone(),
        }
    }

    /// Sends bytes as the response says.
    pub async fn send(&self, bytes: &[u8]) -> StatusCode {
        send(&self.url, &self.headers, bytes).await
    }

    pub fn path(&self) -> String {
        format!("{FILES}/{}", self.id)
    }
}

/// Sends bytes to the store with these headers.
pub async fn send(url: &str, headers: &Value, bytes: &[u8]) -> StatusCode {
    let mut request = reqwest::Client::new().put(url).body(bytes.to_vec());
    for (name, value) in headers.as_object().expect("they are an object") {
        request = request.header(name, value.as_str().expect("it is text"));
    }
    request.send().await.expect("the store answers").status()
}

/// `x-amz-checksum-sha256` of bytes.
pub fn checksum(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(sha256(bytes))
}

impl Session {
    pub async fn start_file(&self, content_type: &str, bytes: &[u8]) -> Started {
        let answer = self.post(FILES, new_file("a file", content_type, bytes));
        Started::of(&answer.await)
    }

    pub async fn complete(&self, started: &Started) -> Answer {
        let path = format!("{}/complete", started.path());
        let token = Some(self.access());
        self.replica.call(Method::POST, &path, token, None).await
    }

    /// Uploads a file to the store and completes it.
    pub async fn upload(&self, content_type: &str, bytes: &[u8]) -> Started {
        let started = self.start_file(content_type, bytes).await;
        assert_eq!(started.send(bytes).await, 200);
        self.complete(&started).await.assert_status(200);
        started
    }

    pub async fn delete_file(&self, started: &Started) -> Answer {
        let (token, path) = (Some(self.access()), started.path());
        self.replica.call(Method::DELETE, &path, token, None).await
    }

    /// Asks for the bytes with these headers.
    pub async fn content(&self, started: &Started, headers: &[(&str, &str)]) -> Answer {
        let path = format!("{}/content", started.path());
        let mut request = self.replica.request(Method::GET, &path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.bearer_auth(self.access());
        self.replica.send(&Method::GET, &path, request).await
    }
}
