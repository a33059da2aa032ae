//! Which browsers' pages may call: an allow-list of exact origins.

use std::time::Duration;

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, Method};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::context::X_REQUEST_ID;
use crate::config::HttpConfig;

const PREFLIGHT_MAX_AGE: Duration = Duration::from_mins(10);

/// The layer. It answers preflights itself, so it stands outside of all that costs or refuses.
/// Credentials are only ever allowed to origins that are listed one by one.
pub fn cors(config: &HttpConfig) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(config.allowed_origins.iter().cloned()))
        .allow_credentials(!config.allowed_origins.is_empty())
        .allow_methods([
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ])
        .allow_headers([
            AUTHORIZATION,
            CONTENT_TYPE,
            X_REQUEST_ID,
            HeaderName::from_static("x-csrf-token"),
            HeaderName::from_static("idempotency-key"),
        ])
        .expose_headers([
            X_REQUEST_ID,
            RETRY_AFTER,
            HeaderName::from_static("ratelimit"),
            HeaderName::from_static("ratelimit-policy"),
        ])
        .max_age(PREFLIGHT_MAX_AGE)
}
