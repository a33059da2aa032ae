//! Extractors: accepted bodies, queries and paths, and the problems of invalid ones.

use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::body_limit;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its reading is tested")]
struct Order {
    handle: Handle,
    count: u8,
    #[serde(default)]
    kind: Kind,
    #[serde(default)]
    items: Vec<Item>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its reading is tested")]
struct Item {
    name: String,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Kind {
    #[default]
    Small,
    Large,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String)]
struct Handle(String);

impl TryFrom<String> for Handle {
    type Error = &'static str;
    fn try_from(raw: String) -> Result<Self, &'static str> {
        (raw.len() >= 3)
            .then_some(Self(raw))
            .ok_or("a handle has at least 3 characters")
    }
}

fn post(content_type: &str, body: impl Into<Body>) -> Request {
    Request::post("/")
        .header("content-type", content_type)
        .body(body.into())
        .unwrap()
}

async fn answer<T: DeserializeOwned + ToSchema>(request: Request) -> Result<T, (u16, Value)> {
    match <Json<T> as FromRequest<()>>::from_request(request, &()).await {
        Ok(Json(value)) => Ok(value),
        Err(problem) => {
            let status = problem.code().status();
            let body = problem.body(status, None);
            Err((status.as_u16(), serde_json::from_slice(&body).unwrap()))
        }
    }
}

async fn refusal(body: impl Into<Body>) -> (u16, Value) {
    answer::<Order>(post("application/json", body))
        .await
        .unwrap_err()
}

