//! Traces: the caller's is gone on with, named in the log and sent to a collector.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use groundwork_dev::RangeServer;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::harness::{PASSWORD, TestApp, given};
use crate::process::{Server, with};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// Kinds of spans, as OTLP numbers them.
const SERVER: u8 = 2;
const CLIENT: u8 = 3;

/// A collector that speaks as much OTLP as it takes to look at what comes.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Value>>>);

impl Collector {
    async fn start(&self) -> String {
        let take = async |State(Self(taken)): State<Self>, Json(body): Json<Value>| {
            taken.lock().expect("nobody panics here").push(body);
            Json(json!({}))
        };
        let app = Router::new()
            .route("/v1/traces", post(take))
            .with_state(self.clone());
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let addr = listener.local_addr().expect("it has an address");
        tokio::spawn(async move { axum::serve(listener, app).await });
        format!("http://{addr}")
    }

    /// Every span so far, with its resource.
    fn spans(&self) -> Vec<(Value, Value)> {
        let taken = self.0.lock().expect("nobody panics here");
        let mut spans = Vec::new();
        for resource in taken.iter().flat_map(|body| list(&body["resourceSpans"])) {
            for scope in list(&resource["scopeSpans"]) {
                for span in list(&scope["spans"]) {
                    spans.push((resource["resource"].clone(), span.clone()));
                }
            }
        }
        spans
    }

