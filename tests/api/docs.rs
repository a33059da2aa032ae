//! The document, held against the routes both ways, and the page to try it on.

use std::collections::BTreeSet;
use std::path::Path;

use groundwork::app;
use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::harness::{Answer, Replica, TestApp};
use crate::kit::forms::{FORM, Form};

/// Paths that are served without a description: a page's own assets, the start page of development, and what the
/// operator's own listener tells.
const UNDOCUMENTED: [&str; 11] = [
    "/",
    "/assets/email-preferences.js",
    "/assets/invitation.js",
    "/assets/link-page.js",
    "/assets/link-page.css",
    "/assets/start-page.js",
    "/assets/start-page.css",
    "/start/links",
    "/start/status",
    "/start/jobs/{id}/retry",
    "/health/metrics",
];

/// Operations that succeed in two ways: one signs somebody in, or tells in its 202 how to go on with the second factor; the
/// others create or replace, and download in whole or in part.
const TWO_ENDS: [&str; 3] = ["login", "put_secret", "get_file_content"];

/// Operations whose 202 has a body: the second step of a sign-in, and an export that is being made.
const ACCEPTED: [&str; 2] = ["login", "request_export"];

/// Operations whose body is an image. Without a store they refuse before they read its type.
const IMAGES: [&str; 1] = ["put_avatar"];

/// Public operations with an id, or the token of a link, which are 404 to everybody if nobody has it.
const PUBLIC_BY_ID: [&str; 3] = ["get_avatar", "show_unsubscribe", "unsubscribe"];

/// An operation of the document.
struct Operation {
    method: Method,
    path: String,
    spec: Value,
}

impl Operation {
    fn all() -> Vec<Self> {
        let document = document();
        let paths = document["paths"].as_object().expect("there are paths");
        let operations = paths.iter().flat_map(|(path, item)| {
            item.as_object()
                .expect("a path has methods")
                .iter()
                .map(|(method, spec)| Self {
                    method: method.to_uppercase().parse().expect("it is a method"),
                    path: path.clone(),
                    spec: spec.clone(),
                })
        });
        operations.collect()
    }

    fn name(&self) -> &str {
        self.spec["operationId"]
            .as_str()
            .expect("an operation has an id")
    }

    fn responses(&self) -> &Map<String, Value> {
        self.spec["responses"]
            .as_object()
            .expect("an operation has responses")
    }

    fn example(&self) -> Option<&Value> {
        let content = self.spec.pointer("/requestBody/content")?.as_object()?;
        let content = content.values().next()?;
        content.get("example").or_else(|| {
            let examples = content.get("examples")?.as_object()?;
            examples.values().next()?.get("value")
        })
    }

    /// Whether it needs to be signed in; `None` where it is one way of several.
    fn needs_session(&self) -> Option<bool> {
        let Some(ways) = self.spec.get("security").and_then(Value::as_array) else {
            return Some(false);
        };
        let open = ways.iter().any(|way| way == &json!({}));
        (!open).then_some(true)
    }

    /// Calls it with its own example.
    async fn call(&self, replica: &Replica, token: Option<&str>) -> Answer {
        // An id that nobody has: what is asked for does not exist, but the route does.
        let path = ["{id}", "{user_id}", "{invitation_id}", "{name}", "{token}"]
            .iter()
            .fold(self.path.clone(), |path, parameter| {
                path.replace(parameter, "01980b6e-7c00-7000-8000-3f2a51d6c9b1")
            });
        assert!(
            !path.contains('{'),
            "{path} needs a parameter: teach this test to fill it in"
        );
        let (method, example) = (self.method.clone(), self.example());
        let mut request = replica.request(method.clone(), &path);
        request = match self.form() {
            None => return replica.call(method, &path, token, example.cloned()).await,
            Some("multipart/form-data") => {
                let form = Form::of(example.expect("a form has an example")).end();
                request.header("content-type", FORM).body(form)
            }
            Some(kind) => {
                let fields = example.and_then(Value::as_object);
                let fields = fields.expect("a form has an example").iter();
                let fields = fields.map(|(name, value)| (name, value.as_str().unwrap_or_default()));
                let mut form = url::form_urlencoded::Serializer::new(String::new());
                let form = form.extend_pairs(fields).finish();
                request.header("content-type", kind).body(form)
            }
        };
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        replica.send(&method, &path, request).await
    }

