//! The service is led to a standby.

use std::time::{Duration, Instant};

use groundwork_dev::{Fault, Proxy};

use crate::harness::{Load, Outcome, Service, is_fine, run, until, with};
use crate::world::{DATABASE, World};

/// The part of a URL that a proxy is put in front of.
fn port(url: &str) -> u16 {
    let url: url::Url = url.parse().expect("it is a URL");
    url.port().expect("it has a port")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_led_to_a_standby_refuses_requests_until_it_is_led_to_the_primary() {
    let world = World::new().await;
    let primary = world.patroni.primary().await.expect("there is one");
    let standby = world.patroni.synchronous_standby().await;
    let [primary, standby] = [primary, standby.expect("there is one")]
        .map(|member| world.patroni.members[member].upstream().postgres);
    let proxy = Proxy::start(primary).await.expect("it starts");
    let through = proxy.through(&world.settings["DATABASE_URL"]);
    let settings = with(&world.settings, &[("DATABASE_URL", &through)]);
    let service = Service::start(&settings, &["serve"]).await;
    let access = service.sign_in("ada").await.access;
    let caller = service.caller.clone();
    let load = Load::start(8, move |client, turn| {
        let (caller, access) = (caller.clone(), access.clone());
        async move {
            if client % 4 == 0 {
                let email = format!("{client}-{turn}@example.com");
                caller.register(&email).await
            } else {
                caller.me(&access).await
            }
        }
    });
    until("requests flow", async || load.so_far().len() > 100).await;
    for _ in 0..2 {
        // As after a failover behind a name or a proxy that is late: what was open is cut, and what is opened
        // leads to a server that takes no writes.
        proxy.point_at(standby);
        proxy.set(Fault::Refuse);
        tokio::time::sleep(Duration::from_millis(100)).await;
        proxy.set(Fault::None);
        let led = Instant::now();
        until("reads are refused as well", async || {
            let outcomes = load.so_far();
            let newest = outcomes.iter().rev().take(16);
            newest.clone().all(|o| o.began > led && o.is_shed())
        })
        .await;
        until("readiness fails", async || {
            service.get("/health/ready").await.status == 503
        })
        .await;
        // The connections to the standby work, and are given up all the same.
        proxy.point_at(primary);
        let led = Instant::now();
        until("requests succeed", async || {
            let outcomes = load.so_far();
            let newest = outcomes.iter().rev().take(16);
            newest.clone().all(|o| o.began > led && is_fine(o))
        })
        .await;
        let took = led.elapsed();
        assert!(took < Duration::from_secs(5), "it took {took:?}");
    }
    let outcomes = load.stop().await;
    let wrong = outcomes.iter().find(|o| !is_fine(o) && !o.is_shed());
    assert!(wrong.is_none(), "{wrong:?}");
    assert!(outcomes.iter().any(Outcome::is_shed));
    let says_so = |line: serde_json::Value| {
        line["message"] == "PostgreSQL is a standby, which takes no writes: refusing requests"
    };
    assert!(service.lines().any(says_so), "{}", service.written());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_reports_that_the_database_is_a_standby() {
    let world = World::new().await;
    let examined = run(&world.settings, &["doctor"], "").await;
    let report = String::from_utf8_lossy(&examined.stdout).into_owned();
    assert!(report.contains("ok     database responds"), "{report}");
    let replicas = world.patroni.replica_url(DATABASE);
    assert_ne!(port(&replicas), port(&world.settings["DATABASE_URL"]));
    let settings = with(&world.settings, &[("DATABASE_URL", &replicas)]);
    let examined = run(&settings, &["doctor"], "").await;
    assert!(!examined.status.success());
    let report = String::from_utf8_lossy(&examined.stdout).into_owned();
    assert!(
        report.contains("DATABASE_URL leads to a standby, which takes no writes"),
        "{report}"
    );
}
