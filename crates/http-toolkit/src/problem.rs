//! Error responses: `application/problem+json` (RFC 9457) with a stable code.

use std::borrow::Cow;
use std::error::Error;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Serialize, Serializer};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::code::ProblemCode;

pub(super) const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
const BEARER: HeaderValue = HeaderValue::from_static("Bearer");
const BEARER_REFUSED: HeaderValue = HeaderValue::from_static("Bearer error=\"invalid_token\"");

/// What is wrong with one field of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Where it is: `address.city`, `items[3].name`; empty for the whole body.
    #[schema(value_type = String, example = "email")]
    pub field: Cow<'static, str>,
    /// A stable name for what is wrong.
    #[schema(value_type = String, example = "required")]
    pub code: Cow<'static, str>,
    /// The same for people.
    #[schema(value_type = String, example = "is required")]
    pub message: Cow<'static, str>,
}

/// Response of a middleware or handler, or the problem that becomes one.
pub type MiddlewareResult = Result<Response, Problem>;

/// Error response: a code, and what the client may know about the case.
#[derive(Clone, Debug)]
pub struct Problem {
    code: ProblemCode,
    detail: Option<Cow<'static, str>>,
    errors: Vec<FieldError>,
    retry_after: Option<u64>,
    has_own_retry_after: bool,
    token_refused: bool,
    scope: Option<&'static str>,
    closes: bool,
}

impl Problem {
    #[must_use]
    pub fn new(code: impl Into<ProblemCode>) -> Self {
        Self {
            code: code.into(),
            detail: None,
            errors: Vec::new(),
            retry_after: None,
            has_own_retry_after: false,
            token_refused: false,
            scope: None,
            closes: false,
        }
    }

    /// Unexpected error: `source` and its causes are logged once and not shown.
    #[must_use]
    pub fn internal(source: impl Error) -> Self {
        telemetry::capture(&source, "request failed");
        Self::new(ProblemCode::INTERNAL)
    }

    /// 401 for a rejected credential (RFC 6750 §3.1), unlike a missing one.
    #[must_use]
    pub fn unauthenticated_token() -> Self {
        let mut problem = Self::new(ProblemCode::UNAUTHENTICATED);
        problem.token_refused = true;
        problem
    }

    /// 403 for a valid credential without `scope` (RFC 6750 §3.1).
    #[must_use]
    pub fn insufficient_scope(scope: &'static str) -> Self {
        let mut problem = Self::new(ProblemCode::INSUFFICIENT_SCOPE);
        problem.scope = Some(scope);
        problem
    }

    /// Adds a description of this occurrence.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds a field error.
    #[must_use]
    pub fn field(
        mut self,
        field: impl Into<Cow<'static, str>>,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.errors.push(FieldError {
            field: field.into(),
            code: code.into(),
            message: message.into(),
        });
        self
    }

    #[must_use]
    pub(super) fn fields(mut self, faults: Vec<FieldError>) -> Self {
        self.errors.extend(faults);
        self
    }

    /// Sets `Retry-After`: whole seconds, rounded up, at least one.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        let begun = u64::from(wait.subsec_nanos() > 0);
        self.retry_after = Some(wait.as_secs().saturating_add(begun).max(1));
        self
    }

    /// Sets `Retry-After` to a time that was chosen for this client, so that it is not spread.
    #[must_use]
    pub fn own_retry_after(self, wait: Duration) -> Self {
        Self {
            has_own_retry_after: true,
            ..self.retry_after(wait)
        }
    }

    pub(super) const fn has_own_retry_after(&self) -> bool {
        self.has_own_retry_after
    }

    /// Closes the connection after the reply, since the rest of the request is not read.
    #[must_use]
    pub(super) const fn closing(mut self) -> Self {
        self.closes = true;
        self
    }

    #[must_use]
    pub const fn code(&self) -> ProblemCode {
        self.code
    }

    /// JSON body.
    pub(super) fn body(&self, status: StatusCode, request_id: Option<&str>) -> Vec<u8> {
        let wire = Wire {
            r#type: Urn(self.code.as_str()),
            title: self.code.title(),
            status: status.as_u16(),
            code: self.code.as_str(),
            detail: self.detail.as_deref(),
            request_id,
            errors: &self.errors,
        };
        serde_json::to_vec(&wire).unwrap_or_default()
    }

    fn set_headers(&self, headers: &mut HeaderMap) {
        headers.insert(CONTENT_TYPE, PROBLEM_JSON);
        match self.code.status() {
            StatusCode::UNAUTHORIZED if self.token_refused => {
                headers.insert(WWW_AUTHENTICATE, BEARER_REFUSED);
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, BEARER);
            }
            _ => {}
        }
        let challenge = self.scope.and_then(|scope| {
            let text = format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"");
            HeaderValue::from_str(&text).ok()
        });
        if let Some(challenge) = challenge {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if self.closes {
            headers.insert("connection", HeaderValue::from_static("close"));
        }
    }
}

impl From<ProblemCode> for Problem {
    fn from(code: ProblemCode) -> Self {
        Self::new(code)
    }
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        let status = self.code.status();
        if matches!(status.as_u16(), 429 | 503) {
            self.retry_after.get_or_insert(1);
        }
        let mut response = Response::new(Body::from(self.body(status, None)));
        *response.status_mut() = status;
        self.set_headers(response.headers_mut());
        response.extensions_mut().insert(self);
        response
    }
}

