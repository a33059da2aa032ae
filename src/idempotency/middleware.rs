//! Middleware of routes that accept an `Idempotency-Key`.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest as _, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use http_toolkit::{MiddlewareResult, Problem, RawBody};

use super::model::{KeyHash, StoredReply};
use super::service::{Outcome, reserve};
use crate::ctx::{Caller, Ctx};
use crate::policy::Policy;
use crate::state::AppState;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Returns the stored reply to a repeated POST, where the policy accepts keys. Comes after all that rejects callers.
pub async fn replay_reply<F: Future<Output = MiddlewareResult>>(
    state: &AppState,
    policy: &Policy,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> MiddlewareResult {
    let Some(key_use) = policy.idempotency_keys else {
        return next(request).await;
    };
    if request.method() != Method::POST {
        return next(request).await;
    }
    let values = request.headers().get_all(IDEMPOTENCY_KEY);
    match KeyHash::of(key_use, values.iter().map(HeaderValue::as_bytes))? {
        None => next(request).await,
        // Boxed, since the future of every request has room for it.
        Some(key) => Box::pin(run_once(state, key, request, next)).await,
    }
}

async fn run_once<F: Future<Output = MiddlewareResult>>(
    state: &AppState,
    key: KeyHash,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> MiddlewareResult {
    let caller = Caller::of(&request)?;
    let ctx = Ctx::of(state, request.headers(), request.extensions());
    let (mut parts, body) = request.into_parts();
    let request = Request::from_parts(parts.clone(), body);
    let RawBody(body) = RawBody::from_request(request, &()).await?;
    let held = match reserve(ctx, caller, key, message(&parts, &body)).await? {
        Outcome::Reserved(held) => held,
        Outcome::Stored(reply) => return replay(&reply),
    };
    if let Some(reservation) = held.reservation() {
        reservation.enter(&mut parts.extensions);
    }
    let response = next(Request::from_parts(parts, Body::from(body))).await;
    held.release().await;
    response
}

/// What two requests have in common that are the same: method, path with query, and body.
fn message(parts: &Parts, body: &Bytes) -> Vec<u8> {
    let path = parts.uri.path_and_query();
    let path = path.map_or("", |path| path.as_str());
    [parts.method.as_str(), path]
        .into_iter()
        .flat_map(|part| [part.as_bytes(), b"\0"])
        .chain([&body[..]])
        .collect::<Vec<_>>()
        .concat()
}

fn replay(reply: &StoredReply) -> Result<Response, Problem> {
    let status = StatusCode::from_u16(reply.status).map_err(Problem::internal)?;
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (REPLAYED, HeaderValue::from_static("true")),
    ];
    let body = reply.body.expose().to_vec();
    Ok((status, headers, body).into_response())
}
