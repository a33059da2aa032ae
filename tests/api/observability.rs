//! Dashboards, alerts and runbooks against the metrics that the service has, and a panic's report.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::routing::get;
use axum::{Extension, Router};
use clock::{Clock, Rng};
use groundwork::config::Config;
use groundwork::ctx::{Caller, Principal};
use groundwork::ids::{SessionId, UserId};
use groundwork::metrics::{self, Kind};
use groundwork_dev::SentrySink;
use http_toolkit::RequestContextLayer;
use tower::ServiceExt as _;
use uuid::Uuid;

/// Words of `PromQL` that are no metric.
const WORDS: &str = "and bool by ignoring offset on or unless without group_left group_right";
/// Labels that Prometheus adds itself.
const ADDED: &str = "instance job le";

pub fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub fn read(path: &str) -> String {
    fs::read_to_string(at(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn lists(list: &str, word: &str) -> bool {
    list.split(' ').any(|listed| listed == word)
}

/// Files of alerts and recording rules.
const RULES: [&str; 3] = [
    "deploy/observability/alerts.yml",
    "deploy/observability/infrastructure-alerts.yml",
    "deploy/observability/objectives.yml",
];
/// Metrics of the exporters, each with its labels. `exporters_have_the_metrics_that_are_used` compares them.
pub const EXPORTED: [(&str, &str); 15] = [
    ("node_filesystem_avail_bytes", "fstype mountpoint"),
    ("node_filesystem_size_bytes", "fstype mountpoint"),
    ("node_memory_MemAvailable_bytes", ""),
    ("node_memory_MemTotal_bytes", ""),
    ("node_cpu_seconds_total", "mode"),
    ("pg_up", ""),
    ("pg_stat_activity_count", "state"),
    ("pg_stat_activity_max_tx_duration", "state"),
    ("pg_settings_max_connections", ""),
    ("pg_database_size_bytes", "datname"),
    ("redis_memory_used_bytes", ""),
    ("redis_memory_max_bytes", ""),
    ("redis_evicted_keys_total", ""),
    ("redis_expired_keys_total", ""),
    ("redis_commands_processed_total", ""),
];

/// The expressions of the dashboards' panels.
fn panels() -> Vec<String> {
    fn collect(value: &serde_json::Value, found: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(fields) => {
                for (key, field) in fields {
                    match field.as_str() {
                        Some(text) if key == "expr" => found.push(text.to_owned()),
                        _ => collect(field, found),
                    }
                }
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    for dashboard in ["service", "infrastructure"] {
        let text = read(&format!(
            "deploy/observability/grafana/dashboards/{dashboard}.json"
        ));
        collect(
            &serde_json::from_str(&text).expect("it is JSON"),
            &mut found,
        );
    }
    found
}

/// What an alert says, by its keys; a value may go on below its key.
pub struct Alert {
    pub name: String,
    expr: String,
    runbook: String,
}

pub fn alerts() -> Vec<Alert> {
    let text: String = RULES.map(read).concat();
    let mut alerts: Vec<Alert> = Vec::new();
    let mut in_expr = false;
    for line in text.lines().map(str::trim) {
        let key = line.split_once(": ").map_or("", |(key, _)| key);
        let value = line.split_once(": ").map_or("", |(_, value)| value);
        match (key, alerts.last_mut()) {
            ("- alert", _) => alerts.push(Alert {
                name: value.to_owned(),
                expr: String::new(),
                runbook: String::new(),
            }),
            ("expr", Some(alert)) => {
                in_expr = true;
                value.trim_start_matches(">-").clone_into(&mut alert.expr);
            }
            ("runbook", Some(alert)) => value.clone_into(&mut alert.runbook),
            ("for" | "labels" | "annotations" | "- record", _) => in_expr = false,
            (_, Some(alert)) if in_expr => alert.expr.extend([" ", line]),
            _ => {}
        }
    }
    alerts
}

/// Names of series that rules record.
fn recorded() -> BTreeSet<String> {
    let text: String = RULES.map(read).concat();
    let lines = text.lines().map(str::trim);
    let names = lines.filter_map(|line| line.strip_prefix("- record: "));
    names.map(str::to_owned).collect()
}

/// What is wrong with the names in an expression.
fn faults(expr: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut metrics_used = BTreeSet::new();
    let mut labels_used = BTreeSet::new();
    let mut rest = expr;
    // Braces hold labels, brackets times; a list after `by` is labels as well.
    let (mut in_labels, mut in_list, mut last) = (false, false, "");
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            let end = rest[1..].find('"').expect("a text ends") + 2;
            rest = &rest[end..];
            continue;
        }
        if first == '[' {
            rest = &rest[rest.find(']').expect("a time ends")..];
            continue;
        }
        if first.is_ascii_alphabetic() || first == '_' {
            // A recorded series has colons in its name.
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"_:".contains(c));
            let (word, tail) = rest.split_at(end.unwrap_or(rest.len()));
            if in_labels || in_list {
                labels_used.insert(word);
            } else if !lists(WORDS, word)
                && !tail.trim_start().starts_with('(')
                && !is_call(word, tail)
            {
                metrics_used.insert(word);
            }
            (last, rest) = (word, tail);
            continue;
        }
        if first.is_ascii_digit() {
            rest = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.');
            continue;
        }
        match first {
            '{' => in_labels = true,
            '}' => in_labels = false,
            '(' => in_list = lists("by on ignoring without", last),
            ')' => in_list = false,
            _ => {}
        }
        if !first.is_whitespace() {
            last = "";
        }
        rest = &rest[first.len_utf8()..];
    }
    let mut known_labels: BTreeSet<&str> = ADDED.split(' ').collect();
    for name in &metrics_used {
        match labels(name) {
            Some(labels) => known_labels.extend(labels),
            None => faults.push(format!("`{name}` is no metric of the service")),
        }
    }
    if metrics_used.is_empty() {
        faults.push("it has no metric".to_owned());
    }
    for label in labels_used.difference(&known_labels) {
        faults.push(format!("`{label}` is no label of {metrics_used:?}"));
    }
    faults
}

/// Whether an aggregation follows its labels: `sum by (le) (…)`.
fn is_call(word: &str, tail: &str) -> bool {
    lists("avg count max min sum topk", word)
        && (tail.trim_start().starts_with("by") || tail.trim_start().starts_with("without"))
}

/// The labels of a metric that a script writes for the node exporter.
fn of_host(name: &str) -> Option<Vec<&'static str>> {
    let script = read("deploy/postgres/metrics");
    let family = script.split("gauge ").find(|family| {
        family
            .split(' ')
            .next()
            .is_some_and(|written| written == name)
    })?;
    Some(if family.contains("type=") {
        vec!["type"]
    } else {
        Vec::new()
    })
}

/// The labels of a metric; `None` when there is no such metric.
fn labels(name: &str) -> Option<Vec<&'static str>> {
    if name == "up" || metrics::PROCESS.contains(&name) || recorded().contains(name) {
        return Some(Vec::new());
    }
    if let Some((_, labels)) = EXPORTED.iter().find(|(exported, _)| *exported == name) {
        return Some(labels.split(' ').collect());
    }
    if let Some(labels) = of_host(name) {
        return Some(labels);
    }
    let of_histogram = ["_bucket", "_count", "_sum"]
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix));
    let family = metrics::all().find(|family| match family.kind {
        Kind::Histogram => Some(family.name) == of_histogram,
        Kind::Counter | Kind::Gauge => family.name == name,
    })?;
    Some(family.labels.to_vec())
}

