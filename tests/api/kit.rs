//! What every route has from the HTTP kit: one shape of refusal for whatever cannot be read.

mod clients;
pub mod files;
pub mod forms;
mod headers;
pub mod stripe;
mod transport;
pub mod wait;

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{Answer, PASSWORD, Replica, TestApp};

const LOGIN: &str = "/api/v1/auth/login";
const ME: &str = "/api/v1/users/me";
const NOWHERE: &str = "/api/v1/nowhere";

impl Replica {
    async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask(Method::GET, path, headers, None).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Answer {
        let mut request = self.request(method.clone(), path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body.to_owned());
        }
        self.send(&method, path, request).await
    }

    /// Posts text as JSON.
    async fn post_text(&self, path: &str, body: &str) -> Answer {
        self.ask(
            Method::POST,
            path,
            &[("content-type", "application/json")],
            Some(body),
        )
        .await
    }

    /// Sends bytes as they are and reads until the service closes the connection.
    async fn raw(&self, request: &[u8]) -> String {
        let mut socket = TcpStream::connect(self.root.authority())
            .await
            .expect("it listens");
        socket.write_all(request).await.expect("it is sent");
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_mins(1), socket.read_to_end(&mut answer));
        read.await
            .expect("the connection is closed")
            .expect("the answer is read");
        String::from_utf8_lossy(&answer).into_owned()
    }
}

#[tokio::test]
async fn what_is_not_there_is_one_problem_with_an_id() {
    let app = TestApp::new().await;
    for path in [
        NOWHERE,
        "/favicon.ico",
        "/api/v1/auth/login/",
        "/api/v1//auth/login",
        "/%00",
        "/..%2f..%2fetc/passwd",
    ] {
        let answer = app.get(path).await;
        answer.assert_problem(404, "not_found");
        assert!(
            answer.body.get("detail").is_none(),
            "{path} is described: {}",
            answer.body
        );
    }
}

#[tokio::test]
async fn another_method_is_refused_with_those_that_work() {
    let app = TestApp::new().await;
    for (method, path, allowed) in [
        (Method::GET, LOGIN, "POST"),
        (Method::DELETE, LOGIN, "POST"),
        (Method::PUT, ME, "DELETE,GET,HEAD,PATCH"),
        (Method::POST, "/health/live", "GET,HEAD"),
        (Method::POST, "/.well-known/jwks.json", "GET,HEAD"),
    ] {
        let answer = app.replica.ask(method.clone(), path, &[], None).await;
        answer.assert_problem(405, "method_not_allowed");
        let mut named: Vec<_> = answer.headers["allow"]
            .to_str()
            .expect("it is text")
            .split(',')
            .map(str::trim)
            .collect();
        named.sort_unstable();
        assert_eq!(named.join(","), allowed, "{method} {path}");
    }
}

#[tokio::test]
async fn a_body_that_is_no_json_is_refused_by_its_name() {
    let app = TestApp::new().await;
    let body = json!({ "email": "ada@example.com", "password": PASSWORD }).to_string();
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
    ] {
        let answer = app
            .replica
            .ask(Method::POST, LOGIN, &[("content-type", kind)], Some(&body))
            .await;
        answer.assert_problem(415, "unsupported_media_type");
    }
    app.replica
        .ask(Method::POST, LOGIN, &[], Some(&body))
        .await
        .assert_problem(415, "unsupported_media_type");
    let zipped = [
        ("content-type", "application/json"),
        ("content-encoding", "gzip"),
    ];
    app.replica
        .ask(Method::POST, LOGIN, &zipped, Some(&body))
        .await
        .assert_problem(415, "unsupported_media_type");
}