    /// The content type of its body, if that is a form instead of JSON.
    fn form(&self) -> Option<&str> {
        let content = self.spec.pointer("/requestBody/content")?.as_object()?;
        let mut kinds = content.keys().map(String::as_str);
        kinds.find(|kind| kind.contains("form"))
    }
}

fn document() -> Value {
    serde_json::to_value(app::openapi()).expect("the document is JSON")
}

#[test]
fn the_document_is_the_one_that_was_reviewed() {
    let snapshot = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let reviewed = std::fs::read_to_string(snapshot).expect("docs/openapi.json is there");
    let current = app::openapi().to_pretty_json().expect("it is JSON") + "\n";
    let differing = reviewed
        .lines()
        .zip(current.lines())
        .position(|(old, new)| old != new);
    assert!(
        reviewed == current,
        "docs/openapi.json is not what the routes say, from line {} on: run `make openapi` and review the change",
        differing.unwrap_or_else(|| reviewed.lines().count().min(current.lines().count())) + 1
    );
}

#[test]
fn the_document_says_what_it_is() {
    let document = document();
    assert!(
        document["openapi"]
            .as_str()
            .is_some_and(|version| version.starts_with("3.1."))
    );
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    for key in ["title", "description"] {
        assert!(
            document["info"][key]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{key}"
        );
    }
    let schemes = &document["components"]["securitySchemes"];
    assert_eq!(
        (&schemes["bearer"]["type"], &schemes["bearer"]["scheme"]),
        (&json!("http"), &json!("bearer"))
    );
    for (scheme, place, name) in [
        ("cookie", "cookie", "__Host-access"),
        ("refresh_cookie", "cookie", "__Secure-refresh"),
        ("csrf", "header", "X-CSRF-Token"),
    ] {
        let scheme = &schemes[scheme];
        assert_eq!(
            (&scheme["type"], &scheme["in"], &scheme["name"]),
            (&json!("apiKey"), &json!(place), &json!(name))
        );
    }
}

#[test]
fn whatever_takes_an_access_token_takes_the_cookie_and_writes_with_the_csrf_token() {
    let mut seen = BTreeSet::new();
    for operation in Operation::all() {
        let Some(ways) = operation.spec.get("security").and_then(Value::as_array) else {
            continue;
        };
        if !ways.contains(&json!({ "bearer": [] })) {
            continue;
        }
        let reads = operation.method.is_safe();
        let with_cookie = if reads {
            json!({ "cookie": [] })
        } else {
            json!({ "cookie": [], "csrf": [] })
        };
        assert!(ways.contains(&with_cookie), "{}: {ways:?}", operation.path);
        seen.insert(reads);
    }
    assert_eq!(seen.len(), 2, "there are both kinds");
}

#[test]
fn every_operation_is_described_for_people_and_programs() {
    let document = document();
    let tags: BTreeSet<_> = document["tags"]
        .as_array()
        .expect("there are tags")
        .iter()
        .map(|tag| tag["name"].as_str())
        .collect();
    let mut ids = BTreeSet::new();
    for operation in Operation::all() {
        let name = operation.name();
        assert!(
            ids.insert(name.to_owned()),
            "two operations are called {name}"
        );
        let summary = operation.spec["summary"].as_str().unwrap_or_default();
        assert!(
            !summary.is_empty() && !summary.contains('\n'),
            "{name}: the summary is one line, not {summary:?}"
        );
        let own: Vec<_> = operation.spec["tags"]
            .as_array()
            .into_iter()
            .flatten()
            .map(Value::as_str)
            .collect();
        assert!(
            own.len() == 1 && tags.contains(&own[0]),
            "{name}: one tag that is described, not {own:?}"
        );
        if let Some(body) = operation.spec.get("requestBody") {
            let content = body["content"].as_object().expect("a body has content");
            let is_described = if IMAGES.contains(&name) {
                content.keys().all(|kind| kind.starts_with("image/"))
            } else {
                content.len() == 1
                    && (content.contains_key("application/json") || operation.form().is_some())
                    && operation.example().is_some()
            };
            assert!(is_described, "{name}: no example of its body");
        }
        let works = operation
            .responses()
            .keys()
            .filter(|status| status.starts_with('2'))
            .count();
        let wanted = if TWO_ENDS.contains(&name) { 2 } else { 1 };
        assert_eq!(works, wanted, "{name}: ways to succeed");
    }
}

