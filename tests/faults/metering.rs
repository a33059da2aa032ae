//! Every request is counted once: while replicas come and go, while the database is away, and after
//! a process died without a word.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use groundwork_dev::process::Signal;
use groundwork_dev::{Fault, Proxy};

use crate::harness::{Caller, Load, Outcome, Service, World, count, is_fine, until};

/// Limits that the tests do not meet, and a pool that is opened at the start.
const SETTINGS: [(&str, &str); 6] = [
    ("PLAN_FREE_RATE", "1000000"),
    ("PLAN_FREE_QUOTA_HARD", "false"),
    ("HTTP_DRAIN_DELAY", "300ms"),
    ("HTTP_DRAIN_TIMEOUT", "5s"),
    ("DB_POOL_SIZE", "16"),
    ("DB_MAX_OVERFLOW", "0"),
];

const COUNTED: &str = "SELECT coalesce(sum(request_count), 0)::int8 FROM api_usage
    WHERE endpoint = 'GET /api/v1/users/me' AND status_code = 200";
const TOTAL: &str = "SELECT coalesce(sum(request_count), 0)::int8 FROM usage_totals";
const CHARGED: &str = "SELECT coalesce(sum(request_count), 0)::int8 FROM api_usage
    WHERE status_code < 500 AND status_code <> 429";

async fn serve(world: &World, more: &[(&str, &str)]) -> Service {
    world.serve(&[&SETTINGS, more].concat()).await
}

async fn read(world: &World, sql: &'static str) -> i64 {
    count(&mut world.owner().await, sql).await
}

fn fine(outcomes: &[Outcome]) -> i64 {
    let fine = outcomes.iter().filter(|outcome| is_fine(outcome)).count();
    i64::try_from(fine).expect("not that many")
}

/// Ends a process in peace.
async fn end(mut service: Service) {
    service.signal(Signal::TERM);
    assert_eq!(service.ended().await, Some(0), "{}", service.written());
}

/// Clients that spread over the replicas there are.
fn load_on(replicas: &Arc<Mutex<Vec<Caller>>>, access: &str) -> Load {
    let (replicas, access) = (Arc::clone(replicas), access.to_owned());
    Load::start(24, move |client, turn| {
        let (replicas, access) = (Arc::clone(&replicas), access.clone());
        async move {
            let caller = {
                let replicas = replicas.lock().expect("nobody panics here");
                replicas[(client + turn) % replicas.len()].clone()
            };
            caller.me(&access).await
        }
    })
}

async fn more(load: &Load, requests: usize) {
    let before = load.so_far().len();
    until("requests flow", async || {
        load.so_far().len() > before + requests
    })
    .await;
}

#[tokio::test]
async fn f36_a_rolling_restart_loses_no_count_and_counts_none_twice() {
    // Written now and then, and, with the second, at the very end alone.
    for interval in ["500ms", "60s"] {
        let world = World::new().await;
        let settings = [("USAGE_FLUSH_INTERVAL", interval)];
        let mut running = vec![
            serve(&world, &settings).await,
            serve(&world, &settings).await,
        ];
        let access = running[0].sign_in("ada").await.access;
        let callers = running.iter().map(|service| service.caller.clone());
        let replicas = Arc::new(Mutex::new(callers.collect::<Vec<_>>()));
        let load = load_on(&replicas, &access);
        more(&load, 1_000).await;
        for _ in 0..2 {
            let fresh = serve(&world, &settings).await;
            replicas
                .lock()
                .expect("nobody panics here")
                .push(fresh.caller.clone());
            running.push(fresh);
            more(&load, 300).await;
            // Still asked while it drains, as by a balancer that has not noticed yet.
            let old = running.remove(0);
            let port = old.port;
            end(old).await;
            replicas
                .lock()
                .expect("nobody panics here")
                .retain(|caller| caller.port != port);
            more(&load, 300).await;
        }
        let outcomes = load.stop().await;
        for service in running {
            end(service).await;
        }
        let odd = outcomes.iter().find(|it| !is_fine(it) && !it.refused);
        assert!(odd.is_none(), "{odd:?}");
        let answered = fine(&outcomes);
        assert!(answered > 2_000, "{answered}");
        assert_eq!(read(&world, COUNTED).await, answered, "by {interval}");
        assert_eq!(read(&world, TOTAL).await, answered);
    }
}