/// Adds the request id to a problem, and converts a bare error response into one. Returns the code of an error response.
pub(super) fn complete(response: &mut Response, request_id: &str) -> Option<ProblemCode> {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return None;
    }
    if matches!(status.as_u16(), 429 | 503) {
        response
            .headers_mut()
            .entry(RETRY_AFTER)
            .or_insert_with(|| HeaderValue::from_static("1"));
    }
    let problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        None if is_bare(response) => {
            let problem = Problem::new(ProblemCode::of_status(status));
            problem.set_headers_beside(response.headers_mut());
            problem
        }
        None => return None,
    };
    response.headers_mut().remove(CONTENT_LENGTH);
    *response.body_mut() = Body::from(problem.body(status, Some(request_id)));
    Some(problem.code)
}

impl Problem {
    /// Sets its headers and keeps those that the library has set already.
    fn set_headers_beside(&self, headers: &mut HeaderMap) {
        let kept: Vec<_> = [WWW_AUTHENTICATE, RETRY_AFTER, ALLOW]
            .into_iter()
            .filter_map(|name| headers.get(&name).cloned().map(|value| (name, value)))
            .collect();
        self.set_headers(headers);
        headers.extend(kept);
    }
}

/// Error response of a library: no body, or plain text.
fn is_bare(response: &Response) -> bool {
    match response.headers().get(CONTENT_TYPE) {
        Some(kind) => kind.as_bytes().starts_with(b"text/plain"),
        None => response.body().size_hint().exact() == Some(0),
    }
}

/// What went wrong, in the shape of RFC 9457.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem, example = json!({
    "type": "urn:problem:not_found",
    "title": "Not found.",
    "status": 404,
    "code": "not_found",
    "request_id": "01980b6e7c0070008000000000000001",
}))]
struct Wire<'a> {
    /// Names the kind of problem: `urn:problem:` and the code.
    #[schema(value_type = &str)]
    r#type: Urn<'a>,
    /// The kind of problem, for people.
    title: &'a str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// The kind of problem, to match on; it never changes its meaning.
    code: &'a str,
    /// What happened in this very case, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    detail: Option<&'a str>,
    /// The id under which our logs know the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required)]
    request_id: Option<&'a str>,
    /// Every field at fault, 100 of them at most.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(value_type = Option<Vec<FieldError>>, nullable = false)]
    errors: &'a [FieldError],
}

/// `urn:problem:` and the code.
struct Urn<'a>(&'a str);

impl Serialize for Urn<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("urn:problem:{}", self.0))
    }
}

impl PartialSchema for Problem {
    fn schema() -> RefOr<Schema> {
        Wire::schema()
    }
}

impl ToSchema for Problem {
    fn name() -> Cow<'static, str> {
        Wire::name()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Wire::schemas(schemas);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn json(response: Response) -> serde_json::Value {
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX)
            .await
            .unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[tokio::test]
    async fn a_problem_is_whole_even_without_the_context_layer() {
        let response = Problem::new(ProblemCode::INVALID_FIELDS)
            .field("email", "required", "is required")
            .into_response();
        assert_eq!(response.status(), 422);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(
            json(response).await,
            serde_json::json!({
                "type": "urn:problem:invalid_fields",
                "title": "Some fields are invalid.",
                "status": 422,
                "code": "invalid_fields",
                "errors": [{"field": "email", "code": "required", "message": "is required"}],
            })
        );
    }

    #[test]
    fn unauthenticated_tells_a_missing_credential_from_a_refused_one() {
        let missing = Problem::new(ProblemCode::UNAUTHENTICATED).into_response();
        assert_eq!(missing.headers()[WWW_AUTHENTICATE], "Bearer");
        let refused = Problem::unauthenticated_token().into_response();
        assert_eq!(
            refused.headers()[WWW_AUTHENTICATE],
            "Bearer error=\"invalid_token\""
        );
    }

    #[test]
    fn a_scope_that_is_missing_is_named() {
        let refused = Problem::insufficient_scope("usage:read").into_response();
        assert_eq!(refused.status(), 403);
        assert_eq!(
            refused.headers()[WWW_AUTHENTICATE],
            "Bearer error=\"insufficient_scope\", scope=\"usage:read\""
        );
    }

    #[test]
    fn retry_after_is_rounded_up_and_never_missing() {
        for (wait, seconds) in [
            (0, "1"),
            (1, "1"),
            (1_000, "1"),
            (1_001, "2"),
            (59_999, "60"),
        ] {
            let response = Problem::new(ProblemCode::RATE_LIMITED)
                .retry_after(Duration::from_millis(wait))
                .into_response();
            assert_eq!(response.headers()[RETRY_AFTER], seconds, "{wait} ms");
        }
        assert_eq!(
            Problem::new(ProblemCode::BUSY).into_response().headers()[RETRY_AFTER],
            "1"
        );
    }

    #[tokio::test]
    async fn a_bare_refusal_of_a_library_gets_the_shape_and_keeps_its_headers() {
        let mut response = (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "GET,HEAD")]).into_response();
        assert_eq!(
            complete(&mut response, "id-1"),
            Some(ProblemCode::METHOD_NOT_ALLOWED)
        );
        assert_eq!(response.headers()[ALLOW], "GET,HEAD");
        let body = json(response).await;
        assert_eq!(body["code"], "method_not_allowed");
        assert_eq!(body["request_id"], "id-1");

        let mut plain = (
            StatusCode::TOO_MANY_REQUESTS,
            [("retry-after", "7")],
            "slow down",
        )
            .into_response();
        assert_eq!(
            complete(&mut plain, "id-1"),
            Some(ProblemCode::RATE_LIMITED)
        );
        assert_eq!(plain.headers()[RETRY_AFTER], "7");

        let mut page = (StatusCode::NOT_FOUND, axum::response::Html("<p>gone")).into_response();
        assert_eq!(complete(&mut page, "id-1"), None);
        assert_eq!(page.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
    }
}
