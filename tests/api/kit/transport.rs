//! Refusals on kept-alive connections, and methods that no standard has.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{LOGIN, ME, NOWHERE};
use crate::harness::{Replica, TestApp};

/// A client that keeps its connection, and sends a head and its body one after the other, as
/// Python's `http.client` does.
struct KeptAlive {
    stream: BufReader<TcpStream>,
}

/// One reply: its status, its head in lower case, and whether it says that the connection closes.
#[derive(Debug)]
struct Reply {
    status: u16,
    head: String,
    closes: bool,
}

impl KeptAlive {
    async fn open(replica: &Replica) -> Self {
        let stream = TcpStream::connect(replica.root.authority()).await;
        let stream = stream.expect("it listens");
        stream.set_nodelay(true).expect("it is a socket");
        Self {
            stream: BufReader::new(stream),
        }
    }

    /// Sends a request; `None` when the connection is closed under it.
    async fn ask(&mut self, head: &str, body: &[u8]) -> Option<Reply> {
        self.stream.write_all(head.as_bytes()).await.ok()?;
        self.stream.flush().await.ok()?;
        tokio::task::yield_now().await;
        self.stream.write_all(body).await.ok()?;
        timeout(Duration::from_mins(1), self.reply())
            .await
            .expect("it is answered")
    }

    async fn reply(&mut self) -> Option<Reply> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head).await.ok()? == 0 {
                return None;
            }
        }
        let head = head.to_lowercase();
        let length = head.split("content-length: ").nth(1)?;
        let length = length.split("\r\n").next()?.parse().ok()?;
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.ok()?;
        Some(Reply {
            status: head.get(9..12)?.parse().ok()?,
            closes: head.contains("\r\nconnection: close\r\n"),
            head,
        })
    }
}

fn head(line: &str, headers: &str) -> String {
    format!("{line} HTTP/1.1\r\nhost: 127.0.0.1\r\n{headers}\r\n")
}

#[tokio::test]
async fn no_refusal_of_a_small_body_loses_the_next_request_or_the_connection() {
    let app = TestApp::with(&[("LIMIT_AUTH", "100000/1m")]).await;
    let limited = app.another_replica_with(&[("LIMIT_SESSION", "1/1h")]).await;
    let json = "content-type: application/json\r\n";
    let post = |path: &str, headers: &str| head(&format!("POST {path}"), headers);
    for (what, replica, request, status) in [
        ("unknown path", &app.replica, post(NOWHERE, json), 404),
        (
            "other method",
            &app.replica,
            head(&format!("PUT {LOGIN}"), json),
            405,
        ),
        (
            "other type",
            &app.replica,
            post(LOGIN, "content-type: text/plain\r\n"),
            415,
        ),
        (
            "compressed",
            &app.replica,
            post(LOGIN, "content-encoding: gzip\r\n"),
            415,
        ),
        (
            "signed out",
            &app.replica,
            head(&format!("PATCH {ME}"), json),
            401,
        ),
        (
            "unknown method",
            &app.replica,
            head(&format!("BREW {LOGIN}"), json),
            405,
        ),
        (
            "over a limit",
            &limited,
            post("/api/v1/auth/refresh", json),
            429,
        ),
        (
            "not read",
            &app.replica,
            head("GET /health/live", json),
            200,
        ),
    ] {
        let mut client = KeptAlive::open(replica).await;
        let chunked = b"400\r\n"
            .iter()
            .chain(&[b'x'; 1024])
            .chain(b"\r\n0\r\n\r\n");
        let bodies = [
            ("content-length: 20\r\n".to_owned(), vec![b'x'; 20]),
            ("content-length: 15000\r\n".to_owned(), vec![b'x'; 15_000]),
            (
                "transfer-encoding: chunked\r\n".to_owned(),
                chunked.copied().collect(),
            ),
        ];
        let (mut lost, mut closed) = (0, 0);
        for turn in 0..60 {
            let (framing, body) = &bodies[turn % bodies.len()];
            let request = request.replacen("\r\n\r\n", &format!("\r\n{framing}\r\n"), 1);
            let reply = client.ask(&request, body).await;
            let Some(reply) = reply else {
                lost += 1;
                client = KeptAlive::open(replica).await;
                continue;
            };
            // The first within its limit, and the bodies that are no JSON.
            assert!(
                [status, 400, 401].contains(&reply.status),
                "{what}: {reply:?}"
            );
            if reply.closes {
                closed += 1;
                client = KeptAlive::open(replica).await;
            }
        }
        assert_eq!(lost, 0, "{what}: requests were lost");
        let may_close = what == "compressed";
        assert!(
            closed == 0 || may_close,
            "{what}: {closed} connections ended"
        );
    }
}