#[tokio::test]
async fn f37_a_process_that_is_killed_loses_no_more_than_an_interval() {
    const INTERVAL: Duration = Duration::from_secs(1);
    /// What writing itself may take on a busy machine.
    const WRITING: Duration = Duration::from_secs(3);
    let owed = |outcomes: Vec<Outcome>, at: Instant| -> Vec<Outcome> {
        let is_owed = |it: &Outcome| it.began + it.took + INTERVAL + WRITING < at;
        outcomes.into_iter().filter(is_owed).collect()
    };
    let world = World::new().await;
    let mut service = serve(&world, &[("USAGE_FLUSH_INTERVAL", "1s")]).await;
    let access = service.sign_in("ada").await.access;
    let replicas = Arc::new(Mutex::new(vec![service.caller.clone()]));
    let load = load_on(&replicas, &access);
    let begun = Instant::now();
    until("some intervals pass", async || {
        begun.elapsed() > 4 * INTERVAL && fine(&owed(load.so_far(), Instant::now())) > 500
    })
    .await;
    let killed = Instant::now();
    service.signal(Signal::KILL);
    assert_eq!(service.ended().await, None, "by a signal");
    let outcomes = load.stop().await;
    let (counted, owed) = (read(&world, COUNTED).await, fine(&owed(outcomes, killed)));
    assert!(owed > 500, "{owed}");
    assert!(counted >= owed, "{counted} of {owed} are there");
}

#[tokio::test]
async fn f38_what_is_counted_while_the_database_is_away_is_written_when_it_is_back() {
    let world = World::new().await;
    let url: url::Url = world.settings["DATABASE_URL"].parse().expect("it is a URL");
    let proxy = Proxy::start(url.port().expect("it has a port"))
        .await
        .expect("the proxy starts");
    let through = proxy.through(&world.settings["DATABASE_URL"]);
    // So often that the faults below meet it in the midst of writing.
    let settings = [
        ("DATABASE_URL", through.as_str()),
        ("USAGE_FLUSH_INTERVAL", "20ms"),
    ];
    let service = serve(&world, &settings).await;
    let access = service.sign_in("ada").await.access;
    let replicas = Arc::new(Mutex::new(vec![service.caller.clone()]));
    let load = load_on(&replicas, &access);
    more(&load, 200).await;
    for fault in [
        Fault::Refuse,
        Fault::Blackhole,
        Fault::CutAfter(64),
        Fault::Freeze,
        Fault::Refuse,
    ] {
        proxy.set(fault);
        // Longer than it takes to call the database silent.
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        proxy.set(Fault::None);
        let returned = Instant::now();
        until("requests succeed", async || {
            let newest = load.so_far();
            newest
                .iter()
                .rev()
                .take(24)
                .all(|it| it.began > returned && is_fine(it))
        })
        .await;
        more(&load, 100).await;
    }
    let outcomes = load.stop().await;
    assert!(
        service.written().contains("cannot write usage counts"),
        "no write met a fault"
    );
    assert!(
        outcomes.iter().all(|it| it.status != 0),
        "each was answered"
    );
    end(service).await;
    assert_eq!(read(&world, COUNTED).await, fine(&outcomes));
    assert_eq!(read(&world, TOTAL).await, read(&world, CHARGED).await);
}

#[tokio::test]
async fn f39_without_its_database_a_process_still_ends_in_time_and_says_what_it_loses() {
    let world = World::new().await;
    let url: url::Url = world.settings["DATABASE_URL"].parse().expect("it is a URL");
    let proxy = Proxy::start(url.port().expect("it has a port"))
        .await
        .expect("the proxy starts");
    let through = proxy.through(&world.settings["DATABASE_URL"]);
    for fault in [Fault::Refuse, Fault::Blackhole] {
        let settings = [
            ("DATABASE_URL", through.as_str()),
            ("USAGE_FLUSH_INTERVAL", "60s"),
            ("DB_POOL_TIMEOUT", "1s"),
        ];
        let mut service = serve(&world, &settings).await;
        let access = service
            .sign_in(&format!("{fault:?}").to_lowercase())
            .await
            .access;
        // The first write comes with the start; this one has to wait.
        assert!(is_fine(&service.me(&access).await));
        proxy.set(fault);
        let begun = Instant::now();
        service.signal(Signal::TERM);
        assert_eq!(service.ended().await, Some(0), "{}", service.written());
        assert!(
            begun.elapsed() < Duration::from_secs(40),
            "{:?}",
            begun.elapsed()
        );
        assert!(service.written().contains("the last usage counts are lost"));
        proxy.set(Fault::None);
    }
}
