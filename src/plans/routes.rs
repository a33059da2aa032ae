//! `/pricing`: the public price list.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::response::Response;
use cache::{Cache, CacheFamily};
use http_toolkit::{PreparedJson, Problem, Routes};
use utoipa_axum::routes;

use super::model::Pricing;
use crate::config::PlansConfig;
use crate::state::AppState;

/// Prices change with a release or a setting, so that a page of this age is acceptable.
const MAX_AGE: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// The page as it is sent. Each process has its own, since it is made of the process's settings.
static PAGES: CacheFamily<u8, PreparedJson> =
    CacheFamily::in_process("pricing", Duration::from_hours(1), 2);

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
        PreparedJson::of(&Pricing::of(&plans))
    });
    Ok(page.await?.respond(request.headers(), MAX_AGE))
}
