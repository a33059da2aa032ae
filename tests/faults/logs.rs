//! The log cannot be written or nobody reads it, and nobody takes reports of errors.

use std::fs::{File, OpenOptions};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use groundwork_dev::process::Signal;
use groundwork_dev::{Fault, Proxy, ports};

use crate::harness::{Load, Service, World, command, fastest, is_fine, until, with};

/// Starts the service with its output going to these files; there is no log to read the port from.
async fn serve(world: &World, stdout: Stdio, stderr: Stdio) -> Service {
    let reserved = ports::reserve(None, 18_200).expect("a free port");
    let port = reserved.port;
    let address = format!("127.0.0.1:{port}");
    // Every request writes.
    let more = [("BIND_ADDR", address.as_str()), ("LOG_LEVEL", "debug")];
    let settings = with(&world.settings, &more);
    let child = command(&settings, &["serve"])
        .stdout(stdout)
        .stderr(stderr)
        .spawn()
        .expect("the binary starts");
    let service = Service::of(child, port, &settings, Arc::new(Mutex::default()));
    until("it serves", async || {
        is_fine(&service.get("/health/live").await)
    })
    .await;
    service
}

/// More requests than any pipe or queue of lines holds.
async fn answers_everybody(service: &Service) {
    let caller = service.caller.clone();
    let load = Load::start(8, move |_, turn| {
        let caller = caller.clone();
        async move {
            let path = format!("/api/v1/users/me?{turn}");
            caller.get(&path).await
        }
    });
    until("requests flow", async || load.so_far().len() > 3_000).await;
    let outcomes = load.stop().await;
    let wrong = outcomes.iter().find(|outcome| outcome.status != 401);
    assert!(wrong.is_none(), "{wrong:?}");
}

#[tokio::test]
async fn f32_an_error_collector_that_swallows_everything_costs_nothing() {
    let world = World::new().await;
    let nobody = Proxy::start(1).await.expect("it starts");
    nobody.set(Fault::Blackhole);
    let dsn = format!("http://key@127.0.0.1:{}/1", nobody.port());
    let more = [
        ("SENTRY_DSN", dsn.as_str()),
        ("SENTRY_TRACES_SAMPLE_RATE", "1"),
    ];
    let mut service = world.serve(&more).await;
    answers_everybody(&service).await;
    let tokens = service.sign_in("ada").await;
    let enough = Duration::from_secs(1);
    let took = fastest(enough, async || {
        let me = service.me(&tokens.access).await;
        assert!(is_fine(&me), "{me:?}");
        me.took
    })
    .await;
    assert!(took < enough, "{took:?}");
    assert!(nobody.accepted() > 0, "nothing was reported");
    let begun = Instant::now();
    service.signal(Signal::TERM);
    assert_eq!(service.ended().await, Some(0));
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(30), "it took {took:?} to go");
}

#[tokio::test]
async fn f16_with_full_disks_behind_both_outputs_it_serves_on() {
    let world = World::new().await;
    let full = || {
        let file = OpenOptions::new().write(true).open("/dev/full");
        Stdio::from(file.expect("the system has it"))
    };
    let mut service = serve(&world, full(), full()).await;
    answers_everybody(&service).await;
    let tokens = service.sign_in("ada").await;
    assert!(is_fine(&service.me(&tokens.access).await));
    service.signal(Signal::TERM);
    assert_eq!(service.ended().await, Some(0));
}

#[tokio::test]
async fn f17_with_a_pipe_that_nobody_reads_it_serves_on() {
    let world = World::new().await;
    let (unread, pipe) = std::io::pipe().expect("a pipe");
    let stderr = pipe.try_clone().expect("its twin");
    let mut service = serve(&world, pipe.into(), stderr.into()).await;
    answers_everybody(&service).await;
    let tokens = service.sign_in("ada").await;
    assert!(is_fine(&service.me(&tokens.access).await));
    service.signal(Signal::TERM);
    assert_eq!(service.ended().await, Some(0), "it hangs on its log");
    drop(unread);
}

#[tokio::test]
async fn f17_with_a_pipe_whose_reader_is_gone_it_serves_on() {
    let world = World::new().await;
    let (unread, pipe) = std::io::pipe().expect("a pipe");
    drop(unread);
    let stderr = File::options().write(true).open("/dev/null");
    let stderr = stderr.expect("the system has it");
    let service = serve(&world, pipe.into(), stderr.into()).await;
    answers_everybody(&service).await;
}
