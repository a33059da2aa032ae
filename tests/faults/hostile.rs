//! Clients that stall, flood, or send what nobody wants to read.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::harness::{Caller, Load, PASSWORD, TIMEOUT, World, fastest, is_fine, median, until};

const LOGIN: &str = "POST /api/v1/auth/login HTTP/1.1\r\nhost: 127.0.0.1\r\n\
    content-type: application/json\r\n";

/// Sends `start`, then a byte now and then; answers how long the service bore with it.
async fn drip(caller: Caller, start: String, drip: &'static str) -> Duration {
    let mut stream = caller.open().await;
    let begun = Instant::now();
    let _ = stream.write_all(start.as_bytes()).await;
    let (mut reader, mut writer) = stream.into_split();
    let dripping = async {
        while !drip.is_empty() && writer.write_all(drip.as_bytes()).await.is_ok() {
            sleep(Duration::from_millis(300)).await;
        }
        std::future::pending::<()>().await;
    };
    let mut answer = Vec::new();
    tokio::select! {
        _ = reader.read_to_end(&mut answer) => {}
        () = dripping => {}
    }
    begun.elapsed()
}

/// Asks for much and reads nothing; answers how long the service bore with it.
async fn never_read(caller: Caller) -> Duration {
    let mut stream = caller.open().await;
    let begun = Instant::now();
    let request = "GET /api/openapi.json HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
    // Written on until the service, which cannot write, is gone.
    while stream.write_all(request.as_bytes()).await.is_ok() {
        sleep(Duration::from_millis(5)).await;
    }
    begun.elapsed()
}

#[tokio::test]
async fn f20_slow_clients_are_closed_in_time_while_others_are_served() {
    let world = World::new().await;
    let service = world
        .serve(&[
            ("HTTP_HEADER_TIMEOUT", "2s"),
            ("HTTP_BODY_TIMEOUT", "2s"),
            ("HTTP_WRITE_TIMEOUT", "3s"),
            // What closes a connection is none of these.
            ("HTTP_IDLE_TIMEOUT", "5m"),
            ("HTTP_REQUEST_TIMEOUT", "5m"),
        ])
        .await;
    let access = service.sign_in("ada").await.access;
    let mut slow = JoinSet::new();
    for number in 0..40 {
        let caller = || service.caller.clone();
        slow.spawn(drip(caller(), String::new(), ""));
        slow.spawn(drip(caller(), "GET / HTTP/1.1\r\nx: ".into(), "y"));
        slow.spawn(drip(
            caller(),
            format!("{LOGIN}content-length: 9000\r\n\r\n"),
            "",
        ));
        slow.spawn(drip(
            caller(),
            format!("{LOGIN}content-length: 9000\r\n\r\n"),
            " ",
        ));
        if number % 4 == 0 {
            slow.spawn(never_read(caller()));
        }
    }
    let caller = service.caller.clone();
    let load = Load::start(4, move |_, _| {
        let (caller, access) = (caller.clone(), access.clone());
        async move { caller.me(&access).await }
    });
    while let Some(bore) = timeout(TIMEOUT, slow.join_next())
        .await
        .expect("every one is closed")
    {
        let bore = bore.expect("nobody panics");
        assert!(bore < TIMEOUT, "one was borne for {bore:?}");
    }
    let outcomes = load.stop().await;
    let wrong = outcomes.iter().find(|outcome| !is_fine(outcome));
    assert!(wrong.is_none(), "{wrong:?}");
    let half = median(&outcomes);
    assert!(half < Duration::from_secs(1), "half take {half:?}");
}