#[test]
fn every_answer_is_described_and_every_refusal_is_a_problem_with_an_example() {
    for operation in Operation::all() {
        for (status, response) in operation.responses() {
            let place = format!("{} {status}", operation.name());
            assert!(
                response["description"]
                    .as_str()
                    .is_some_and(|text| !text.is_empty()),
                "{place} is not described"
            );
            if status.starts_with('2') {
                let bodiless = match status.as_str() {
                    "202" => !ACCEPTED.contains(&operation.name()),
                    "204" => true,
                    _ => operation.path == "/health/live",
                };
                assert_eq!(
                    response.get("content").is_none(),
                    bodiless,
                    "{place}: a body or none"
                );
                continue;
            }
            if ["302", "303", "304", "308"].contains(&status.as_str()) {
                assert!(response.get("content").is_none(), "{place}: no body");
                continue;
            }
            if operation.path == "/health/ready" && status == "503" {
                continue; // says what is away, in the shape of its success
            }
            let content = response["content"]
                .as_object()
                .unwrap_or_else(|| panic!("{place} has no content"));
            assert!(content.keys().eq(["application/problem+json"]), "{place}");
            let problem = &content["application/problem+json"];
            assert_eq!(
                problem["schema"]["$ref"], "#/components/schemas/Problem",
                "{place}"
            );
            let examples = problem["examples"]
                .as_object()
                .unwrap_or_else(|| panic!("{place} has no example"));
            for (code, example) in examples {
                let body = &example["value"];
                assert_eq!(
                    (&body["code"], body["status"].to_string()),
                    (&json!(code), status.clone()),
                    "{place}"
                );
            }
        }
    }
}

/// The sources of the service without their tests.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the folder is there") {
            let path = entry.expect("it is listed").path();
            let name = path.display().to_string();
            let is_rust = path.extension().is_some_and(|kind| kind == "rs");
            let is_test = name.ends_with("test.rs") || name.ends_with("tests.rs");
            if path.is_dir() {
                folders.push(path);
            } else if is_rust && !is_test {
                let text = std::fs::read_to_string(&path).expect("it is text");
                let own = text.split("#[cfg(test)]").next().unwrap_or_default();
                found.push((name, own.to_owned()));
            }
        }
    }
    assert!(found.len() > 30, "the sources are elsewhere");
    found
}

#[test]
fn every_handler_with_a_description_is_in_the_document_under_its_own_name() {
    let mut handlers = BTreeSet::new();
    for (file, text) in sources() {
        for described in text.split("#[utoipa::path(").skip(1) {
            let name = described
                .split("fn ")
                .nth(1)
                .and_then(|rest| rest.split('(').next());
            let name = name.unwrap_or_else(|| panic!("{file} describes no function"));
            assert!(
                handlers.insert(name.to_owned()),
                "two handlers are called {name}"
            );
        }
    }
    let operations: BTreeSet<_> = Operation::all()
        .iter()
        .map(|operation| operation.name().to_owned())
        .collect();
    assert_eq!(
        operations, handlers,
        "operations (left) and handlers (right)"
    );
}

#[test]
fn no_route_is_mounted_past_the_document() {
    let mut mounted = BTreeSet::new();
    for (file, text) in sources() {
        let squeezed: String = text.split_whitespace().collect();
        for call in [
            ".route(",
            ".route_service(",
            ".nest_service(",
            ".fallback_service(",
        ] {
            for route in squeezed.split(call).skip(1) {
                let path = route.split('"').nth(1).filter(|_| route.starts_with('"'));
                mounted.insert(
                    path.unwrap_or_else(|| panic!("{file} mounts something at no literal path"))
                        .to_owned(),
                );
            }
        }
    }
    for path in UNDOCUMENTED {
        mounted.remove(path);
    }
    assert!(mounted.is_empty(), "not in the document: {mounted:?}");
}

