//! PostgreSQL restarts, vanishes, is locked, and deadlocks.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use groundwork_dev::files::Scratch;
use groundwork_dev::process::{self, Signal};
use groundwork_dev::{Fault, Inbox, Postgres, Proxy};
use reqwest::Method;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use crate::harness::{
    Load, Outcome, Service, World, connect, count, is_fine, median, settings, until, with,
};

/// The pool's timeout of production, and a timeout of requests that no assertion here mistakes for it.
const TIMEOUTS: [(&str, &str); 2] = [("DB_POOL_TIMEOUT", "1s"), ("HTTP_REQUEST_TIMEOUT", "50s")];

/// Above all that a request may wait for a database in trouble, and below the timeout of requests.
const SHED_WITHIN: Duration = Duration::from_secs(20);

/// F1, with `how` to restart.
async fn restart_under_load(how: Signal) {
    let home = Scratch::new(None).expect("a scratch directory");
    let mut postgres = Postgres::keep(home.path(), None).await.expect("it starts");
    let port = postgres.port();
    postgres.ensure_database("app").await.expect("it is made");
    let inbox = Inbox::start().await;
    let owner_url = postgres.url("app");
    let settings = with(
        &settings(&postgres.runtime_url("app"), &inbox.smtp_url()),
        &[
            ("DATABASE_MIGRATION_URL", owner_url.as_str()),
            // A busy machine opens connections in seconds.
            ("DB_POOL_TIMEOUT", "3s"),
        ],
    );
    let service = Service::start(&settings, &["serve", "--migrate"]).await;
    let tokens = service.sign_in("ada").await;

    let caller = service.caller.clone();
    let load = Load::start(16, move |client, turn| {
        let (caller, access) = (caller.clone(), tokens.access.clone());
        async move {
            if client % 4 == 0 {
                caller
                    .register(&format!("{client}-{turn}@example.com"))
                    .await
            } else {
                caller.me(&access).await
            }
        }
    });
    for _ in 0..2 {
        let before = load.so_far().len();
        until("requests flow", async || load.so_far().len() > before + 100).await;
        let note = std::fs::read_to_string(postgres.directory().join("data/postmaster.pid"));
        let note = note.expect("it notes its number");
        let number = note.lines().next().and_then(|line| line.parse().ok());
        process::signal(number.expect("it is a number"), how);
        postgres.stop().await;
        postgres = Postgres::keep(home.path(), Some(port))
            .await
            .expect("it starts again");
        assert_eq!(postgres.port(), port);
        let returned = Instant::now();
        until("requests succeed", async || {
            load.so_far()
                .iter()
                .rev()
                .take(16)
                .all(|outcome| outcome.began > returned && is_fine(outcome))
        })
        .await;
    }
    let outcomes = load.stop().await;
    assert_only_shed(&outcomes);
    assert!(outcomes.iter().any(Outcome::is_shed), "nothing was felt");

    let registered = outcomes.iter().filter(|o| o.status == 202).count();
    let mut owner = connect(&owner_url).await;
    let users = count(
        &mut owner,
        "SELECT count(*) FROM users WHERE email LIKE '%-%'",
    )
    .await;
    assert!(
        users >= i64::try_from(registered).expect("not that many"),
        "{users} of {registered} accounts are there"
    );
    let halves = "SELECT count(*) FROM users AS u WHERE email LIKE '%-%' AND NOT EXISTS (
        SELECT FROM audit_log AS a WHERE a.user_id = u.id AND a.event = 'registered')";
    assert_eq!(count(&mut owner, halves).await, 0, "half of a sign-up");
    owner.close().await.expect("it closes");
    until_ready(&service).await;
    drop(service);
    postgres.stop().await;
}

/// Asserts that nobody waited until a timeout that is not the database's.
#[track_caller]
fn assert_shed_in_time(outcomes: &[Outcome]) {
    let slowest = outcomes.iter().max_by_key(|outcome| outcome.took);
    assert!(
        slowest.is_some_and(|outcome| outcome.took < SHED_WITHIN),
        "the slowest: {slowest:?}"
    );
}

