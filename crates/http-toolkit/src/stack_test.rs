//! The whole stack as `app.rs` builds it, and what the kit's tests share.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderName, Method};
use axum::response::Response;
use axum::routing::{get as on_get, post as on_post};
use serde_json::Value;
use tower::{ServiceBuilder, ServiceExt as _};
use utoipa::openapi::OpenApi;

use crate::config::HttpConfig;
use crate::{
    CatchPanic, Deadline, Json, Problem, ProblemCode, RequestContextLayer, SecurityHeaders,
    TrustedHosts, body_limit, cors,
};
use clock::{Clock, Rng};

pub(super) fn config() -> HttpConfig {
    HttpConfig {
        bind_addr: ([127, 0, 0, 1], 0).into(),
        public_url: "https://app.example.com".parse().unwrap(),
        allowed_origins: vec!["https://www.example.com".parse().unwrap()],
        allowed_hosts: vec!["app.example.com".into()],
        trusted_proxies: vec!["0.0.0.0/32".parse().unwrap()],
        client_ip_header: HeaderName::from_static("x-forwarded-for"),
        requires_https: false,
        max_requests: 1_000,
        max_connections: 100,
        max_connections_per_client: 100,
        max_bodies_per_client: 32,
        body_memory: 16 * 1024 * 1024,
        idle_timeout: Duration::from_secs(75),
        header_timeout: Duration::from_secs(10),
        body_timeout: Duration::from_secs(10),
        write_timeout: Duration::from_secs(30),
        request_timeout: Duration::from_secs(15),
        drain_delay: Duration::ZERO,
        drain_timeout: Duration::from_secs(20),
    }
}

pub(super) fn get(path: &str) -> Request {
    let request = Request::get(path).header(HOST, "app.example.com");
    request.body(Body::empty()).unwrap()
}

pub(super) async fn json(response: Response) -> Value {
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20)
        .await
        .unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn app() -> Router {
    let config = config();
    Router::new()
        .route("/ok", on_get(async || "ok"))
        .route(
            "/panic",
            on_get(async || -> &'static str { panic!("a secret") }),
        )
        .route(
            "/me",
            on_get(async || Problem::new(ProblemCode::UNAUTHENTICATED)),
        )
        .route("/echo", on_post(async |body: Json<Value>| body))
        .route(
            "/own",
            on_get(async || {
                [
                    ("content-security-policy", "default-src 'self'"),
                    ("cache-control", "max-age=60"),
                ]
            }),
        )
        .route("/health/live", on_get(async || "live"))
        .route(
            "/limited",
            on_get(async || Problem::from(ProblemCode::RATE_LIMITED)),
        )
        .fallback(async || Problem::new(ProblemCode::NOT_FOUND))
        .method_not_allowed_fallback(async || Problem::new(ProblemCode::METHOD_NOT_ALLOWED))
        .layer(
            ServiceBuilder::new()
                .layer(RequestContextLayer::new(
                    &config,
                    Clock::system(),
                    Rng::system(),
                ))
                .layer(SecurityHeaders::new(&config))
                .layer(TrustedHosts::new(&config))
                .layer(cors(&config, &OpenApi::default()))
                .layer(CatchPanic)
                .layer(body_limit(64 * 1024))
                .layer(Deadline::new(&config)),
        )
}

async fn ask(request: Request) -> Response {
    app().oneshot(request).await.unwrap()
}

#[tokio::test]
async fn every_reply_is_secured_identified_and_in_shape() {
    let mut elsewhere = get("/ok");
    elsewhere
        .headers_mut()
        .insert(HOST, "evil.com".parse().unwrap());
    let mut wrong_method = get("/ok");
    *wrong_method.method_mut() = Method::DELETE;
    let mut large = get("/echo");
    *large.method_mut() = Method::POST;
    large
        .headers_mut()
        .insert("content-type", "application/json".parse().unwrap());
    large
        .headers_mut()
        .insert("content-length", "70000".parse().unwrap());
    for (request, status) in [
        (get("/ok"), 200),
        (get("/me"), 401),
        (get("/nothing"), 404),
        (wrong_method, 405),
        (large, 413),
        (elsewhere, 421),
        (get("/limited"), 429),
        (get("/panic"), 500),
    ] {
        let response = ask(request).await;
        assert_eq!(response.status(), status);
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("x-xss-protection", "0"),
            ("referrer-policy", "no-referrer"),
            (
                "content-security-policy",
                "default-src 'none'; frame-ancestors 'none'",
            ),
            ("cross-origin-resource-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            (
                "strict-transport-security",
                "max-age=63072000; includeSubDomains",
            ),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(response.headers()[name], value, "{status}");
        }
        assert!(
            response.headers()["permissions-policy"]
                .to_str()
                .unwrap()
                .contains("camera=()")
        );
        assert_eq!(
            response.headers().contains_key("www-authenticate"),
            status == 401
        );
        assert_eq!(
            response.headers().contains_key("retry-after"),
            status == 429
        );
        assert_eq!(response.headers().contains_key("allow"), status == 405);
        if status == 200 {
            continue;
        }
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
        let id = response.headers()["x-request-id"].clone();
        let problem = json(response).await;
        assert_eq!(problem["status"], status);
        assert_eq!(problem["request_id"], id.to_str().unwrap());
        assert!(!problem.to_string().contains("secret"));
    }
}