#[tokio::test]
async fn malformed_json_is_reported_by_line_and_column_and_never_echoed() {
    let app = TestApp::new().await;
    for (body, position) in [
        ("{\n  \"email\": hunter2\n}", "line 2, column 12"),
        ("{\"password\": \"hunter2\"", "line 1, column 22"),
        (
            "{\"email\":\"a@example.com\",\"password\":\"x\"} hunter2",
            "line 1, column 42",
        ),
        ("hunter2", "line 1, column 1"),
    ] {
        let answer = app.replica.post_text(LOGIN, body).await;
        answer.assert_problem(400, "bad_request");
        let detail = answer.body["detail"].as_str().expect("there is a detail");
        assert!(detail.ends_with(position), "{body}: {detail}");
        assert!(
            !String::from_utf8_lossy(&answer.bytes).contains("hunter2"),
            "{}",
            answer.body
        );
    }
    app.replica
        .post_text(LOGIN, "")
        .await
        .assert_problem(400, "bad_request");
    let head = "POST /api/v1/auth/login HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-type: application/json\r\n";
    let latin = [
        format!("{head}content-length: 4\r\n\r\n").as_bytes(),
        b"\"\xe4\"\n",
    ]
    .concat();
    let answer = app.replica.raw(&latin).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn fields_that_do_not_fit_are_named_and_never_echoed() {
    let app = TestApp::new().await;
    for (body, field) in [
        (r#"{"email": 7, "password": "hunter2hunter2"}"#, "email"),
        (
            r#"{"email": "ada@example.com", "password": ["hunter2"]}"#,
            "password",
        ),
        (
            r#"{"email": "ada@example.com", "password": "hunter2hunter2", "pasword": "hunter2"}"#,
            "pasword",
        ),
        (
            r#"{"email": "ada@example.com", "password": "hunter2\u0000hunter2"}"#,
            "password",
        ),
        (r#""hunter2""#, ""),
        ("null", ""),
    ] {
        let answer = app.replica.post_text(LOGIN, body).await;
        assert_eq!(
            answer.body["errors"][0]["field"], field,
            "{body}: {}",
            answer.body
        );
        answer.assert_problem(422, "invalid_fields");
        assert!(
            !String::from_utf8_lossy(&answer.bytes).contains("hunter2"),
            "{}",
            answer.body
        );
    }
}

#[tokio::test]
async fn json_that_is_deep_or_wide_is_refused_at_once_in_few_words() {
    let app = TestApp::new().await;
    let wide = |keys: usize| {
        format!(
            "{{{}}}",
            (0..keys)
                .map(|key| format!("\"k{key}\":1"))
                .collect::<Vec<_>>()
                .join(",")
        )
    };
    let began = Instant::now();
    for (body, status) in [
        ("[".repeat(16_000), 400..=422),
        ("{\"a\":".repeat(3_000), 400..=422),
        (
            format!("{{\"email\":{}1{}}}", "[".repeat(8_000), "]".repeat(8_000)),
            400..=422,
        ),
        ("[".repeat(100_000), 413..=413),
        (wide(1_400), 422..=422),
        (wide(1_000_000), 413..=413),
    ] {
        let answer = app.replica.post_text(LOGIN, &body).await;
        let reported = answer.status.as_u16();
        assert!(
            status.contains(&reported),
            "{reported} for {}…",
            &body[..40]
        );
        assert!(
            answer.bytes.len() < 10_000, // a hundred faults
            "{} bytes are echoed",
            answer.bytes.len()
        );
        answer.assert_problem(
            reported,
            answer.body["code"].as_str().expect("there is a code"),
        );
    }
    assert!(
        began.elapsed() < Duration::from_mins(1),
        "it took {:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused_before_it_is_read() {
    let app = TestApp::new().await;
    let head =
        "POST /api/v1/auth/login HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n";
    // Announced and never sent: the answer cannot have waited for it.
    let announced = app
        .replica
        .raw(format!("{head}content-length: 1073741824\r\n\r\n{{").as_bytes())
        .await;
    // Without a length the limit counts what arrives.
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
    let chunked = format!(
        "{head}transfer-encoding: chunked\r\n\r\n{}",
        chunk.repeat(5)
    );
    let chunked = app.replica.raw(chunked.as_bytes()).await;
    for answer in [announced, chunked] {
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(
            answer.contains("application/problem+json") && answer.contains("payload_too_large"),
            "{answer}"
        );
        assert!(
            answer.to_lowercase().contains("connection: close"),
            "{answer}"
        );
    }
}