#[test]
fn alerts_and_panels_use_metrics_and_labels_that_the_service_has() {
    let mut wrong = Vec::new();
    let (alerts, panels) = (alerts(), panels());
    assert!(alerts.len() > 15 && panels.len() > 30, "they are read");
    for alert in &alerts {
        wrong.extend(
            faults(&alert.expr)
                .into_iter()
                .map(|it| format!("{}: {it}", alert.name)),
        );
    }
    for expr in &panels {
        wrong.extend(faults(expr).into_iter().map(|it| format!("{expr}: {it}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_metric_is_on_a_panel() {
    let panels = panels();
    let seen: BTreeSet<&str> = (panels.iter())
        .flat_map(|expr| expr.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
        .map(|word| word.strip_suffix("_bucket").unwrap_or(word))
        .map(|word| word.strip_suffix("_count").unwrap_or(word))
        .collect();
    let unseen: Vec<_> = metrics::all()
        .map(|family| family.name)
        .filter(|name| !seen.contains(name))
        .collect();
    assert!(unseen.is_empty(), "nobody looks at {unseen:?}");
}

#[test]
fn a_name_that_does_not_exist_is_found() {
    for (expr, is_good) in [
        (
            "sum by (route) (rate(http_requests_total{status=~\"5..\"}[5m])) > 0.01",
            true,
        ),
        (
            "histogram_quantile(0.9, sum by (le) (rate(db_pool_wait_seconds_bucket[$__rate_interval])))",
            true,
        ),
        ("up{job=\"app\"} == 0 and jobs_dead > 4e3", true),
        ("rate(http_request_total[5m])", false),
        ("db_pool_wait_seconds > 1", false),
        ("http_requests_total{code=\"500\"}", false),
        ("sum by (path) (http_requests_total)", false),
        ("max(jobs_lost) unless jobs_dead", false),
        ("1 > 2", false),
    ] {
        assert_eq!(
            faults(expr).is_empty(),
            is_good,
            "{expr}: {:?}",
            faults(expr)
        );
    }
}

#[test]
fn every_alert_has_a_runbook_and_every_runbook_an_alert() {
    let mut used = BTreeSet::new();
    for alert in alerts() {
        let text = read(&alert.runbook);
        assert!(
            text.contains(&format!("`{}`", alert.name)),
            "{} does not name {}",
            alert.runbook,
            alert.name
        );
        for heading in ["What it means", "First look", "Likely causes", "What to do"] {
            assert!(
                text.contains(&format!("\n## {heading}\n")),
                "{}: no {heading}",
                alert.runbook
            );
        }
        used.insert(alert.runbook);
    }
    for entry in fs::read_dir(at("docs/runbooks")).expect("the folder is there") {
        let name = entry.expect("an entry").file_name();
        let path = format!("docs/runbooks/{}", name.to_str().expect("a plain name"));
        assert!(used.contains(&path), "no alert names {path}");
    }
}

/// The settings of a process that reports to this DSN.
fn config(dsn: &str) -> Config {
    let settings = [
        ("APP_ENV", "development"),
        ("APP_VERSION", "9.8.7"),
        ("PUBLIC_URL", "http://127.0.0.1"),
        ("DATABASE_URL", "postgres://app@127.0.0.1/app"),
        (
            "JWT_SIGNING_KEYS",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
        ),
        (
            "TOKEN_SECRET",
            "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8",
        ),
        (
            "ENCRYPTION_KEYS",
            "QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8",
        ),
        ("SMTP_URL", "smtp://127.0.0.1"),
        ("MAIL_FROM", "no-reply@example.com"),
        ("SENTRY_DSN", dsn),
        // A request without a connection comes from there; the id that it has is believed.
        ("TRUSTED_PROXIES", "0.0.0.0/32"),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Config::read(&settings.into_iter().collect()).expect("the settings are good")
}

#[tokio::test]
async fn a_panic_is_reported_once_with_its_place_and_its_request() {
    let sink = SentrySink::start().await;
    let config = config(&sink.dsn());
    let telemetry = telemetry::start(&config.telemetry);
    let fall = async |Extension(caller): Extension<Caller>| {
        tracing::warn!(
            code = "near",
            email = "eve@example.com",
            "to eve@example.com"
        );
        tokio::task::yield_now().await;
        assert!(
            caller.user_id.0.is_max(),
            "ada@example.com fell, password=hunter2"
        );
    };
    let sign_in = async |mut request: Request, next: Next| {
        let (user_id, session_id) = (UserId(Uuid::nil()), SessionId(Uuid::nil()));
        let owner = Principal {
            user_id,
            session_id,
        };
        Caller::from(owner).enter(request.extensions_mut());
        next.run(request).await
    };
    let app = Router::new()
        .route("/falls/{id}", get(fall))
        .layer(from_fn(sign_in))
        .layer(http_toolkit::CatchPanic)
        .layer(RequestContextLayer::new(
            &config.http,
            Clock::system(),
            Rng::system(),
        ));
    let request = Request::get("/falls/hunter2?token=hunter2")
        .header("x-request-id", "the-request")
        .header("cookie", "hunter2");
    let request = request.body(Body::empty()).expect("it is a request");
    let answer = app.oneshot(request).await.expect("it is answered");
    assert_eq!(answer.status(), 500);

    let event = sink.wait_for_event(|_| true).await.body;
    assert_eq!(event["release"], "groundwork@9.8.7");
    assert_eq!(event["environment"], "development");
    assert_eq!(event["level"], "fatal");
    assert_eq!(event["transaction"], "GET /falls/{id}");
    assert_eq!(event["tags"]["request_id"], "the-request");
    assert_eq!(event["user"]["id"], Uuid::nil().to_string());
    let panic = &event["exception"]["values"][0];
    assert_eq!(panic["type"], "panic");
    assert_eq!(panic["value"], "[hidden] fell, password=[hidden]");
    let frame = &panic["stacktrace"]["frames"][0];
    assert!(
        frame["filename"]
            .as_str()
            .is_some_and(|file| file.ends_with("observability.rs"))
    );
    let trail = event["breadcrumbs"]["values"]
        .as_array()
        .expect("there is a trail");
    assert_eq!(trail.last().expect("a line")["message"], "to [hidden]");
    assert_eq!(trail.last().expect("a line")["data"]["code"], "near");

    drop(telemetry);
    assert_eq!(
        sink.events().len(),
        1,
        "the guard's line is no second report"
    );
    for secret in ["hunter2", "ada@", "eve@", "example.com"] {
        assert!(
            !event.to_string().contains(secret),
            "{secret} is in {event}"
        );
    }
}
