//! Replicas behind `HAProxy` that are added and removed under load: nobody is signed out, and everything is counted once.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clock::{Clock, Rng, uuid_v7};
use futures_util::future::join_all;
use groundwork_dev::process::Signal;
use groundwork_dev::{Balance, HttpProxy, ports};
use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use crate::harness::{
    Caller, Load, Outcome, Service, Settings, World, count, given, is_fine, program, until, with,
};

/// Replicas at the start.
const REPLICAS: usize = 4;

/// Replicas that are added later.
const ADDED: usize = 3;

/// Clients with a session each, of which every one has tabs.
const CLIENTS: usize = 8;

/// Tabs that refresh at once, on as many connections.
const TABS: usize = 4;

const READERS: usize = 6;
const REPORTERS: usize = 3;

/// Of each client between its requests.
const PAUSE: Duration = Duration::from_millis(15);

const SETTINGS: [(&str, &str); 8] = [
    ("TRUSTED_PROXIES", "127.0.0.1"),
    ("PLAN_FREE_RATE", "1000000"),
    ("PLAN_FREE_QUOTA_HARD", "false"),
    ("PLAN_FREE_EVENTS", "0"),
    ("PLAN_FREE_EVENT_MIB", "0"),
    // Longer than two checks of the proxy.
    ("HTTP_DRAIN_DELAY", "1s"),
    ("HTTP_DRAIN_TIMEOUT", "10s"),
    ("DB_MAX_OVERFLOW", "4"),
];

const READS: &str = "SELECT coalesce(sum(request_count), 0)::int8 FROM api_usage
    WHERE endpoint = 'GET /api/v1/users/me' AND status_code = 200";
const REPORTS: &str = "SELECT coalesce(sum(request_count), 0)::int8 FROM api_usage
    WHERE endpoint = 'POST /api/v1/events' AND status_code BETWEEN 200 AND 299";
const ALL: &str = "SELECT coalesce(sum(request_count), 0)::int8 FROM api_usage";
const TOTAL: &str = "SELECT coalesce(sum(request_count), 0)::int8 FROM usage_totals";
const ROTATIONS: &str = "SELECT coalesce(sum(generation), 0)::int8 FROM sessions";
const ENDED: &str = "SELECT count(*) FROM sessions WHERE ended_at IS NOT NULL";
const REUSES: &str = "SELECT count(*) FROM audit_log WHERE event = 'refresh_token_reused'";

fn settings(world: &World, more: &[(&str, &str)]) -> Settings {
    let redis = given("TEST_REDIS_URL");
    let shared = with(&world.settings, &SETTINGS);
    with(&with(&shared, &[("REDIS_URL", &redis)]), more)
}

/// Starts one. Every other one writes its counts at its end alone.
async fn start(world: &World, port: u16, number: usize) -> Service {
    let flush = if number.is_multiple_of(2) {
        "500ms"
    } else {
        "60s"
    };
    let own = [
        ("BIND_ADDR", &*format!("127.0.0.1:{port}")),
        ("USAGE_FLUSH_INTERVAL", flush),
    ];
    Service::start(&settings(world, &own), &["serve", "--no-worker"]).await
}

async fn end(mut service: Service) {
    service.signal(Signal::TERM);
    assert_eq!(service.ended().await, Some(0), "{}", service.written());
}

/// Sessions of one account, each with the newest refresh token of its client.
async fn sign_in(caller: &Caller) -> Vec<Arc<Mutex<String>>> {
    let signing_in = (0..CLIENTS).map(|_| caller.log_in("ada@example.com"));
    let tokens = join_all(signing_in).await.into_iter().map(|signed_in| {
        let token = signed_in.body["refresh_token"].as_str();
        let token = token.unwrap_or_else(|| panic!("{signed_in:?}"));
        Arc::new(Mutex::new(token.to_owned()))
    });
    tokens.collect()
}

/// All tabs of a client send the token at once, and get one successor, which the client goes on with.
fn refreshes(caller: &Caller, tokens: &[Arc<Mutex<String>>]) -> Load {
    let (caller, tokens) = (caller.clone(), tokens.to_vec());
    Load::start(CLIENTS, move |client, _| {
        let (caller, token) = (caller.clone(), Arc::clone(&tokens[client]));
        async move {
            tokio::time::sleep(4 * PAUSE).await;
            let used = token.lock().expect("nobody panics here").clone();
            let mut replies = join_all((0..TABS).map(|_| caller.refresh(&used))).await;
            if let Some(at) = replies.iter().position(|it| !is_fine(it)) {
                return replies.swap_remove(at);
            }
            let next = |it: &Outcome| it.body["refresh_token"].as_str().map(str::to_owned);
            let successors: BTreeSet<_> = replies.iter().filter_map(next).collect();
            let mut outcome = replies.swap_remove(0);
            if successors.len() != 1 {
                // No reply, for the assertion at the end.
                outcome.status = 0;
                outcome.error = format!("the tabs have {} successors", successors.len());
            }
            let mut token = token.lock().expect("nobody panics here");
            *token = successors.into_iter().next().unwrap_or(used);
            outcome
        }
    })
}