#[tokio::test]
async fn json_is_read_under_each_of_its_names() {
    for kind in [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/vnd.api+json",
    ] {
        let order = answer::<Order>(post(kind, r#"{"handle":"ada","count":2}"#))
            .await
            .unwrap();
        assert_eq!((order.handle.0.as_str(), order.count), ("ada", 2));
    }
}

#[tokio::test]
async fn other_media_types_are_refused() {
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/+json",
        "json",
        "",
    ] {
        assert_eq!(
            answer::<Order>(post(kind, "{}")).await.unwrap_err().0,
            415,
            "{kind}"
        );
    }
    let mut zipped = post("application/json", "{}");
    zipped
        .headers_mut()
        .insert("content-encoding", "gzip".parse().unwrap());
    assert_eq!(answer::<Order>(zipped).await.unwrap_err().0, 415);
}

#[tokio::test]
async fn faults_name_the_field_and_no_type() {
    for (body, field, code, message) in [
        (json!({"count": 1}), "handle", "required", "is required"),
        (
            json!({"handle": "ada", "count": 1, "cuont": 2}),
            "cuont",
            "unknown_field",
            "is not a known field",
        ),
        (
            json!({"handle": "ada", "count": "secret"}),
            "count",
            "wrong_type",
            "must be a whole number from 0 to 255",
        ),
        (
            json!({"handle": "ada", "count": 300}),
            "count",
            "invalid_value",
            "must be a whole number from 0 to 255",
        ),
        (
            json!({"handle": "ab", "count": 1}),
            "handle",
            "invalid",
            "a handle has at least 3 characters",
        ),
        (
            json!({"handle": 5, "count": 1}),
            "handle",
            "wrong_type",
            "must be a string",
        ),
        (
            json!({"handle": "ada", "count": 1, "kind": "huge"}),
            "kind",
            "invalid_value",
            "must be `small` or `large`",
        ),
        (
            json!({"handle": "ada", "count": 1, "kind": 5}),
            "kind",
            "invalid",
            "has a value of the wrong type",
        ),
        (
            json!({"handle": "ada", "count": 1, "items": {}}),
            "items",
            "wrong_type",
            "must be a list",
        ),
        (
            json!({"handle": "ada", "count": 1, "items": [{"name": "x"}, 7]}),
            "items[1]",
            "wrong_type",
            "must be an object",
        ),
        (
            json!({"handle": "ada", "count": 1, "items": [{"name": 7}]}),
            "items[0].name",
            "wrong_type",
            "must be a string",
        ),
        (
            json!({"handle": "ada", "count": 1, "items": [{}]}),
            "items[0].name",
            "required",
            "is required",
        ),
        (
            json!({"handle": "ada", "count": 1, "items": [{"name": "x", "x": 1}]}),
            "items[0].x",
            "unknown_field",
            "is not a known field",
        ),
        (json!("text"), "", "wrong_type", "must be an object"),
    ] {
        let (status, problem) = refusal(body.to_string()).await;
        assert_eq!(status, 422, "{body}");
        let expected = json!([{"field": field, "code": code, "message": message}]);
        assert_eq!(problem["errors"], expected, "{body}");
    }
    let (_, twice) = refusal(r#"{"handle":"ada","handle":"bob","count":1}"#).await;
    assert_eq!(twice["errors"][0]["code"], "duplicate_field");
    assert_eq!(twice["errors"][0]["field"], "handle");
}

#[tokio::test]
async fn malformed_json_is_told_by_its_place_only() {
    for (body, detail) in [
        ("", "the body is empty"),
        ("{", "malformed JSON at line 1, column 1"),
        (
            "{\n\"handle\": oops}",
            "malformed JSON at line 2, column 11",
        ),
        (
            r#"{"handle":"ada","count":1} tail"#,
            "malformed JSON at line 1, column 28",
        ),
        (
            "{\"handle\":\"a\u{0}da\"}",
            "malformed JSON at line 1, column 12",
        ),
    ] {
        let (status, problem) = refusal(body).await;
        assert_eq!(status, 400, "{body}");
        assert_eq!(problem["detail"], detail, "{body}");
    }
    assert_eq!(refusal(&b"{\"handle\":\"\xff\xfe\"}"[..]).await.0, 400);
}

#[tokio::test]
async fn deep_and_wide_bodies_are_refused_fast_and_briefly() {
    let started = tokio::time::Instant::now();
    for body in [
        "[".repeat(15_000),
        format!("{{\"items\":{}", "[".repeat(15_000)),
        format!("{{\"{}\":1}}", "k".repeat(15_000)),
        format!(
            "{{{}}}",
            (0..1_500)
                .map(|n| format!("\"k{n}\":1"))
                .collect::<Vec<_>>()
                .join(",")
        ),
    ] {
        let (status, problem) = refusal(body).await;
        assert!(status == 400 || status == 422);
        assert!(problem.to_string().len() < 20_000, "{problem}");
    }
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn the_nul_character_is_a_fault_of_its_field() {
    let (status, problem) = refusal(r#"{"handle":"ada","items":[{"name":"a\u0000"}]}"#).await;
    assert_eq!(
        (status, problem["errors"][0]["field"].as_str()),
        (422, Some("items[0].name"))
    );
    let escaped = r#"{"handle":"a\\u0000","count":1}"#;
    assert!(
        answer::<Order>(post("application/json", escaped))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_before_it_is_read() {
    use tower::{Layer as _, Service as _};
    let mut app = body_limit(10).layer(tower::service_fn(async |request: Request| {
        Ok::<_, std::convert::Infallible>(answer::<Value>(request).await)
    }));
    let unread = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    let mut announced = post("application/json", unread);
    announced.headers_mut().insert("content-length", 11.into());
    assert_eq!(app.call(announced).await.unwrap().unwrap_err().0, 413);

    let chunks = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(b"123456")));
    let endless = post("application/json", Body::from_stream(chunks));
    assert_eq!(app.call(endless).await.unwrap().unwrap_err().0, 413);
    assert!(
        app.call(post("application/json", r#"{"a": 123}"#))
            .await
            .unwrap()
            .is_ok()
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_is_a_timeout() {
    let stalled = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    let (status, problem) = refusal(stalled).await;
    assert_eq!(
        (status, problem["code"].as_str()),
        (408, Some("request_timeout"))
    );
    let broken = Body::from_stream(stream::once(async {
        Err::<Bytes, _>(std::io::Error::other("x"))
    }));
    assert_eq!(refusal(broken).await.0, 400);
}

#[tokio::test]
async fn a_query_fault_names_its_parameter() {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its reading is tested")]
    struct Page {
        limit: u8,
    }
    let ask = async |uri: &str| {
        let (mut parts, ()) = axum::http::Request::get(uri.parse::<Uri>().unwrap())
            .body(())
            .unwrap()
            .into_parts();
        Query::<Page>::from_request_parts(&mut parts, &()).await
    };
    assert!(ask("/?limit=5").await.is_ok());
    let several = ask("/?limit=x&offset=1&sort=up&offset=2&%00=%00")
        .await
        .unwrap_err();
    let body = several.body(several.code().status(), None);
    let body: Value = serde_json::from_slice(&body).unwrap();
    let fields: Vec<_> = body["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["field"])
        .collect();
    assert_eq!(fields, ["\0", "limit", "offset", "sort"]);
    for (uri, field) in [
        ("/?limit=x", "limit"),
        ("/", "limit"),
        ("/?limit=1&offset=2", "offset"),
    ] {
        let problem = ask(uri).await.unwrap_err();
        let body: Value =
            serde_json::from_slice(&problem.body(problem.code().status(), None)).unwrap();
        assert_eq!(body["status"], 400, "{uri}");
        assert_eq!(body["errors"][0]["field"], field, "{body}");
    }
}

#[tokio::test]
async fn a_path_fault_names_its_parameter() {
    use tower::ServiceExt as _;
    #[derive(Deserialize)]
    struct Place {
        id: Uuid,
    }
    let app = axum::Router::new()
        .route(
            "/one/{id}",
            axum::routing::get(async |Path(id): Path<Uuid>| id.to_string()),
        )
        .route(
            "/named/{id}",
            axum::routing::get(async |Path(at): Path<Place>| at.id.to_string()),
        );
    for path in ["/one/x", "/named/x", "/one/%ff"] {
        let response = app
            .clone()
            .oneshot(Request::get(path).body(Body::empty()).unwrap())
            .await
            .unwrap();
        assert_eq!(response.status(), 400, "{path}");
        let body = axum::body::to_bytes(response.into_body(), 1_000)
            .await
            .unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        if path != "/one/x" {
            assert_eq!(body["errors"][0]["field"], "id", "{path}");
        }
    }
}
