//! The process is asked to go, under load and with clients that do not.

use std::time::{Duration, Instant};

use groundwork_dev::process::{self, Signal};
use groundwork_dev::{Fault, Proxy};
use tokio::io::AsyncWriteExt as _;

use crate::harness::{Load, Outcome, TIMEOUT, World, command, is_fine, until, with};

const ROUNDS: usize = 8;
const CLIENTS: usize = 64;

/// A request that never becomes whole.
const STALLED: &[u8] = b"POST /api/v1/auth/login HTTP/1.1\r\nhost: 127.0.0.1\r\n\
    content-type: application/json\r\ncontent-length: 100\r\n\r\n{";

#[tokio::test]
async fn f14_sigterm_under_load_fails_no_request_that_was_accepted() {
    let world = World::new().await;
    for round in 0..ROUNDS {
        // In every other round requests that never become whole keep the process for all of the timeout.
        let stalls = round % 2 == 0;
        let drain = [
            ("HTTP_DRAIN_DELAY", "500ms"),
            ("HTTP_DRAIN_TIMEOUT", if stalls { "4s" } else { "50s" }),
            // Longer than the process may take to end.
            ("HTTP_BODY_TIMEOUT", "5m"),
            ("HTTP_HEADER_TIMEOUT", "5m"),
            ("HTTP_IDLE_TIMEOUT", "5m"),
            // All of the pool is opened at the start: what opening more under load costs is
            // another matter.
            ("DB_POOL_SIZE", "16"),
            ("DB_MAX_OVERFLOW", "0"),
        ];
        let mut service = world.serve(&drain).await;
        let access = service.sign_in(&format!("ada{round}")).await.access;
        let mut stalled = service.open().await;
        if stalls {
            stalled.write_all(STALLED).await.expect("it is sent");
        }
        let mut partial = service.open().await;
        if stalls {
            partial.write_all(b"GET / HT").await.expect("it is sent");
        }
        let idle = service.open().await;

        let caller = service.caller.clone();
        let load = Load::start(CLIENTS, move |client, turn| {
            let (caller, access) = (caller.clone(), access.clone());
            async move {
                match client % 16 {
                    0 => {
                        let email = format!("{round}-{client}-{turn}@example.com");
                        caller.register(&email).await
                    }
                    1 => caller.get("/health/live").await,
                    _ => caller.me(&access).await,
                }
            }
        });
        until("requests flow", async || load.so_far().len() > 1_000).await;
        let begun = Instant::now();
        service.signal(Signal::TERM);
        until("readiness fails", async || {
            let ready = service.get("/health/ready").await;
            ready.status == 503 || ready.refused
        })
        .await;
        assert_eq!(service.ended().await, Some(0), "{}", service.written());
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(45), "it took {took:?}");

        let outcomes = load.stop().await;
        let after = outcomes.iter().filter(|o| o.began > begun && is_fine(o));
        assert!(after.count() > 0, "nobody was served while it drained");
        let failed: Vec<_> = outcomes
            .iter()
            .filter(|outcome| outcome.began + outcome.took > begun)
            .filter(|outcome| !is_fine(outcome) && !outcome.refused)
            .collect();
        // A connection closes half a second after the last reply. A client that a busy machine delays by more may
        // send into it, and no server can tell (RFC 9112 §9.5); it is another thing to cut off a request that was read.
        let stopped = service.lines().find(|line| line["message"] == "stopped");
        let aborted = stopped.and_then(|line| line["aborted"].as_u64());
        let most = if stalls { 2 } else { 0 };
        assert!(
            aborted.is_some_and(|aborted| aborted <= most),
            "{aborted:?}"
        );
        let is_unread = |outcome: &Outcome| outcome.status == 0;
        assert!(
            failed.iter().all(|outcome| is_unread(outcome)) && failed.len() * 100 <= outcomes.len(),
            "round {round}: {} of {} failed: {:?}",
            failed.len(),
            outcomes.len(),
            failed.first()
        );
        drop((stalled, partial, idle));
    }
}

