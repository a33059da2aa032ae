//! The mail server is down, silent, or refuses.

use std::time::Duration;

use groundwork_dev::{Fault, Proxy};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use crate::harness::{Outcome, Service, World, until};

/// Longer than registering takes on a busy machine, so that it would be seen to wait.
const SMTP_TIMEOUT: Duration = Duration::from_secs(3);

async fn serve(world: &World, proxy: &Proxy) -> Service {
    let through = format!("smtp://127.0.0.1:{}", proxy.port());
    let more = [("SMTP_URL", through.as_str()), ("SMTP_TIMEOUT", "3s")];
    world.serve(&more).await
}

#[track_caller]
fn assert_at_once(answer: &Outcome) {
    assert_eq!(answer.status, 202, "{answer:?}");
    assert!(answer.took < SMTP_TIMEOUT, "{answer:?}");
}

async fn failed(service: &Service, times: usize) {
    until("a job fails", async || {
        let failures = service
            .lines()
            .filter(|line| line["message"] == "a job failed and is tried again");
        failures.count() >= times
    })
    .await;
}

async fn arrives(world: &World, email: &str) {
    until("the message comes", async || {
        !world.inbox.emails_to(email).is_empty()
    })
    .await;
}

#[tokio::test]
async fn f31_emails_wait_for_a_mail_server_that_is_down_or_unresponsive() {
    let world = World::new().await;
    let proxy = Proxy::start(world.inbox.smtp_addr().port())
        .await
        .expect("it starts");
    let service = serve(&world, &proxy).await;
    for (times, (name, fault)) in [
        ("down", Fault::Refuse),
        ("unresponsive", Fault::Freeze),
        ("slow", Fault::Trickle(Duration::from_millis(400))),
    ]
    .into_iter()
    .enumerate()
    {
        proxy.set(fault);
        let email = format!("{name}@example.com");
        assert_at_once(&service.register(&email).await);
        failed(&service, times + 1).await;
        assert!(world.inbox.emails_to(&email).is_empty());
        proxy.set(Fault::None);
        arrives(&world, &email).await;
    }
}

#[tokio::test]
async fn f31_emails_wait_for_a_mail_server_that_refuses() {
    let world = World::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let proxy = Proxy::start(listener.local_addr().expect("it has one").port())
        .await
        .expect("it starts");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"554 no service here\r\n").await;
        }
    });
    let service = serve(&world, &proxy).await;
    assert_at_once(&service.register("ada@example.com").await);
    failed(&service, 1).await;
    proxy.point_at(world.inbox.smtp_addr().port());
    arrives(&world, "ada@example.com").await;
    let copies = world.inbox.emails_to("ada@example.com").len();
    assert_eq!(copies, 1);
}