/// Sends a request that goes on for ever, or nearly; answers the reply and how much was sent.
async fn endless(
    mut stream: TcpStream,
    head: String,
    portion: Vec<u8>,
    most: usize,
) -> (String, usize) {
    stream.write_all(head.as_bytes()).await.expect("it is sent");
    let (mut reader, mut writer) = stream.into_split();
    let mut reply = Vec::new();
    let mut sent = 0;
    let sending = async {
        while sent < most && writer.write_all(&portion).await.is_ok() {
            sent += portion.len();
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = timeout(TIMEOUT, reader.read_to_end(&mut reply)) => {}
        () = sending => {}
    }
    (String::from_utf8_lossy(&reply).into_owned(), sent)
}

#[tokio::test]
async fn f21_a_huge_body_is_413_before_it_is_kept() {
    const GIB: usize = 1 << 30;
    let world = World::new().await;
    let service = world.serve(&[("HTTP_BODY_TIMEOUT", "5m")]).await;
    service.sign_in("ada").await;
    let memory = service.memory();
    let mut chunk = b"10000\r\n".to_vec();
    chunk.extend(vec![0; 0x10000]);
    chunk.extend(b"\r\n");
    let chunked = format!("{LOGIN}transfer-encoding: chunked\r\n\r\n");
    let announced = format!("{LOGIN}content-length: {GIB}\r\n\r\n");
    for (head, portion) in [(chunked, chunk), (announced, vec![0; 0x10000])] {
        let begun = Instant::now();
        let (reply, sent) = endless(service.open().await, head, portion, GIB).await;
        assert!(reply.starts_with("HTTP/1.1 413 "), "{reply}");
        assert!(reply.contains("payload_too_large"), "{reply}");
        assert!(sent < GIB, "all of it was read");
        assert!(
            begun.elapsed() < TIMEOUT / 2,
            "it took {:?}",
            begun.elapsed()
        );
    }
    let gzip = format!("{LOGIN}content-encoding: gzip\r\ncontent-length: 10\r\n\r\n");
    let (reply, _) = endless(service.open().await, gzip, vec![0; 10], 10).await;
    assert!(reply.starts_with("HTTP/1.1 415 "), "{reply}");
    let grown = service.memory().saturating_sub(memory);
    assert!(grown < 16 * 1024, "memory grew by {grown} KiB");
}

#[tokio::test]
async fn f22_deep_and_wide_json_is_refused_in_milliseconds() {
    let world = World::new().await;
    let service = world.serve(&[]).await;
    let keys = |count: usize| {
        let keys: Vec<_> = (0..count).map(|n| format!(r#""k{n}":1,"#)).collect();
        format!(r#"{{{}"email":1}}"#, keys.concat())
    };
    let nested = |levels: usize| {
        format!(
            r#"{{"email":{}1{}}}"#,
            "[".repeat(levels),
            "]".repeat(levels)
        )
    };
    for (what, body, allowed) in [
        ("deep", nested(8_000), &[400, 422][..]),
        ("too deep", nested(100_000), &[413]),
        (
            "objects in objects",
            r#"{"email":"#.repeat(1_500),
            &[400, 422],
        ),
        ("wide", keys(1_000), &[422]),
        ("too wide", keys(1_000_000), &[413]),
    ] {
        let head = format!(
            "{LOGIN}connection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let size = body.len();
        // The connection lingers for a second after a 413, for whoever still sends.
        let enough = Duration::from_millis(1_500);
        let mut reply = String::new();
        let took = fastest(enough, async || {
            let (head, body) = (head.clone(), body.clone().into_bytes());
            let begun = Instant::now();
            (reply, _) = endless(service.open().await, head, body, size).await;
            begun.elapsed()
        })
        .await;
        assert!(took < enough, "{what}: {took:?}");
        let status = reply.get(9..12).and_then(|status| status.parse().ok());
        assert!(
            status.is_some_and(|s: u16| allowed.contains(&s)),
            "{what}: {reply}"
        );
        // A refusal names a hundred faults at most.
        assert!(
            reply.len() < 10_240,
            "{what}: the reply has {} bytes",
            reply.len()
        );
    }
    let enough = Duration::from_millis(500);
    let took = fastest(enough, async || {
        let body = json!({ "email": [[[[[[1]]]]]], "password": PASSWORD });
        let answer = service.post("/api/v1/auth/login", body).await;
        assert_eq!(answer.status, 422, "{answer:?}");
        answer.took
    })
    .await;
    assert!(took < enough, "{took:?}");
}

#[tokio::test]
async fn f23_floods_of_headers_are_431() {
    let world = World::new().await;
    let service = world.serve(&[]).await;
    let many = "x: 1\r\n".repeat(150);
    let large = format!("x: {}\r\n", "y".repeat(600 * 1024));
    for lines in [many, large] {
        let head = "GET /health/live HTTP/1.1\r\nhost: 127.0.0.1\r\n".to_owned();
        let portion = format!("{lines}\r\n").into_bytes();
        let size = portion.len();
        let (reply, _) = endless(service.open().await, head, portion, size).await;
        assert!(reply.starts_with("HTTP/1.1 431 "), "{reply}");
    }
    assert!(is_fine(&service.get("/health/live").await));
}

#[tokio::test]
async fn f25_endless_passwords_and_addresses_are_refused_before_any_work() {
    let world = World::new().await;
    // A hash that would be noticed.
    let service = world
        .serve(&[
            ("PASSWORD_MEMORY_KIB", "262144"),
            ("PASSWORD_ITERATIONS", "4"),
        ])
        .await;
    let address = format!("{}@example.com", "a".repeat(10 * 1024));
    let cases = [
        ("x".repeat(1 << 20), "ada@example.com".to_owned(), 413),
        ("x".repeat(10 * 1024), "ada@example.com".to_owned(), 422),
        (PASSWORD.to_owned(), address, 422),
    ];
    let mut owner = world.owner().await;
    let before = crate::harness::count(&mut owner, "SELECT count(*) FROM audit_log").await;
    for (password, email, status) in cases {
        for path in ["/api/v1/auth/login", "/api/v1/auth/register"] {
            let body = json!({ "email": email, "password": password });
            // A hash takes longer than this on any machine.
            let enough = Duration::from_millis(250);
            let took = fastest(enough, async || {
                let answer = service.post(path, body.clone()).await;
                assert_eq!(answer.status, status, "{path}: {answer:?}");
                answer.took
            })
            .await;
            assert!(took < enough, "{path}: {took:?}");
        }
    }
    until("the log is as it was", async || {
        crate::harness::count(&mut owner, "SELECT count(*) FROM audit_log").await == before
    })
    .await;
}