#[tokio::test]
async fn f14_a_second_signal_ends_it_at_once() {
    let world = World::new().await;
    let mut service = world
        .serve(&[("HTTP_DRAIN_TIMEOUT", "5m"), ("HTTP_BODY_TIMEOUT", "5m")])
        .await;
    let mut stalled = service.open().await;
    stalled.write_all(STALLED).await.expect("it is sent");
    service.signal(Signal::TERM);
    until("it drains", async || {
        service.lines().any(|line| line["message"] == "draining")
    })
    .await;
    assert!(service.child.try_wait().expect("it can be asked").is_none());
    let begun = Instant::now();
    service.signal(Signal::TERM);
    assert_eq!(service.ended().await, Some(130));
    assert!(begun.elapsed() < Duration::from_secs(30));
    drop(stalled);
}

/// The lines of a log that are not JSON objects, such as a panic's.
fn not_json(written: &str) -> Vec<&str> {
    let is_object = |line: &str| {
        serde_json::from_str::<serde_json::Value>(line).is_ok_and(|line| line.is_object())
    };
    let lines = written.lines().filter(|line| !line.trim().is_empty());
    lines.filter(|line| !is_object(line)).collect()
}

#[tokio::test]
async fn f39_while_its_database_refuses_a_process_ends_without_a_panic_and_logs_json_alone() {
    ends_without_a_panic(&[
        (Fault::Refuse, Duration::ZERO),
        (Fault::Refuse, Duration::from_secs(3)),
    ])
    .await;
}

#[tokio::test]
async fn f39_while_its_packets_are_dropped_a_process_ends_without_a_panic_and_logs_json_alone() {
    ends_without_a_panic(&[
        (Fault::Blackhole, Duration::from_millis(700)),
        (Fault::Blackhole, Duration::from_secs(4)),
    ])
    .await;
}

#[tokio::test]
async fn f39_while_its_database_freezes_a_process_ends_without_a_panic_and_logs_json_alone() {
    ends_without_a_panic(&[
        (Fault::Freeze, Duration::from_secs(1)),
        (Fault::CutAfter(1), Duration::from_secs(1)),
    ])
    .await;
}

/// Ends a service and a worker, each fault's time after it began.
async fn ends_without_a_panic(faults: &[(Fault, Duration)]) {
    let world = World::new().await;
    let url: url::Url = world.settings["DATABASE_URL"].parse().expect("it is a URL");
    let proxy = Proxy::start(url.port().expect("it has a port"))
        .await
        .expect("the proxy starts");
    let through = proxy.through(&world.settings["DATABASE_URL"]);
    for &(fault, wait) in faults {
        proxy.set(Fault::None);
        let settings = [
            ("DATABASE_URL", through.as_str()),
            ("DB_POOL_TIMEOUT", "1s"),
            ("HTTP_DRAIN_TIMEOUT", "5s"),
            ("LOG_LEVEL", "debug"),
        ];
        let mut service = world.serve(&settings).await;
        let worker = command(&with(&world.settings, &settings), &["worker"])
            .spawn()
            .expect("the worker starts");
        let access = service.sign_in(&format!("ada-{}", proxy.accepted())).await;
        let (caller, access) = (service.caller.clone(), access.access);
        let load = Load::start(8, move |_, _| {
            let (caller, access) = (caller.clone(), access.clone());
            async move { caller.me(&access).await }
        });
        until("requests flow", async || load.so_far().len() > 50).await;
        proxy.set(fault);
        tokio::time::sleep(wait).await;
        let begun = Instant::now();
        service.signal(Signal::TERM);
        let number = worker.id().expect("it runs");
        process::signal(number, Signal::TERM);
        assert_eq!(service.ended().await, Some(0), "{}", service.written());
        let worker = tokio::time::timeout(TIMEOUT, worker.wait_with_output()).await;
        let worker = worker.expect("it ends").expect("its output is read");
        assert!(worker.status.success(), "{fault:?}: {worker:?}");
        let took = begun.elapsed();
        assert!(
            took < Duration::from_secs(45),
            "{fault:?}: it took {took:?}"
        );
        load.stop().await;
        let written = [
            service.written(),
            String::from_utf8_lossy(&worker.stdout).into_owned(),
            String::from_utf8_lossy(&worker.stderr).into_owned(),
        ];
        for written in &written {
            let other = not_json(written);
            assert!(other.is_empty(), "{fault:?} after {wait:?}: {other:#?}");
            assert!(!written.contains("panic"), "{fault:?}: {written}");
        }
    }
}
