//! The process runs out of what the system gives, and clients leave before they are answered.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use crate::harness::{PASSWORD, Service, World, count, is_fine, until};

#[tokio::test]
async fn f30_without_file_descriptors_it_waits_and_recovers() {
    let world = World::new().await;
    let prlimit = groundwork_dev::files::on_path("prlimit").expect("util-linux has it");
    let wrapper = [prlimit.to_str().expect("it is text"), "--nofile=64:64"];
    let mut service = Service::start_under(&wrapper, &world.settings, &["serve"]).await;
    let access = service.sign_in("ada").await.access;
    assert!(is_fine(&service.me(&access).await));
    let before = service.descriptors();

    let mut crowd = Vec::new();
    for _ in 0..200 {
        crowd.push(service.open().await);
    }
    until("it runs out", async || {
        service
            .lines()
            .any(|line| line["message"] == "cannot accept connections")
    })
    .await;
    let complaints = || {
        service
            .lines()
            .filter(|line| line["message"] == "cannot accept connections")
            .count()
    };
    let earlier = complaints();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let since = complaints() - earlier;
    assert!(since < 20, "it spins: {since} complaints within 2 s");
    assert!(service.child.try_wait().expect("it can be asked").is_none());

    drop(crowd);
    until("requests succeed", async || {
        is_fine(&service.me(&access).await)
    })
    .await;
    until("descriptors come back", async || {
        service.descriptors() <= before + 4
    })
    .await;
}

#[tokio::test]
async fn f33_a_thousand_clients_that_hang_up_leave_nothing_behind() {
    let world = World::new().await;
    let service = world.serve(&[]).await;
    let tokens = service.sign_in("ada").await;
    let before = service.descriptors();
    let login = json!({ "email": "ada@example.com", "password": PASSWORD }).to_string();
    let refresh = json!({ "refresh_token": tokens.refresh }).to_string();
    let post = |path: &str, body: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let requests = [
        post("/api/v1/auth/login", &login),
        post("/api/v1/auth/refresh", &refresh),
        format!(
            "GET /api/v1/users/me HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {}\r\n\r\n",
            tokens.access
        ),
    ];
    for round in 0..10 {
        join_all((0..100).map(async |number: usize| {
            let mut stream = service.open().await;
            let request = if number % 4 == 3 {
                let email = format!("r{round}-{number}@example.com");
                let body = json!({ "email": email, "password": PASSWORD }).to_string();
                post("/api/v1/auth/register", &body)
            } else {
                requests[number % 4].clone()
            };
            let _ = stream.write_all(request.as_bytes()).await;
            // Some leave at once and some while they are being served.
            tokio::time::sleep(Duration::from_millis(number as u64 % 7 * 3)).await;
        }))
        .await;
    }
    let mut owner = world.owner().await;
    let busy = "SELECT concat_ws(' ', state, now() - state_change, query) FROM pg_stat_activity AS a
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND (state <> 'idle' OR EXISTS (
            SELECT FROM pg_locks AS l WHERE l.pid = a.pid AND l.locktype <> 'virtualxid'))";
    let mut held: Vec<String> = Vec::new();
    for _ in 0..2_400 {
        held = sqlx::query_scalar(busy)
            .fetch_all(&mut owner)
            .await
            .expect("it tells");
        if held.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert!(held.is_empty(), "{held:#?}");
    until("descriptors come back", async || {
        // The pool may have grown up to its size.
        service.descriptors() <= before + 20
    })
    .await;
    for (what, halves) in [
        (
            "a session without a token",
            "SELECT count(*) FROM sessions AS s
             WHERE token_hash IS NULL AND NOT EXISTS (SELECT FROM refresh_tokens AS t WHERE t.session_id = s.id)",
        ),
        (
            "an account without an entry",
            "SELECT count(*) FROM users AS u WHERE email LIKE 'r%-%' AND NOT EXISTS (
             SELECT FROM audit_log AS a WHERE a.user_id = u.id AND a.event = 'registered')",
        ),
    ] {
        assert_eq!(count(&mut owner, halves).await, 0, "{what}");
    }

    let flood = join_all((0..200).map(|_| service.me(&tokens.access))).await;
    let wrong = flood.iter().find(|outcome| !is_fine(outcome));
    assert!(wrong.is_none(), "{wrong:?}");
    let logins = join_all((0..64).map(|_| service.log_in("ada@example.com"))).await;
    let wrong = logins.iter().find(|outcome| !is_fine(outcome));
    assert!(wrong.is_none(), "{wrong:?}");
    let lives = service.refresh(&tokens.refresh).await;
    assert!(
        is_fine(&lives),
        "the lost replies ended the session: {lives:?}"
    );
}
