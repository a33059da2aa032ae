//! How often anybody may ask, and whom the service does not serve.

mod deferred;
mod engine;
mod topologies;

use std::time::Duration;

use futures_util::future::join_all;
use groundwork_dev::Redis as Server;
use reqwest::Method;
use serde_json::json;

use crate::harness::{Answer, PASSWORD, Replica, TestApp};
use crate::plans::{account, subscribe};

const PRICING: &str = "/api/v1/pricing";
const ME: &str = "/api/v1/users/me";
const LOGIN: &str = "/api/v1/auth/login";

/// The tests' clients are believed about where they are.
const PROXIED: (&str, &str) = ("TRUSTED_PROXIES", "127.0.0.0/8");

/// A request from this address.
async fn from(replica: &Replica, address: &str, path: &str) -> Answer {
    let request = replica.request(Method::GET, path);
    let request = request.header("x-forwarded-for", address);
    replica.send(&Method::GET, path, request).await
}

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    let value = answer.headers.get(name);
    let value = value.unwrap_or_else(|| panic!("there is {name}: {:?}", answer.headers));
    value.to_str().expect("it is text")
}

fn retry_after(answer: &Answer) -> u64 {
    let seconds = header(answer, "retry-after").parse();
    seconds.expect("it is in seconds")
}

#[tokio::test]
async fn every_limited_reply_has_the_state_of_its_limits() {
    let app = TestApp::with(&[("LIMIT_ANONYMOUS", "3/1m")]).await;
    for left in [2, 1, 0] {
        let answer = app.get(PRICING).await;
        answer.assert_status(200);
        assert_eq!(
            header(&answer, "ratelimit-policy"),
            "\"anonymous\";q=3;w=60"
        );
        let standing = format!("\"anonymous\";r={left};t=60");
        assert_eq!(header(&answer, "ratelimit"), standing);
    }
    app.clock.advance(Duration::from_millis(20_500));
    let refused = app.get(PRICING).await;
    refused.assert_problem(429, "rate_limited");
    assert_eq!(retry_after(&refused), 40);
    assert_eq!(header(&refused, "ratelimit"), "\"anonymous\";r=0;t=40");
    assert!(refused.headers.contains_key("ratelimit-policy"));

    app.clock.advance(Duration::from_secs(39));
    app.get(PRICING).await.assert_problem(429, "rate_limited");
    app.clock.advance(Duration::from_secs(1));
    app.get(PRICING).await.assert_status(200);
}

#[tokio::test]
async fn pages_of_other_origins_may_read_the_headers_of_a_refusal() {
    let origin = "https://www.example.com";
    let app = TestApp::with(&[("LIMIT_ANONYMOUS", "1/1m"), ("ALLOWED_ORIGINS", origin)]).await;
    app.get(PRICING).await.assert_status(200);
    let request = app.replica.request(Method::GET, PRICING);
    let request = request.header("origin", origin);
    let refused = app.replica.send(&Method::GET, PRICING, request).await;
    refused.assert_problem(429, "rate_limited");
    assert_eq!(header(&refused, "access-control-allow-origin"), origin);
    let exposed = header(&refused, "access-control-expose-headers");
    for name in ["ratelimit", "ratelimit-policy", "retry-after"] {
        assert!(exposed.contains(name), "{exposed}");
    }
}

#[tokio::test]
async fn signing_in_and_up_and_requesting_emails_have_separate_limits() {
    let app = TestApp::with(&[
        ("LIMIT_AUTH", "10/1m"),
        ("LIMIT_REGISTER", "3/1h"),
        ("LIMIT_RESET", "3/1h"),
    ])
    .await;
    for number in 0..3 {
        app.register(&format!("a{number}@example.com")).await;
    }
    let one_more = json!({ "email": "a4@example.com", "password": PASSWORD });
    let refused = app.post("/api/v1/auth/register", one_more.clone()).await;
    refused.assert_problem(429, "rate_limited");
    assert_eq!(retry_after(&refused), 3_600);
    assert_eq!(
        header(&refused, "ratelimit-policy"),
        "\"auth\";q=10;w=60, \"register\";q=3;w=3600"
    );
    for number in 0..3 {
        let path = "/api/v1/auth/forgot-password";
        let email = json!({ "email": format!("b{number}@example.com") });
        app.post(path, email).await.assert_status(202);
    }
    // What was refused spent nothing: four of ten are left.
    let wrong = json!({ "email": "ada@example.com", "password": "" });
    for left in (0..4).rev() {
        let answer = app.post(LOGIN, wrong.clone()).await;
        assert_eq!(
            header(&answer, "ratelimit"),
            format!("\"auth\";r={left};t=60")
        );
    }
    let refused = app.post(LOGIN, wrong).await;
    refused.assert_problem(429, "rate_limited");
    assert_eq!(retry_after(&refused), 60);

    app.clock.advance(Duration::from_mins(59));
    let refused = app.post("/api/v1/auth/register", one_more.clone()).await;
    assert_eq!(retry_after(&refused), 60);
    app.clock.advance(Duration::from_mins(1));
    app.post("/api/v1/auth/register", one_more)
        .await
        .assert_status(202);
    app.run_jobs().await;
}

