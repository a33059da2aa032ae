//! Clients that begin and do not go on: what all of them together may hold.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::harness::{Load, Service, TIMEOUT, World, is_fine};

const REFRESH: &str = "POST /api/v1/auth/refresh HTTP/1.1\r\nhost: 127.0.0.1\r\n\
    content-type: application/json\r\n";

/// The address of one of many clients, beside the tests' own.
fn client(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, 2 + number)
}

async fn connect_from(service: &Service, from: Ipv4Addr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket is made");
    socket
        .bind(SocketAddr::from((from, 0)))
        .expect("the address is ours");
    let service = SocketAddr::from(([127, 0, 0, 1], service.port));
    socket.connect(service).await.expect("it listens")
}

/// Opens a connection from this address and sends `start` on it.
async fn begin(service: &Service, from: Ipv4Addr, start: &str) -> TcpStream {
    let mut stream = connect_from(service, from).await;
    stream
        .write_all(start.as_bytes())
        .await
        .expect("it is sent");
    stream
}

/// Bytes that come back until the connection is closed.
async fn reply(mut stream: TcpStream) -> String {
    let mut reply = Vec::new();
    let _ = timeout(TIMEOUT, stream.read_to_end(&mut reply))
        .await
        .expect("it is closed");
    String::from_utf8_lossy(&reply).into_owned()
}

/// Sends a byte a second for as long as somebody takes it; returns the reply.
async fn drip(stream: TcpStream) -> String {
    let (mut reader, mut writer) = stream.into_split();
    let dripping = async {
        while writer.write_all(b" ").await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
        std::future::pending::<()>().await;
    };
    let mut reply = Vec::new();
    tokio::select! {
        _ = reader.read_to_end(&mut reply) => {}
        () = dripping => {}
    }
    String::from_utf8_lossy(&reply).into_owned()
}

#[tokio::test]
async fn f20_stalled_bodies_of_many_clients_take_no_request_slots() {
    let world = World::new().await;
    // All of them may wait: what is tested is that they hold no slot meanwhile.
    let service = world.serve(&[("HTTP_MAX_BODIES_PER_CLIENT", "46")]).await;
    let tokens = service.sign_in("ada").await;
    let mut stalled = JoinSet::new();
    for number in 0..23 {
        for turn in 0..46 {
            let start = match turn % 5 {
                0 | 1 => format!("{REFRESH}content-length: 100\r\n\r\n{{"),
                2 => format!("{REFRESH}transfer-encoding: chunked\r\n\r\n1\r\n{{\r\n"),
                3 => format!("{REFRESH}content-length: 100\r\nexpect: 100-continue\r\n\r\n"),
                _ => format!(
                    "{REFRESH}connection: upgrade\r\nupgrade: websocket\r\n\
                     content-length: 100\r\n\r\n{{"
                ),
            };
            let stream = begin(&service, client(number), &start).await;
            if turn % 5 == 1 {
                stalled.spawn(drip(stream));
            } else {
                stalled.spawn(reply(stream));
            }
        }
    }
    let begun = Instant::now();
    let caller = service.caller.clone();
    // Each refresh uses the newest token: an older one is good for ten seconds alone.
    let newest = Arc::new(Mutex::new(tokens.refresh));
    let load = Load::start(4, move |number, _| {
        let (caller, access) = (caller.clone(), tokens.access.clone());
        let newest = Arc::clone(&newest);
        async move {
            if number == 0 {
                let used = newest.lock().expect("nobody panics here").clone();
                let outcome = caller.refresh(&used).await;
                if let Some(next) = outcome.body["refresh_token"].as_str() {
                    next.clone_into(&mut newest.lock().expect("nobody panics here"));
                }
                outcome
            } else {
                caller.me(&access).await
            }
        }
    });
    let mut timed_out = 0;
    while let Some(reply) = stalled.join_next().await {
        let reply = reply.expect("nobody panics");
        let reply = reply.trim_start_matches("HTTP/1.1 100 Continue\r\n\r\n");
        assert!(reply.starts_with("HTTP/1.1 408 "), "{reply}");
        assert!(reply.contains("connection: close"), "{reply}");
        timed_out += 1;
    }
    assert_eq!(timed_out, 23 * 46);
    assert!(begun.elapsed() < TIMEOUT);
    let outcomes = load.stop().await;
    let shed = outcomes
        .iter()
        .find(|outcome| outcome.body["code"] == "busy");
    assert!(shed.is_none(), "{shed:?}");
    // Beside a thousand others a busy machine may be too slow for one or another.
    let fine = outcomes.iter().filter(|outcome| is_fine(outcome)).count();
    let wrong = outcomes.iter().find(|outcome| !is_fine(outcome));
    assert!(
        fine * 100 >= outcomes.len() * 99,
        "{fine} of {}: {wrong:?}",
        outcomes.len()
    );
}