#[track_caller]
fn assert_only_shed(outcomes: &[Outcome]) {
    let wrong: Vec<_> = outcomes
        .iter()
        .filter(|outcome| !is_fine(outcome) && !outcome.is_shed())
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {}: {:?}",
        wrong.len(),
        outcomes.len(),
        wrong[0]
    );
}

#[tokio::test]
async fn f01_a_fast_restart_is_felt_as_503_alone_and_passes() {
    restart_under_load(Signal::INT).await;
}

#[tokio::test]
async fn f01_a_crash_is_felt_as_503_alone_and_passes() {
    restart_under_load(Signal::QUIT).await;
}

#[tokio::test]
async fn f01_readiness_succeeds_at_once_after_a_restart() {
    let home = Scratch::new(None).expect("a scratch directory");
    let mut postgres = Postgres::keep(home.path(), None).await.expect("it starts");
    let port = postgres.port();
    postgres.ensure_database("app").await.expect("it is made");
    let inbox = Inbox::start().await;
    let owner_url = postgres.url("app");
    let settings = with(
        &settings(&postgres.runtime_url("app"), &inbox.smtp_url()),
        &[("DATABASE_MIGRATION_URL", &owner_url)],
    );
    let service = Service::start(&settings, &["serve", "--migrate"]).await;
    for probed_meanwhile in [false, true] {
        let at_once = Duration::from_millis(1_900);
        // The shortest of some attempts, since a busy machine delays one or another.
        let mut took = Duration::MAX;
        for _ in 0..5 {
            until_ready(&service).await;
            let cached = Instant::now();
            postgres.stop().await;
            if probed_meanwhile {
                until("readiness fails", async || {
                    service.get("/health/ready").await.status == 503
                })
                .await;
            }
            postgres = Postgres::keep(home.path(), Some(port))
                .await
                .expect("it starts again");
            // A success is cached for two seconds, and so was a failure.
            let expires = (cached + Duration::from_secs(2)).max(Instant::now());
            tokio::time::sleep_until((expires + Duration::from_millis(250)).into()).await;
            took = until_ready(&service).await;
            if took < at_once {
                break;
            }
        }
        assert!(took < at_once, "readiness succeeds after {took:?}");
    }
    drop(service);
    postgres.stop().await;
}

async fn until_ready(service: &Service) -> Duration {
    until("it is ready", async || {
        is_fine(&service.get("/health/ready").await)
    })
    .await
}