#[tokio::test]
async fn emails_to_one_address_are_few_from_however_many_clients() {
    let app = TestApp::with(&[PROXIED, ("LIMIT_RESET", "3/1h"), ("LIMIT_RESEND", "3/1h")]).await;
    for path in [
        "/api/v1/auth/forgot-password",
        "/api/v1/auth/resend-verification",
    ] {
        let ask = async |client: u8, email: &str| {
            let request = app.replica.request(Method::POST, path);
            let request = request
                .header("x-forwarded-for", format!("203.0.113.{client}"))
                .json(&json!({ "email": email }));
            app.replica.send(&Method::POST, path, request).await
        };
        for client in 1..=3 {
            ask(client, "ada@example.com").await.assert_status(202);
        }
        // Nobody is told that the limit is spent: the owner may be the one who asks.
        let more = ask(4, "Ada@Example.com").await;
        more.assert_status(202);
        assert!(more.headers.get("retry-after").is_none());
        ask(4, "grace@example.com").await.assert_status(202);
    }
    let waiting = "SELECT count(*) FROM graphile_worker.jobs WHERE revision > 2";
    let waiting: i64 = sqlx::query_scalar(waiting)
        .fetch_one(&app.owner_db)
        .await
        .expect("the queue is there");
    assert_eq!(waiting, 0, "the fourth is not enqueued");
    app.run_jobs().await;
}

#[tokio::test]
async fn an_office_behind_one_address_goes_on_with_its_sessions() {
    let app = TestApp::with(&[("LIMIT_AUTH", "10/1m"), ("LIMIT_SESSION", "300/1m")]).await;
    let session = app.sign_in("ada").await;
    let mut refresh_token = session.refresh_token().to_owned();
    for _ in 0..50 {
        let answer = app.replica.refresh(&refresh_token).await;
        answer.assert_status(200);
        let next = answer.body["refresh_token"].as_str();
        next.expect("there is one").clone_into(&mut refresh_token);
    }
    let wrong = "A".repeat(43);
    for _ in 0..250 {
        app.replica
            .refresh(&wrong)
            .await
            .assert_problem(401, "invalid_refresh_token");
    }
    let refused = app.replica.refresh(&refresh_token).await;
    refused.assert_problem(429, "rate_limited");
}

#[tokio::test]
async fn who_is_signed_in_is_limited_by_plan_and_not_by_address() {
    let server = Server::throw_away().await.expect("it starts");
    let redis = server.url();
    let app = TestApp::with(&[
        ("REDIS_URL", &redis),
        ("REDIS_TIMEOUT", "1s"),
        // As by default, so that the guard lets all of it through.
        ("LIMIT_GUARD", "12000/1m"),
        ("LIMIT_ANONYMOUS", "100/1m"),
        ("LIMIT_AUTH", "10/1m"),
        ("LIMIT_SESSION", "300/1m"),
        ("PLAN_FREE_RATE", "100"),
        ("PLAN_PRO_RATE", "1000"),
    ])
    .await;
    let grace_id = account(&app, "grace").await;
    subscribe(&app, grace_id, "pro", "active")
        .await
        .expect("it is written");
    let (ada, grace) = (
        app.sign_in("ada").await,
        app.log_in("grace@example.com").await,
    );
    let other = app.another_replica().await;
    for (who, budget) in [(&ada, 100), (&grace, 1_000)] {
        let mut allowed = 0;
        for batch in 0..=budget / 50 {
            let replica = if batch % 2 == 0 { &app.replica } else { &other };
            let calls = (0..50).map(|_| replica.call(Method::GET, ME, Some(who.access()), None));
            for answer in join_all(calls).await {
                if answer.status == 200 {
                    allowed += 1;
                } else {
                    answer.assert_problem(429, "rate_limited");
                }
            }
        }
        assert_eq!(allowed, budget);
    }
    let refused = grace.get(ME).await;
    assert_eq!(header(&refused, "ratelimit-policy"), "\"pro\";q=1000;w=60");
    // Neither spent anything of their address's budget.
    let anonymous = app.get(PRICING).await;
    assert_eq!(header(&anonymous, "ratelimit"), "\"anonymous\";r=99;t=60");
}

