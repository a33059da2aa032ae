//! The page, its assets, the JSON that its script polls, and the retry of a job. URLs in the page are relative, so that
//! it works below the path of `PUBLIC_URL`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse};
use axum::routing::{get, post};
use axum::{Extension, Router};
use http_toolkit::{Json, Path, Polled, Problem};

use super::error::Error;
use super::model::{Links, Status};
use super::service;
use crate::auth::PAGE_POLICY;
use crate::state::AppState;

/// First segments of the paths of the page and its JSON.
pub const FIRST_SEGMENTS: [&str; 2] = ["", "start"];

/// `START_PAGE_FILE`
#[derive(Clone)]
struct LinksFile(Option<Arc<str>>);

pub fn routes(links_file: Option<&str>) -> Router<AppState> {
    let file = LinksFile(links_file.map(Arc::from));
    Router::new()
        .route("/", get(show_start_page))
        .route("/assets/start-page.js", get(script))
        .route("/assets/start-page.css", get(style))
        .route("/start/links", get(get_links).layer(Extension(file)))
        .route("/start/status", get(get_status))
        .route("/start/jobs/{id}/retry", post(retry_job))
}

async fn show_start_page() -> impl IntoResponse {
    ([PAGE_POLICY], Html(include_str!("pages/start_page.html")))
}

async fn script() -> impl IntoResponse {
    (
        [(CONTENT_TYPE, "text/javascript; charset=utf-8")],
        concat!(
            include_str!("pages/charts.js"),
            include_str!("pages/start_page.js")
        ),
    )
}

async fn style() -> impl IntoResponse {
    (
        [(CONTENT_TYPE, "text/css; charset=utf-8")],
        include_str!("pages/start_page.css"),
    )
}

async fn get_links(Extension(file): Extension<LinksFile>) -> Result<Json<Links>, Problem> {
    Ok(Json(service::links(file.0.as_deref()).await?))
}

async fn get_status(State(state): State<AppState>) -> (Extension<Polled>, Json<Status>) {
    (Extension(Polled), Json(service::status(&state).await))
}

/// Unauthenticated: the check of the origin prevents cross-site request forgery.
async fn retry_job(
    State(state): State<AppState>,
    headers: HeaderMap,
    Path(id): Path<i64>,
) -> Result<StatusCode, Problem> {
    if !state.trusted_origins.allow(&headers) {
        return Err(Error::ForeignPage.into());
    }
    service::retry(&state, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