#[tokio::test]
async fn f20_each_client_network_has_a_bound_of_connections_and_bodies() {
    let world = World::new().await;
    let service = world
        .serve(&[
            ("HTTP_MAX_CONNECTIONS_PER_CLIENT", "10"),
            ("HTTP_MAX_BODIES_PER_CLIENT", "5"),
            ("HTTP_BODY_TIMEOUT", "5m"),
            ("HTTP_HEADER_TIMEOUT", "5m"),
            ("TRUSTED_PROXIES", "127.0.0.250"),
        ])
        .await;
    let live = "GET /health/live HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n";
    let mut waiting = JoinSet::new();
    for _ in 0..10 {
        let start = format!("{REFRESH}content-length: 100\r\n\r\n{{");
        waiting.spawn(reply(begin(&service, client(2), &start).await));
    }
    // Five wait for their bodies; the others are refused although those are not given up.
    for _ in 0..5 {
        let refused = waiting.join_next().await.expect("five are refused");
        let refused = refused.expect("nobody panics");
        assert!(refused.starts_with("HTTP/1.1 429 "), "{refused}");
        assert!(refused.contains("retry-after: 1"), "{refused}");
    }
    let mut held = Vec::new();
    for _ in 0..10 {
        held.push(begin(&service, client(0), "GET / HTTP/1.1\r\n").await);
    }
    let refused = reply(begin(&service, client(0), live).await).await;
    assert!(refused.starts_with("HTTP/1.1 429 "), "{refused}");
    assert!(refused.contains("\"code\":\"rate_limited\""), "{refused}");
    let other = reply(begin(&service, client(1), live).await).await;
    assert!(other.starts_with("HTTP/1.1 200 "), "{other}");
    // Behind a proxy's address are many clients, and it bounds them itself.
    let proxy = Ipv4Addr::new(127, 0, 0, 250);
    for number in 0..20 {
        let header = format!("x-forwarded-for: 203.0.113.{number}\r\n");
        let start = format!("{REFRESH}{header}content-length: 100\r\n\r\n{{");
        held.push(begin(&service, proxy, &start).await);
    }
    let start = format!("{REFRESH}x-forwarded-for: 203.0.113.99\r\ncontent-length: 2\r\n\r\n{{}}");
    let start = start.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
    let served = reply(begin(&service, proxy, &start).await).await;
    assert!(served.starts_with("HTTP/1.1 4"), "{served}");
    assert!(!served.starts_with("HTTP/1.1 429 "), "{served}");
    // What ends is given back.
    drop(held);
    let mut answer = String::new();
    for _ in 0..1_000 {
        answer = reply(begin(&service, client(0), live).await).await;
        if answer.starts_with("HTTP/1.1 200 ") {
            break;
        }
        sleep(Duration::from_millis(25)).await;
    }
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn f20_an_idle_connection_outlives_those_of_balancers() {
    let world = World::new().await;
    let service = world
        .serve(&[("HTTP_HEADER_TIMEOUT", "1s"), ("HTTP_IDLE_TIMEOUT", "6s")])
        .await;
    let live = "GET /health/live HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
    let mut stream = connect_from(&service, client(0)).await;
    for _ in 0..2 {
        stream
            .write_all(live.as_bytes())
            .await
            .expect("it is still open");
        let mut start = [0; 15];
        stream.read_exact(&mut start).await.expect("it answers");
        assert_eq!(&start, b"HTTP/1.1 200 OK");
        let mut rest = vec![0; 4096];
        stream.read(&mut rest).await.expect("the rest comes");
        // Longer than a head may take, and shorter than a connection may idle.
        sleep(Duration::from_millis(1_500)).await;
    }
    assert_eq!(reply(stream).await, "", "the idle connection is closed");
    // A head that began has its own, shorter time.
    let service = world
        .serve(&[("HTTP_HEADER_TIMEOUT", "1s"), ("HTTP_IDLE_TIMEOUT", "5m")])
        .await;
    let mut stream = begin(&service, client(0), live).await;
    let mut answer = vec![0; 4096];
    stream.read(&mut answer).await.expect("it answers");
    stream.write_all(b"GET / HT").await.expect("it is open");
    reply(stream).await;
}

/// The `mem_limit` of the service in the compose file, in KiB.
fn memory_limit() -> u64 {
    let compose = include_str!("../../docker-compose.yml");
    let service = compose.split("x-service:").nth(1).expect("it is there");
    let limit = service.split("mem_limit: ").nth(1).expect("it has one");
    let digits: String = limit.chars().take_while(char::is_ascii_digit).collect();
    let number: u64 = digits.parse().expect("a number");
    match limit[digits.len()..].chars().next() {
        Some('m') => number * 1024,
        Some('g') => number * 1024 * 1024,
        unit => panic!("an unknown unit: {unit:?}"),
    }
}

#[tokio::test]
async fn f20_ten_thousand_half_heads_fit_the_memory_of_the_container() {
    const CONNECTIONS: u32 = 10_000;
    let world = World::new().await;
    let service = world.serve(&[("HTTP_HEADER_TIMEOUT", "2m")]).await;
    let access = service.sign_in("ada").await.access;
    // As much as a head may have without being refused or whole.
    let start = format!(
        "GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nx: {}",
        "y".repeat(31 * 1024)
    );
    let mut held = Vec::new();
    for number in 0..CONNECTIONS {
        let from = client(u8::try_from(number % 200).expect("it is small"));
        held.push(begin(&service, from, &start).await);
    }
    // The newest of them were read before this is answered.
    assert!(is_fine(&service.me(&access).await));
    let memory = service.memory();
    let limit = memory_limit();
    // A fifth is left for hashing passwords and what runs besides.
    assert!(
        memory < limit * 4 / 5,
        "{memory} KiB of {limit} KiB with {} connections",
        held.len()
    );
}