#[tokio::test]
async fn tokens_cannot_be_guessed_at_leisure() {
    let app = TestApp::with(&[("LIMIT_ANONYMOUS", "5/1m")]).await;
    let ada = app.sign_in("ada").await;
    for _ in 0..5 {
        let guess = app.replica.call(Method::GET, ME, Some("guess"), None).await;
        guess.assert_problem(401, "unauthenticated");
    }
    let guess = app.replica.call(Method::GET, ME, Some("guess"), None).await;
    guess.assert_problem(429, "rate_limited");
    app.get(PRICING).await.assert_problem(429, "rate_limited");
    // Whoever has a good one is not shut out by a neighbour.
    ada.get(ME).await.assert_status(200);
}

#[tokio::test]
async fn what_is_nobodys_request_spends_nothing() {
    let app = TestApp::with(&[
        ("LIMIT_ANONYMOUS", "1/1m"),
        ("LIMIT_AUTH", "1/1m"),
        ("ALLOWED_ORIGINS", "https://www.example.com"),
    ])
    .await;
    for _ in 0..5 {
        for path in [
            "/nothing",
            "/api/v1/nothing",
            "/api/v1/auth/nothing",
            "/health/live",
            "/health/ready",
            "/.well-known/jwks.json",
            "/verify-email",
            "/docs/",
        ] {
            let answer = app.get(path).await;
            assert_ne!(answer.status, 429, "{path}");
            assert!(!answer.headers.contains_key("ratelimit"), "{path}");
        }
        let request = app.replica.request(Method::OPTIONS, LOGIN);
        let request = request
            .header("origin", "https://www.example.com")
            .header("access-control-request-method", "POST");
        let preflight = app.replica.send(&Method::OPTIONS, LOGIN, request).await;
        preflight.assert_status(200);
    }
    app.get(PRICING).await.assert_status(200);
    let wrong = json!({ "email": "ada@example.com", "password": PASSWORD });
    app.post(LOGIN, wrong)
        .await
        .assert_problem(401, "invalid_credentials");
}

#[tokio::test]
async fn clients_are_identified_by_the_header_of_trusted_proxies() {
    let app = TestApp::with(&[PROXIED, ("LIMIT_ANONYMOUS", "2/1m")]).await;
    for (same, other) in [
        (["203.0.113.1", "6.6.6.6, 203.0.113.1"], "203.0.113.2"),
        (["::ffff:203.0.113.3", "203.0.113.3:4711"], "203.0.113.4"),
        (
            ["2001:db8:1:2::1", "[2001:db8:1:2:ffff::9]:80"],
            "2001:db8:1:3::1",
        ),
    ] {
        for address in same {
            from(&app.replica, address, PRICING)
                .await
                .assert_status(200);
        }
        for address in same {
            from(&app.replica, address, PRICING)
                .await
                .assert_problem(429, "rate_limited");
        }
        from(&app.replica, other, PRICING).await.assert_status(200);
    }
    // Nobody else is believed: all of these are one client.
    let open = app.another_replica_with(&[("TRUSTED_PROXIES", "")]).await;
    for allowed in [true, true, false, false] {
        let address = format!("198.51.100.{}", u8::from(allowed));
        let answer = from(&open, &address, PRICING).await;
        assert_eq!(answer.status.is_success(), allowed);
    }
}

#[tokio::test]
async fn the_guard_turns_floods_away_before_anything_else_and_lets_probes_pass() {
    let app = TestApp::with(&[
        PROXIED,
        ("LIMIT_GUARD", "100/1h"),
        ("LIMIT_ANONYMOUS", "100/1h"),
        ("LIMIT_AUTH", "100/1h"),
        ("LIMIT_SESSION", "100/1h"),
        ("PLAN_FREE_RATE", "1"),
        ("PLAN_PRO_RATE", "1"),
        ("PLAN_ENTERPRISE_RATE", "1"),
    ])
    .await;
    for _ in 0..100 {
        from(&app.replica, "203.0.113.1", "/nothing")
            .await
            .assert_problem(404, "not_found");
    }
    let refused = from(&app.replica, "203.0.113.1", "/nothing").await;
    refused.assert_problem(429, "rate_limited");
    assert!((1..=36).contains(&retry_after(&refused)));
    for path in ["/health/live", "/health/ready"] {
        from(&app.replica, "203.0.113.1", path)
            .await
            .assert_status(200);
    }
    let neighbour = from(&app.replica, "203.0.113.2", "/nothing").await;
    neighbour.assert_problem(404, "not_found");
}

