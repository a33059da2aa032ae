//! By which names the service is called, who calls, and by which id a call is known.

use reqwest::Method;
use serde_json::json;

use super::{LOGIN, ME, NOWHERE};
use crate::harness::{PASSWORD, Replica, TestApp};

const PROXIED: (&str, &str) = ("TRUSTED_PROXIES", "127.0.0.1");

#[tokio::test]
async fn the_service_answers_to_its_own_names_alone() {
    let app = TestApp::with(&[("ALLOWED_HOSTS", "api.example.com,*.tenants.example.com")]).await;
    for host in [
        "127.0.0.1",
        "127.0.0.1:8000",
        "api.example.com",
        "API.example.com:443",
        "acme.tenants.example.com",
    ] {
        app.replica
            .get_with(ME, &[("host", host)])
            .await
            .assert_problem(401, "unauthenticated");
    }
    for host in [
        "evil.example",
        "api.example.com.evil.example",
        "tenants.example.com",
        "localhost.example",
        "127.0.0.2",
        "example.com",
    ] {
        app.replica
            .get_with(ME, &[("host", host)])
            .await
            .assert_problem(421, "misdirected_request");
        app.replica
            .get_with(NOWHERE, &[("host", host)])
            .await
            .assert_problem(421, "misdirected_request");
        // Probers call by address.
        app.replica
            .get_with("/health/live", &[("host", host)])
            .await
            .assert_status(200);
        app.replica
            .get_with("/health/ready", &[("host", host)])
            .await
            .assert_status(200);
    }
    for request in [
        "GET /api/v1/users/me HTTP/1.1\r\nhost: 127.0.0.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n",
        "GET /api/v1/users/me HTTP/1.1\r\nconnection: close\r\n\r\n",
        "GET /api/v1/users/me HTTP/1.1\r\nhost: 127.0.0.1@evil.example\r\nconnection: close\r\n\r\n",
    ] {
        let answer = app.replica.raw(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{request}{answer}");
    }
}

#[tokio::test]
async fn every_reply_has_a_request_id_that_is_safe_to_log() {
    let app = TestApp::with(&[PROXIED]).await;
    let id = async |given: &[(&str, &str)]| {
        let answer = app.replica.get_with("/health", given).await;
        answer.headers["x-request-id"]
            .to_str()
            .expect("it is text")
            .to_owned()
    };
    for good in [
        "a",
        "01980b6e-7c00-7000-8000-3f2a51d6c9b1",
        "Trace_1.2",
        &"x".repeat(64),
    ] {
        assert_eq!(id(&[("x-request-id", good)]).await, good);
    }
    for hostile in [
        "",
        &"x".repeat(65),
        "a b",
        "a\"b",
        "a,b",
        "<script>",
        "%0d%0aset-cookie",
        "a;b",
        &"x".repeat(10_000),
    ] {
        let own = id(&[("x-request-id", hostile)]).await;
        let plain = own.len() == 32 && own.bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(plain, "{hostile:?} became {own:?}");
    }
    assert_ne!(id(&[]).await, id(&[]).await);
    let given = app
        .replica
        .get_with(NOWHERE, &[("x-request-id", "mine")])
        .await;
    assert_eq!(given.body["request_id"], "mine");
    assert_eq!(given.headers["x-request-id"], "mine");
}

#[tokio::test]
async fn a_request_id_is_taken_from_trusted_proxies_alone() {
    let app = TestApp::new().await;
    for proxies in ["", "10.0.0.0/8", "127.0.0.2"] {
        let replica = app
            .another_replica_with(&[("TRUSTED_PROXIES", proxies)])
            .await;
        for path in ["/health", NOWHERE, ME] {
            let headers = [("x-request-id", "mine"), ("x-forwarded-for", "127.0.0.1")];
            let answer = replica.get_with(path, &headers).await;
            assert_eq!(answer.headers["x-request-id"].len(), 32, "{proxies} {path}");
            assert_ne!(answer.body["request_id"], "mine");
        }
    }
}

/// Signs in with these headers; answers the address and the name that the session keeps.
async fn noted(
    app: &TestApp,
    replica: &Replica,
    email: &str,
    headers: &[(&str, &str)],
) -> (Option<String>, Option<String>) {
    sqlx::query("DELETE FROM sessions")
        .execute(&app.owner_db)
        .await
        .expect("they are deleted");
    let body = json!({ "email": email, "password": PASSWORD }).to_string();
    let headers = [headers, &[("content-type", "application/json")]].concat();
    replica
        .ask(Method::POST, LOGIN, &headers, Some(&body))
        .await
        .assert_status(200);
    sqlx::query_as("SELECT host(ip), user_agent FROM sessions")
        .fetch_one(&app.owner_db)
        .await
        .expect("there is one session")
}

#[tokio::test]
async fn a_client_is_whom_trusted_proxies_name_and_never_whom_it_names_itself() {
    let app = TestApp::new().await;
    let ada = app.sign_up("ada").await;
    let behind = app
        .another_replica_with(&[("TRUSTED_PROXIES", "127.0.0.0/8,10.0.0.0/8")])
        .await;
    for (header, value, client) in [
        ("x-forwarded-for", "198.51.100.7", "198.51.100.7"),
        (
            "x-forwarded-for",
            "203.0.113.9, 198.51.100.7",
            "198.51.100.7",
        ),
        (
            "x-forwarded-for",
            "203.0.113.9, 198.51.100.7, 10.1.2.3",
            "198.51.100.7",
        ),
        ("x-forwarded-for", "::ffff:198.51.100.7", "198.51.100.7"),
        ("x-forwarded-for", "[2001:db8::1]:4711", "2001:db8::1"),
        (
            "x-forwarded-for",
            "198.51.100.7, , 10.1.2.3",
            "198.51.100.7",
        ),
        ("forwarded", "for=203.0.113.9", "127.0.0.1"),
        ("x-real-ip", "203.0.113.9", "127.0.0.1"),
        // Never the address of a proxy.
        ("x-forwarded-for", "198.51.100.7, unknown", "0.0.0.0"),
        ("x-forwarded-for", "_hidden, 10.1.2.3", "0.0.0.0"),
    ] {
        let headers = [(header, value)];
        assert_eq!(
            noted(&app, &behind, &ada, &headers).await.0.as_deref(),
            Some(client),
            "{header}: {value}"
        );
        let spoofed = noted(&app, &app.replica, &ada, &headers).await.0;
        assert_eq!(
            spoofed.as_deref(),
            Some("127.0.0.1"),
            "{header}: {value} is believed of anybody"
        );
    }
}

#[tokio::test]
async fn one_configured_header_names_the_client() {
    let app = TestApp::new().await;
    let ada = app.sign_up("ada").await;
    let all = [
        ("x-forwarded-for", "203.0.113.1"),
        (
            "forwarded",
            "for=203.0.113.9, for=\"[2001:db8::2]:4711\";host=\"a, for=203.0.113.8\"",
        ),
        ("x-real-ip", "203.0.113.3"),
        ("cf-connecting-ip", "203.0.113.4"),
    ];
    for (header, client) in [
        ("X-Forwarded-For", "203.0.113.1"),
        ("forwarded", "2001:db8::2"),
        ("x-real-ip", "203.0.113.3"),
        ("CF-Connecting-IP", "203.0.113.4"),
    ] {
        let behind = app
            .another_replica_with(&[PROXIED, ("CLIENT_IP_HEADER", header)])
            .await;
        let found = noted(&app, &behind, &ada, &all).await.0;
        assert_eq!(found.as_deref(), Some(client), "{header}");
    }
}

#[tokio::test]
async fn no_second_header_evades_a_deny_list_or_a_limit() {
    let denied = [PROXIED, ("DENY_NETWORKS", "203.0.113.0/24")];
    let app = TestApp::with(&denied).await;
    for headers in [
        // As HAProxy's `option forwardfor` and nginx's usual settings pass them on.
        &[
            ("x-forwarded-for", "203.0.113.5"),
            ("forwarded", "for=198.51.100.1"),
        ][..],
        &[
            ("x-forwarded-for", "198.51.100.1, 203.0.113.5"),
            ("x-real-ip", "198.51.100.1"),
        ],
        &[
            ("x-forwarded-for", "198.51.100.1"),
            ("x-forwarded-for", "203.0.113.5"),
        ],
        &[
            ("x-forwarded-for", "::ffff:203.0.113.5"),
            ("true-client-ip", "198.51.100.1"),
        ],
        // A client that cannot be told apart from a denied one.
        &[("x-forwarded-for", "198.51.100.1, unknown")],
        &[("x-forwarded-for", "unix:")],
        &[("x-forwarded-for", "")],
    ] {
        let answer = app.replica.get_with("/api/v1/pricing", headers).await;
        answer.assert_problem(403, "access_denied");
    }
    let limited = app
        .another_replica_with(&[PROXIED, ("DENY_NETWORKS", ""), ("LIMIT_ANONYMOUS", "2/1m")])
        .await;
    for (turn, allowed) in [(1, true), (2, true), (3, false), (4, false)] {
        let forged = format!("for=198.51.100.{turn}");
        let headers = [("x-forwarded-for", "192.0.2.1"), ("forwarded", &forged)];
        let answer = limited.get_with("/api/v1/pricing", &headers).await;
        assert_eq!(answer.status.is_success(), allowed, "{turn}");
        // Those that cannot be told apart share one budget.
        let unknown = format!("192.0.2.{turn}, _{turn}");
        let headers = [("x-forwarded-for", unknown.as_str())];
        let answer = limited.get_with("/api/v1/pricing", &headers).await;
        assert_eq!(answer.status.is_success(), allowed, "{turn}");
    }
}

#[tokio::test]
async fn a_clients_name_for_itself_is_kept_as_far_as_it_is_sensible() {
    let app = TestApp::new().await;
    let ada = app.sign_up("ada").await;
    let name = async |agent: &str| {
        noted(&app, &app.replica, &ada, &[("user-agent", agent)])
            .await
            .1
    };
    assert_eq!(
        name("Mozilla/5.0 (X11)").await.as_deref(),
        Some("Mozilla/5.0 (X11)")
    );
    assert_eq!(name(&"x".repeat(5_000)).await, Some("x".repeat(256)));
    assert_eq!(name("a\tb").await.as_deref(), Some("ab"));
    assert_eq!(name("").await, None);
}

#[tokio::test]
async fn plain_http_behind_a_proxy_is_sent_to_https() {
    let app = TestApp::new().await;
    let secure = app
        .another_replica_with(&[
            ("PUBLIC_URL", "https://127.0.0.1"),
            ("TRUSTED_PROXIES", "127.0.0.1"),
        ])
        .await;
    let plain = [
        ("x-forwarded-proto", "http"),
        ("x-forwarded-for", "198.51.100.7"),
    ];
    let sent = secure.get_with("/nowhere?token=x", &plain).await;
    sent.assert_status(308);
    assert_eq!(
        sent.headers["location"],
        "https://127.0.0.1/nowhere?token=x"
    );
    // A body has travelled in the open already: its sender must notice.
    let refused = secure.ask(Method::POST, NOWHERE, &plain, Some("{}")).await;
    refused.assert_problem(403, "https_required");
    secure
        .get_with("/health/ready", &plain)
        .await
        .assert_status(200);
    secure
        .get_with("/verify-email", &[("x-forwarded-proto", "https")])
        .await
        .assert_status(200);
}

#[tokio::test]
async fn in_production_a_peer_that_is_no_proxy_is_not_served_over_plain_http() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let settings = [
        ("APP_ENV", "production"),
        ("PUBLIC_URL", "https://127.0.0.1"),
        ("JWT_ISSUER", "http://127.0.0.1"),
        ("JWT_AUDIENCE", "http://127.0.0.1"),
        ("TRUSTED_PROXIES", "10.0.0.0/8"),
    ];
    let production = app.another_replica_with(&settings).await;
    let bearer = format!("Bearer {}", ada.access());
    for path in [ME, NOWHERE, "/verify-email", "/.well-known/jwks.json"] {
        let sent = production
            .get_with(path, &[("authorization", &bearer)])
            .await;
        sent.assert_status(308);
        assert_eq!(sent.headers["location"], format!("https://127.0.0.1{path}"));
        assert!(sent.bytes.is_empty());
    }
    let body = json!({ "email": "ada@example.com", "password": PASSWORD }).to_string();
    for method in [Method::POST, Method::PATCH, Method::DELETE] {
        let headers = [("content-type", "application/json")];
        let refused = production.ask(method, LOGIN, &headers, Some(&body)).await;
        refused.assert_problem(403, "https_required");
    }
    // A proxy that nobody configured: a redirect would come back here for ever.
    let headers = [("x-forwarded-proto", "https")];
    let refused = production.get_with(ME, &headers).await;
    refused.assert_problem(403, "https_required");
    // A prober calls by address, and the image's own probe from within.
    for path in ["/health", "/health/live", "/health/ready"] {
        production.get_with(path, &[]).await.assert_status(200);
    }
    let settings = [&settings[..4], &[PROXIED]].concat();
    let behind = app.another_replica_with(&settings).await;
    let headers = [
        ("authorization", bearer.as_str()),
        ("x-forwarded-proto", "https"),
    ];
    behind.get_with(ME, &headers).await.assert_status(200);
}
