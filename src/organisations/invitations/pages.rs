//! Page of an invitation, which the link in its email leads to: sign in or sign up, accept or decline. It is made like
//! the other pages of emailed links, whose head and style it shares.

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use http_toolkit::Routes;
use utoipa_axum::routes;

use crate::auth::{PAGE_HEAD, PAGE_POLICY};
use crate::state::AppState;

pub fn page_routes() -> Routes<AppState> {
    Routes::new().routes(routes!(show_invitation))
}

/// Script of the page.
pub fn page_assets() -> Router<AppState> {
    Router::new().route("/assets/invitation.js", get(script))
}

/// Show the page of an invitation.
#[utoipa::path(get, path = "/invitation", tag = "pages",
    responses((status = 200, description = "A page with the invitation.", content_type = "text/html", body = String)))]
async fn show_invitation() -> impl IntoResponse {
    let page = [PAGE_HEAD, include_str!("pages/invitation.html")].concat();
    ([PAGE_POLICY], Html(page))
}

async fn script() -> impl IntoResponse {
    (
        [(CONTENT_TYPE, "text/javascript; charset=utf-8")],
        include_str!("pages/invitation.js"),
    )
}