#[tokio::test]
async fn every_operation_is_served_takes_its_own_example_and_wants_a_session_where_it_says_so() {
    let app = TestApp::new().await;
    let without_docs = app.another_replica_with(&[("DOCS_ENABLED", "false")]).await;
    for operation in Operation::all() {
        for replica in [&app.replica, &without_docs] {
            let ada = crate::harness::Session {
                replica: replica.clone(),
                tokens: session(&app).await,
            };
            let stranger = operation.call(replica, None).await;
            let member = operation.call(replica, Some(ada.access())).await;
            let place = format!("{} {}", operation.method, operation.path);
            for answer in [&stranger, &member] {
                // Nobody has the id that stands for a parameter; that the route is there, the
                // stranger sees, who is not told so much.
                let may_be_missing = operation.path.contains('{') && answer.body == member.body
                    || PUBLIC_BY_ID.contains(&operation.name());
                assert!(
                    answer.status != 405 && (answer.status != 404 || may_be_missing),
                    "{place} is not served"
                );
                assert!(
                    !matches!(answer.status.as_u16(), 400 | 415),
                    "{place} does not take its example: {}",
                    answer.body
                );
                assert_ne!(
                    answer.body["code"], "invalid_fields",
                    "{place} does not take its example: {}",
                    answer.body
                );
            }
            let refused = stranger.body["code"] == "unauthenticated";
            if let Some(needs) = operation.needs_session() {
                assert_eq!(refused, needs, "{place} and its security");
            }
            assert_ne!(
                member.body["code"], "unauthenticated",
                "{place} does not know a session"
            );
        }
    }
    app.run_jobs().await;
}

/// The tokens of a new account's session: an operation before may have changed the last one's
/// password.
async fn session(app: &TestApp) -> Value {
    let accounts: i64 = sqlx::query_scalar("SELECT count(*) FROM users")
        .fetch_one(&app.owner_db)
        .await
        .expect("it answers");
    app.sign_in(&format!("docs-{accounts}")).await.tokens
}

const PAGES: [&str; 6] = [
    "/docs",
    "/docs/",
    "/docs/index.html",
    "/docs/swagger-ui-bundle.js",
    "/docs/swagger-initializer.js",
    "/api/openapi.json",
];

#[tokio::test]
async fn in_production_there_is_neither_page_nor_document() {
    let app = TestApp::new().await;
    let production = app
        .another_replica_with(&[
            ("APP_ENV", "production"),
            ("PUBLIC_URL", "https://127.0.0.1"),
            ("TRUSTED_PROXIES", "127.0.0.1"),
        ])
        .await;
    let off = app.another_replica_with(&[("DOCS_ENABLED", "false")]).await;
    let guessed = [
        "/api-docs/openapi.json",
        "/openapi.json",
        "/swagger-ui",
        "/swagger-ui/",
        "/docs/swagger-ui.css",
        "/docs/x",
    ];
    for path in PAGES.iter().chain(&guessed) {
        for replica in [&production, &off] {
            let answer = replica.call(Method::GET, path, None, None).await;
            answer.assert_problem(404, "not_found");
        }
    }
}

#[tokio::test]
async fn in_development_the_page_is_served_whole_under_a_strict_policy() {
    let app = TestApp::new().await;
    let redirect = app.get("/docs").await;
    let to = redirect
        .headers
        .get("location")
        .map(|value| value.to_str().expect("it is text").to_owned());
    assert!(
        redirect.status == 200 || to.as_deref() == Some("/docs/"),
        "{} {to:?}",
        redirect.status
    );
    for path in &PAGES[1..] {
        let page = app.get(path).await;
        page.assert_status(200);
        let policy = page.headers["content-security-policy"]
            .to_str()
            .expect("it is text");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; "),
            "{path}: {policy}"
        );
        for loose in [
            "unsafe-eval",
            "script-src 'self' 'unsafe-inline'",
            "http:",
            "https:",
            "*",
        ] {
            assert!(!policy.contains(loose), "{path}: {policy}");
        }
        assert!(
            policy.contains("frame-ancestors 'none'") && policy.contains("connect-src 'self'"),
            "{path}: {policy}"
        );
        assert_eq!(page.headers["x-frame-options"], "DENY");
    }
    for path in ["/docs/", "/docs/swagger-initializer.js"] {
        let page = String::from_utf8(app.get(path).await.bytes).expect("it is text");
        assert!(
            !page.contains("http://") && !page.contains("https://") && !page.contains("\"//"),
            "{path} names another host: {page}"
        );
        assert!(
            !page.contains("<script>") && !page.contains("<style>"),
            "{path} has inline code, which its policy refuses"
        );
    }
    assert_eq!(app.get("/api/openapi.json").await.body, document());
}