#[tokio::test]
async fn beyond_the_cap_requests_are_shed_at_once_and_health_still_answers() {
    let app = TestApp::with(&[("HTTP_MAX_REQUESTS", "2")]).await;
    let mut owner = app.owner().await;
    let ada = app.sign_in("ada").await;
    sqlx::query("BEGIN")
        .execute(&mut owner)
        .await
        .expect("it begins");
    sqlx::query("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        .execute(&mut owner)
        .await
        .expect("it locks");
    let stuck = || {
        let (replica, token) = (app.replica.clone(), ada.access().to_owned());
        tokio::spawn(async move { replica.call(Method::GET, ME, Some(&token), None).await })
    };
    let waiting = [stuck(), stuck()];
    let mut shed = app.get(PRICING).await;
    while shed.status != 503 {
        tokio::task::yield_now().await;
        shed = app.get(PRICING).await;
    }
    shed.assert_problem(503, "busy");
    assert!(
        (1..=3).contains(&retry_after(&shed)),
        "a second, and up to two more"
    );
    app.get("/health/live").await.assert_status(200);
    sqlx::query("ROLLBACK")
        .execute(&mut owner)
        .await
        .expect("it ends");
    for call in waiting {
        // The lock may have been waited for too long; the place is free again either way.
        call.await.expect("it does not panic");
    }
    app.get(PRICING).await.assert_status(200);
}

#[tokio::test]
async fn who_is_on_a_list_is_not_served() {
    let app = TestApp::with(&[
        PROXIED,
        ("DENY_NETWORKS", "198.51.100.0/24, 2001:db8:bad::/48"),
        ("DENY_USER_AGENTS", "BadBot, python*requests"),
        ("DENY_COUNTRIES", "aq"),
        ("COUNTRY_HEADER", "CF-IPCountry"),
    ])
    .await;
    let ask = async |replica: &Replica, headers: &[(&str, &str)]| {
        let request = replica.request(Method::GET, PRICING);
        let request = headers.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        replica.send(&Method::GET, PRICING, request).await
    };
    for headers in [
        &[("x-forwarded-for", "198.51.100.7")][..],
        &[("x-forwarded-for", "2001:db8:bad::1")],
        &[("user-agent", "Mozilla/5.0 (compatible; badbot/2.1)")],
        &[("user-agent", "python-requests/2.31")],
        &[("cf-ipcountry", "AQ")],
    ] {
        ask(&app.replica, headers)
            .await
            .assert_problem(403, "access_denied");
    }
    for headers in [
        &[("x-forwarded-for", "198.51.101.7")][..],
        &[("user-agent", "Mozilla/5.0")],
        &[("cf-ipcountry", "NZ")],
        &[],
    ] {
        ask(&app.replica, headers).await.assert_status(200);
    }
    from(&app.replica, "198.51.100.7", "/health/live")
        .await
        .assert_status(200);
    // What a proxy would say counts for nothing when it is no proxy that says it.
    let elsewhere = app
        .another_replica_with(&[("TRUSTED_PROXIES", "10.0.0.0/8")])
        .await;
    for headers in [("cf-ipcountry", "AQ"), ("x-forwarded-for", "198.51.100.7")] {
        ask(&elsewhere, &[headers]).await.assert_status(200);
    }
}

#[tokio::test]
async fn replicas_share_their_counts_at_the_edges_of_windows_too() {
    let server = Server::throw_away().await.expect("it starts");
    let redis = server.url();
    let app = TestApp::with(&[
        ("REDIS_URL", &redis),
        ("REDIS_TIMEOUT", "1s"),
        ("LIMIT_ANONYMOUS", "20/1m"),
    ])
    .await;
    let mut replicas = vec![app.replica.clone()];
    for _ in 0..3 {
        replicas.push(app.another_replica().await);
    }
    let burst = async |count: usize| {
        let calls = (0..count).map(|turn| {
            let replica = replicas[turn % 4].clone();
            async move { replica.call(Method::GET, PRICING, None, None).await }
        });
        let answers = join_all(calls).await;
        let allowed = answers.iter().filter(|answer| answer.status == 200);
        allowed.count()
    };
    assert_eq!(burst(5).await, 5);
    app.clock.advance(Duration::from_secs(59));
    assert_eq!(burst(40).await, 15);
    app.clock.advance(Duration::from_micros(999_999));
    assert_eq!(burst(8).await, 0);
    app.clock.advance(Duration::from_micros(1));
    assert_eq!(burst(40).await, 5);
    app.clock.advance(Duration::from_secs(59));
    assert_eq!(burst(40).await, 15);
}