fn reads(caller: &Caller, access: &str) -> Load {
    let (caller, access) = (caller.clone(), access.to_owned());
    Load::start(READERS, move |_, _| {
        let (caller, access) = (caller.clone(), access.clone());
        async move {
            tokio::time::sleep(PAUSE).await;
            caller.me(&access).await
        }
    })
}

fn reports(caller: &Caller, access: &str, ids: &Arc<Mutex<BTreeSet<Uuid>>>) -> Load {
    let (caller, access, ids) = (caller.clone(), access.to_owned(), Arc::clone(ids));
    Load::start(REPORTERS, move |client, _| {
        let (caller, access, ids) = (caller.clone(), access.clone(), Arc::clone(&ids));
        async move {
            tokio::time::sleep(PAUSE).await;
            let id = uuid_v7(Clock::system().now(), &Rng::system());
            let body = json!({ "id": id, "type": "report.created", "data": { "client": client } });
            let path = "/api/v1/events";
            let outcome = caller.call(Method::POST, path, Some(&access), Some(body));
            let outcome = outcome.await;
            if is_fine(&outcome) {
                ids.lock().expect("nobody panics here").insert(id);
            }
            outcome
        }
    })
}

async fn more(loads: &[&Load], requests: usize) {
    for load in loads {
        let before = load.so_far().len();
        until("requests flow", async || {
            load.so_far().len() > before + requests
        })
        .await;
    }
}

fn number(of: usize) -> i64 {
    i64::try_from(of).expect("not that many")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f65_replicas_that_come_and_go_sign_nobody_out_and_count_everything_once() {
    if program("TEST_HAPROXY").is_none() {
        return;
    }
    let world = World::new().await;
    let ports: Vec<u16> = (0..REPLICAS + ADDED)
        .map(|_| ports::any().expect("a port is free").port)
        .collect();
    let starting = (0..REPLICAS).map(|number| start(&world, ports[number], number));
    let mut running = join_all(starting).await;
    let worker = Service::spawn(&settings(&world, &[]), &["worker"]);
    let proxy = HttpProxy::start(&ports, Balance::Request)
        .await
        .expect("it starts");
    let ready = async |wanted: usize| {
        until("the proxy has found them", async || {
            proxy.ready().await.expect("it responds") == wanted
        })
        .await;
    };
    ready(REPLICAS).await;

    let access = running[0].sign_in("ada").await.access;
    let caller = Caller::new(proxy.port());
    let tokens = sign_in(&caller).await;
    let mut owner = world.owner().await;
    let rotated_before = count(&mut owner, ROTATIONS).await;
    let ids = Arc::default();
    let (refreshing, reading, reporting) = (
        refreshes(&caller, &tokens),
        reads(&caller, &access),
        reports(&caller, &access, &ids),
    );
    let loads = [&refreshing, &reading, &reporting];
    more(&loads, 20).await;
    for number in REPLICAS..REPLICAS + ADDED {
        end(running.remove(0)).await;
        ready(REPLICAS - 1).await;
        more(&loads, 20).await;
        running.push(start(&world, ports[number], number).await);
        ready(REPLICAS).await;
        more(&loads, 20).await;
    }
    let (refreshed, read, reported) = (
        refreshing.stop().await,
        reading.stop().await,
        reporting.stop().await,
    );
    let by_replica = proxy.replies().await.expect("it responds");
    assert!(
        by_replica.iter().all(|replies| *replies > 20),
        "{by_replica:?}"
    );
    for outcomes in [&refreshed, &read, &reported] {
        let failed: Vec<_> = outcomes.iter().filter(|it| !is_fine(it)).collect();
        let of = outcomes.len();
        assert!(
            failed.is_empty(),
            "{} of {of}: {:?}",
            failed.len(),
            failed[0]
        );
    }

    let turns = number(refreshed.len());
    let rotated = count(&mut owner, ROTATIONS).await - rotated_before;
    assert_eq!(rotated, turns, "a turn of the tabs is one rotation");
    for token in &tokens {
        let token = token.lock().expect("nobody panics here").clone();
        let refreshed = caller.refresh(&token).await;
        assert!(is_fine(&refreshed), "signed out: {refreshed:?}");
    }
    assert_eq!(count(&mut owner, ENDED).await, 0, "sessions ended");
    assert_eq!(count(&mut owner, REUSES).await, 0, "reuse is reported");

    for service in running.into_iter().chain([worker]) {
        end(service).await;
    }
    assert_eq!(count(&mut owner, READS).await, number(read.len()));
    assert_eq!(count(&mut owner, REPORTS).await, number(reported.len()));
    assert_eq!(count(&mut owner, ALL).await, count(&mut owner, TOTAL).await);
    let stored: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM events ORDER BY id")
        .fetch_all(&mut owner)
        .await
        .expect("they are read");
    let acknowledged = ids.lock().expect("nobody panics here").clone();
    let acknowledged: Vec<_> = acknowledged.into_iter().collect();
    assert!(stored == acknowledged, "events are lost or doubled");
}
