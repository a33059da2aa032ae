//! What connections may do, and how they end.

use axum::routing::{get, post};
use tokio::io::AsyncReadExt as _;
use tokio::task::JoinHandle;

use super::*;
use crate::stack_test::config;
use crate::{Client, RawBody};

struct Running {
    addr: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<Drained>,
}

impl Running {
    async fn new(adjust: impl FnOnce(&mut HttpConfig)) -> Self {
        let mut config = config();
        config.header_timeout = Duration::from_millis(200);
        config.idle_timeout = Duration::from_millis(200);
        config.drain_timeout = Duration::from_millis(600);
        adjust(&mut config);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let app = Router::new()
            .route("/", get(async || "hello"))
            .route(
                "/slow",
                get(async || sleep(Duration::from_millis(250)).await),
            )
            .route("/never", get(async || sleep(Duration::from_hours(1)).await))
            .route("/big", get(async || vec![0_u8; 64 * 1024 * 1024]))
            .route("/echo", post(async |RawBody(body): RawBody| body))
            .route("/me", get(async |client: Client| client.addr.to_string()))
            .layer(crate::RequestContextLayer::new(
                &config,
                Clock::system(),
                Rng::system(),
            ));
        let task = {
            let stop = stop.clone();
            tokio::spawn(async move { serve(listener, app, &config, stop).await })
        };
        Self { addr, stop, task }
    }

    async fn open(&self, sent: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        stream
    }

    async fn ask(&self, sent: &str) -> String {
        rest(self.open(sent).await).await
    }

    async fn stop(self) -> Drained {
        self.stop.cancel();
        self.task.await.unwrap()
    }
}

async fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = timeout(Duration::from_secs(5), stream.read_to_end(&mut bytes))
        .await
        .unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")
}

#[tokio::test]
async fn requests_are_answered_and_know_their_peer() {
    let server = Running::new(|_| {}).await;
    let answer = server.ask(&request("/me")).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("127.0.0.1"), "{answer}");
    assert_eq!(server.stop().await, Drained { aborted: 0 });
}

#[tokio::test]
async fn silent_slow_and_idle_connections_are_closed() {
    let server = Running::new(|_| {}).await;
    let begun = Instant::now();
    assert_eq!(server.ask("").await, "");
    assert_eq!(server.ask("GET / HTT").await, "");
    assert!(server.ask(&request("/")).await.ends_with("hello"));
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_body_that_stalls_or_is_too_large_is_answered_and_closed() {
    let server = Running::new(|config| config.body_timeout = Duration::from_millis(200)).await;
    let head = "POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length:";
    let stalled = server.ask(&format!("{head} 10\r\n\r\nabc")).await;
    assert!(stalled.starts_with("HTTP/1.1 408 "), "{stalled}");
    assert!(stalled.contains("connection: close"), "{stalled}");
    let large = "x".repeat(3_000_000);
    let large = server.ask(&format!("{head} 3000000\r\n\r\n{large}")).await;
    assert!(large.starts_with("HTTP/1.1 413 "), "{large}");
}

#[tokio::test]
async fn a_reply_that_is_not_read_is_given_up() {
    let server = Running::new(|config| config.write_timeout = Duration::from_millis(200)).await;
    let mut stream = server.open(&request("/big")).await;
    sleep(Duration::from_millis(600)).await;
    let mut count = 0;
    let mut buffer = vec![0; 1 << 20];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        count += read;
    }
    assert!(count < 64 * 1024 * 1024, "{count}");
}

#[tokio::test]
async fn too_many_or_too_long_headers_are_431() {
    let server = Running::new(|_| {}).await;
    let many = "x: 1\r\n".repeat(150);
    let long = format!("x: {}\r\n", "y".repeat(40_000));
    for lines in [many, long] {
        let answer = server
            .ask(&format!("GET / HTTP/1.1\r\nhost: a\r\n{lines}\r\n"))
            .await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
}

#[tokio::test]
async fn above_the_cap_a_connection_is_told_and_room_comes_back() {
    let server = Running::new(|config| config.max_connections = 1).await;
    let first = server.open(&request("/slow")).await;
    sleep(Duration::from_millis(50)).await;
    let refused = server.ask(&request("/")).await;
    assert!(
        refused.starts_with("HTTP/1.1 503 Service Unavailable\r\n"),
        "{refused}"
    );
    for part in [
        "retry-after: 1\r\n",
        "x-request-id: ",
        "nosniff",
        "\"code\":\"busy\"",
    ] {
        assert!(refused.contains(part), "{refused}");
    }
    assert!(rest(first).await.starts_with("HTTP/1.1 200 "));
    assert!(server.ask(&request("/")).await.ends_with("hello"));
}

#[tokio::test]
async fn draining_answers_what_runs_and_what_is_just_coming() {
    let server = Running::new(|config| config.drain_timeout = Duration::from_secs(2)).await;
    let running = server.open(&request("/slow")).await;
    let mut fresh = server.open("").await;
    sleep(Duration::from_millis(50)).await;
    server.stop.cancel();
    sleep(Duration::from_millis(50)).await;
    fresh.write_all(request("/").as_bytes()).await.unwrap();
    assert!(TcpStream::connect(server.addr).await.is_err());
    for stream in [running, fresh] {
        let answer = rest(stream).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
    assert_eq!(server.stop().await, Drained { aborted: 0 });
}

#[tokio::test]
async fn what_does_not_finish_is_cut_and_counted() {
    let server = Running::new(|_| {}).await;
    let stuck = server.open(&request("/never")).await;
    sleep(Duration::from_millis(50)).await;
    let begun = Instant::now();
    assert_eq!(server.stop().await, Drained { aborted: 1 });
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert_eq!(rest(stuck).await, "");
}