#[tokio::test]
async fn a_refusal_that_does_not_read_the_body_says_that_the_connection_closes() {
    let app = TestApp::new().await;
    for (what, headers, body) in [
        ("large", "content-length: 10000000\r\n", &[b'x'; 1_000][..]),
        ("stalled", "content-length: 100\r\n", b"x"),
        (
            "without an end",
            "transfer-encoding: chunked\r\n",
            b"1\r\nx\r\n",
        ),
        (
            "waits to be asked",
            "content-length: 100\r\nexpect: 100-continue\r\n",
            b"",
        ),
    ] {
        for line in [format!("POST {NOWHERE}"), format!("DELETE {LOGIN}")] {
            let mut client = KeptAlive::open(&app.replica).await;
            let reply = client.ask(&head(&line, headers), body).await;
            let reply = reply.expect("it is answered");
            assert!(reply.closes, "{what}, {line}: {}", reply.head);
            assert!([404, 405].contains(&reply.status), "{what}: {}", reply.head);
            let mut rest = Vec::new();
            let end = client.stream.read_to_end(&mut rest);
            let end = timeout(Duration::from_mins(1), end).await;
            assert_eq!(end.expect("it closes").expect("cleanly"), 0, "{what}");
        }
    }
}

#[tokio::test]
async fn a_body_that_is_asked_for_by_100_continue_is_read() {
    let app = TestApp::new().await;
    let mut client = KeptAlive::open(&app.replica).await;
    let headers = "content-type: application/json\r\ncontent-length: 2\r\nexpect: 100-continue\r\n";
    let request = head(&format!("POST {LOGIN}"), headers);
    let stream = &mut client.stream;
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it is sent");
    let mut interim = String::new();
    for _ in 0..2 {
        stream
            .read_line(&mut interim)
            .await
            .expect("it is asked for");
    }
    assert_eq!(interim, "HTTP/1.1 100 Continue\r\n\r\n");
    let reply = client.ask("", b"{}").await.expect("it is answered");
    assert_eq!((reply.status, reply.closes), (422, false), "{}", reply.head);
    let reply = client.ask(&head("GET /health/live", ""), b"").await;
    assert_eq!(reply.expect("it goes on").status, 200);
}

#[tokio::test]
async fn a_method_that_no_standard_has_is_not_allowed_and_never_repeated() {
    let app = TestApp::new().await;
    let long = "X".repeat(20_000);
    for method in ["BREW", "PROPFIND", "get", "SECRET-TOKEN-OF-SOMEBODY", &long] {
        for (path, status) in [(LOGIN, 405), (ME, 405), (NOWHERE, 404)] {
            let request = head(&format!("{method} {path}"), "connection: close\r\n");
            let answer = app.replica.raw(request.as_bytes()).await;
            let start = answer.get(..100).unwrap_or_default();
            let wanted = format!("HTTP/1.1 {status} ");
            assert!(answer.starts_with(&wanted), "{path}: {start}");
            assert_eq!(answer.contains("\r\nallow: "), status == 405, "{answer}");
            assert!(
                answer.contains("x-content-type-options: nosniff"),
                "{start}"
            );
            assert!(!answer.contains("SECRET"), "{answer}");
            assert!(answer.len() < 2_000, "the reply has {} bytes", answer.len());
        }
    }
    for method in ["TRACE", "DELETE"] {
        let request = head(&format!("{method} {LOGIN}"), "connection: close\r\n");
        let answer = app.replica.raw(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    }
}