/// F2, with a proxy that does `fault`.
async fn gone(fault: Fault) {
    let world = World::new().await;
    let proxy = proxy_to(&world.settings["DATABASE_URL"]).await;
    let through = proxy.through(&world.settings["DATABASE_URL"]);
    let settings = [
        ("DATABASE_URL", through.as_str()),
        // Without overflow, whose connections are opened by the requests that want them: under load
        // that takes an unoptimised build seconds.
        ("DB_MAX_OVERFLOW", "0"),
        // The circuit breaker refuses whom this would keep waiting. Clients in excess of the pool, on a
        // busy machine, are not to be refused for want of a connection.
        ("DB_POOL_TIMEOUT", "30s"),
        ("HTTP_REQUEST_TIMEOUT", "50s"),
    ];
    let service = world.serve(&settings).await;
    let tokens = service.sign_in("ada").await;
    let load = |clients| {
        let (caller, access) = (service.caller.clone(), tokens.access.clone());
        Load::start(clients, move |client, _| {
            let (caller, access) = (caller.clone(), access.clone());
            async move {
                if client == 0 {
                    caller.log_in("ada@example.com").await
                } else {
                    caller.me(&access).await
                }
            }
        })
    };
    // More than the pool has, so that some wait for a connection and some for an answer.
    let warm = load(24);
    until("requests flow", async || warm.so_far().len() > 200).await;
    let memory = service.memory();

    proxy.set(fault);
    let begun = Instant::now();
    until("readiness fails", async || {
        service.get("/health/ready").await.status == 503
    })
    .await;
    let mut probes = Vec::new();
    while begun.elapsed() < Duration::from_secs(8) {
        let live = service.get("/health/live").await;
        assert!(is_fine(&live), "{live:?}");
        probes.push(live);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let half = median(&probes);
    assert!(half < Duration::from_millis(500), "probes take {half:?}");
    let outcomes = warm.stop().await;
    assert_only_shed(&outcomes);
    assert_shed_in_time(&outcomes);
    assert!(
        service.memory() < memory + 32 * 1024,
        "from {memory} to {} KiB",
        service.memory()
    );

    proxy.set(Fault::None);
    until("requests succeed", async || {
        is_fine(&service.me(&tokens.access).await)
    })
    .await;
    // All of the pool is of use again: nothing waits for connections that are no more.
    let again = load(24);
    until("requests flow", async || again.so_far().len() > 300).await;
    let outcomes = again.stop().await;
    assert_shed_in_time(&outcomes);
    assert!(
        outcomes.iter().all(is_fine),
        "{:?}",
        outcomes.iter().find(|o| !is_fine(o))
    );
    until_ready(&service).await;

    // Emails go out again too.
    assert!(is_fine(&service.register("grace@example.com").await));
    until("the message comes", async || {
        !world.inbox.emails_to("grace@example.com").is_empty()
    })
    .await;
}

/// F2 under closed-loop clients: a refused request is sent again at once.
async fn recovers_without_a_pause(fault: Fault, lasts: Duration) {
    const CLIENTS: usize = 16;
    let world = World::new().await;
    let proxy = proxy_to(&world.settings["DATABASE_URL"]).await;
    let through = proxy.through(&world.settings["DATABASE_URL"]);
    // While they are refused at once by the circuit breaker, the clients leave no time for anything else. After
    // that they are to wait for connections, which a busy machine opens in seconds.
    let settings = [
        ("DATABASE_URL", through.as_str()),
        ("DB_POOL_TIMEOUT", "3s"),
    ];
    let service = world.serve(&settings).await;
    let tokens = service.sign_in("ada").await;
    let (caller, access) = (service.caller.clone(), tokens.access.clone());
    let load = Load::with_pause(Duration::ZERO, CLIENTS, move |_, _| {
        let (caller, access) = (caller.clone(), access.clone());
        async move { caller.me(&access).await }
    });
    until("requests flow", async || load.so_far().len() > 200).await;

    proxy.set(fault);
    let begun = Instant::now();
    until("requests are refused", async || {
        load.so_far().last().is_some_and(Outcome::is_shed)
    })
    .await;
    let accepted = proxy.accepted();
    let counted = Instant::now();
    tokio::time::sleep_until((begun + lasts).into()).await;
    let refused = || {
        let outcomes = load.so_far();
        outcomes.iter().filter(|outcome| outcome.is_shed()).count()
    };
    until("many requests are refused", async || refused() > 1_000).await;
    proxy.set(Fault::None);
    let returned = Instant::now();
    until("a request succeeds", async || {
        load.so_far().last().is_some_and(is_fine)
    })
    .await;
    until("all clients are served", async || {
        let outcomes = load.so_far();
        let newest = outcomes.iter().rev().take(4 * CLIENTS);
        newest.clone().all(|o| o.began > returned && is_fine(o)) && newest.len() == 4 * CLIENTS
    })
    .await;
    let seconds = counted.elapsed().as_secs_f64();
    let opened = proxy.accepted() - accepted;
    let outcomes = load.stop().await;
    assert_only_shed(&outcomes);
    let refused = outcomes.iter().filter(|outcome| outcome.is_shed()).count();
    // The pool, the connections beside it, and what the process retries by itself.
    assert!(
        opened < 32 + 8 * seconds as usize,
        "{opened} connections were opened in {seconds:.1} s, of {refused} refused requests"
    );
    let written = service.written();
    assert!(!written.contains("too many clients"), "the server was full");
}

#[tokio::test]
async fn f02_a_blackhole_ends_while_clients_send_without_a_pause() {
    recovers_without_a_pause(Fault::Blackhole, Duration::from_secs(12)).await;
}

#[tokio::test]
async fn f02_a_freeze_ends_while_clients_send_without_a_pause() {
    recovers_without_a_pause(Fault::Freeze, Duration::from_secs(7)).await;
}

#[tokio::test]
async fn f02_refused_connections_end_while_clients_send_without_a_pause() {
    recovers_without_a_pause(Fault::Refuse, Duration::from_secs(7)).await;
}

async fn proxy_to(url: &str) -> Proxy {
    let url: url::Url = url.parse().expect("it is a URL");
    Proxy::start(url.port().expect("it has a port"))
        .await
        .expect("the proxy starts")
}

#[tokio::test]
async fn f02_a_database_that_refuses_is_503_and_comes_back() {
    gone(Fault::Refuse).await;
}

#[tokio::test]
async fn f02_a_database_that_freezes_is_503_and_comes_back() {
    gone(Fault::Freeze).await;
}

#[tokio::test]
async fn f02_a_blackhole_is_503_and_its_connections_are_given_up() {
    gone(Fault::Blackhole).await;
}

#[tokio::test]
async fn f02_the_process_ends_in_time_although_the_database_is_unresponsive() {
    let world = World::new().await;
    let proxy = proxy_to(&world.settings["DATABASE_URL"]).await;
    let through = proxy.through(&world.settings["DATABASE_URL"]);
    let settings = [
        ("DATABASE_URL", through.as_str()),
        ("HTTP_DRAIN_TIMEOUT", "5s"),
    ];
    let mut service = world.serve(&settings).await;
    let tokens = service.sign_in("ada").await;
    assert!(is_fine(&service.me(&tokens.access).await));
    proxy.set(Fault::Blackhole);
    let begun = Instant::now();
    service.signal(Signal::TERM);
    assert_eq!(service.ended().await, Some(0), "{}", service.written());
    assert!(begun.elapsed() < Duration::from_secs(40));
}

#[tokio::test]
async fn f03_a_locked_table_is_503_for_who_needs_it_and_nothing_for_others() {
    let world = World::new().await;
    let service = world.serve(&TIMEOUTS).await;
    let tokens = service.sign_in("ada").await;
    let mut owner = world.owner().await;
    let mut locked = owner.begin().await.expect("it begins");
    locked
        .execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        .await
        .expect("it locks");
    let begun = Instant::now();
    let caller = service.caller.clone();
    let access = tokens.access.clone();
    // Three times what the pool has.
    let load = Load::start(48, move |_, _| {
        let (caller, access) = (caller.clone(), access.clone());
        async move { caller.me(&access).await }
    });
    let mut others =
        ["/health/live", "/health/ready", "/.well-known/jwks.json"].map(|path| (path, Vec::new()));
    while begun.elapsed() < Duration::from_secs(9) {
        for (path, answers) in &mut others {
            let answer = service.get(path).await;
            assert!(is_fine(&answer), "{path}: {answer:?}");
            answers.push(answer);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for (path, answers) in others {
        let half = median(&answers);
        assert!(half < Duration::from_millis(1_500), "{path} takes {half:?}");
    }
    let outcomes = load.stop().await;
    assert!(outcomes.iter().all(Outcome::is_shed), "{:?}", outcomes[0]);
    assert_shed_in_time(&outcomes);

    // With room in the pool, who does not need the table does not notice.
    let waiting = {
        let (caller, access) = (service.caller.clone(), tokens.access.clone());
        Load::start(4, move |_, _| {
            let (caller, access) = (caller.clone(), access.clone());
            async move { caller.me(&access).await }
        })
    };
    let mut beside = Vec::new();
    for _ in 0..20 {
        let body = json!({ "email": "nobody@example.com" });
        let answer = service.post("/api/v1/auth/resend-verification", body).await;
        assert!(is_fine(&answer), "{answer:?}");
        beside.push(answer);
    }
    let half = median(&beside);
    assert!(half < Duration::from_secs(1), "others take {half:?}");
    assert!(waiting.stop().await.iter().all(Outcome::is_shed));
    locked.rollback().await.expect("it unlocks");
    assert!(is_fine(&service.me(&tokens.access).await));
}

#[tokio::test]
async fn f03_with_a_locked_table_300_clients_are_refused_within_five_seconds() {
    let world = World::new().await;
    let service = world.serve(&TIMEOUTS).await;
    let tokens = service.sign_in("ada").await;
    let mut owner = world.owner().await;
    let mut locked = owner.begin().await.expect("it begins");
    locked
        .execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        .await
        .expect("it locks");
    let (caller, access) = (service.caller.clone(), tokens.access.clone());
    let load = Load::start(300, move |_, _| {
        let (caller, access) = (caller.clone(), access.clone());
        async move { caller.me(&access).await }
    });
    tokio::time::sleep(Duration::from_secs(12)).await;
    let outcomes = load.stop().await;
    let served = outcomes.iter().find(|outcome| !outcome.is_shed());
    assert!(served.is_none(), "{served:?}");
    assert_shed_in_time(&outcomes);
    let half = median(&outcomes);
    assert!(half < Duration::from_secs(5), "half wait for {half:?}");
    locked.rollback().await.expect("it unlocks");
}

#[tokio::test]
async fn f04_a_deadlock_is_503() {
    let world = World::new().await;
    let service = world.serve(&[]).await;
    let tokens = service.sign_in("ada").await;
    assert!(is_fine(&service.log_in("ada@example.com").await));
    let lock = |newest: bool| {
        let order = if newest { "DESC" } else { "ASC" };
        AssertSqlSafe(format!(
            "SELECT FROM sessions WHERE id = (SELECT id FROM sessions ORDER BY created_at {order} LIMIT 1) FOR UPDATE"
        ))
    };
    let mut owner = world.owner().await;
    let mut other = owner.begin().await.expect("it begins");
    // Who looks for the deadlock is its victim, and that shall be the service.
    let slow_deadlock_check = AssertSqlSafe("SET LOCAL deadlock_timeout = '30s'".to_owned());
    for sql in [slow_deadlock_check, lock(true)] {
        other.execute(sqlx::raw_sql(sql)).await.expect("it locks");
    }
    let (caller, access) = (service.caller.clone(), tokens.access.clone());
    let out = tokio::spawn(async move {
        let path = "/api/v1/auth/logout-all";
        caller.call(Method::POST, path, Some(&access), None).await
    });
    let waiting = "SELECT count(*) FROM pg_stat_activity
        WHERE wait_event_type = 'Lock' AND datname = current_database()";
    let mut looking = world.owner().await;
    until("the service waits", async || {
        count(&mut looking, waiting).await == 1
    })
    .await;
    other
        .execute(sqlx::raw_sql(lock(false)))
        .await
        .expect("the other side goes on");
    let answer = out.await.expect("it is answered");
    assert!(answer.is_shed(), "{answer:?}");
    other.rollback().await.expect("it unlocks");
    assert!(
        is_fine(&service.me(&tokens.access).await),
        "half signed out"
    );
}

#[tokio::test]
async fn f04_a_serialization_failure_is_503() {
    let world = World::new().await;
    let mut owner = world.owner().await;
    let strict = "DO $$ BEGIN EXECUTE format(
        'ALTER DATABASE %I SET default_transaction_isolation = serializable', current_database()); END $$";
    owner.execute(strict).await.expect("it is set");
    let service = world.serve(&[]).await;
    let tokens = service.sign_in("ada").await;
    let mut refused = 0;
    let mut token = tokens.refresh;
    for _ in 0..20 {
        let (caller, now) = (service.caller.clone(), token.clone());
        let outcomes = join_all((0..12).map(|_| caller.refresh(&now))).await;
        let wrong = outcomes.iter().find(|o| !is_fine(o) && !o.is_shed());
        assert!(wrong.is_none(), "{wrong:?}");
        refused += outcomes.iter().filter(|o| o.is_shed()).count();
        let next = outcomes.iter().find(|o| is_fine(o)).expect("one is served");
        token = next.body["refresh_token"]
            .as_str()
            .expect("there is one")
            .to_owned();
    }
    assert!(refused > 0, "there was no conflict");
}
