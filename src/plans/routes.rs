//! `/pricing`: the public price list.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use utoipa_axum::routes;

use super::model::Pricing;
use crate::config::PlansConfig;
use crate::infra::{Cache, CacheFamily};
use crate::state::AppState;
use crate::web::{Etag, Problem, Routes};

/// Prices change with a release or a setting, so that a page of this age is acceptable.
const MAX_AGE: HeaderValue = HeaderValue::from_static("public, max-age=300");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The page as it is sent. Each process has its own, since it is made of the process's settings.
static PAGES: CacheFamily<u8, Prepared> =
    CacheFamily::in_process("pricing", Duration::from_hours(1), 2);

struct Prepared {
    json: Bytes,
    etag: Etag,
}

pub fn routes() -> Routes<AppState> {
    Routes::new().routes(routes!(show_pricing))
}

/// List plans and prices.
#[utoipa::path(get, path = "/pricing", tag = "billing",
    params(("If-None-Match" = Option<String>, Header, description = "`ETag` of the cached page.")),
    responses(
        (status = 200, description = "The plans, from the smallest to the largest.", body = Pricing, headers(
            ("ETag" = String, description = "Changes with the page."),
            ("Cache-Control" = String, description = "How long caches may store the page."))),
        (status = 304, description = "The cached page is current."),
    ))]
async fn show_pricing(
    State(cache): State<Cache>,
    State(plans): State<Arc<PlansConfig>>,
    request: Request,
) -> Result<Response, Problem> {
    let page = cache.get(&PAGES, &0, || async move {
        let json = Bytes::from(serde_json::to_vec(&Pricing::of(&plans))?);
        let etag = Etag::of(&json);
        Ok::<_, serde_json::Error>(Prepared { json, etag })
    });
    let page = page.await?;
    let mut response = if page.etag.is_held(request.headers()) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(CONTENT_TYPE, JSON)], page.json.clone()).into_response()
    };
    response.headers_mut().insert(CACHE_CONTROL, MAX_AGE);
    response.headers_mut().insert(ETAG, page.etag.header());
    Ok(response)
}
