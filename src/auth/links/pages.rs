//! Pages behind emailed links, for products without a front end of their own (`LINK_URL` points the links
//! elsewhere).
//!
//! Opening one changes nothing, because mail scanners open links too: the visitor presses a button, and the
//! page's script sends the token to the API. The token is in the fragment of the link, so that
//! the request for the page does not carry it; the script first removes it from the address bar. URLs in
//! the pages are relative, so that they work below the path of `PUBLIC_URL`.

use axum::Router;
use axum::http::HeaderName;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use http_toolkit::Routes;
use utoipa_axum::routes;

use crate::state::AppState;

/// Security policy of a page.
pub(crate) const PAGE_POLICY: (HeaderName, &str) = (
    CONTENT_SECURITY_POLICY,
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'",
);

/// Beginning of a page, up to its title.
pub(crate) const PAGE_HEAD: &str = include_str!("pages/head.html");

/// A page of the shared head and foot.
macro_rules! page {
    ($name:literal) => {
        (
            [PAGE_POLICY],
            Html(concat!(
                include_str!("pages/head.html"),
                include_str!(concat!("pages/", $name, ".html")),
                include_str!("pages/foot.html"),
            )),
        )
    };
}

/// First segment of the paths of the pages' assets.
pub const ASSETS: &str = "/assets";

pub fn page_routes() -> Routes<AppState> {
    Routes::new()
        .routes(routes!(show_verify_email))
        .routes(routes!(show_reset_password))
        .routes(routes!(show_unlock))
        .routes(routes!(show_undo_email_change))
}

/// Script and style sheet of the pages.
pub fn page_assets() -> Router<AppState> {
    Router::new()
        .route("/assets/link-page.js", get(script))
        .route("/assets/link-page.css", get(style))
}

/// Show the page that confirms an email address.
#[utoipa::path(get, path = "/verify-email", tag = "pages",
    params(("token" = Option<String>, Query, description = "Token in links of earlier releases; current links have it in the fragment. Only the page's script reads it.")),
    responses((status = 200, description = "A page with a button.", content_type = "text/html", body = String)))]
async fn show_verify_email() -> impl IntoResponse {
    page!("verify_email")
}

/// Show the page that sets a new password.
#[utoipa::path(get, path = "/reset-password", tag = "pages",
    params(("token" = Option<String>, Query, description = "Token in links of earlier releases; current links have it in the fragment. Only the page's script reads it.")),
    responses((status = 200, description = "A page with a form.", content_type = "text/html", body = String)))]
async fn show_reset_password() -> impl IntoResponse {
    page!("reset_password")
}

/// Show the page that unlocks sign-in.
#[utoipa::path(get, path = "/unlock", tag = "pages",
    params(("token" = Option<String>, Query, description = "Token in links of earlier releases; current links have it in the fragment. Only the page's script reads it.")),
    responses((status = 200, description = "A page with a button.", content_type = "text/html", body = String)))]
async fn show_unlock() -> impl IntoResponse {
    page!("unlock")
}

/// Show the page that undoes an email address change.
#[utoipa::path(get, path = "/undo-email-change", tag = "pages",
    responses((status = 200, description = "A page with a form.", content_type = "text/html", body = String)))]
async fn show_undo_email_change() -> impl IntoResponse {
    page!("undo_email_change")
}

async fn script() -> impl IntoResponse {
    (
        [(CONTENT_TYPE, "text/javascript; charset=utf-8")],
        include_str!("pages/link_page.js"),
    )
}

async fn style() -> impl IntoResponse {
    (
        [(CONTENT_TYPE, "text/css; charset=utf-8")],
        include_str!("pages/link_page.css"),
    )
}