    async fn wait_for(&self, wanted: impl Fn(&Value) -> bool) -> (Value, Value) {
        for _ in 0..3_000 {
            if let Some(found) = self.spans().into_iter().find(|(_, span)| wanted(span)) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the span does not come; there are {:#?}", self.spans());
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// An attribute's value, whatever its type.
fn attribute(of: &Value, key: &str) -> Value {
    let all = list(&of["attributes"]);
    let found = all.iter().find(|it| it["key"] == key);
    found.map_or(Value::Null, |it| {
        let value = it["value"].as_object().and_then(|it| it.values().next());
        value.cloned().unwrap_or_default()
    })
}

#[tokio::test]
async fn a_callers_trace_goes_on_in_the_log_and_at_the_collector() {
    let app = TestApp::new().await;
    let collector = Collector::default();
    let endpoint = collector.start().await;
    let settings = with(
        &app.settings,
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("APP_VERSION", "9.8.7"),
            ("TRUSTED_PROXIES", "127.0.0.1"),
        ],
    );
    let mut server = Server::start(&settings, &["serve"]).await;
    let ask = async |path: &str, traceparent: &str| {
        let request = reqwest::Client::new()
            .get(format!("{}{path}", server.root))
            .header("traceparent", traceparent);
        request.send().await.expect("it answers")
    };
    let answer = ask(
        "api/v1/users/me?token=hunter2",
        &format!("00-{TRACE}-{PARENT}-01"),
    )
    .await;
    assert_eq!(answer.status(), 401);
    ask("health/live", &format!("00-{TRACE}-{PARENT}-01")).await;
    ask(".well-known/jwks.json", "malformed").await;
    ask("unwanted", &format!("00-{TRACE}-{PARENT}-00")).await;

    let line = server
        .wait_for_line(|line| line["target"] == "access" && line["trace_id"] == TRACE)
        .await;
    let (resource, span) = collector.wait_for(|span| span["traceId"] == TRACE).await;
    assert_eq!(span["parentSpanId"], PARENT);
    assert_eq!(span["name"], "GET /api/v1/users/me");
    assert_eq!(span["kind"], 2);
    assert_eq!(attribute(&span, "http.route"), "/api/v1/users/me");
    assert_eq!(attribute(&span, "http.response.status_code"), "401");
    assert_eq!(attribute(&span, "request.id"), line["request_id"]);
    assert_eq!(attribute(&resource, "service.version"), "9.8.7");
    let nanos = |field: &str| {
        let text = span[field].as_str().expect("it is text");
        text.parse::<u64>().expect("it is a number")
    };
    assert!(nanos("startTimeUnixNano") <= nanos("endTimeUnixNano"));

    let (_, own) = collector
        .wait_for(|span| span["name"] == "GET /.well-known/jwks.json")
        .await;
    assert_ne!(own["traceId"], TRACE);
    assert_eq!(own["parentSpanId"], "");

    // What still waits is delivered at the end.
    ask("last", "").await;
    server.terminate().await;
    assert_eq!(server.ended().await, Some(0), "{}", server.written());
    let spans = collector.spans();
    let unmatched = |(_, span): &&(Value, Value)| span["name"] == "GET unmatched";
    assert_eq!(spans.iter().filter(unmatched).count(), 1, "{spans:#?}");
    for (_, span) in spans {
        let text = span.to_string();
        assert!(
            !text.contains("health") && !text.contains("hunter2"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_request_is_traced_to_its_statements_commands_and_calls_and_a_job_to_its_email() {
    let breaches = RangeServer::start().await;
    let app = TestApp::new().await;
    let collector = Collector::default();
    let endpoint = collector.start().await;
    let settings = with(
        &app.settings,
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("BREACH_CHECK_URL", &breaches.url()),
            ("REDIS_URL", &given("TEST_REDIS_URL")),
            ("TRUSTED_PROXIES", "127.0.0.1"),
        ],
    );
    let mut server = Server::start(&settings, &["serve"]).await;
    let register = async |email: &str, traceparent: &str| {
        let request = reqwest::Client::new()
            .post(format!("{}api/v1/auth/register", server.root))
            .header("traceparent", traceparent)
            .json(&json!({ "email": email, "password": PASSWORD }));
        let answer = request.send().await.expect("it answers");
        assert_eq!(answer.status(), 202);
    };
    register("ada@example.com", &format!("00-{TRACE}-{PARENT}-01")).await;

    let (_, request) = collector.wait_for(|span| span["kind"] == SERVER).await;
    assert_eq!(request["name"], "POST /api/v1/auth/register");
    let child = async |name: &str| {
        let is_it = |span: &Value| {
            span["traceId"] == TRACE
                && span["parentSpanId"] == request["spanId"]
                && span["name"].as_str().is_some_and(|it| it.starts_with(name))
        };
        let (_, span) = collector.wait_for(is_it).await;
        let time = |of: &Value, field: &str| {
            let text = of[field].as_str().expect("it is text");
            text.parse::<u64>().expect("it is a number")
        };
        let (began, ended) = ("startTimeUnixNano", "endTimeUnixNano");
        assert!(
            time(&span, began) <= time(&span, ended),
            "{name} takes time"
        );
        assert!(time(&request, began) <= time(&span, ended));
        span
    };
    let insert = child("INSERT users").await;
    assert_eq!(insert["kind"], CLIENT);
    assert_eq!(attribute(&insert, "db.system.name"), "postgresql");
    let text = attribute(&insert, "db.query.text").to_string();
    assert!(text.contains("$1"), "{text}");
    for name in ["BEGIN", "COMMIT"] {
        assert_eq!(
            attribute(&child(name).await, "db.system.name"),
            "postgresql"
        );
    }
    let command = child("rate limit").await;
    assert_eq!(attribute(&command, "db.system.name"), "redis");
    let call = child("GET range").await;
    assert_eq!(attribute(&call, "server.address"), "127.0.0.1");
    let sent = breaches.asked()[0].headers["traceparent"].clone();
    let id = call["spanId"].as_str().expect("it is text");
    assert_eq!(
        sent.to_str().expect("text"),
        format!("00-{TRACE}-{id}-01"),
        "the call is the parent at the other service"
    );

    let (_, email) = collector.wait_for(|span| span["name"] == "smtp send").await;
    let (_, job) = collector
        .wait_for(|span| span["spanId"] == email["parentSpanId"])
        .await;
    assert_ne!(job["traceId"], TRACE);
    assert_eq!(job["parentSpanId"], "");
    assert_eq!(
        attribute(&job, "messaging.destination.name"),
        "auth.send_verification"
    );

    // Of a trace that the caller does not keep nothing is sent.
    let unkept = TRACE.replace('4', "5");
    register("eve@example.com", &format!("00-{unkept}-{PARENT}-00")).await;
    server.terminate().await;
    assert_eq!(server.ended().await, Some(0), "{}", server.written());
    app.run_jobs().await;
    assert!(
        !server.written().contains("INSERT INTO users"),
        "statements are not logged without DB_ECHO"
    );
    let spans = collector.spans();
    let begins_traces = |span: &Value| {
        span["kind"] == SERVER || !attribute(span, "messaging.destination.name").is_null()
    };
    for (_, span) in &spans {
        let text = span.to_string();
        assert_ne!(span["traceId"], unkept, "{text}");
        assert!(span["parentSpanId"] != "" || begins_traces(span), "{text}");
        assert_eq!(list(&span["events"]).len(), 0, "{text}");
        for secret in ["example.com", PASSWORD, "argon2"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }
}

#[tokio::test]
async fn a_collector_that_does_not_respond_slows_no_request() {
    let app = TestApp::new().await;
    let unresponsive = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", unresponsive.local_addr().expect("an address"));
    let settings = with(&app.settings, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]);
    let mut server = Server::start(&settings, &["serve", "--no-worker"]).await;
    let url = format!("{}api/v1/users/me", server.root);
    let client = reqwest::Client::new();
    let ask = async || {
        let answer = client.get(&url).send().await.expect("it answers");
        assert_eq!(answer.status(), 401);
    };
    ask().await;
    // So many that their spans fill a batch, which nobody takes.
    let mut slowest = Duration::ZERO;
    for _ in 0..1_000 {
        let began = Instant::now();
        ask().await;
        slowest = slowest.max(began.elapsed());
    }
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    server.terminate().await;
    assert_eq!(server.ended().await, Some(0), "{}", server.written());
}

#[tokio::test]
async fn a_stranger_cannot_choose_the_trace_or_the_id_that_its_lines_are_filed_under() {
    let app = TestApp::new().await;
    let mut server = Server::start(&app.settings, &["serve", "--no-worker"]).await;
    let ask = reqwest::Client::new()
        .get(format!("{}api/v1/users/me", server.root))
        .header("traceparent", format!("00-{TRACE}-{PARENT}-01"))
        .header("tracestate", "vendor=hunter2")
        .header("baggage", "user=hunter2")
        .header("sentry-trace", format!("{TRACE}-{PARENT}-1"))
        .header("x-request-id", "hunter2");
    let answer = ask.send().await.expect("it answers");
    assert_eq!(answer.status(), 401);
    let line = server
        .wait_for_line(|line| line["target"] == "access" && line["route"] == "/api/v1/users/me")
        .await;
    assert_ne!(line["trace_id"], TRACE);
    assert_eq!(line["trace_id"].as_str().map(str::len), Some(32));
    assert_ne!(line["request_id"], "hunter2");
    server.terminate().await;
    assert_eq!(server.ended().await, Some(0));
    for foreign in ["hunter2", TRACE, PARENT] {
        assert!(!server.written().contains(foreign), "{foreign}");
    }
}
