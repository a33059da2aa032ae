//! Answers: headers, errors, refusals by a fault, connections that are cut.

use axum::{
    body::{Body, Bytes},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{
    error::Result,
    faults::{FaultBody, Refusal},
    idempotency::Answer,
    state::API_VERSION,
};

pub(super) fn answer_of(result: &Result, request_id: &str) -> Answer {
    let (status, body, kept) = match result {
        Ok(body) => (StatusCode::OK, body.clone(), true),
        Err(error) => (error.status, error.body(request_id), error.executed),
    };
    Answer {
        status,
        body: serde_json::to_vec_pretty(&body).unwrap_or_default(),
        request_id: request_id.into(),
        kept,
    }
}

pub(super) fn internal_error(request_id: &str) -> Answer {
    Answer {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        body: serde_json::to_vec_pretty(&api_error(request_id)).unwrap_or_default(),
        request_id: request_id.to_owned(),
        kept: true,
    }
}

fn api_error(request_id: &str) -> Value {
    json!({ "error": {
        "type": "api_error", "message": "An unknown error occurred",
        "request_log_url": format!("https://dashboard.stripe.com/test/logs/{request_id}"),
    } })
}

pub(super) fn respond(answer: &Answer, request_id: &str, replayed: bool) -> Response {
    let mut response = (
        answer.status,
        [
            ("content-type", "application/json"),
            ("request-id", request_id),
            ("stripe-version", API_VERSION),
        ],
        answer.body.clone(),
    )
        .into_response();
    let headers = response.headers_mut();
    if let Ok(id) = answer.request_id.parse() {
        headers.insert("original-request", id);
    }
    let retry = answer.status == StatusCode::CONFLICT;
    headers.insert(
        "stripe-should-retry",
        header::HeaderValue::from_static(if retry { "true" } else { "false" }),
    );
    if replayed {
        headers.insert(
            "idempotent-replayed",
            header::HeaderValue::from_static("true"),
        );
    }
    response
}

/// The response of a refusal that a test asked for.
pub(super) fn refuse(refusal: Refusal, request_id: &str) -> Response {
    let Refusal {
        status,
        body,
        headers,
    } = refusal;
    let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = match body {
        FaultBody::Json if status == 429 => axum::Json(json!({ "error": {
            "type": "invalid_request_error", "code": "rate_limit", "message": "Request rate limit exceeded.",
        } }))
        .into_response(),
        FaultBody::Json => axum::Json(api_error(request_id)).into_response(),
        FaultBody::Html => axum::response::Html("<html><body><h1>502 Bad Gateway</h1></body></html>").into_response(),
        FaultBody::Empty => ().into_response(),
    };
    *response.status_mut() = code;
    let given = response.headers_mut();
    if let Ok(id) = request_id.parse() {
        given.insert("request-id", id);
    }
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (name.parse::<header::HeaderName>(), value.parse()) {
            given.insert(name, value);
        }
    }
    response
}

/// A response whose body fails at once, so that the connection closes without an answer.
pub(super) fn cut() -> Response {
    let failure = std::io::Error::other("cut by a fault");
    let body = Body::from_stream(futures_util::stream::once(async {
        Err::<Bytes, _>(failure)
    }));
    ([("content-length", "1")], body).into_response()
}