#[tokio::test]
async fn a_reply_keeps_its_own_policies() {
    let response = ask(get("/own")).await;
    assert_eq!(
        response.headers()["content-security-policy"],
        "default-src 'self'"
    );
    assert_eq!(response.headers()["cache-control"], "max-age=60");
}

#[tokio::test]
async fn only_listed_origins_may_read_also_refusals() {
    for path in ["/ok", "/me", "/panic"] {
        for (origin, allowed) in [
            ("https://www.example.com", true),
            ("https://evil.com", false),
        ] {
            let mut request = get(path);
            request
                .headers_mut()
                .insert(ORIGIN, origin.parse().unwrap());
            let response = ask(request).await;
            let headers = response.headers();
            assert_eq!(
                headers.contains_key("access-control-allow-origin"),
                allowed,
                "{path}"
            );
            assert!(
                headers
                    .get_all("vary")
                    .iter()
                    .any(|vary| vary.to_str().unwrap().contains("origin"))
            );
        }
    }
}

#[tokio::test]
async fn a_cache_is_told_that_pages_are_answered_otherwise_even_where_no_page_asks() {
    let response = ask(get("/health/live")).await;
    let headers = response.headers();
    assert_eq!(headers["vary"], "origin");
    assert!(!headers.contains_key("access-control-expose-headers"));
}

#[tokio::test]
async fn a_preflight_is_answered_before_everything_that_costs() {
    let mut preflight = get("/me");
    *preflight.method_mut() = Method::OPTIONS;
    let headers = preflight.headers_mut();
    headers.insert(ORIGIN, "https://www.example.com".parse().unwrap());
    headers.insert("access-control-request-method", "PATCH".parse().unwrap());
    headers.insert(
        "access-control-request-headers",
        "authorization".parse().unwrap(),
    );
    let response = ask(preflight).await;
    assert_eq!(response.status(), 200);
    let headers = response.headers();
    assert_eq!(
        headers["access-control-allow-origin"],
        "https://www.example.com"
    );
    assert_eq!(headers["access-control-allow-credentials"], "true");
    assert_eq!(headers["access-control-max-age"], "600");
    assert!(
        headers["access-control-allow-methods"]
            .to_str()
            .unwrap()
            .contains("PATCH")
    );
    assert!(
        headers["access-control-allow-headers"]
            .to_str()
            .unwrap()
            .contains("x-csrf-token")
    );
}

#[tokio::test]
async fn plain_http_behind_the_proxy_is_sent_to_https_but_probes_are_not() {
    let plain = |path: &str| {
        let mut request = get(path);
        request
            .headers_mut()
            .insert("x-forwarded-proto", "http".parse().unwrap());
        request
    };
    let response = ask(plain("/ok?a=1")).await;
    assert_eq!(response.status(), 308);
    assert_eq!(
        response.headers()["location"],
        "https://app.example.com/ok?a=1"
    );
    let mut probe = plain("/health/live");
    probe
        .headers_mut()
        .insert(HOST, "10.0.0.7".parse().unwrap());
    assert_eq!(ask(probe).await.status(), 200);
}
