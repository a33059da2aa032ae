//! What every request is given, and the line that it leaves.

use axum::http::Method;
use axum::middleware::{Next, from_fn};
use axum::routing::get;
use axum::{Extension, Router};
use tower::ServiceExt as _;
use uuid::Uuid;

use super::*;
use crate::stack_test::{config, get as request, json};
use telemetry::testing::Lines;

fn app() -> Router {
    Router::new()
        .route(
            "/things/{id}",
            get(async |id: RequestId| id.as_str().to_owned()),
        )
        .layer(RequestContextLayer::new(
            &config(),
            Clock::system(),
            Rng::system(),
        ))
}

#[tokio::test]
async fn a_plain_id_is_kept_and_a_hostile_one_replaced() {
    let long = "a".repeat(65);
    for (sent, kept) in [
        ("abc-DEF_1.2", true),
        ("", false),
        ("a b", false),
        ("<x>", false),
        (&long, false),
    ] {
        let mut sent_request = request("/things/1");
        sent_request
            .headers_mut()
            .insert(X_REQUEST_ID, sent.parse().unwrap());
        let response = app().oneshot(sent_request).await.unwrap();
        let id = response.headers()[X_REQUEST_ID]
            .to_str()
            .unwrap()
            .to_owned();
        assert_eq!(id == sent, kept, "{sent}");
        if !kept {
            assert_eq!(id.len(), 32);
            assert_eq!(&id[12..13], "7");
        }
        let body = axum::body::to_bytes(response.into_body(), 100)
            .await
            .unwrap();
        assert_eq!(body, id.as_bytes());
    }
}

#[tokio::test]
async fn unknown_routes_and_methods_are_problems_with_the_id() {
    let response = app().oneshot(request("/nothing")).await.unwrap();
    assert_eq!(response.status(), 404);
    let id = response.headers()[X_REQUEST_ID].clone();
    let body = json(response).await;
    assert_eq!(body["code"], "not_found");
    assert_eq!(body["request_id"], id.to_str().unwrap());

    let mut post = request("/things/1");
    *post.method_mut() = Method::POST;
    let response = app().oneshot(post).await.unwrap();
    assert_eq!(response.headers()["allow"], "GET,HEAD");
    assert_eq!(json(response).await["code"], "method_not_allowed");
}

const ADA: Uuid = Uuid::max();

async fn sign_in(request: Request, next: Next) -> Response {
    let context = RequestContext::of(request.extensions()).expect("the layer added it");
    context.set_user(ADA);
    next.run(request).await
}

#[tokio::test]
async fn each_request_leaves_one_line_that_names_no_raw_path() {
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(lines.subscriber());
    let app = Router::new()
        .route("/things/{id}", get(async || "found"))
        .route("/never", get(std::future::pending::<()>))
        .route("/health/live", get(async || "live"))
        .route("/polled", get(async || (Extension(Polled), "state")))
        .route_layer(from_fn(sign_in))
        .layer(RequestContextLayer::new(
            &config(),
            Clock::system(),
            Rng::system(),
        ));

    // A test beside this one, without a subscriber, may have switched the line off meanwhile.
    while lines.text().is_empty() {
        tracing::callsite::rebuild_interest_cache();
        app.clone().oneshot(request("/things/1")).await.unwrap();
    }
    let reply = app
        .clone()
        .oneshot(request("/things/secret?token=secret"))
        .await
        .unwrap();
    let line = lines.last();
    assert_eq!(line["target"], "access");
    assert_eq!(line["route"], "/things/{id}");
    assert_eq!(line["status"], 200);
    assert_eq!(line["user_id"], ADA.to_string());
    assert_eq!(
        line["request_id"],
        reply.headers()[X_REQUEST_ID].to_str().unwrap()
    );
    assert!(line["latency_ms"].is_f64());
    assert!(!line.to_string().contains("secret"));

    app.clone().oneshot(request("/nothing")).await.unwrap();
    assert_eq!(lines.last()["route"], "unmatched");
    assert_eq!(lines.last()["code"], "not_found");

    let never = app.clone().oneshot(request("/never"));
    tokio::time::timeout(Duration::from_millis(10), never)
        .await
        .unwrap_err();
    assert_eq!(lines.last()["status"], CLIENT_LEFT);
    assert_eq!(lines.last()["route"], "/never");

    for path in ["/health/live", "/polled"] {
        app.clone().oneshot(request(path)).await.unwrap();
        assert_eq!(lines.last()["route"], "/never");
    }
}
